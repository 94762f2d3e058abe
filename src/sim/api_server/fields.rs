//! Which manager set which field: what server-side apply goes by.
//!
//! A set is a tree of path elements (`name` of a field, `{"port":80}` of a list item by its keys); a leaf is a field that
//! is owned as a whole. Lists without keys are atomic.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::resources::Kind;

/// How the items of a list are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ListType {
    /// One value.
    Atomic,
    /// By these fields of the items.
    Keys(&'static [&'static str]),
    /// By the items themselves.
    Set,
}

/// The lists that are merged, by their path without list items.
fn list_type(kind: Kind, path: &str) -> ListType {
    match path {
        "metadata.finalizers" => return ListType::Set,
        "metadata.ownerReferences" => return ListType::Keys(&["uid"]),
        _ => {}
    }
    let pod = path
        .strip_prefix("spec.template.spec.")
        .filter(|_| matches!(kind, Kind::DEPLOYMENT | Kind::REPLICA_SET));
    match (kind, path, pod) {
        (Kind::SERVICE, "spec.ports", _) => ListType::Keys(&["port", "protocol"]),
        (
            _,
            _,
            Some("containers" | "initContainers" | "volumes" | "containers.env" | "initContainers.env"),
        ) => ListType::Keys(&["name"]),
        (_, _, Some("containers.ports")) => ListType::Keys(&["containerPort", "protocol"]),
        (_, _, Some("containers.volumeMounts")) => ListType::Keys(&["mountPath"]),
        _ => ListType::Atomic,
    }
}

/// A set of owned fields: whether this field is owned as a whole, and what is owned below it. An empty object is owned
/// as a whole, which is not the same as fields in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    whole: bool,
    below: BTreeMap<String, FieldSet>,
}

impl FieldSet {
    /// The fields of `object` that can be owned.
    #[must_use]
    pub fn of(kind: Kind, object: &Value) -> FieldSet {
        let mut set = FieldSet::default();
        for (field, value) in object.as_object().into_iter().flatten() {
            match field.as_str() {
                "apiVersion" | "kind" | "status" => {}
                "metadata" => {
                    let mut inner = FieldSet::default();
                    for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
                        if let Some(value) = value.get(field) {
                            let path = format!("metadata.{field}");
                            inner.below.insert(field.to_owned(), below(kind, &path, value));
                        }
                    }
                    if !inner.is_empty() {
                        set.below.insert(field.clone(), inner);
                    }
                }
                _ => {
                    set.below.insert(field.clone(), below(kind, field, value));
                }
            }
        }
        set
    }

    /// Adds the fields of `other`.
    pub fn add(&mut self, other: &FieldSet) {
        self.whole |= other.whole;
        for (element, below) in &other.below {
            self.below.entry(element.clone()).or_default().add(below);
        }
    }

    /// Takes the fields of `other` out.
    pub fn subtract(&mut self, other: &FieldSet) {
        self.whole &= !other.whole;
        for (element, taken) in &other.below {
            if let Some(below) = self.below.get_mut(element) {
                below.subtract(taken);
            }
        }
        self.below.retain(|_, below| !below.is_empty());
    }

    /// The fields that are in both.
    #[must_use]
    pub fn common(&self, other: &FieldSet) -> FieldSet {
        let mut common = FieldSet {
            whole: self.whole && other.whole,
            below: BTreeMap::new(),
        };
        for (element, below) in &self.below {
            if let Some(theirs) = other.below.get(element) {
                common.below.insert(element.clone(), below.common(theirs));
            }
        }
        common.below.retain(|_, below| !below.is_empty());
        common
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.whole && self.below.is_empty()
    }

    /// Every field as a path, for messages.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect(String::new(), &mut paths);
        paths
    }

    fn collect(&self, prefix: String, paths: &mut Vec<String>) {
        for (element, below) in &self.below {
            below.collect(format!("{prefix}.{element}"), paths);
        }
        if self.whole {
            paths.push(prefix);
        }
    }
}

fn below(kind: Kind, path: &str, value: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let inner = below(kind, &format!("{path}.{field}"), value);
                set.below.insert(field.clone(), inner);
            }
        }
        Value::Array(items) => {
            for item in items {
                if let Some(element) = item_key(list_type(kind, path), item) {
                    let mut inner = below(kind, path, item);
                    inner.whole = true;
                    set.below.insert(element, inner);
                }
            }
        }
        _ => {}
    }
    set.whole |= set.below.is_empty();
    set
}

