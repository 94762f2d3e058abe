//! What can be done with a release, by a Command, an Approval or a Promotion's policy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is to be done with a revision.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// Call the release off.
    Abort,
    /// Take no further step until it is resumed. What protects users goes on.
    Pause,
    /// Go on after a pause.
    Resume,
    /// Take the next step now, whatever the evidence.
    Advance,
    /// Promote now, without further analysis.
    SkipAnalysis,
    /// Return the primary to the revision that was promoted before this one.
    Undo,
    /// Release a revision that failed once more.
    Retry,
    /// Open a gate; ordered by an Approval.
    Approve,
    /// Reject a gate; ordered by an Approval.
    Reject,
}

impl Verb {
    /// As paths and subresources name it.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Verb::Abort => "abort",
            Verb::Pause => "pause",
            Verb::Resume => "resume",
            Verb::Advance => "advance",
            Verb::SkipAnalysis => "skip-analysis",
            Verb::Undo => "undo",
            Verb::Retry => "retry",
            Verb::Approve => "approve",
            Verb::Reject => "reject",
        }
    }
}

impl From<GateDecision> for Verb {
    fn from(decision: GateDecision) -> Verb {
        match decision {
            GateDecision::Approve => Verb::Approve,
            GateDecision::Reject => Verb::Reject,
        }
    }
}

/// Yes or no.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateDecision {
    /// The release may pass.
    Approve,
    /// The release is withdrawn.
    Reject,
}

/// What becomes of the release of an aborted promotion.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum AbortAction {
    /// It is rolled back.
    #[default]
    Rollback,
    /// It is paused where it is.
    Pause,
    /// It goes on by itself.
    None,
}
