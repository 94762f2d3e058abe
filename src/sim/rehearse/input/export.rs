//! Objects as `kubectl get -o yaml` prints them: what the server, the Deployment controller and ours added goes, so that
//! they can be applied to a cluster that has never seen them.

use serde_json::{Value, json};

use crate::{
    rollout::Names,
    traffic::istio::virtual_service::{APPLIED_ANNOTATION, IMPLICIT_WEIGHT_ANNOTATION},
    workload::marks::{EPOCH_ANNOTATION, OWNER_ANNOTATION, REVISION_ANNOTATION, SELECTOR_ANNOTATION},
};

/// What the server writes into the metadata of every object.
const METADATA: [&str; 10] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
    "ownerReferences",
    "finalizers",
];

/// Annotations that say what an object has been through.
const ANNOTATIONS: [&str; 8] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/revision",
    OWNER_ANNOTATION,
    EPOCH_ANNOTATION,
    REVISION_ANNOTATION,
    SELECTOR_ANNOTATION,
    APPLIED_ANNOTATION,
    IMPLICIT_WEIGHT_ANNOTATION,
];

/// Takes away what a user would not apply.
pub(super) fn clean(object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    if kind == "Service" {
        clean_service(object);
    }
    if kind == "Deployment"
        && let Some(pod) = object.pointer_mut("/spec/template/spec")
    {
        quantities(pod);
    }
    let metadata = &mut object["metadata"];
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.retain(|key, _| !ANNOTATIONS.contains(&key.as_str()));
    }
    if let Some(fields) = metadata.as_object_mut() {
        fields.retain(|key, value| !METADATA.contains(&key.as_str()) && !value.is_null());
    }
}

/// The addresses are the server's; a selector that the controller pointed elsewhere is the user's again.
fn clean_service(object: &mut Value) {
    let pointed = object["metadata"]["annotations"]
        .get(SELECTOR_ANNOTATION)
        .and_then(Value::as_str)
        .and_then(|text| serde_json::from_str::<Value>(text).ok());
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    if let Some(selector) = pointed.filter(Value::is_object) {
        spec.insert("selector".to_owned(), selector);
    }
    if spec.get("clusterIP").is_some_and(|ip| ip != "None") {
        spec.remove("clusterIP");
        spec.remove("clusterIPs");
    }
    spec.remove("healthCheckNodePort");
    let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        port.remove("nodePort");
    }
}

/// `cpu: 1` is the quantity "1".
fn quantities(pod: &mut Value) {
    for list in ["containers", "initContainers"] {
        let containers = pod.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            for part in ["/resources/limits", "/resources/requests"] {
                let part = container.pointer_mut(part).and_then(Value::as_object_mut);
                for quantity in part.into_iter().flat_map(|part| part.values_mut()) {
                    if quantity.is_number() {
                        *quantity = quantity.to_string().into();
                    }
                }
            }
        }
    }
}

/// The destinations of a VirtualService as they were before the controller split them.
pub(super) fn unsplit(object: &mut Value, names: &Names) {
    for protocol in ["http", "tcp", "tls"] {
        let routes = object.pointer_mut(&format!("/spec/{protocol}"));
        for route in routes.and_then(Value::as_array_mut).into_iter().flatten() {
            let destinations = route.get_mut("route").and_then(Value::as_array_mut);
            let Some(destinations) = destinations else {
                continue;
            };
            let leads_to = |destination: &Value, service: &str| {
                let host = destination["destination"]["host"].as_str().unwrap_or_default();
                host.split('.').next() == Some(service)
            };
            if !destinations.iter().any(|d| leads_to(d, &names.primary_service)) {
                continue;
            }
            destinations.retain(|d| !leads_to(d, &names.canary_service));
            for destination in destinations.iter_mut() {
                if leads_to(destination, &names.primary_service) {
                    destination["destination"]["host"] = json!(names.apex);
                }
            }
            if let [only] = &mut destinations[..]
                && let Some(fields) = only.as_object_mut()
            {
                fields.remove("weight");
            }
        }
    }
}
