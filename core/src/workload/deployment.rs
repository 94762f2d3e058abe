//! Deployments: the revision of a pod template, the view a decision needs, and the primary built from the target.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{
    marks::{Owner, REVISION_ANNOTATION},
    text,
};
use crate::rollout::Workload;

/// Prefixes of labels and annotations by which GitOps tools track what they applied; a copy must not carry them.
const TRACKING: [&str; 6] = [
    "argocd.argoproj.io/",
    "kustomize.toolkit.fluxcd.io/",
    "helm.toolkit.fluxcd.io/",
    "meta.helm.sh/",
    "kubectl.kubernetes.io/last-applied-configuration",
    "app.kubernetes.io/instance-tracking",
];

/// A Deployment that cannot have a primary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// None of the labels by which pods of target and primary could be told apart is in its selector.
    #[error(
        "Deployment {target}: spec.selector.matchLabels has none of the labels {labels} (flag --selector-labels)"
    )]
    NoSelectorLabel {
        /// The target.
        target: String,
        /// The labels that were looked for.
        labels: String,
    },
    /// The label's value would become too long.
    #[error(
        "Deployment {target}: label {label}={value} is too long; with -primary appended it may have 63 characters"
    )]
    LongLabel {
        /// The target.
        target: String,
        /// The label.
        label: String,
        /// Its value.
        value: String,
    },
}

/// The label by which pods of the target and of the primary are told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// Name of the label.
    pub label: String,
    /// Its value on the target's pods; `-primary` is appended on the primary's.
    pub value: String,
}

impl Selector {
    /// The label's value on the primary's pods.
    #[must_use]
    pub fn primary_value(&self) -> String {
        format!("{}-primary", self.value)
    }
}

/// The first of `candidates` in the target's selector.
///
/// # Errors
/// If there is none, or if its value would become too long.
pub fn selector(target: &Value, candidates: &[String]) -> Result<Selector, Unfit> {
    let name = text(target, "/metadata/name");
    let labels = target
        .pointer("/spec/selector/matchLabels")
        .and_then(Value::as_object);
    let found = candidates.iter().find_map(|label| {
        let value = labels?.get(label)?.as_str()?;
        Some(Selector {
            label: label.clone(),
            value: value.to_owned(),
        })
    });
    let selector = found.ok_or_else(|| Unfit::NoSelectorLabel {
        target: name.to_owned(),
        labels: candidates.join(", "),
    })?;
    if selector.primary_value().len() > 63 {
        let Selector { label, value } = selector;
        return Err(Unfit::LongLabel {
            target: name.to_owned(),
            label,
            value,
        });
    }
    Ok(selector)
}

/// The revision of a pod template: SHA-256 of its canonical JSON as the server returned it, in hex.
#[must_use]
pub fn revision(template: &Value) -> String {
    let mut text = String::new();
    canonical(template, &mut text);
    Sha256::digest(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// JSON with sorted keys and no spaces, whatever the map type of the JSON library keeps.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<_> = map.keys().collect();
            keys.sort();
            out.push('{');
            for key in keys {
                out.push_str(&Value::String(key.clone()).to_string());
                out.push(':');
                canonical(&map[key], out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                canonical(item, out);
                out.push(',');
            }
            out.push(']');
        }
        _ => out.push_str(&value.to_string()),
    }
}

/// What a decision needs of the target. `endpoints` are the ready endpoints of its Service.
#[must_use]
pub fn view_target(deployment: &Value, endpoints: i32) -> Workload {
    let digest = revision(deployment.pointer("/spec/template").unwrap_or(&Value::Null));
    view(deployment, digest, endpoints)
}

/// What a decision needs of the primary. `endpoints` are the ready endpoints of its Service.
#[must_use]
pub fn view_primary(deployment: &Value, endpoints: i32) -> Workload {
    let annotations = deployment.pointer("/spec/template/metadata/annotations");
    let given = annotations
        .and_then(|a| a.get(REVISION_ANNOTATION))
        .and_then(Value::as_str);
    view(deployment, given.unwrap_or_default().to_owned(), endpoints)
}

