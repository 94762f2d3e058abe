//! What the schema of a CustomResourceDefinition does to an object: fields that it does not know go, defaults come, its
//! bounds and rules are checked. The rules are the CRD's own, evaluated as CEL.

use std::sync::LazyLock;

use kube::{
    CustomResourceExt,
    core::cel::{CompiledSchema, ValidationErrors, Validator, compile_schema},
};
use serde_json::Value;

use crate::api::Canary;

static CANARY: LazyLock<Value> = LazyLock::new(|| {
    let crd = serde_json::to_value(Canary::crd()).unwrap_or_default();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
});

thread_local! {
    static RULES: (Validator, CompiledSchema) = (Validator::new(), compile_schema(&CANARY));
}

/// Drops what the schema of Canaries does not know and fills in its defaults.
pub fn shape_canary(object: &mut Value) {
    for part in ["spec", "status"] {
        if let Some(value) = object.get_mut(part) {
            shape(&CANARY["properties"][part], value);
        }
    }
}

fn shape(schema: &Value, value: &mut Value) {
    if !schema.is_object() {
        // Below what is handed on as it is.
        return;
    }
    match value {
        Value::Object(fields) => {
            let known = schema["properties"].as_object();
            let rest = &schema["additionalProperties"];
            if schema["x-kubernetes-preserve-unknown-fields"] != true && !rest.is_object() {
                fields.retain(|field, _| known.is_some_and(|known| known.contains_key(field)));
            }
            let schema_of = |field: &str| known.and_then(|known| known.get(field)).unwrap_or(rest);
            fields.retain(|field, value| {
                let schema = schema_of(field);
                !value.is_null() || !schema.is_object() || schema["nullable"] == true
            });
            for (field, schema) in known.into_iter().flatten() {
                if let Some(default) = schema.get("default")
                    && !fields.contains_key(field)
                {
                    fields.insert(field.clone(), default.clone());
                }
            }
            for (field, value) in fields {
                shape(schema_of(field), value);
            }
        }
        Value::Array(items) => {
            for item in items {
                shape(&schema["items"], item);
            }
        }
        _ => {}
    }
}

/// What is wrong with a Canary, compared with what it was.
#[must_use]
pub fn canary_problems(object: &Value, old: Option<&Value>) -> Vec<String> {
    let mut problems = Vec::new();
    check_bounds(
        &CANARY["properties"]["spec"],
        &object["spec"],
        "spec",
        &mut problems,
    );
    let broken = RULES.with(|(validator, rules)| validator.validate_compiled(rules, object, old));
    let broken = broken.err().map(ValidationErrors::into_vec).unwrap_or_default();
    problems.extend(
        broken
            .iter()
            .map(|error| format!("{}: Invalid value: {}", error.field_path, error.message)),
    );
    problems.sort();
    problems
}

fn check_bounds(schema: &Value, value: &Value, path: &str, problems: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                check_bounds(
                    &schema["properties"][field.as_str()],
                    value,
                    &format!("{path}.{field}"),
                    problems,
                );
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                check_bounds(&schema["items"], item, &format!("{path}[{i}]"), problems);
            }
        }
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or_default();
            let below = schema["minimum"].as_f64().is_some_and(|least| number < least);
            if below || schema["maximum"].as_f64().is_some_and(|most| number > most) {
                problems.push(format!("{path}: Invalid value: {value}: out of bounds"));
            }
        }
        _ => {}
    }
}
