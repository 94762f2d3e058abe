//! `Approval`: somebody's yes or no at a gate, for one revision.
//!
//! Approvals are objects of their own, so that rights can be split, and an admission policy can bind the name in
//! `approvedBy` to the user who really created the object.

#![allow(clippy::duplicated_attributes, reason = "columns of the same type repeat it")]

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{canary_ref::CanaryRef, command::CommandStatus, schema, verb::GateDecision};

/// A yes or no at a gate of a Canary, for one revision alone.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "bellwether.dev",
    version = "v1beta1",
    kind = "Approval",
    plural = "approvals",
    namespaced,
    status = "CommandStatus",
    doc = "An Approval opens or rejects a gate of a Canary for one revision.",
    printcolumn(name = "Canary", type_ = "string", json_path = ".spec.canaryRef.name"),
    printcolumn(name = "Gate", type_ = "string", json_path = ".spec.gate"),
    printcolumn(name = "Decision", type_ = "string", json_path = ".spec.decision"),
    printcolumn(name = "Outcome", type_ = "string", json_path = ".status.outcome"),
    printcolumn(name = "By", type_ = "string", json_path = ".spec.approvedBy"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = Rule::new("self == oldSelf").message("spec: cannot change; create another Approval"))]
#[x_kube(validation = Rule::new("has(self.revision) != has(self.promotion)").message("spec: set exactly one of revision and promotion"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = super::schema::NeverNull)]
pub struct ApprovalSpec {
    /// The Canary, in the same namespace.
    pub canary_ref: CanaryRef,
    /// Name of the gate.
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::LINE))]
    pub gate: String,
    /// Yes or no.
    pub decision: GateDecision,
    /// The revision that is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 64))]
    pub revision: Option<String>,
    /// Instead: the Promotion whose revision is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub promotion: Option<String>,
    /// Why, in a person's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000), regex(pattern = schema::LINE))]
    pub comment: Option<String>,
    /// Who; the hook API sets whom it authenticated.
    #[schemars(length(min = 1, max = 500), regex(pattern = schema::LINE))]
    pub approved_by: String,
    /// Others who are behind it: the person for whom a CI server asks; whom its token names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(max = 500)))]
    pub on_behalf_of: Vec<String>,
}