fn view(deployment: &Value, revision: String, endpoints: i32) -> Workload {
    let number = |pointer: &str| deployment.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let count = |pointer: &str| i32::try_from(number(pointer)).unwrap_or(i32::MAX);
    let annotations = deployment.pointer("/metadata/annotations");
    let counted = annotations
        .and_then(|a| a.get("deployment.kubernetes.io/revision"))
        .and_then(Value::as_str);
    let uid = text(deployment, "/metadata/uid");
    let image = deployment.pointer("/spec/template/spec/containers/0/image");
    let desired = deployment
        .pointer("/spec/replicas")
        .map_or(1, |_| count("/spec/replicas"));
    Workload {
        revision,
        image: image.and_then(Value::as_str).map(str::to_owned),
        mark: counted.map(|number| format!("{uid}/{number}")),
        up_to_date: number("/status/observedGeneration") >= number("/metadata/generation"),
        paused: deployment.pointer("/spec/paused") == Some(&Value::Bool(true)),
        floor: floor(deployment, desired),
        desired,
        total: count("/status/replicas"),
        updated: count("/status/updatedReplicas"),
        available: count("/status/availableReplicas"),
        endpoints,
    }
}

/// How many of `desired` pods the strategy keeps while it exchanges them, as the Deployment controller resolves it:
/// `maxSurge` is rounded up, `maxUnavailable` down, and if both come to nothing one pod may be unavailable.
fn floor(deployment: &Value, desired: i32) -> i32 {
    if text(deployment, "/spec/strategy/type") == "Recreate" {
        return 0;
    }
    let part = |field: &str, up: bool| {
        let value = deployment.pointer(&format!("/spec/strategy/rollingUpdate/{field}"));
        let percent = value.and_then(Value::as_str).unwrap_or("25%");
        let percent = percent.trim_end_matches('%').parse::<i64>().unwrap_or(25);
        let resolved = (i64::from(desired) * percent + if up { 99 } else { 0 }) / 100;
        value.and_then(Value::as_i64).unwrap_or(resolved)
    };
    let (surge, unavailable) = (part("maxSurge", true), part("maxUnavailable", false));
    let unavailable = if surge == 0 {
        unavailable.max(1)
    } else {
        unavailable
    };
    desired - i32::try_from(unavailable).unwrap_or(i32::MAX).min(desired)
}

/// The primary Deployment: the target's strategy and pod template with the selector label's value changed wherever
/// it is used to find pods of the same workload.
#[must_use]
pub fn build_primary(target: &Value, name: &str, selector: &Selector, owner: &Owner, replicas: i32) -> Value {
    let digest = revision(target.pointer("/spec/template").unwrap_or(&Value::Null));
    let template = primary_template(target, selector, &digest);
    let mut spec = Map::new();
    for field in [
        "minReadySeconds",
        "progressDeadlineSeconds",
        "revisionHistoryLimit",
        "strategy",
    ] {
        if let Some(value) = target.pointer(&format!("/spec/{field}")) {
            spec.insert(field.to_owned(), value.clone());
        }
    }
    spec.insert("replicas".to_owned(), json!(replicas));
    spec.insert("selector".to_owned(), primary_selector(target, selector));
    spec.insert("template".to_owned(), template);
    let mut labels = untracked(target.pointer("/metadata/labels"));
    if labels.contains_key(&selector.label) {
        labels.insert(selector.label.clone(), json!(selector.primary_value()));
    }
    labels.extend(owner.labels());
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": text(target, "/metadata/namespace"),
            "labels": labels,
            "annotations": owner.annotations(),
        },
        "spec": spec,
    })
}

