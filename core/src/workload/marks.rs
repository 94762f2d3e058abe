//! Our marks on objects: whose they are and what they hold. No ownerReferences: an object that carries traffic must
//! survive its Canary until the service is handed back (I12).

use crate::pointer::At;
use serde_json::{Map, Value, json};

use super::text;

/// Label: name of the Canary that an object was created for.
pub const CANARY_LABEL: &str = "bellwether.dev/canary";
/// Label: who manages an object.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Annotation: UID of the Canary that an object was created for.
pub const OWNER_ANNOTATION: &str = "bellwether.dev/owner-uid";
/// Annotation of a pod template: the revision it came from.
pub const REVISION_ANNOTATION: &str = "bellwether.dev/revision";
/// Annotation of an adopted Service: the selector it had.
pub const SELECTOR_ANNOTATION: &str = "bellwether.dev/original-selector";
/// Annotation of our Services and DestinationRules: kinds of the objects that were there before their Canary, with commas
/// between.
pub const ADOPTED_ANNOTATION: &str = "bellwether.dev/adopted";
/// Annotation: the epoch that last took a rollout over, see `crate::rollout::decide`.
pub const EPOCH_ANNOTATION: &str = "bellwether.dev/epoch";
/// On a Canary: what its deletion does with a workload whose template was rejected, `as-is` or `promoted`.
pub const HAND_BACK_ANNOTATION: &str = "bellwether.dev/hand-back";
/// On a Canary: policies that need not select the primary's pods, as `Kind/name` with commas between, or `all`.
pub const ACCEPT_POLICIES_ANNOTATION: &str = "bellwether.dev/accept-policies";
/// Field of a cached Deployment's metadata: the field manager besides Bellwether that owns a field of its pods' spec, see
/// [`note_template_editor`].
const TEMPLATE_EDITOR: &str = "templateEditor";
/// Field manager and value of [`MANAGED_BY_LABEL`].
pub const MANAGER: &str = "bellwether";

/// Name and UID of the Canary that marks an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Name of the Canary.
    pub name: String,
    /// UID of the Canary.
    pub uid: String,
}

impl Owner {
    /// The labels of every object created for this Canary.
    #[must_use]
    pub fn labels(&self) -> Map<String, Value> {
        let labels = json!({CANARY_LABEL: self.name, MANAGED_BY_LABEL: MANAGER});
        labels.as_object().cloned().unwrap_or_default()
    }

    /// The annotations of every object created for this Canary.
    #[must_use]
    pub fn annotations(&self) -> Map<String, Value> {
        json!({OWNER_ANNOTATION: self.uid})
            .as_object()
            .cloned()
            .unwrap_or_default()
    }

    /// Whether `object` was created for this very Canary, whoever has labelled it otherwise since.
    #[must_use]
    pub fn created(&self, object: &Value) -> bool {
        let annotations = object.at("/metadata/annotations");
        let uid = annotations.and_then(|all| all.get(OWNER_ANNOTATION)?.as_str());
        uid == Some(self.uid.as_str()) || self.owns(object)
    }

    /// Whether `object` is marked as created for this Canary (or one of the same name before it).
    #[must_use]
    pub fn owns(&self, object: &Value) -> bool {
        owner_name(object) == Some(self.name.as_str())
    }
}

/// Name of the Canary that `object` was created for.
#[must_use]
pub fn owner_name(object: &Value) -> Option<&str> {
    let labels = object.at("/metadata/labels")?;
    let managed = labels.get(MANAGED_BY_LABEL).and_then(Value::as_str) == Some(MANAGER);
    labels
        .get(CANARY_LABEL)
        .and_then(Value::as_str)
        .filter(|_| managed)
}

/// Kind and name of a foreign controller that owns `object`, such as another progressive delivery controller.
#[must_use]
pub fn foreign_controller(object: &Value) -> Option<String> {
    let owners = object.at("/metadata/ownerReferences")?.as_array()?;
    let controller = owners
        .iter()
        .find(|o| o.get("controller") == Some(&Value::Bool(true)))?;
    Some(format!(
        "{} {}",
        text(controller, "/kind"),
        text(controller, "/name")
    ))
}

/// Notes in the metadata of a Deployment who besides Bellwether owns a field of its pods' spec, before the managed fields
/// are dropped. A restart that somebody asks for changes the pods' annotations alone.
pub fn note_template_editor(deployment: &mut Value) {
    let entries = deployment.at("/metadata/managedFields").and_then(Value::as_array);
    let editor = entries.into_iter().flatten().find(|entry| {
        text(entry, "/manager") != MANAGER
            && text(entry, "/subresource").is_empty()
            && entry.at("/fieldsV1/f:spec/f:template/f:spec").is_some()
    });
    let editor = editor.map(|entry| text(entry, "/manager").to_owned());
    if let (Some(editor), Some(metadata)) = (
        editor,
        deployment.get_mut("metadata").and_then(Value::as_object_mut),
    ) {
        metadata.insert(TEMPLATE_EDITOR.to_owned(), editor.into());
    }
}

/// Who besides Bellwether owns a field of the pods' spec of a cached Deployment.
#[must_use]
pub fn template_editor(deployment: &Value) -> Option<&str> {
    deployment.get("metadata")?.get(TEMPLATE_EDITOR)?.as_str()
}
