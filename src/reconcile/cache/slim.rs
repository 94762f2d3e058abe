//! What is kept of an object: nothing that no decision needs.

use crate::pointer::At;
use serde_json::Value;

use crate::{
    reconcile::kinds::Kind,
    workload::{
        marks::{MANAGER, note_template_editor},
        overwrite::note_own_marks,
        text,
    },
};

/// Field of a cached object's metadata: which entry of `managedFields` says that we created it and have not applied it
/// since. Fields that the next apply leaves out would stay, for they belong to that entry as well.
pub const UNAPPLIED: &str = "unapplied";

fn created_entry(object: &Value) -> Option<usize> {
    let entries = object.at("/metadata/managedFields")?.as_array()?;
    let ours = |entry: &Value, operation: &str| {
        text(entry, "/manager") == MANAGER
            && text(entry, "/operation") == operation
            && entry.get("subresource").is_none()
            && entry.at("/fieldsV1/f:spec").is_some()
    };
    if entries.iter().any(|entry| ours(entry, "Apply")) {
        return None;
    }
    entries.iter().position(|entry| ours(entry, "Update"))
}

/// Drops what no decision needs.
pub(super) fn slim(kind: Kind, mut object: Value) -> Value {
    // Items of a list come without their type; compared with what we would apply they must not look changed.
    let resource = kind.resource();
    object["apiVersion"] = resource.api_version.into();
    object["kind"] = resource.kind.into();
    let unapplied = created_entry(&object);
    if kind == Kind::Deployment {
        note_template_editor(&mut object);
        note_own_marks(&mut object);
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        if let Some(index) = unapplied.filter(|_| kind != Kind::Canary) {
            metadata.insert(UNAPPLIED.to_owned(), index.into());
        }
    }
    if let Some(annotations) = object
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    object
}
