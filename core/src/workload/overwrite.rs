//! How a Deployment of ours that is there becomes what it should be: as operations of a JSON Patch.
//!
//! No server-side apply: one of a pod template that names a variable or a port twice is refused, though a creation and an update
//! of it are not (kubernetes#121575). Each field that we write is replaced as a whole; what we do not write stays, and so do
//! others' labels and annotations.

use std::collections::BTreeSet;

use crate::pointer::At;
use serde_json::{Value, json};

use super::{marks::MANAGER, text};

/// The fields of `spec` that we write.
const FIELDS: [&str; 7] = [
    "minReadySeconds",
    "progressDeadlineSeconds",
    "replicas",
    "revisionHistoryLimit",
    "selector",
    "strategy",
    "template",
];
/// The maps of the metadata that we write in.
const MAPS: [&str; 2] = ["labels", "annotations"];
/// Field of a cached Deployment's metadata: the labels and annotations that we wrote, see [`note_own_marks`].
const OWN_MARKS: &str = "ownMarks";

/// The operations that make `live`, as it is cached, what is `wanted`.
#[must_use]
pub fn overwrite(live: &Value, wanted: &Value) -> Vec<Value> {
    let mut ops = Vec::new();
    for map in MAPS {
        let path = format!("/metadata/{map}");
        if live.at(&path).is_none() {
            ops.push(json!({"op": "add", "path": path, "value": {}}));
        }
        let entry = |object: &Value, key: &str| object.at(&path)?.get(key).cloned();
        for (key, value) in wanted.at(&path).and_then(Value::as_object).into_iter().flatten() {
            if entry(live, key).as_ref() != Some(value) {
                ops.push(json!({"op": "add", "path": below(&path, key), "value": value}));
            }
        }
        let own = live.at(&format!("/metadata/{OWN_MARKS}/{map}"));
        let own = own.and_then(Value::as_array).into_iter().flatten();
        for key in own.filter_map(Value::as_str) {
            if entry(wanted, key).is_none() && entry(live, key).is_some() {
                ops.push(json!({"op": "remove", "path": below(&path, key)}));
            }
        }
    }
    for field in FIELDS {
        let path = format!("/spec/{field}");
        match (live.at(&path), wanted.at(&path)) {
            (live, Some(value)) if live != Some(value) => {
                ops.push(json!({"op": "add", "path": path, "value": value}));
            }
            (Some(_), None) => ops.push(json!({"op": "remove", "path": path})),
            _ => {}
        }
    }
    ops
}

/// The JSON pointer to `key` in the map at `path`.
fn below(path: &str, key: &str) -> String {
    format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Notes in the metadata of a Deployment which labels and annotations we wrote, before the managed fields are dropped: of all that
/// are there, these go when they are wanted no longer, unless somebody else wrote them as well. Those of our own name are left out,
/// for who takes them off knows them.
pub fn note_own_marks(deployment: &mut Value) {
    let entries = deployment.at("/metadata/managedFields").and_then(Value::as_array);
    let is_ours =
        |entry: &&Value| text(entry, "/manager") == MANAGER && text(entry, "/subresource").is_empty();
    let (ours, others): (Vec<&Value>, Vec<&Value>) = entries.into_iter().flatten().partition(is_ours);
    let written = MAPS.map(|map| {
        let path = format!("/fieldsV1/f:metadata/f:{map}");
        let fields = |entries: &[&Value]| -> BTreeSet<String> {
            let maps = entries.iter().filter_map(|entry| entry.at(&path)?.as_object());
            maps.flat_map(|fields| fields.keys().cloned()).collect()
        };
        // What somebody else wrote as well stays theirs.
        let own = fields(&ours)
            .difference(&fields(&others))
            .cloned()
            .collect::<Vec<_>>();
        let keys = own.iter().filter_map(|field| field.strip_prefix("f:"));
        let keys: Vec<&str> = keys.filter(|key| !key.starts_with("bellwether.dev/")).collect();
        (map, json!(keys))
    });
    let written: Value = written.into_iter().collect();
    if let Some(metadata) = deployment.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert(OWN_MARKS.to_owned(), written);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A primary as the API server has it: labels and annotations of ours, of an earlier version of its target, and of others.
    fn live() -> Value {
        json!({
            "metadata": {
                "name": "shop-primary", "resourceVersion": "7",
                "labels": {"app": "shop-primary", "team/old": "a", "team/shared": "b", "theirs": "x"},
                "annotations": {"bellwether.dev/epoch": "p-1", "deployment.kubernetes.io/revision": "3"},
                "managedFields": [
                    {"manager": "bellwether", "operation": "Apply", "fieldsV1": {"f:metadata": {
                        "f:labels": {".": {}, "f:app": {}, "f:team/old": {}, "f:team/shared": {}},
                    }}},
                    {"manager": "bellwether", "operation": "Update", "fieldsV1": {"f:metadata": {
                        "f:annotations": {"f:bellwether.dev/epoch": {}},
                    }}},
                    {"manager": "someone", "operation": "Update", "fieldsV1": {"f:metadata": {
                        "f:labels": {"f:theirs": {}, "f:team/shared": {}},
                    }}},
                ],
            },
            "spec": {
                "paused": true, "minReadySeconds": 5, "replicas": 2, "selector": {"matchLabels": {"app": "shop-primary"}},
                "template": {"spec": {"containers": [{"name": "app", "image": "shop:1"}]}},
            },
        })
    }

    fn wanted() -> Value {
        json!({
            "metadata": {
                "name": "shop-primary",
                "labels": {"app": "shop-primary", "team/new": "b"},
                "annotations": {"bellwether.dev/owner-uid": "u"},
            },
            "spec": {
                "replicas": 3, "selector": {"matchLabels": {"app": "shop-primary"}},
                "template": {"spec": {"containers": [{"name": "app", "image": "shop:2", "env": [
                    {"name": "LEVEL", "value": "info"}, {"name": "LEVEL", "value": "debug"},
                ]}]}},
            },
        })
    }

    fn overwritten(live: &Value, wanted: &Value) -> Value {
        let ops: json_patch::Patch = serde_json::from_value(json!(overwrite(live, wanted))).unwrap();
        let mut new = live.clone();
        json_patch::patch(&mut new, &ops).unwrap();
        new
    }

    #[test]
    fn what_is_ours_is_replaced_and_what_is_others_stays() {
        let mut live = live();
        note_own_marks(&mut live);
        let new = overwritten(&live, &wanted());
        assert_eq!(
            new["metadata"]["labels"],
            json!({"app": "shop-primary", "team/new": "b", "team/shared": "b", "theirs": "x"})
        );
        assert_eq!(
            new["metadata"]["annotations"],
            json!({
                "bellwether.dev/epoch": "p-1", "bellwether.dev/owner-uid": "u", "deployment.kubernetes.io/revision": "3",
            })
        );
        let mut spec = wanted()["spec"].clone();
        spec["paused"] = json!(true);
        assert_eq!(new["spec"], spec);
        assert_eq!(
            overwrite(&new, &wanted()),
            Vec::<Value>::new(),
            "it costs nothing twice"
        );
    }

    #[test]
    fn object_without_labels_and_annotations_gets_them() {
        let bare = json!({"metadata": {"name": "shop-primary"}, "spec": {}});
        let new = overwritten(&bare, &wanted());
        assert_eq!(new["metadata"], wanted()["metadata"]);
        assert_eq!(new["spec"], wanted()["spec"]);
    }
}
