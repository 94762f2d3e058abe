//! Empty fields, as templates leave them: `null` and an empty text mean that the field is absent, so that its default
//! holds. The API server drops nulls by the schema; objects also come from files, and from before the schema did.

use serde::{Deserialize, Deserializer};

/// The value, or the default of its type for null.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// The text; absent for null and an empty text.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use kube::{CustomResourceExt, core::cel::validate_cel};
    use serde_json::{Value, json};

    use crate::api::{Approval, Canary, ClusterFreeze, Command, Freeze, Promotion};

    fn rate(change: impl FnOnce(&mut Value)) -> Canary {
        let mut canary = json!({
            "apiVersion": "bellwether.dev/v1beta1", "kind": "Canary",
            "metadata": {"name": "rate", "namespace": "shop"},
            "spec": {
                "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "rate"},
                "service": {"port": 80, "targetPort": 8080},
                "analysis": {
                    "interval": "30s", "threshold": 3, "stepWeights": [10, 50],
                    "metrics": [{"name": "request-success-rate", "thresholdRange": {"min": 99}, "interval": "30s"}],
                },
            },
        });
        change(&mut canary);
        serde_json::from_value(canary).unwrap()
    }

    #[test]
    fn null_and_empty_fields_are_the_defaults() {
        type Change = fn(&mut Value);
        let cases: [Change; 6] = [
            |c| c["spec"]["analysis"]["maxBlind"] = Value::Null,
            |c| c["spec"]["analysis"]["maxBlind"] = json!(""),
            |c| c["spec"]["analysis"]["gates"] = Value::Null,
            |c| c["spec"]["skipAnalysis"] = Value::Null,
            |c| {
                for field in [
                    "name",
                    "portName",
                    "appProtocol",
                    "timeout",
                    "portDiscovery",
                    "hosts",
                    "match",
                ] {
                    c["spec"]["service"][field] = Value::Null;
                }
            },
            |c| {
                for field in ["name", "portName", "appProtocol", "timeout"] {
                    c["spec"]["service"][field] = json!("");
                }
            },
        ];
        let spec = |canary: &Canary| serde_json::to_value(&canary.spec).unwrap();
        let plain = spec(&rate(|_| {}));
        for (i, change) in cases.into_iter().enumerate() {
            let canary = rate(change);
            assert_eq!(spec(&canary), plain, "{i}");
            assert!(validate_cel(&canary).is_ok(), "{i}");
        }
        let unjudged = rate(|c| c["spec"]["analysis"]["metrics"] = Value::Null);
        assert!(unjudged.spec.analysis.metrics.is_empty());
    }

    #[test]
    fn server_drops_every_null_of_a_specification() {
        let crds = [
            Canary::crd(),
            Freeze::crd(),
            ClusterFreeze::crd(),
            Promotion::crd(),
            Command::crd(),
            Approval::crd(),
        ];
        for crd in crds {
            let crd = serde_json::to_value(crd).unwrap();
            let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
            assert!(!schema.to_string().contains("\"nullable\":true"), "{schema:#}");
            assert!(schema["properties"].is_object());
        }
    }
}
