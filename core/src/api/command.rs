//! `Command`: what a person, or a pipeline, wants done with one revision of a Canary, and who wants it and why.
//!
//! Commands are objects of their own, so that only the controller writes the Canary's status, rights can be split, and
//! what was done is on record. A command speaks of one revision: it never acts on another that came meanwhile (W41).

#![allow(clippy::duplicated_attributes, reason = "columns of the same type repeat it")]

use chrono::{DateTime, Utc};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    canary_ref::CanaryRef,
    schema,
    verb::{AbortAction, Verb},
};

/// One order about one revision of a Canary.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "bellwether.dev",
    version = "v1beta1",
    kind = "Command",
    plural = "commands",
    namespaced,
    status = "CommandStatus",
    doc = "A Command orders something about one revision of a Canary: abort, pause, resume, advance, skip its analysis, undo or retry it.",
    printcolumn(name = "Canary", type_ = "string", json_path = ".spec.canaryRef.name"),
    printcolumn(name = "Verb", type_ = "string", json_path = ".spec.verb"),
    printcolumn(name = "Outcome", type_ = "string", json_path = ".status.outcome"),
    printcolumn(name = "By", type_ = "string", json_path = ".spec.requestedBy"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = Rule::new("self == oldSelf").message("spec: cannot change; create another Command"))]
#[x_kube(validation = Rule::new("has(self.revision) != has(self.promotion)").message("spec: set exactly one of revision and promotion"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = super::schema::NeverNull)]
pub struct CommandSpec {
    /// The Canary, in the same namespace.
    pub canary_ref: CanaryRef,
    /// What is to be done.
    #[x_kube(validation = Rule::new("!(self in ['Approve', 'Reject'])").message("spec.verb: a gate is approved or rejected by an Approval"))]
    pub verb: Verb,
    /// The revision that is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 64))]
    pub revision: Option<String>,
    /// Instead: the Promotion whose revision is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub promotion: Option<String>,
    /// Of an abort: what becomes of the release. Default: what the Promotion's policy says, or `rollback`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<AbortAction>,
    /// Why, in a person's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000), regex(pattern = schema::LINE))]
    pub reason: Option<String>,
    /// Who; the hook API sets whom it authenticated.
    #[schemars(length(min = 1, max = 500), regex(pattern = schema::LINE))]
    pub requested_by: String,
    /// Others who are behind it: the person for whom a CI server asks; whom its token names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(max = 500)))]
    pub on_behalf_of: Vec<String>,
}

/// What became of an order.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CommandStatus {
    /// Done, or refused and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// When it was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<DateTime<Utc>>,
}
