//! Whether a cluster would take an object: types, and what the API server refuses beyond them. Everything at once, each
//! with its field.

use std::sync::LazyLock;

use crate::pointer::At;
use k8s_openapi::api::{apps::v1::DeploymentSpec, core::v1::ServiceSpec};
use kube::CustomResourceExt;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};

use super::super::schema::refusals;
use crate::{
    api::{Canary, ClusterFreeze, Freeze},
    sim::api_server::{Kind, schema as rules},
};

static DEPLOYMENT: LazyLock<Value> = LazyLock::new(schema_of::<DeploymentSpec>);
static SERVICE: LazyLock<Value> = LazyLock::new(schema_of::<ServiceSpec>);

fn schema_of<T: JsonSchema>() -> Value {
    let inline = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    inline.into_generator().into_root_schema_for::<T>().to_value()
}

/// The schema of the specification that a CRD brings.
fn spec_of<T: CustomResourceExt>() -> Value {
    let crd = serde_json::to_value(T::crd()).unwrap_or_default();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
}

/// What is wrong with an object beside the Canary.
pub(super) fn problems(kind: Kind, object: &Value) -> Vec<String> {
    let mut found = texts(object);
    let spec = object.get("spec").filter(|spec| !spec.is_null());
    let spec = spec.cloned().unwrap_or_else(|| json!({}));
    match kind {
        Kind::DEPLOYMENT => {
            found.extend(refusals(&DEPLOYMENT, &spec, "spec"));
            deployment(&spec, &mut found);
        }
        Kind::SERVICE => {
            found.extend(refusals(&SERVICE, &spec, "spec"));
            service(&spec, &mut found);
        }
        Kind::FREEZE => custom::<Freeze>(kind, object, &spec, &mut found),
        Kind::CLUSTER_FREEZE => custom::<ClusterFreeze>(kind, object, &spec, &mut found),
        Kind::VIRTUAL_SERVICE => virtual_service(&spec, &mut found),
        _ => {}
    }
    found
}

/// What is wrong with the Canary, as far as its schema tells.
pub(super) fn canary(object: &Value) -> Vec<String> {
    let mut found = texts(object);
    match object.get("spec") {
        Some(spec) => found.extend(refusals(&spec_of::<Canary>(), spec, "spec")),
        None => found.push("spec: is missing".to_owned()),
    }
    found
}

/// What the rules of the CRD refuse, of which the server has dropped the nulls before.
pub(super) fn broken_rules(kind: Kind, object: &Value) -> Vec<String> {
    let mut object = object.clone();
    rules::shape_custom(kind, &mut object);
    rules::problems(kind, &object, None)
}

fn custom<T: CustomResourceExt>(kind: Kind, object: &Value, spec: &Value, found: &mut Vec<String>) {
    found.extend(refusals(&spec_of::<T>(), spec, "spec"));
    if found.is_empty() {
        found.extend(broken_rules(kind, object));
    }
}

/// Labels and annotations are texts.
fn texts(object: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for path in ["metadata.labels", "metadata.annotations"] {
        let map = object.at(&format!("/{}", path.replace('.', "/")));
        match map {
            None | Some(Value::Null) => {}
            Some(Value::Object(map)) => {
                let wrong = map.iter().filter(|(_, value)| !value.is_string());
                found.extend(wrong.map(|(key, value)| {
                    format!(
                        "{path}.{key}: is {value}; must be text, which a number or true becomes in quotes"
                    )
                }));
            }
            Some(other) => found.push(format!("{path}: is {other}; must be an object")),
        }
    }
    found
}

