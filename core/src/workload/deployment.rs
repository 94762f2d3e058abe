//! Deployments: the primary built from the target, and what the target gets back from it.

use std::cmp::Reverse;

use crate::pointer::At;
use serde_json::{Map, Value, json};

use super::{
    marks::{MANAGED_BY_LABEL, Owner, REVISION_ANNOTATION},
    selector::{RETARGETED, original_template, retarget},
    text, tracking,
};

pub use super::{
    revision::{raw_revision, revision},
    selector::{Selector, Unfit, of_primary, outline, selector},
    view::{view_primary, view_target},
};

/// How a primary is built.
#[derive(Clone, Copy, Debug)]
pub struct Primary<'a> {
    /// Its name.
    pub name: &'a str,
    /// The label by which its pods are told from the target's.
    pub selector: &'a Selector,
    /// Whose it is.
    pub owner: &'a Owner,
    /// The revision of the target's template, as it is recorded.
    pub revision: &'a str,
    /// Its `spec.replicas`.
    pub replicas: i32,
    /// Prefixes of the target's own labels and annotations that the primary gets as well; `*` stands for all that are no
    /// marks of a tool.
    pub include: &'a [String],
}

/// The primary Deployment: the target's strategy and pod template with the selector label's value changed wherever
/// it is used to find pods of the same workload.
#[must_use]
pub fn build_primary(target: &Value, primary: &Primary<'_>) -> Value {
    let Primary { selector, owner, .. } = *primary;
    let mut spec = Map::new();
    for field in ["minReadySeconds", "progressDeadlineSeconds", "strategy"] {
        if let Some(value) = target.at(&format!("/spec/{field}")) {
            spec.insert(field.to_owned(), value.clone());
        }
    }
    spec.insert("revisionHistoryLimit".to_owned(), json!(history_limit(target)));
    spec.insert("replicas".to_owned(), json!(primary.replicas));
    spec.insert("selector".to_owned(), primary_selector(target, selector));
    spec.insert(
        "template".to_owned(),
        primary_template(target, selector, primary.revision),
    );
    let mut labels = included(target, "labels", primary.include);
    for (key, value) in selector_labels(target) {
        labels.insert(key.clone(), value.clone());
    }
    labels.insert(selector.label.clone(), json!(selector.primary_value()));
    labels.extend(owner.labels());
    let mut annotations = included(target, "annotations", primary.include);
    annotations.extend(owner.annotations());
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": primary.name,
            "namespace": text(target, "/metadata/namespace"),
            "labels": labels,
            "annotations": annotations,
        },
        "spec": spec,
    })
}

/// Old ReplicaSets that the primary keeps: what a failed promotion returns to must be among them.
fn history_limit(target: &Value) -> i64 {
    let asked = target.at("/spec/revisionHistoryLimit").and_then(Value::as_i64);
    asked.unwrap_or(10).max(2)
}

/// Labels or annotations of the target that its primary gets as well: an allow-list, because no list knows the marks of
/// every tool.
fn included(target: &Value, marks: &str, include: &[String]) -> Map<String, Value> {
    let map = target
        .at(&format!("/metadata/{marks}"))
        .and_then(Value::as_object);
    let mut map = map.cloned().unwrap_or_default();
    map.retain(|key, _| {
        let meant = include
            .iter()
            .any(|prefix| prefix == "*" || key.starts_with(prefix));
        meant && !tracking::of_objects(key) && !key.starts_with("bellwether.dev/")
    });
    map
}

fn selector_labels(target: &Value) -> impl Iterator<Item = (&String, &Value)> {
    target
        .at("/spec/selector/matchLabels")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
}

/// The ReplicaSet of the primary that holds `revision` as it was promoted. An edit of the primary leaves another one that
/// bears the same revision: the one whose template is that revision is taken, else the oldest.
#[must_use]
pub fn restorable(sets: Vec<Value>, revision_wanted: &str, selector: Option<&Selector>) -> Option<Value> {
    let template = |set: &Value| set.at("/spec/template").cloned().unwrap_or(Value::Null);
    let bears = |set: &Value| {
        let annotations = set.at("/spec/template/metadata/annotations");
        let given = annotations
            .and_then(|a| a.get(REVISION_ANNOTATION))
            .and_then(Value::as_str);
        given == Some(revision_wanted)
    };
    let is_it = |set: &Value| {
        selector.is_some_and(|s| revision(&original_template(&template(set), s)) == revision_wanted)
    };
    sets.into_iter()
        .filter(bears)
        .map(|set| (is_it(&set), Reverse(created(&set)), set))
        .max_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)))
        .map(|(_, _, set)| set)
}

