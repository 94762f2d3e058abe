//! Whether an object is what its schema describes: what the API server and `kubectl` would refuse, with every field named.

use serde_json::Value;

/// Every field of `value` that the OpenAPI `schema` does not accept, and why. A null field counts as absent, as on the
/// server.
#[must_use]
pub fn refusals(schema: &Value, value: &Value, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    check(schema, value, path, &mut found);
    found
}

fn check(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    if value.is_null() {
        if schema["nullable"] != true {
            found.push(format!("{path}: must not be empty"));
        }
        return;
    }
    let wrong = wrong_type(schema, value, path);
    if let Some(problem) = wrong.or_else(|| out_of_range(schema, value, path)) {
        found.push(problem);
        return;
    }
    if let Some(fields) = value.as_object() {
        check_fields(schema, fields, path, found);
    }
    for (i, item) in value.as_array().into_iter().flatten().enumerate() {
        check(&schema["items"], item, &format!("{path}[{i}]"), found);
    }
}

fn wrong_type(schema: &Value, value: &Value, path: &str) -> Option<String> {
    let (fits, wanted) = match schema["type"].as_str() {
        Some("object") => (value.is_object(), "an object"),
        Some("array") => (value.is_array(), "a list"),
        Some("string") => (value.is_string(), "text"),
        Some("boolean") => (value.is_boolean(), "true or false"),
        Some("integer") => (value.is_i64() || value.is_u64(), "a whole number"),
        Some("number") => (value.is_number(), "a number"),
        _ if schema["x-kubernetes-int-or-string"] == true => (
            value.is_i64() || value.is_u64() || value.is_string(),
            "a whole number or text",
        ),
        _ => return None,
    };
    (!fits).then(|| format!("{path}: is {value}; must be {wanted}"))
}

fn out_of_range(schema: &Value, value: &Value, path: &str) -> Option<String> {
    if let Some(known) = schema["enum"].as_array().filter(|known| !known.contains(value)) {
        let known: Vec<String> = known.iter().map(ToString::to_string).collect();
        return Some(format!("{path}: is {value}; must be one of {}", known.join(", ")));
    }
    let number = value.as_f64();
    let length = value.as_str().map(|text| text.chars().count() as f64);
    let items = value.as_array().map(|items| items.len() as f64);
    let beyond = |limit: &str, measured: Option<f64>, unit: &str| {
        let bound = schema[limit].as_f64()?;
        let measured = measured?;
        let least = limit.starts_with("min");
        let wanted = if least { "at least" } else { "at most" };
        (if least { measured < bound } else { measured > bound })
            .then(|| format!("{path}: is {value}; must be {wanted} {bound}{unit}"))
    };
    beyond("minimum", number, "")
        .or_else(|| beyond("maximum", number, ""))
        .or_else(|| beyond("minLength", length, " characters"))
        .or_else(|| beyond("maxLength", length, " characters"))
        .or_else(|| beyond("minItems", items, " items"))
        .or_else(|| beyond("maxItems", items, " items"))
}

fn check_fields(
    schema: &Value,
    fields: &serde_json::Map<String, Value>,
    path: &str,
    found: &mut Vec<String>,
) {
    let required = schema["required"].as_array().into_iter().flatten();
    for field in required.filter_map(Value::as_str) {
        if fields.get(field).is_none_or(Value::is_null) {
            found.push(format!("{path}.{field}: is missing"));
        }
    }
    let open = schema["x-kubernetes-preserve-unknown-fields"] == true;
    for (field, value) in fields {
        let path = format!("{path}.{field}");
        match (&schema["properties"][field], &schema["additionalProperties"]) {
            (Value::Null, Value::Null) if open || !schema["properties"].is_object() => {}
            (Value::Null, Value::Null) => found.push(format!("{path}: unknown field")),
            // Absent, or missing and said above.
            (Value::Object(_), _) if value.is_null() => {}
            (Value::Null, any) => check(any, value, &path, found),
            (known, _) => check(known, value, &path, found),
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::CustomResourceExt;
    use serde_json::json;

    use super::*;
    use crate::api::Canary;

    fn problems(change: impl Fn(&mut Value)) -> Vec<String> {
        let crd = serde_json::to_value(Canary::crd()).unwrap();
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let mut spec = json!({
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
            "service": {"port": 80, "targetPort": "http", "trafficPolicy": {"tls": {"mode": "DISABLE"}}},
            "analysis": {"interval": "1m", "threshold": 2, "stepWeights": [10, 50], "metrics": [
                {"name": "request-success-rate", "thresholdRange": {"min": 99}},
            ]},
        });
        change(&mut spec);
        refusals(schema, &spec, "spec")
    }

    #[test]
    fn a_plain_canary_is_accepted() {
        assert!(problems(|_| {}).is_empty());
    }

    #[test]
    fn what_the_server_would_refuse_is_named() {
        type Change = fn(&mut Value);
        let cases: [(&str, Change); 7] = [
            ("spec.analysis.stepWieght: unknown field", |s| {
                s["analysis"]["stepWieght"] = json!(1);
            }),
            ("spec.analysis: is missing", |s| {
                s.as_object_mut().unwrap().remove("analysis");
            }),
            ("spec.service.port: is \"80\"; must be a whole number", |s| {
                s["service"]["port"] = json!("80");
            }),
            ("spec.service.port: is 0; must be at least 1", |s| {
                s["service"]["port"] = json!(0);
            }),
            (
                "spec.analysis.stepWeights[1]: is \"x\"; must be a whole number",
                |s| {
                    s["analysis"]["stepWeights"][1] = json!("x");
                },
            ),
            ("spec.analysis.metrics[0].name: is missing", |s| {
                s["analysis"]["metrics"][0] = json!({});
            }),
            (
                "spec.analysis.metrics[0].thresholdRange.mix: unknown field",
                |s| {
                    s["analysis"]["metrics"][0]["thresholdRange"]["mix"] = json!(1);
                },
            ),
        ];
        for (named, change) in cases {
            assert_eq!(problems(change), [named]);
        }
    }

    #[test]
    fn every_field_is_named_and_a_null_is_absent() {
        let found = problems(|s| {
            s["progressDeadlineSeconds"] = Value::Null;
            s["service"] = json!({"port": null, "timeout": null, "portName": 7});
            s["analysis"]["gates"] = json!([{"name": "a", "at": "noon", "approval": {}}]);
        });
        assert_eq!(
            found,
            [
                "spec.analysis.gates[0].at: is \"noon\"; must be one of \"confirm-rollout\", \"pre-rollout\", \
                 \"confirm-promotion\"",
                "spec.service.port: is missing",
                "spec.service.portName: is 7; must be text",
            ]
        );
    }
}