fn deployment(spec: &Value, found: &mut Vec<String>) {
    if spec["template"]["spec"]["containers"][0]["image"]
        .as_str()
        .is_none_or(str::is_empty)
    {
        found.push("spec.template.spec.containers[0].image: is missing".to_owned());
    }
    selector(spec, found);
    strategy(&spec["strategy"], found);
    let number = |field: &str, default: i64| spec[field].as_i64().unwrap_or(default);
    for field in ["replicas", "minReadySeconds", "revisionHistoryLimit"] {
        if number(field, 0) < 0 {
            found.push(format!("spec.{field}: is {}; must not be negative", spec[field]));
        }
    }
    let (least, deadline) = (
        number("minReadySeconds", 0),
        number("progressDeadlineSeconds", 600),
    );
    if deadline <= least {
        found.push(format!(
            "spec.progressDeadlineSeconds: is {deadline}; must be greater than spec.minReadySeconds, which is {least}"
        ));
    }
}

fn selector(spec: &Value, found: &mut Vec<String>) {
    if !spec["selector"].is_object() {
        return;
    }
    let labels = spec["selector"]["matchLabels"].as_object();
    let Some(labels) = labels.filter(|labels| !labels.is_empty()) else {
        found.push(
            "spec.selector.matchLabels: is missing; the primary is told from the workload by a label that both the \
             selector and the pods have, such as app, name or app.kubernetes.io/name"
                .to_owned(),
        );
        return;
    };
    let pods = &spec["template"]["metadata"]["labels"];
    for (key, value) in labels
        .iter()
        .filter(|(key, value)| pods.get(*key) != Some(*value))
    {
        found.push(format!(
            "spec.template.metadata.labels: must have {key}: {value}, which spec.selector.matchLabels asks for"
        ));
    }
}

fn strategy(strategy: &Value, found: &mut Vec<String>) {
    let rolling = &strategy["rollingUpdate"];
    match strategy["type"].as_str() {
        Some("Recreate") if rolling.is_object() => found.push(
            "spec.strategy.rollingUpdate: may not be there when spec.strategy.type is Recreate".to_owned(),
        ),
        None | Some("RollingUpdate" | "Recreate") => {}
        Some(other) => found.push(format!(
            "spec.strategy.type: is {other:?}; must be RollingUpdate or Recreate"
        )),
    }
    let none = |field: &str| rolling[field] == 0 || rolling[field] == "0%";
    if none("maxSurge") && none("maxUnavailable") {
        found.push(
            "spec.strategy.rollingUpdate.maxUnavailable: may not be 0 when maxSurge is 0: no pod could be replaced"
                .to_owned(),
        );
    }
}

fn service(spec: &Value, found: &mut Vec<String>) {
    let ports = spec["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    if ports.is_empty() && spec["type"] != "ExternalName" && spec["clusterIP"] != "None" {
        found.push("spec.ports: is missing; a Service has at least one port".to_owned());
    }
    for (i, port) in ports.iter().enumerate() {
        if port["port"]
            .as_i64()
            .is_some_and(|port| !(1..=65535).contains(&port))
        {
            found.push(format!(
                "spec.ports[{i}].port: is {}; must lie in 1 to 65535",
                port["port"]
            ));
        }
        if ports.len() > 1 && port["name"].as_str().is_none_or(str::is_empty) {
            found.push(format!(
                "spec.ports[{i}].name: is missing; of several ports each has a name"
            ));
        }
    }
}

fn virtual_service(spec: &Value, found: &mut Vec<String>) {
    for protocol in ["http", "tcp", "tls"] {
        let routes = &spec[protocol];
        if !routes.is_null() && !routes.is_array() {
            found.push(format!("spec.{protocol}: is {routes}; must be a list"));
        }
        for (i, route) in routes.as_array().into_iter().flatten().enumerate() {
            for (j, destination) in route["route"].as_array().into_iter().flatten().enumerate() {
                let path = format!("spec.{protocol}[{i}].route[{j}]");
                if destination["destination"]["host"]
                    .as_str()
                    .is_none_or(str::is_empty)
                {
                    found.push(format!("{path}.destination.host: is missing"));
                }
                let weight = &destination["weight"];
                if !weight.is_null() && !weight.is_u64() {
                    found.push(format!("{path}.weight: is {weight}; must be a whole number"));
                }
            }
        }
    }
}
