//! `Canary.status`: the controller's memory. Everything that is needed to go on after a crash stands here.
//!
//! Invariant: every field is optional or has a default, so that an older or partial status still reads.

use std::{collections::BTreeMap, fmt};

use chrono::{DateTime, Utc};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{command::Verb, gate::GateStatus};

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
    /// The traffic is being handed over to other pods, outside of a release's steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer: Option<TransferStatus>,
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
    /// How often the traffic was taken back in this rollout because the canary's pods were gone.
    #[serde(default)]
    pub retreats: i32,
}

/// What holds a rollout back, and since when.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// The kind of hold.
    pub reason: HoldReason,
    /// Since when it holds.
    pub since: DateTime<Utc>,
    /// One sentence for a person.
    pub message: String,
    /// Whether the traffic was taken back to the primary because of it.
    #[serde(default)]
    pub retreated: bool,
    /// Whether a retreat ends by itself when its cause does.
    #[serde(default)]
    pub resumes: bool,
}

/// Traffic that was taken back for now.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Retreat {
    /// Why.
    pub reason: HoldReason,
    /// Since when.
    pub since: DateTime<Utc>,
    /// One sentence for a person.
    pub message: String,
    /// Whether it ends by itself when its cause does.
    #[serde(default)]
    pub resumes: bool,
}

impl From<&Hold> for Retreat {
    fn from(hold: &Hold) -> Retreat {
        Retreat {
            reason: hold.reason,
            since: hold.since,
            message: hold.message.clone(),
            resumes: hold.resumes,
        }
    }
}

/// A hand-over of traffic to other pods.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TransferStatus {
    /// Share of the pods that served before, in percent.
    pub old_share: i32,
    /// Since when the traffic is split like this.
    pub since: DateTime<Utc>,
    /// Requests a second that the pods had that served before; absent if nobody could tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// How often requests did not arrive, or the new pods were gone, and the traffic went back.
    #[serde(default)]
    pub attempts: i32,
    /// Whether requests were known to arrive; if not, nobody called.
    #[serde(default)]
    pub reached: bool,
    /// Whether they were known to arrive when the new pods had all of the traffic.
    #[serde(default)]
    pub confirmed: bool,
    /// Share of the requests that were refused before anything moved, from 0 to 1; absent if nobody could tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<f64>,
    /// Whether somebody said that they arrive (`advance`), since nothing could tell.
    #[serde(default)]
    pub assumed: bool,
    /// Whether the traffic moved because nobody else served, so that it goes back when somebody does.
    #[serde(default)]
    pub forced: bool,
}

/// The kinds of hold.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HoldReason {
    /// Metrics answer, but have no data of the canary.
    NoData,
    /// Metrics cannot be read.
    MetricsUnavailable,
    /// Requests are expected at the canary, and none arrive; or its ready pods are gone.
    Dark,
    /// `spec.suspend`.
    Suspended,
    /// Somebody paused the release.
    Paused,
    /// A gate waits for somebody's approval.
    AwaitingApproval,
    /// A gate waits for the end of a job.
    AwaitingJob,
    /// A freeze is in force.
    Frozen,
    /// Pods of the workload are not ready, or the primary's where everything waits for them.
    WorkloadNotReady,
    /// Some pods of the primary are not ready, and no step is taken before all are.
    PrimaryNotReady,
    /// The observed share does not follow the weight.
    TrafficNotShifting,
    /// Somebody else's object or controller is in the way.
    TargetConflict,
    /// The workload does not exist.
    TargetNotFound,
    /// Istio's resources cannot be read or written.
    RoutesUnavailable,
    /// The VirtualService has no route that can be split.
    RouteInvalid,
    /// The promotion failed and is being undone.
    PromotionFailed,
    /// The specification cannot be used.
    InvalidSpec,
    /// The API server refuses a write.
    WriteRefused,
    /// A watch is broken, so that what is known may be out of date.
    WatchBroken,
    /// Requests that were to reach other pods do not arrive there, or are refused.
    NotReached,
    /// Nobody can tell whether requests reach the pods that are to take over.
    ReachUnknown,
    /// A VirtualService of another namespace leads to the Service.
    RouteElsewhere,
    /// A policy that selects the workload's pods does not select the primary's.
    PolicyNotCovering,
    /// An autoscaler's maximum is below what a step needs.
    CapacityLimited,
    /// The workload has a template that was not released, and the Canary is being deleted.
    HandBackUnreleased,
    /// The workload is paused with a template that it has not rolled out.
    WorkloadPaused,
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Somebody's order to take no further step.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Pause {
    /// Who.
    pub by: String,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// An order about one revision, and what came of it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Intervention {
    /// UID of the Command, or what else makes it unique: it is heeded once.
    pub id: String,
    /// What was ordered.
    pub verb: Verb,
    /// The gate that was decided on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<String>,
    /// The revision that was meant.
    pub revision: String,
    /// Who.
    pub by: String,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// When it was heeded or refused.
    pub at: DateTime<Utc>,
    /// Why it was refused; absent if it was heeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

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

/// Facts that wait to be told to others, each once at least.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Outbox {
    /// Number of the newest fact.
    #[serde(default)]
    pub seq: i64,
    /// Facts that are not known to be told yet, oldest first; at most sixteen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<Notice>,
}

/// A fact worth telling.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// Its number within this Canary: with the UID the idempotency key.
    pub seq: i64,
    /// Whether a person should worry.
    pub kind: NoticeKind,
    /// CamelCase kind of fact.
    pub reason: String,
    /// One sentence.
    pub message: String,
    /// When it became true.
    pub at: DateTime<Utc>,
    /// Where the rollout stood then; absent from facts of an older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stand: Option<Stand>,
}

/// Where a rollout stood when a fact was written down: whoever tells it later would see another state.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Stand {
    /// The phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// The revision last seen and acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The revision last promoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted: Option<String>,
    /// Image of the revision last promoted, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Intended share of the canary in percent.
    #[serde(default)]
    pub weight: i32,
    /// Position in the list of steps, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<i32>,
}

/// The types of a Kubernetes Event.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// All as it should be.
    Normal,
    /// Something to look at.
    Warning,
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
