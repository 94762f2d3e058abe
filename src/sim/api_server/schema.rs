//! What the schema of a CustomResourceDefinition does to an object: fields that it does not know go, defaults come, its
//! bounds and rules are checked. The rules are the CRD's own, evaluated as CEL.

use std::sync::LazyLock;

use kube::{
    CustomResourceExt,
    core::cel::{CompiledSchema, ValidationErrors, Validator, compile_schema},
};
use serde_json::Value;

use super::resources::Kind;
use crate::api::{Approval, Canary, ClusterFreeze, Command, Freeze, Promotion, PromotionLedger};

fn schema_of<T: CustomResourceExt>() -> Value {
    let crd = serde_json::to_value(T::crd()).unwrap_or_default();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

static SCHEMAS: LazyLock<[(Kind, Value); 7]> = LazyLock::new(|| {
    [
        (Kind::CANARY, schema_of::<Canary>()),
        (Kind::PROMOTION, schema_of::<Promotion>()),
        (Kind::COMMAND, schema_of::<Command>()),
        (Kind::APPROVAL, schema_of::<Approval>()),
        (Kind::FREEZE, schema_of::<Freeze>()),
        (Kind::CLUSTER_FREEZE, schema_of::<ClusterFreeze>()),
        (Kind::PROMOTION_LEDGER, schema_of::<PromotionLedger>()),
    ]
});

thread_local! {
    static RULES: (Validator, Vec<(Kind, CompiledSchema)>) = (
        Validator::new(),
        SCHEMAS.iter().map(|(kind, schema)| (*kind, compile_schema(schema))).collect(),
    );
}

/// The schema of a kind that one of our CRDs brings.
fn of(kind: Kind) -> Option<&'static Value> {
    SCHEMAS
        .iter()
        .find(|(of, _)| *of == kind)
        .map(|(_, schema)| schema)
}

/// Whether one of our CRDs brings this kind.
#[must_use]
pub fn known(kind: Kind) -> bool {
    of(kind).is_some()
}

/// Drops what the schema of this kind does not know and fills in its defaults.
pub fn shape_custom(kind: Kind, object: &mut Value) {
    let Some(schema) = of(kind) else { return };
    for part in ["spec", "status"] {
        if let Some(value) = object.get_mut(part) {
            shape(&schema["properties"][part], value);
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

/// What is wrong with an object, compared with what it was.
#[must_use]
pub fn problems(kind: Kind, object: &Value, old: Option<&Value>) -> Vec<String> {
    let Some(schema) = of(kind) else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    check_bounds(
        &schema["properties"]["spec"],
        &object["spec"],
        "spec",
        &mut problems,
    );
    let broken = RULES.with(|(validator, all)| {
        let rules = all.iter().find(|(of, _)| *of == kind);
        rules.map_or(Ok(()), |(_, rules)| {
            validator.validate_compiled(rules, object, old)
        })
    });
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
