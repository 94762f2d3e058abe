//! What the API server adds to objects, and what it refuses: the parts that a controller can notice.

use serde_json::{Value, json};

use super::{refusal::Refusal, resources::Kind};
use crate::{api::Canary, rollout};

/// Adds defaults.
pub fn fill(kind: Kind, object: &mut Value, address: u32) {
    match kind {
        Kind::DEPLOYMENT => fill_deployment(object),
        Kind::SERVICE => fill_service(object, address),
        _ => {}
    }
}

fn default(object: &mut Value, field: &str, value: impl Into<Value>) {
    if let Some(fields) = object.as_object_mut()
        && fields.get(field).is_none_or(Value::is_null)
    {
        fields.insert(field.to_owned(), value.into());
    }
}

fn fill_deployment(object: &mut Value) {
    let spec = &mut object["spec"];
    default(spec, "replicas", 1);
    default(spec, "revisionHistoryLimit", 10);
    default(spec, "progressDeadlineSeconds", 600);
    default(spec, "strategy", json!({}));
    default(&mut spec["strategy"], "type", "RollingUpdate");
    if spec["strategy"]["type"] == "RollingUpdate" {
        default(&mut spec["strategy"], "rollingUpdate", json!({}));
        default(&mut spec["strategy"]["rollingUpdate"], "maxSurge", "25%");
        default(&mut spec["strategy"]["rollingUpdate"], "maxUnavailable", "25%");
    }
    default(&mut spec["template"], "spec", json!({}));
    let pod = &mut spec["template"]["spec"];
    default(pod, "restartPolicy", "Always");
    default(pod, "dnsPolicy", "ClusterFirst");
    default(pod, "schedulerName", "default-scheduler");
    default(pod, "securityContext", json!({}));
    default(pod, "terminationGracePeriodSeconds", 30);
    for container in pod["containers"].as_array_mut().into_iter().flatten() {
        default(container, "imagePullPolicy", "IfNotPresent");
        default(container, "resources", json!({}));
        default(container, "terminationMessagePath", "/dev/termination-log");
        default(container, "terminationMessagePolicy", "File");
        for port in container
            .get_mut("ports")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            default(port, "protocol", "TCP");
        }
    }
}

fn fill_service(object: &mut Value, address: u32) {
    let spec = &mut object["spec"];
    default(spec, "type", "ClusterIP");
    default(spec, "sessionAffinity", "None");
    default(spec, "internalTrafficPolicy", "Cluster");
    default(spec, "ipFamilies", json!(["IPv4"]));
    default(spec, "ipFamilyPolicy", "SingleStack");
    let ip = format!("10.96.{}.{}", address / 250 % 250, address % 250 + 1);
    default(spec, "clusterIP", ip.clone());
    default(spec, "clusterIPs", json!([ip]));
    for port in spec["ports"].as_array_mut().into_iter().flatten() {
        default(port, "protocol", "TCP");
        let number = port["port"].clone();
        default(port, "targetPort", number);
    }
}

/// Refuses what is invalid. CEL rules are the real server's; here the same rules are checked in Rust.
///
/// # Errors
/// With the fields named.
pub fn validate(kind: Kind, object: &Value) -> Result<(), Refusal> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if kind == Kind::DEPLOYMENT {
        let selector = object["spec"]["selector"]["matchLabels"].as_object();
        let labels = &object["spec"]["template"]["metadata"]["labels"];
        let Some(selector) = selector else {
            return Err(Refusal::invalid(
                kind,
                name,
                &["spec.selector: Required value".to_owned()],
            ));
        };
        if selector.iter().any(|(key, value)| labels.get(key) != Some(value)) {
            let problem =
                "spec.template.metadata.labels: Invalid value: `selector` does not match template `labels`";
            return Err(Refusal::invalid(kind, name, &[problem.to_owned()]));
        }
    }
    if kind == Kind::CANARY {
        let canary: Canary = serde_json::from_value(object.clone())
            .map_err(|error| Refusal::invalid(kind, name, &[error.to_string()]))?;
        rollout::validate(&canary, chrono::TimeDelta::zero())
            .map_err(|error| Refusal::invalid(kind, name, &[error.to_string()]))?;
    }
    Ok(())
}
