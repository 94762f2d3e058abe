//! How rollouts end: the withdrawal under way and those that are over.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a revision is being withdrawn.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Retirement {
    /// What will be the outcome.
    pub kind: RetirementKind,
    /// When the verdict fell.
    pub since: DateTime<Utc>,
    /// The verdict with its numbers.
    pub message: String,
}

/// How a revision is withdrawn.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetirementKind {
    /// Judged bad, or never ready: the primary was not touched.
    RollBack,
    /// Its author set the workload back to the promoted revision.
    Abort,
    /// Somebody called it off; the workload keeps the revision.
    Cancel,
    /// The primary took the revision over and must return to its last promoted one; the canary is healthy.
    UndoOnCanary,
    /// As above, but the canary is bad as well: the primary's old pods keep the traffic.
    UndoOnPrimary,
}

/// How a past rollout ended.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PastRollout {
    /// The revision that was released.
    pub revision: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, in one sentence.
    pub message: String,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
}

/// The ways in which a rollout ends.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Analysed and promoted.
    Promoted,
    /// Promoted without analysis, as asked.
    FastPromoted,
    /// Judged bad.
    RolledBack,
    /// Withdrawn by its author.
    Aborted,
    /// Overtaken by a newer revision.
    Superseded,
    /// Could not be run or promoted.
    Failed,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Outcome; 6] = [
        Outcome::Promoted,
        Outcome::FastPromoted,
        Outcome::RolledBack,
        Outcome::Aborted,
        Outcome::Superseded,
        Outcome::Failed,
    ];
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}
