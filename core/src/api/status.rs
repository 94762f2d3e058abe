//! `Canary.status`: the controller's memory. Everything that is needed to go on after a crash stands here.
//!
//! Invariant: every field is optional or has a default, so that an older or partial status still reads.

mod hold; // what holds it back
mod intervention; // what somebody ordered
mod outbox; // facts to be told
mod outcome; // how rollouts end
mod requesters; // who asked for a release
mod revision; // the revisions in play, and the present step
mod transfer; // traffic handed over to other pods

use std::fmt;

use chrono::{DateTime, Utc};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::gate::GateStatus;
pub use hold::{Hold, HoldReason, Pause, Retreat};
pub use intervention::Intervention;
pub use outbox::{Notice, NoticeKind, Outbox, Situation};
pub use outcome::{Outcome, PastRollout, Retirement, RetirementKind};
pub use requesters::{Requesters, Shipping};
pub use revision::{RejectedRevision, RevisionStatus, StepStatus};
pub use transfer::{FirstCallsStatus, TransferStatus};

/// What is known and remembered of a Canary.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CanaryStatus {
    /// Where the rollout stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Intended share of the canary in percent.
    #[serde(default)]
    pub canary_weight: i32,
    /// Failed checks of the present rollout.
    #[serde(default)]
    pub failed_checks: i32,
    /// Pods that the primary was asked to have when this status was written: should somebody delete it, it is to come back with
    /// as many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_replicas: Option<i32>,
    /// Revision of the workload that was last seen and acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_applied_spec: Option<String>,
    /// Revision that was last promoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_promoted_spec: Option<String>,
    /// When `phase` last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<DateTime<Utc>>,
    /// `metadata.generation` of the Canary that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One sentence for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The revisions in play.
    #[serde(default)]
    pub revision: RevisionStatus,
    /// The present step, while a revision is analysed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepStatus>,
    /// What holds the rollout back: the most urgent of `holds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// Everything that holds the rollout back, the most urgent first; one of each reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<Hold>,
    /// The traffic was taken back to the primary for now, and the release goes on when the cause is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retreat: Option<Retreat>,
    /// When this Canary was last worked on again, after it was suspended, its routes were unusable, or a watch was broken: pods
    /// have all their time from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed_at: Option<DateTime<Utc>>,
    /// The traffic is being handed over to other pods, outside of a release's steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer: Option<TransferStatus>,
    /// The primary was set up without callers, and whether they arrive shows now; absent once they are known to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_calls: Option<FirstCallsStatus>,
    /// Somebody's order to take no further step with the present revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// The gates that the present revision has come to, or that were decided on for it beforehand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<GateStatus>,
    /// Orders that were heeded or refused, newest last; at most sixteen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interventions: Vec<Intervention>,
    /// Why the present revision is being withdrawn: set from the verdict until the terminal phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retirement: Option<Retirement>,
    /// The last checks with their values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckStatus>,
    /// Who decided last while a rollout was in progress: number of the leadership and name of the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
    /// Facts that wait to be told, with the number of the last one.
    #[serde(default)]
    pub outbox: Outbox,
    /// The last rollouts, newest first; at most ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<PastRollout>,
    /// Conditions after the Kubernetes conventions: Ready, Promoted, Progressing, Held, Degraded, Reached; for kstatus
    /// Reconciling and Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
}

impl CanaryStatus {
    /// Everything that holds the rollout back, the most urgent first. A single hold stands in `hold` alone.
    #[must_use]
    pub fn all_holds(&self) -> &[Hold] {
        if self.holds.is_empty() {
            self.hold.as_slice()
        } else {
            &self.holds
        }
    }
}

/// Where a rollout stands; the names are Flagger's.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// The primary is being set up.
    Initializing,
    /// The primary serves; nothing was released yet, or the last release was withdrawn by its author.
    Initialized,
    /// A new revision waits for permission.
    Waiting,
    /// A new revision is being analysed.
    Progressing,
    /// A revision that passed waits for permission.
    WaitingPromotion,
    /// The primary takes over the revision that passed.
    Promoting,
    /// Traffic is back on the primary; the canary is being scaled away.
    Finalising,
    /// The last release was promoted.
    Succeeded,
    /// The last release was rolled back or could not be promoted.
    Failed,
    /// The Canary is being deleted; the service is handed back.
    Terminating,
}

impl Phase {
    /// Whether nothing is under way: the primary is set up, the last release is, promoted, or taken back.
    #[must_use]
    pub fn at_rest(self) -> bool {
        matches!(self, Phase::Initialized | Phase::Succeeded | Phase::Failed)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A check's last value.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CheckStatus {
    /// Name of the metric.
    pub name: String,
    /// `Pass`, `Bad`, `NoData` or `Error`.
    pub outcome: String,
    /// Value in the metric's unit, with four digits after the point at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// The accepted range.
    pub bound: String,
    /// When the value was taken.
    pub at: DateTime<Utc>,
}

/// A condition after the Kubernetes conventions.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Its type, such as Ready.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// CamelCase reason.
    pub reason: String,
    /// One sentence.
    pub message: String,
    /// When `status` last changed.
    pub last_transition_time: DateTime<Utc>,
    /// `metadata.generation` that the condition speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}
