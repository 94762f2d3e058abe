//! DestinationRules: one per Service of a Canary, so that mutual TLS and connection pools apply to both versions.

use serde_json::{Value, json};

use super::{Role, ServiceNames};

/// The spec of the DestinationRule of the Service with this role. `traffic_policy` is Istio's TrafficPolicy as the
/// Canary gives it, with all its fields.
#[must_use]
pub fn build(names: &ServiceNames, role: Role, traffic_policy: Option<&Value>) -> Value {
    let mut spec = json!({ "host": names.short(role) });
    if let Some(policy) = traffic_policy.filter(|p| !p.is_null()) {
        spec["trafficPolicy"] = policy.clone();
    }
    spec
}

/// Whether the host or the traffic policy of the `live` spec differs from the `desired` one. Other parts, such as
/// subsets that a user added, are left alone. Istio's schema has no defaults, hence any difference is an edit.
#[must_use]
pub fn drift(live: &Value, desired: &Value) -> bool {
    let field = |spec: &Value, key: &str| spec.get(key).filter(|v| !v.is_null()).cloned();
    ["host", "trafficPolicy"]
        .into_iter()
        .any(|key| field(live, key) != field(desired, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> ServiceNames {
        ServiceNames {
            namespace: "shop".into(),
            apex: "cart".into(),
            primary: "cart-primary".into(),
            canary: "cart-canary".into(),
        }
    }

    #[test]
    fn traffic_policy_is_kept_with_all_its_fields() {
        let policy = json!({ "tls": { "mode": "ISTIO_MUTUAL" }, "portLevelSettings": [{ "unknown": 1 }] });
        let spec = build(&names(), Role::Canary, Some(&policy));
        assert_eq!(spec, json!({ "host": "cart-canary", "trafficPolicy": policy }));
        assert_eq!(
            build(&names(), Role::Primary, None),
            json!({ "host": "cart-primary" })
        );
    }

    #[test]
    fn only_host_and_traffic_policy_can_drift() {
        let desired = build(
            &names(),
            Role::Primary,
            Some(&json!({ "tls": { "mode": "DISABLE" } })),
        );
        assert!(!drift(&desired, &desired));
        let mut live = desired.clone();
        live["subsets"] = json!([{ "name": "v1" }]);
        assert!(!drift(&live, &desired));
        live["trafficPolicy"]["tls"]["mode"] = json!("SIMPLE");
        assert!(drift(&live, &desired));
        live = desired.clone();
        live["host"] = json!("else");
        assert!(drift(&live, &desired));
        assert!(
            drift(&desired, &build(&names(), Role::Primary, None)),
            "a policy that was taken back must go"
        );
    }
}
