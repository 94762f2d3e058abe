//! The EndpointSlice controller: the pods that each Service selects.

use serde_json::{Value, json};

use super::Workloads;
use crate::sim::api_server::{
    Key, Kind,
    write::{By, Deletion, Writer},
};

/// Brings every EndpointSlice up to date.
pub fn step(workloads: &Workloads, writer: &mut Writer, by: By<'_>) {
    let services: Vec<(Key, Value)> = writer
        .store
        .list(Kind::SERVICE, None)
        .map(|(key, service)| (key.clone(), service["spec"]["selector"].clone()))
        .collect();
    for (key, selector) in &services {
        let Some(selector) = selector.as_object().filter(|s| !s.is_empty()) else {
            continue;
        };
        let selects = |labels: &Value| selector.iter().all(|(k, v)| labels.get(k) == Some(v));
        let endpoints: Vec<Value> = workloads
            .all()
            .filter(|pod| pod.namespace == key.namespace && selects(&pod.labels))
            .map(|pod| {
                let conditions = json!({
                    "ready": pod.ready(by.now),
                    "serving": pod.listens(by.now),
                    "terminating": pod.ending.is_some(),
                });
                json!({"addresses": [pod.ip], "conditions": conditions})
            })
            .collect();
        write_slice(writer, by, key, endpoints);
    }
    let stray: Vec<Key> = writer
        .store
        .list(Kind::ENDPOINT_SLICE, None)
        .filter(|(key, slice)| {
            let service = slice["metadata"]["labels"]["kubernetes.io/service-name"]
                .as_str()
                .unwrap_or_default();
            !services
                .iter()
                .any(|(s, _)| s.namespace == key.namespace && s.name == service)
        })
        .map(|(key, _)| key.clone())
        .collect();
    for key in stray {
        // Decided on the store as it is: it cannot be refused.
        let _ = writer.delete(by, &key, &Deletion::default());
    }
}

fn write_slice(writer: &mut Writer, by: By<'_>, service: &Key, endpoints: Vec<Value>) {
    let key = Key::new(
        Kind::ENDPOINT_SLICE,
        &service.namespace,
        &format!("{}-slice", service.name),
    );
    let uid = writer.store.get(service).map(|s| s["metadata"]["uid"].clone());
    let written = match writer.store.get(&key).cloned() {
        None => {
            let slice = json!({
                "metadata": {"name": key.name, "labels": {
                    "kubernetes.io/service-name": service.name,
                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                }, "ownerReferences": [{
                    "apiVersion": "v1", "kind": "Service", "controller": true, "blockOwnerDeletion": true,
                    "name": service.name, "uid": uid,
                }]},
                "addressType": "IPv4",
                "endpoints": endpoints,
            });
            writer.create(by, Kind::ENDPOINT_SLICE, &service.namespace, slice)
        }
        Some(present) if present["endpoints"] != Value::Array(endpoints.clone()) => {
            let mut new = Value::clone(&present);
            new["endpoints"] = Value::Array(endpoints);
            writer.replace(by, &key, false, new)
        }
        Some(_) => return,
    };
    debug_assert!(written.is_ok(), "{:?}", written.err());
}