fn created(object: &Value) -> String {
    text(object, "/metadata/creationTimestamp").to_owned()
}

/// `live`, the primary, with the pod template of one of its ReplicaSets. Everything else as it was built before, with the
/// annotations that `include` asks for.
#[must_use]
pub fn build_restored(live: &Value, replica_set: &Value, include: &[String]) -> Value {
    let mut template = replica_set.at("/spec/template").cloned().unwrap_or(Value::Null);
    if let Some(labels) = template
        .pointer_mut("/metadata/labels")
        .and_then(Value::as_object_mut)
    {
        labels.remove("pod-template-hash");
    }
    let mut spec = Map::new();
    spec.insert("revisionHistoryLimit".to_owned(), json!(history_limit(live)));
    for field in [
        "minReadySeconds",
        "progressDeadlineSeconds",
        "strategy",
        "replicas",
        "selector",
    ] {
        if let Some(value) = live.at(&format!("/spec/{field}")) {
            spec.insert(field.to_owned(), value.clone());
        }
    }
    spec.insert("template".to_owned(), template);
    let metadata = live.get("metadata").cloned().unwrap_or_default();
    let keep = |field: &str| metadata.get(field).cloned().unwrap_or_else(|| json!({}));
    let mut labels = keep("labels");
    if let Some(map) = labels.as_object_mut() {
        // Marks of tools may have been copied by an earlier version.
        let needed: Vec<&String> = selector_labels(live).map(|(key, _)| key).collect();
        map.retain(|key, _| key == MANAGED_BY_LABEL || needed.contains(&key) || !tracking::of_objects(key));
    }
    let included = included(live, "annotations", include);
    let mut annotations = keep("annotations");
    if let Some(map) = annotations.as_object_mut() {
        // The Deployment controller's own notes are not ours to apply, nor are anybody else's.
        map.retain(|key, _| key.starts_with("bellwether.dev/") || included.contains_key(key));
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": text(live, "/metadata/name"),
            "namespace": text(live, "/metadata/namespace"),
            "labels": labels,
            "annotations": annotations,
        },
        "spec": spec,
    })
}

fn primary_selector(target: &Value, selector: &Selector) -> Value {
    let mut wanted = target.at("/spec/selector").cloned().unwrap_or_else(|| json!({}));
    if let Some(labels) = wanted.get_mut("matchLabels").and_then(Value::as_object_mut) {
        labels.insert(selector.label.clone(), json!(selector.primary_value()));
    }
    if let Some(expressions) = wanted.get_mut("matchExpressions").and_then(Value::as_array_mut) {
        expressions.retain(|e| text(e, "/key") != selector.label);
    }
    wanted
}

fn primary_template(target: &Value, selector: &Selector, digest: &str) -> Value {
    let mut template = target.at("/spec/template").cloned().unwrap_or_else(|| json!({}));
    let metadata = template.get("metadata").cloned().unwrap_or_default();
    let mut labels = untracked(metadata.get("labels"));
    // Whatever its selector asks for must stand on its pods.
    for (key, value) in selector_labels(target) {
        labels.insert(key.clone(), value.clone());
    }
    labels.insert(selector.label.clone(), json!(selector.primary_value()));
    let mut annotations = untracked(metadata.get("annotations"));
    annotations.insert(REVISION_ANNOTATION.to_owned(), json!(digest));
    template["metadata"]["labels"] = Value::Object(labels);
    template["metadata"]["annotations"] = Value::Object(annotations);
    for part in RETARGETED {
        if let Some(part) = template.pointer_mut(part) {
            retarget(
                part,
                &selector.label,
                (&selector.value, &selector.primary_value()),
            );
        }
    }
    template
}

/// The pod template that a target gets back from its `primary`: the one that the primary was built from, without our mark.
#[must_use]
pub fn handed_back(primary: &Value, selector: &Selector) -> Value {
    let template = primary.at("/spec/template").cloned().unwrap_or(Value::Null);
    let mut template = original_template(&template, selector);
    if let Some(annotations) = template
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.remove(REVISION_ANNOTATION);
    }
    template
}

fn untracked(map: Option<&Value>) -> Map<String, Value> {
    let mut map = map.and_then(Value::as_object).cloned().unwrap_or_default();
    map.retain(|key, _| !tracking::of_templates(key));
    map
}

#[cfg(test)]
mod tests; // the primary that is built, and what is read back from it