/// The path element of a list item; `None` in atomic lists.
fn item_key(list: ListType, item: &Value) -> Option<String> {
    match list {
        ListType::Atomic => None,
        ListType::Set => Some(item.to_string()),
        ListType::Keys(keys) => {
            let mut named = Map::new();
            for key in keys {
                let value = item.get(*key).cloned();
                // The one key with a default.
                let value = value.or_else(|| (*key == "protocol").then(|| "TCP".into()));
                named.insert((*key).to_owned(), value?);
            }
            Some(Value::Object(named).to_string())
        }
    }
}

/// The fields in which `new` differs from `old`, as far as `new` has them.
#[must_use]
pub fn changed(kind: Kind, old: &Value, new: &Value) -> FieldSet {
    let mut set = FieldSet::of(kind, new);
    drop_equal(kind, "", &mut set, old, new);
    set
}

fn drop_equal(kind: Kind, path: &str, set: &mut FieldSet, old: &Value, new: &Value) {
    set.below.retain(|element, below| {
        let (before, after) = (step(kind, path, old, element), step(kind, path, new, element));
        if before == after {
            return false;
        }
        if let (Some(before), Some(after)) = (before, after)
            && !below.below.is_empty()
        {
            // That it is there is nothing new.
            below.whole = false;
            drop_equal(kind, &path_below(path, element), below, before, after);
        }
        true
    });
}

fn path_below(path: &str, element: &str) -> String {
    if element.starts_with('{') {
        path.to_owned()
    } else if path.is_empty() {
        element.to_owned()
    } else {
        format!("{path}.{element}")
    }
}

fn step<'a>(kind: Kind, path: &str, value: &'a Value, element: &str) -> Option<&'a Value> {
    match value {
        Value::Object(fields) => fields.get(element),
        Value::Array(items) => {
            let list = list_type(kind, path);
            items
                .iter()
                .find(|item| item_key(list, item).as_deref() == Some(element))
        }
        _ => None,
    }
}

/// Merges `config` into `live`: fields that it names, items of keyed lists by their keys.
pub fn merge(kind: Kind, live: &mut Value, config: &Value) {
    merge_below(kind, "", live, config);
}

fn merge_below(kind: Kind, path: &str, live: &mut Value, config: &Value) {
    match (live, config) {
        (Value::Object(live), Value::Object(config)) => {
            for (field, value) in config {
                let inner = path_below(path, field);
                match live.get_mut(field) {
                    Some(present) => merge_below(kind, &inner, present, value),
                    None => {
                        live.insert(field.clone(), value.clone());
                    }
                }
            }
        }
        (Value::Array(live), Value::Array(config)) if list_type(kind, path) != ListType::Atomic => {
            let list = list_type(kind, path);
            for item in config {
                let key = item_key(list, item);
                match live.iter_mut().find(|known| item_key(list, known) == key) {
                    Some(known) => merge_below(kind, path, known, item),
                    None => live.push(item.clone()),
                }
            }
        }
        (live, config) => *live = config.clone(),
    }
}

fn has_content(value: &Value) -> bool {
    value.as_object().is_some_and(|fields| !fields.is_empty())
}

/// Takes the fields of `set` out of `object`, and what is empty because of it.
pub fn remove(kind: Kind, object: &mut Value, set: &FieldSet) {
    remove_below(kind, "", object, set);
}

fn remove_below(kind: Kind, path: &str, value: &mut Value, set: &FieldSet) {
    match value {
        Value::Object(fields) => {
            for (element, below) in &set.below {
                if below.below.is_empty() {
                    // What others own in it stays.
                    if !fields.get(element).is_some_and(has_content) {
                        fields.remove(element);
                    }
                } else if let Some(inner) = fields.get_mut(element) {
                    remove_below(kind, &path_below(path, element), inner, below);
                    let empty = match &*inner {
                        Value::Object(map) => map.is_empty(),
                        Value::Array(items) => items.is_empty(),
                        _ => false,
                    };
                    if empty && path != "metadata" && !path.is_empty() {
                        fields.remove(element);
                    }
                }
            }
        }
        Value::Array(items) => {
            let list = list_type(kind, path);
            for (element, below) in &set.below {
                let at = items
                    .iter()
                    .position(|item| item_key(list, item).as_deref() == Some(element));
                let Some(at) = at else { continue };
                remove_below(kind, path, &mut items[at], below);
                // Without its keys it is no item any more.
                if below.below.is_empty() || item_key(list, &items[at]).as_deref() != Some(element) {
                    items.remove(at);
                }
            }
        }
        _ => {}
    }
}
