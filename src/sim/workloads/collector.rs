//! The garbage collector: what is owned goes with its owners.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::Value;

use crate::sim::api_server::{
    Key, Kind,
    write::{By, Deletion, FOREGROUND, ORPHAN, Writer},
};

/// An object with what the collector reads of it.
struct Item {
    key: Key,
    object: Arc<Value>,
    owners: Vec<Value>,
}

impl Item {
    fn uid(&self) -> &Value {
        &self.object["metadata"]["uid"]
    }

    fn goes(&self) -> bool {
        self.object["metadata"].get("deletionTimestamp").is_some()
    }

    fn held_by(&self, finalizer: &str) -> bool {
        let finalizers = self.object["metadata"]["finalizers"].as_array();
        self.goes() && finalizers.is_some_and(|all| all.iter().any(|known| known == finalizer))
    }
}

/// Does what is to be done now.
pub fn step(writer: &mut Writer, by: By<'_>) {
    let mut items = items_of(writer);
    if items.iter().any(|item| item.held_by(ORPHAN)) {
        for owner in items.iter().filter(|item| item.held_by(ORPHAN)) {
            for item in &items {
                disown(writer, by, item, |reference| reference["uid"] == *owner.uid());
            }
            let_go(writer, by, owner, ORPHAN);
        }
        items = items_of(writer);
    }
    for item in items.iter().filter(|item| !item.owners.is_empty()) {
        collect(writer, by, item);
    }
    for owner in items.iter().filter(|item| item.held_by(FOREGROUND)) {
        let blocks = |reference: &Value| {
            reference["uid"] == *owner.uid() && reference["blockOwnerDeletion"] == Value::Bool(true)
        };
        let blocked = items
            .iter()
            .any(|item| writer.store.get(&item.key).is_some() && item.owners.iter().any(blocks));
        if !blocked {
            let_go(writer, by, owner, FOREGROUND);
        }
    }
}

/// What has an owner, or is held by something.
fn items_of(writer: &Writer) -> Vec<Item> {
    let concerned = |object: &Value| {
        let metadata = &object["metadata"];
        metadata.get("ownerReferences").is_some() || metadata.get("finalizers").is_some()
    };
    writer
        .store
        .all()
        // Nothing owns an Event, and there are many.
        .filter(|(key, object)| key.kind != Kind::EVENT && concerned(object))
        .map(|(key, object)| Item {
            key: key.clone(),
            object: object.clone(),
            owners: object["metadata"]["ownerReferences"]
                .as_array()
                .cloned()
                .unwrap_or_default(),
        })
        .collect()
}

/// Deletes an object that nobody owns any more; one that has another owner left forgets those that are gone.
fn collect(writer: &mut Writer, by: By<'_>, item: &Item) {
    let (mut absent, mut waiting, mut solid) = (BTreeSet::new(), false, false);
    for reference in &item.owners {
        match owner(writer, &item.key.namespace, reference) {
            None => {
                absent.insert(reference["uid"].to_string());
            }
            Some(owner) if owner.held_by(FOREGROUND) => waiting = true,
            Some(_) => solid = true,
        }
    }
    if solid && !absent.is_empty() {
        disown(writer, by, item, |reference| {
            absent.contains(&reference["uid"].to_string())
        });
    } else if !solid && (waiting || !absent.is_empty()) && !item.goes() {
        // It may be gone already by another way.
        let _ = writer.delete(by, &item.key, &Deletion::default());
    }
}

fn owner(writer: &Writer, namespace: &str, reference: &Value) -> Option<Item> {
    let kind = Kind::named(reference["apiVersion"].as_str()?, reference["kind"].as_str()?)?;
    let key = Key::new(kind, namespace, reference["name"].as_str()?);
    let object = writer.store.get(&key)?.clone();
    (object["metadata"]["uid"] == reference["uid"]).then_some(Item {
        key,
        object,
        owners: Vec::new(),
    })
}

fn disown(writer: &mut Writer, by: By<'_>, item: &Item, gone: impl Fn(&Value) -> bool) {
    let left: Vec<Value> = item
        .owners
        .iter()
        .filter(|reference| !gone(reference))
        .cloned()
        .collect();
    if left.len() < item.owners.len() {
        change(writer, by, &item.key, "ownerReferences", left);
    }
}

fn let_go(writer: &mut Writer, by: By<'_>, item: &Item, finalizer: &str) {
    let finalizers = item.object["metadata"]["finalizers"].as_array();
    let left = finalizers
        .into_iter()
        .flatten()
        .filter(|known| *known != finalizer)
        .cloned();
    change(writer, by, &item.key, "finalizers", left.collect());
}

fn change(writer: &mut Writer, by: By<'_>, key: &Key, field: &str, left: Vec<Value>) {
    let Some(mut new) = writer.store.get(key).map(|object| Value::clone(object)) else {
        return;
    };
    new["metadata"][field] = left.into();
    let written = writer.replace(by, key, false, new);
    debug_assert!(written.is_ok(), "{:?}", written.err());
}
