//! The label that tells pods of target and primary apart, and pod templates that select by it.

use crate::pointer::At;
use serde_json::{Value, json};

use super::text;

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
    let labels = target.at("/spec/selector/matchLabels").and_then(Value::as_object);
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

/// The label by which the pods of `primary` are told from those of a target that does not exist now: the first of `candidates` with a
/// value as a primary has it.
#[must_use]
pub fn of_primary(primary: &Value, candidates: &[String]) -> Option<Selector> {
    let labels = primary.at("/spec/selector/matchLabels")?.as_object()?;
    candidates.iter().find_map(|label| {
        let value = labels.get(label)?.as_str()?.strip_suffix("-primary")?;
        Some(Selector {
            label: label.clone(),
            value: value.to_owned(),
        })
    })
}

/// What `primary`, which was built from it, tells of a target that does not exist now: the labels of its pods, and their ports.
#[must_use]
pub fn outline(primary: &Value, selector: &Selector) -> Value {
    let mut labels = primary
        .at("/spec/selector/matchLabels")
        .cloned()
        .unwrap_or_else(|| json!({}));
    labels[&selector.label] = json!(selector.value);
    let template = primary.at("/spec/template").unwrap_or(&Value::Null);
    json!({"spec": {
        "selector": {"matchLabels": labels},
        "template": original_template(template, selector),
    }})
}

/// The target's template that the primary's `template` was built from, but for marks of tools.
#[must_use]
pub(super) fn original_template(template: &Value, selector: &Selector) -> Value {
    let mut template = template.clone();
    let built = selector.primary_value();
    if let Some(labels) = template
        .pointer_mut("/metadata/labels")
        .and_then(Value::as_object_mut)
    {
        labels.remove("pod-template-hash");
        if labels.get(&selector.label).and_then(Value::as_str) == Some(&built) {
            labels.insert(selector.label.clone(), json!(selector.value));
        }
    }
    for part in RETARGETED {
        if let Some(part) = template.pointer_mut(part) {
            retarget(part, &selector.label, (&built, &selector.value));
        }
    }
    template
}

/// Where a pod template selects pods. `nodeAffinity` selects nodes, which may have a label of the same name.
pub(super) const RETARGETED: [&str; 3] = [
    "/spec/affinity/podAffinity",
    "/spec/affinity/podAntiAffinity",
    "/spec/topologySpreadConstraints",
];

/// Changes label selectors that mean the workload's own pods: those that ask for the first value of `label`.
pub(super) fn retarget(value: &mut Value, label: &str, (from, to): (&str, &str)) {
    match value {
        Value::Object(map) => {
            if let Some(labels) = map.get_mut("matchLabels").and_then(Value::as_object_mut)
                && labels.get(label).and_then(Value::as_str) == Some(from)
            {
                labels.insert(label.to_owned(), json!(to));
            }
            if map.get("key").and_then(Value::as_str) == Some(label)
                && let Some(values) = map.get_mut("values").and_then(Value::as_array_mut)
            {
                for value in values.iter_mut().filter(|v| v.as_str() == Some(from)) {
                    *value = json!(to);
                }
            }
            // Labels of namespaces are others than those of pods.
            map.iter_mut()
                .filter(|(key, _)| *key != "namespaceSelector")
                .for_each(|(_, inner)| retarget(inner, label, (from, to)));
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| retarget(item, label, (from, to))),
        _ => {}
    }
}
