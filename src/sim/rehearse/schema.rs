//! Whether an object is what its CustomResourceDefinition describes: what the API server and `kubectl` would refuse,
//! with the field named.

use serde_json::Value;

/// The first field of `value` that the OpenAPI `schema` does not accept, and why.
#[must_use]
pub fn refused(schema: &Value, value: &Value, path: &str) -> Option<String> {
    if value.is_null() {
        let nullable = schema["nullable"] == true;
        return (!nullable).then(|| format!("{path}: must not be empty"));
    }
    wrong_type(schema, value, path)
        .or_else(|| out_of_range(schema, value, path))
        .or_else(|| refused_field(schema, value, path))
        .or_else(|| refused_item(schema, value, path))
}

fn wrong_type(schema: &Value, value: &Value, path: &str) -> Option<String> {
    let (fits, wanted) = match schema["type"].as_str() {
        Some("object") => (value.is_object(), "an object"),
        Some("array") => (value.is_array(), "a list"),
        Some("string") => (value.is_string(), "text"),
        Some("boolean") => (value.is_boolean(), "true or false"),
        Some("integer") => (value.is_i64() || value.is_u64(), "a whole number"),
        Some("number") => (value.is_number(), "a number"),
        _ => return None,
    };
    (!fits).then(|| format!("{path}: is {value}; must be {wanted}"))
}

fn out_of_range(schema: &Value, value: &Value, path: &str) -> Option<String> {
    let number = value.as_f64();
    let length = value.as_str().map(|text| text.chars().count() as f64);
    let beyond = |limit: &str, measured: Option<f64>, less: bool| {
        let bound = schema[limit].as_f64()?;
        let measured = measured?;
        (if less { measured < bound } else { measured > bound }).then(|| {
            let wanted = if less { "at least" } else { "at most" };
            let unit = if limit.ends_with("Length") {
                " characters"
            } else {
                ""
            };
            format!("{path}: is {value}; must be {wanted} {bound}{unit}")
        })
    };
    beyond("minimum", number, true)
        .or_else(|| beyond("maximum", number, false))
        .or_else(|| beyond("minLength", length, true))
        .or_else(|| beyond("maxLength", length, false))
}

fn refused_field(schema: &Value, value: &Value, path: &str) -> Option<String> {
    let fields = value.as_object()?;
    let missing = schema["required"].as_array().into_iter().flatten();
    let mut missing = missing.filter_map(Value::as_str);
    if let Some(field) = missing.find(|field| !fields.contains_key(*field)) {
        return Some(format!("{path}.{field}: is missing"));
    }
    let open = schema["x-kubernetes-preserve-unknown-fields"] == true;
    fields.iter().find_map(|(field, value)| {
        let path = format!("{path}.{field}");
        match (&schema["properties"][field], &schema["additionalProperties"]) {
            (Value::Null, Value::Null) if open || !schema["properties"].is_object() => None,
            (Value::Null, Value::Null) => Some(format!("{path}: unknown field")),
            (Value::Null, any) => refused(any, value, &path),
            (known, _) => refused(known, value, &path),
        }
    })
}

fn refused_item(schema: &Value, value: &Value, path: &str) -> Option<String> {
    let items = value.as_array()?;
    let each = items.iter().enumerate();
    let mut refusals = each.filter_map(|(i, item)| refused(&schema["items"], item, &format!("{path}[{i}]")));
    refusals.next()
}

#[cfg(test)]
mod tests {
    use kube::CustomResourceExt;
    use serde_json::json;

    use super::*;
    use crate::api::Canary;

    fn check(change: impl Fn(&mut Value)) -> Option<String> {
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
        refused(schema, &spec, "spec")
    }

    #[test]
    fn a_plain_canary_is_accepted() {
        assert_eq!(check(|_| {}), None);
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
            assert_eq!(check(change).as_deref(), Some(named));
        }
    }
}
