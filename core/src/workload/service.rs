//! The three Services: `<name>` for callers, `<name>-primary` and `<name>-canary` for the routes.

use crate::pointer::At;
use serde_json::{Map, Value, json};

use super::{
    contains,
    deployment::Selector,
    marks::{Owner, SELECTOR_ANNOTATION},
    text,
};
use crate::api::Metadata;

mod offer;

pub use offer::{carried, export_alike, has_port, of_canary, several_ports, uncarried};

/// Which pods a Service selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Serves {
    /// The user's workload.
    Target,
    /// The primary.
    Primary,
}

/// The pod labels that `serves` has: all of the target's selector, with the telling label's value as `serves` has it.
#[must_use]
pub fn pod_labels(target: &Value, selector: &Selector, serves: Serves) -> Value {
    let mut labels = target
        .at("/spec/selector/matchLabels")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    let value = match serves {
        Serves::Target => selector.value.clone(),
        Serves::Primary => selector.primary_value(),
    };
    labels.insert(selector.label.clone(), json!(value));
    Value::Object(labels)
}

/// A Service of a Canary, selecting the pods with `labels`. `offer` is what callers find at it.
#[must_use]
pub fn build(
    (name, namespace): (&str, &str),
    offer: &Map<String, Value>,
    metadata: Option<&Metadata>,
    (labels, owner): (&Value, &Owner),
) -> Value {
    let own = |map: Option<&std::collections::BTreeMap<String, String>>, ours: Map<String, Value>| {
        let mut all: Map<String, Value> = map
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.clone(), json!(value)))
            .collect();
        all.extend(ours);
        all
    };
    let mut spec = offer.clone();
    spec.insert("type".to_owned(), json!("ClusterIP"));
    spec.insert("selector".to_owned(), labels.clone());
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": own(metadata.and_then(|m| m.labels.as_ref()), owner.labels()),
            "annotations": own(metadata.and_then(|m| m.annotations.as_ref()), owner.annotations()),
        },
        "spec": spec,
    })
}

/// Whether `live` lacks anything that `desired` has, or selects by more labels.
#[must_use]
pub fn drifted(live: &Value, desired: &Value) -> bool {
    !contains(live, desired) || live.at("/spec/selector") != desired.at("/spec/selector")
}

/// Which pods `service` selects, if either.
#[must_use]
pub fn serves(service: &Value, target: &Value, selector: &Selector) -> Option<Serves> {
    let selects = service.at("/spec/selector")?.as_object()?;
    if selects.is_empty() {
        return None;
    }
    let template = target.at("/spec/template/metadata/labels")?.as_object()?;
    let matches = |serves: Serves| {
        selects.iter().all(|(label, value)| {
            if *label != selector.label {
                return template.get(label) == Some(value);
            }
            match serves {
                Serves::Target => value.as_str() == Some(&selector.value),
                Serves::Primary => value.as_str() == Some(&selector.primary_value()),
            }
        })
    };
    // A selector without the telling label selects both; it counts as the target's until it is pointed.
    [Serves::Target, Serves::Primary]
        .into_iter()
        .find(|s| matches(*s))
}

/// JSON Patch operations that point an adopted Service at the pods of `target` that `wanted` means, remembering the selector
/// that its owner wrote last.
#[must_use]
pub fn point_adopted(live: &Value, target: &Value, selector: &Selector, wanted: Serves) -> Value {
    let own = own_selector(live, selector);
    let labels = match wanted {
        Serves::Primary => pod_labels(target, selector, wanted),
        // Its owner may have changed it with the labels of pods that are not there yet, or not any more.
        Serves::Target => Some(&own)
            .filter(|own| serves(&json!({"spec": {"selector": own}}), target, selector) == Some(wanted))
            .cloned()
            .unwrap_or_else(|| pod_labels(target, selector, wanted)),
    };
    let mut ops = vec![
        json!({"op": "test", "path": "/metadata/resourceVersion", "value": text(live, "/metadata/resourceVersion")}),
    ];
    let annotations = live.at("/metadata/annotations");
    if annotations.is_none() {
        ops.push(json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
    }
    if noted(live).as_ref() != Some(&own) {
        let path = format!("/metadata/annotations/{}", SELECTOR_ANNOTATION.replace('/', "~1"));
        ops.push(json!({"op": "add", "path": path, "value": own.to_string()}));
    }
    ops.push(json!({"op": "add", "path": "/spec/selector", "value": labels}));
    Value::Array(ops)
}

/// The selector that the owner of an adopted Service wrote last: the present one, unless we wrote it; then the one noted.
fn own_selector(live: &Value, selector: &Selector) -> Value {
    let present = live.at("/spec/selector").filter(|present| present.is_object());
    let ours =
        present.is_some_and(|present| text(present, &label_path(selector)) == selector.primary_value());
    let noted = noted(live);
    match (present, noted) {
        (Some(present), None) => present.clone(),
        (Some(present), Some(_)) if !ours => present.clone(),
        (_, noted) => noted.unwrap_or_else(|| json!({})),
    }
}

fn label_path(selector: &Selector) -> String {
    format!("/{}", selector.label.replace('~', "~0").replace('/', "~1"))
}

/// The selector that is noted on an adopted Service.
fn noted(live: &Value) -> Option<Value> {
    let kept = live
        .at("/metadata/annotations")?
        .get(SELECTOR_ANNOTATION)?
        .as_str()?;
    serde_json::from_str(kept).ok()
}

#[cfg(test)]
mod tests; // which pods an adopted Service selects
