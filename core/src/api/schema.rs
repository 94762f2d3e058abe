//! Schemas that the derive cannot express: objects passed through to Istio field by field, and Go-style durations.

use schemars::{
    Schema, SchemaGenerator, json_schema,
    transform::{Transform, transform_subschemas},
};
use serde_json::{Map, Value};

/// A text of one line without control and bidirectional characters ([`crate::printable`]), in the syntax of the API server's
/// regular expressions (RE2).
pub const LINE: &str =
    r"^[^\p{Cc}\x{61c}\x{200e}\x{200f}\x{202a}-\x{202e}\x{2066}-\x{2069}\x{2028}\x{2029}]*$";

/// Makes no field nullable, so that the API server drops nulls and the defaults hold: templates leave empty fields. A
/// null that is kept would also count as set in the rules.
#[derive(Clone, Debug)]
pub(super) struct NeverNull;

impl Transform for NeverNull {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let Some(fields) = schema.as_object_mut() else {
            return;
        };
        fields.remove("nullable");
        if fields.contains_key("x-kubernetes-int-or-string") {
            // Said aloud, for else kube makes it nullable.
            fields.insert("nullable".to_owned(), false.into());
        }
        if let Some(Value::Array(types)) = fields.get_mut("type") {
            types.retain(|name| name != "null");
            if let [only] = &types[..] {
                let only = only.clone();
                fields.insert("type".to_owned(), only);
            }
        }
        if let Some(Value::Array(values)) = fields.get_mut("enum") {
            values.retain(|value| !value.is_null());
        }
        if let Some(Value::Array(choices)) = fields.get_mut("anyOf") {
            choices.retain(|choice| choice["type"] != "null");
            if let [Value::Object(only)] = &choices[..] {
                let only = only.clone();
                fields.remove("anyOf");
                take_in(fields, only);
            }
        }
    }
}

/// Adds what `fields` does not say itself.
fn take_in(fields: &mut Map<String, Value>, more: Map<String, Value>) {
    for (key, value) in more {
        fields.entry(key).or_insert(value);
    }
}

/// An object that is handed on as it is: no field of it may be lost.
pub(super) fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "nullable": true, "x-kubernetes-preserve-unknown-fields": true})
}

/// A list of objects that are handed on as they are.
pub(super) fn any_objects(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "nullable": true,
        "maxItems": 64,
        "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}
    })
}

/// A map of short strings, bounded so that rules over it stay cheap.
pub(super) fn string_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "nullable": true, "maxProperties": 64, "additionalProperties": {"type": "string"}})
}

/// A duration like `30s`, `1m`, `1m30s` or `1h`, at least one second; an empty one counts as absent.
pub(super) fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "nullable": true,
        "maxLength": 20,
        "x-kubernetes-validations": [{
            "rule": "self == '' || (self.matches('^([0-9]{1,6}(h|m|s|ms))+$') && duration(self) >= duration('1s') && duration(self) <= duration('24h'))",
            "message": "must be a duration from 1s to 24h, such as 30s, 1m or 1m30s"
        }]
    })
}

/// A duration like `62h`, from a minute to 31 days.
pub(super) fn long_duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 20,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^([0-9]{1,6}(h|m|s))+$') && duration(self) >= duration('1m') && duration(self) <= duration('744h')",
            "message": "must be a duration from 1m to 744h, such as 62h or 1h30m"
        }]
    })
}

/// Parameters of a build.
pub(super) fn parameters(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "nullable": true,
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "maxLength": 4000}
    })
}

/// A number of percent from 0 to 100.
pub(super) fn percent(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "nullable": true, "minimum": 0, "maximum": 100})
}

/// An integer or a name.
pub(super) fn int_or_string(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"nullable": true, "x-kubernetes-int-or-string": true})
}

/// Images by name of the container.
pub(super) fn images(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "nullable": true,
        "minProperties": 1,
        "maxProperties": 32,
        "additionalProperties": {"type": "string", "minLength": 1, "maxLength": 500}
    })
}
