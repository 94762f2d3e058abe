//! What the API server adds to objects, and what it refuses: the parts that a controller can notice.

use crate::pointer::At;
use k8s_openapi::api::{apps::v1::DeploymentSpec, core::v1::ServiceSpec};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{refusal::Refusal, resources::Kind, schema};
use crate::api::{Canary, Command, Promotion};

/// Drops unknown fields and adds defaults; `address` is for a Service that has none.
///
/// # Errors
/// If something is of the wrong type.
pub fn fill(kind: Kind, object: &mut Value, address: &str) -> Result<(), Refusal> {
    match kind {
        Kind::DEPLOYMENT => {
            shape::<DeploymentSpec>(&mut object["spec"])?;
            fill_deployment(object);
        }
        Kind::SERVICE => {
            shape::<ServiceSpec>(&mut object["spec"])?;
            fill_service(object, address);
        }
        _ => schema::shape_custom(kind, object),
    }
    Ok(())
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

fn fill_service(object: &mut Value, ip: &str) {
    let spec = &mut object["spec"];
    default(spec, "type", "ClusterIP");
    default(spec, "sessionAffinity", "None");
    default(spec, "internalTrafficPolicy", "Cluster");
    default(spec, "ipFamilies", json!(["IPv4"]));
    default(spec, "ipFamilyPolicy", "SingleStack");
    default(spec, "clusterIP", ip);
    default(spec, "clusterIPs", json!([ip]));
    for port in spec["ports"].as_array_mut().into_iter().flatten() {
        default(port, "protocol", "TCP");
        let number = port["port"].clone();
        default(port, "targetPort", number);
    }
}

/// Refuses what is invalid, compared with what the object was. The rules of custom resources are those of their CRDs.
///
/// # Errors
/// With the fields named.
pub fn validate(kind: Kind, object: &Value, old: Option<&Value>) -> Result<(), Refusal> {
    let problems = match kind {
        Kind::DEPLOYMENT => deployment_problems(object, old),
        Kind::SERVICE => immutable("spec.clusterIP", "/spec/clusterIP", object, old),
        _ if schema::known(kind) && old.is_none_or(|old| old["spec"] != object["spec"]) => {
            schema::problems(kind, object, old)
        }
        _ => Vec::new(),
    };
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if !problems.is_empty() {
        return Err(Refusal::invalid(kind, name, &problems));
    }
    let typed = match kind {
        Kind::CANARY => serde_json::from_value::<Canary>(object.clone()).err(),
        Kind::PROMOTION => serde_json::from_value::<Promotion>(object.clone()).err(),
        Kind::COMMAND => serde_json::from_value::<Command>(object.clone()).err(),
        _ => None,
    };
    typed.map_or(Ok(()), |error| {
        Err(Refusal::invalid(kind, name, &[error.to_string()]))
    })
}

fn deployment_problems(object: &Value, old: Option<&Value>) -> Vec<String> {
    let mut problems = immutable("spec.selector", "/spec/selector", object, old);
    let labels = &object["spec"]["template"]["metadata"]["labels"];
    match object["spec"]["selector"]["matchLabels"].as_object() {
        None => problems.push("spec.selector: Required value".to_owned()),
        Some(selector) if selector.iter().any(|(key, value)| labels.get(key) != Some(value)) => {
            problems.push(
                "spec.template.metadata.labels: Invalid value: `selector` does not match template `labels`"
                    .to_owned(),
            );
        }
        Some(_) => {}
    }
    problems
}

fn immutable(field: &str, pointer: &str, object: &Value, old: Option<&Value>) -> Vec<String> {
    let changed = old.is_some_and(|old| old.at(pointer) != object.at(pointer));
    if changed {
        vec![format!("{field}: Invalid value: field is immutable")]
    } else {
        Vec::new()
    }
}

/// Drops what a built-in type does not know.
///
/// # Errors
/// If something is of the wrong type.
fn shape<T: DeserializeOwned + Serialize>(spec: &mut Value) -> Result<(), Refusal> {
    let typed: T = serde_json::from_value(spec.take())
        .map_err(|error| Refusal::bad_request(format!("the object cannot be read: {error}")))?;
    *spec = serde_json::to_value(typed).map_err(|error| Refusal::bad_request(error.to_string()))?;
    Ok(())
}