/// `live`, the primary, with the pod template of one of its ReplicaSets. Everything else as it was built before.
#[must_use]
pub fn build_restored(live: &Value, replica_set: &Value) -> Value {
    let mut template = replica_set
        .pointer("/spec/template")
        .cloned()
        .unwrap_or(Value::Null);
    if let Some(labels) = template
        .pointer_mut("/metadata/labels")
        .and_then(Value::as_object_mut)
    {
        labels.remove("pod-template-hash");
    }
    let mut spec = Map::new();
    for field in [
        "minReadySeconds",
        "progressDeadlineSeconds",
        "revisionHistoryLimit",
        "strategy",
        "replicas",
        "selector",
    ] {
        if let Some(value) = live.pointer(&format!("/spec/{field}")) {
            spec.insert(field.to_owned(), value.clone());
        }
    }
    spec.insert("template".to_owned(), template);
    let metadata = live.get("metadata").cloned().unwrap_or_default();
    let keep = |field: &str| metadata.get(field).cloned().unwrap_or_else(|| json!({}));
    let mut annotations = keep("annotations");
    if let Some(map) = annotations.as_object_mut() {
        // The Deployment controller's own notes are not ours to apply.
        map.retain(|key, _| key.starts_with("bellwether.dev/"));
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": text(live, "/metadata/name"),
            "namespace": text(live, "/metadata/namespace"),
            "labels": keep("labels"),
            "annotations": annotations,
        },
        "spec": spec,
    })
}

fn primary_selector(target: &Value, selector: &Selector) -> Value {
    let mut wanted = target
        .pointer("/spec/selector")
        .cloned()
        .unwrap_or_else(|| json!({}));
    if let Some(labels) = wanted.get_mut("matchLabels").and_then(Value::as_object_mut) {
        labels.insert(selector.label.clone(), json!(selector.primary_value()));
    }
    if let Some(expressions) = wanted.get_mut("matchExpressions").and_then(Value::as_array_mut) {
        expressions.retain(|e| text(e, "/key") != selector.label);
    }
    wanted
}

fn primary_template(target: &Value, selector: &Selector, digest: &str) -> Value {
    let mut template = target
        .pointer("/spec/template")
        .cloned()
        .unwrap_or_else(|| json!({}));
    let metadata = template.get("metadata").cloned().unwrap_or_default();
    let mut labels = untracked(metadata.get("labels"));
    labels.insert(selector.label.clone(), json!(selector.primary_value()));
    let mut annotations = untracked(metadata.get("annotations"));
    annotations.insert(REVISION_ANNOTATION.to_owned(), json!(digest));
    template["metadata"]["labels"] = Value::Object(labels);
    template["metadata"]["annotations"] = Value::Object(annotations);
    for part in ["/spec/affinity", "/spec/topologySpreadConstraints"] {
        if let Some(part) = template.pointer_mut(part) {
            retarget(part, selector);
        }
    }
    template
}

/// Changes label selectors that mean the workload's own pods.
fn retarget(value: &mut Value, selector: &Selector) {
    match value {
        Value::Object(map) => {
            if let Some(labels) = map.get_mut("matchLabels").and_then(Value::as_object_mut)
                && labels.get(&selector.label).and_then(Value::as_str) == Some(&selector.value)
            {
                labels.insert(selector.label.clone(), json!(selector.primary_value()));
            }
            if map.get("key").and_then(Value::as_str) == Some(&selector.label)
                && let Some(values) = map.get_mut("values").and_then(Value::as_array_mut)
            {
                for value in values.iter_mut().filter(|v| v.as_str() == Some(&selector.value)) {
                    *value = json!(selector.primary_value());
                }
            }
            map.values_mut().for_each(|inner| retarget(inner, selector));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| retarget(item, selector)),
        _ => {}
    }
}

fn untracked(map: Option<&Value>) -> Map<String, Value> {
    let mut map = map.and_then(Value::as_object).cloned().unwrap_or_default();
    map.retain(|key, _| !TRACKING.iter().any(|prefix| key.starts_with(prefix)));
    map
}
