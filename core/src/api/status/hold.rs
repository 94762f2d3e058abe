//! What holds a rollout back: its kinds, the traffic taken back because of it, and a person's pause.

use std::fmt;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
