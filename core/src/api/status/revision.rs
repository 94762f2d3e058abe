//! The revisions in play, and the step that the present one is at.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::requesters::{Requesters, Shipping};

/// The revisions in play: digests of pod templates.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RevisionStatus {
    /// The revision last seen and acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// The revision last promoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted: Option<String>,
    /// The revision promoted before that, which an undo returns to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// The workload controller's own mark when `current` was recorded: uid and revision number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
    /// When the rollout of `current` began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<DateTime<Utc>>,
    /// A newer revision that was seen and waits for its turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
    /// Revisions that were withdrawn, each with the workload's mark of that time, newest first; at most five. The same
    /// template under the same mark is not released again by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<RejectedRevision>,
    /// Images of these revisions, as far as they were seen: that of the pod template's first container.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, String>,
    /// Who asked for a release, by revision: of the present one, of one that waits and of the one that the workload has. Where a
    /// gate says `notByRequester`, none of them approves it. `*` stands for everybody.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub requesters: BTreeMap<String, Requesters>,
    /// Who asked for what the workload is being given for a Promotion: whatever revision that makes, they asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shipping: Option<Shipping>,
}

/// A revision that was withdrawn.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RejectedRevision {
    /// The revision.
    pub revision: String,
    /// The workload controller's mark when it was withdrawn.
    pub mark: String,
    /// Whether only the primary was late with it: the canary was not judged bad.
    #[serde(default)]
    pub late: bool,
}

/// The present step of an analysis.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// Position in the list of steps, from 0.
    pub index: i32,
    /// From when on a pass is counted: the present weight was decided on, or found restored, or another process took over.
    pub started_at: DateTime<Utc>,
    /// When the present weight was decided on. Failed checks are counted from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_since: Option<DateTime<Utc>>,
    /// When this revision first got traffic.
    pub traffic_since: DateTime<Utc>,
    /// Time of the last sample that was counted as a check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_check_at: Option<DateTime<Utc>>,
    /// Since when metrics are missing, for whatever reason: `maxBlind` counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blind_since: Option<DateTime<Utc>>,
    /// Since when requests are expected at the canary and none are counted; the next ones that are end it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dark_since: Option<DateTime<Utc>>,
    /// How often the traffic was taken back in this rollout because the canary's pods were gone.
    #[serde(default)]
    pub retreats: i32,
    /// How often it was taken back for want of metrics; each makes the pause before the next try longer.
    #[serde(default)]
    pub blind_retreats: i32,
}
