//! What an object is whatever is written to it: its name, its UID, its way out.

use serde_json::{Value, json};

use super::{refusal::Refusal, store::Key, write::text};

/// Refuses a write that means another object.
pub(super) fn check(key: &Key, live: &Value, new: &Value) -> Result<(), Refusal> {
    let name = text(new, "/metadata/name");
    if !name.is_empty() && name != key.name {
        return Err(Refusal::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            key.name
        )));
    }
    let uid = text(new, "/metadata/uid");
    if !uid.is_empty() && uid != text(live, "/metadata/uid") {
        let problem = format!("metadata.uid: Invalid value: \"{uid}\": field is immutable");
        return Err(Refusal::invalid(key.kind, &key.name, &[problem]));
    }
    Ok(())
}

/// An object on its way out gets no new reason to stay.
pub(super) fn check_finalizers(key: &Key, live: &Value, new: &Value) -> Result<(), Refusal> {
    if live["metadata"].get("deletionTimestamp").is_none() {
        return Ok(());
    }
    let of = |object: &Value| {
        object["metadata"]["finalizers"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    };
    let old = of(live);
    if of(new).iter().all(|finalizer| old.contains(finalizer)) {
        return Ok(());
    }
    let problem =
        "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted";
    Err(Refusal::invalid(key.kind, &key.name, &[problem.to_owned()]))
}

/// What no write changes.
pub(super) fn keep(live: &Value, new: &mut Value) {
    let resource = ["apiVersion", "kind"];
    for field in resource {
        new[field] = live[field].clone();
    }
    if !new["metadata"].is_object() {
        new["metadata"] = json!({});
    }
    let Some(metadata) = new["metadata"].as_object_mut() else {
        return;
    };
    let entries = metadata.get("managedFields").filter(|entries| entries.is_array());
    if entries.is_none() {
        match live["metadata"].get("managedFields") {
            Some(present) => metadata.insert("managedFields".to_owned(), present.clone()),
            None => metadata.remove("managedFields"),
        };
    }
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "generation",
        "resourceVersion",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        match live["metadata"].get(field) {
            Some(value) => metadata.insert(field.to_owned(), value.clone()),
            None => metadata.remove(field),
        };
    }
    for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
        let empty = match metadata.get(field) {
            Some(Value::Object(map)) => map.is_empty(),
            Some(Value::Array(list)) => list.is_empty(),
            Some(Value::Null) => true,
            _ => false,
        };
        if empty {
            metadata.remove(field);
        }
    }
}

/// Whether anything but metadata and status differs.
pub(super) fn differs_beyond_metadata(live: &Value, new: &Value) -> bool {
    let rest = |object: &Value| -> Vec<(String, Value)> {
        let fields = object.as_object().into_iter().flatten();
        fields
            .filter(|(field, _)| *field != "metadata" && *field != "status")
            .map(|(field, value)| (field.clone(), value.clone()))
            .collect()
    };
    rest(live) != rest(new)
}
