//! An order as it was taken in, and what became of it.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::PromotionView;
use crate::{
    api::{Approval, Command, Verb},
    reconcile::kinds::Kind,
};

/// An order that was taken in.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// Name of the Command or Approval that carries it; null if there was nothing to do.
    pub command: Option<String>,
    /// State of the promotion, if the order was about one.
    pub promotion: Option<PromotionView>,
    /// Paths of what belongs to it.
    pub links: OrderLinks,
}

/// Paths of what belongs to an order.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct OrderLinks {
    /// Where its outcome is waited for; null if there was nothing to do.
    pub order: Option<String>,
}

/// An order, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderView {
    /// Name of the Command or Approval that carries it.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its Canary.
    pub canary: String,
    /// What is to be done.
    pub verb: Verb,
    /// The gate that is decided on, if it is about one.
    pub gate: Option<String>,
    /// The revision that is meant.
    pub revision: Option<String>,
    /// Instead: the promotion whose revision is meant.
    pub promotion: Option<String>,
    /// Who.
    pub requested_by: String,
    /// Why, in a person's words.
    pub reason: Option<String>,
    /// `done`, or `refused: ` and why; null as long as it is neither.
    pub outcome: Option<String>,
    /// When it was answered.
    pub answered_at: Option<DateTime<Utc>>,
}

/// The resource that carries orders: `commands` or `approvals`.
#[must_use]
pub fn order_resource(kind: Kind) -> &'static str {
    if kind == Kind::Approval {
        "approvals"
    } else {
        "commands"
    }
}

/// Path of an order.
#[must_use]
pub fn order_path(kind: Kind, namespace: &str, name: &str) -> String {
    format!("/v1/namespaces/{namespace}/{}/{name}", order_resource(kind))
}

impl From<Command> for OrderView {
    fn from(command: Command) -> OrderView {
        let (metadata, spec) = (command.metadata, command.spec);
        let status = command.status.unwrap_or_default();
        OrderView {
            name: metadata.name.unwrap_or_default(),
            namespace: metadata.namespace.unwrap_or_default(),
            canary: spec.canary_ref.name,
            verb: spec.verb,
            gate: None,
            revision: spec.revision,
            promotion: spec.promotion,
            requested_by: spec.requested_by,
            reason: spec.reason,
            outcome: status.outcome,
            answered_at: status.answered_at,
        }
    }
}

impl From<Approval> for OrderView {
    fn from(approval: Approval) -> OrderView {
        let (metadata, spec) = (approval.metadata, approval.spec);
        let status = approval.status.unwrap_or_default();
        OrderView {
            name: metadata.name.unwrap_or_default(),
            namespace: metadata.namespace.unwrap_or_default(),
            canary: spec.canary_ref.name,
            verb: spec.decision.into(),
            gate: Some(spec.gate),
            revision: spec.revision,
            promotion: spec.promotion,
            requested_by: spec.approved_by,
            reason: spec.comment,
            outcome: status.outcome,
            answered_at: status.answered_at,
        }
    }
}
