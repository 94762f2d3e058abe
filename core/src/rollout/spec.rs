//! A Canary's specification after validation: newtypes and enums in which no nonsense fits.

use std::fmt;

use chrono::TimeDelta;

use super::Weight;
use crate::{
    api::{GatePoint, JenkinsGate},
    judge::{MetricSpec, Reporter},
};

/// Namespace and name of a Canary.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CanaryId {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for CanaryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Names of every object that belongs to a Canary; all in its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Namespace of all of them.
    pub namespace: String,
    /// The user's Deployment, which is the canary.
    pub target: String,
    /// The Deployment that keeps serving.
    pub primary: String,
    /// Service and VirtualService that callers use.
    pub apex: String,
    /// Service and DestinationRule of the primary.
    pub primary_service: String,
    /// Service and DestinationRule of the canary.
    pub canary_service: String,
}

/// The weights of a rollout, rising; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steps(Vec<Weight>);

impl Steps {
    /// The steps `weights`, if there is at least one, none is zero, and they rise.
    #[must_use]
    pub fn new(weights: Vec<Weight>) -> Option<Steps> {
        let rising = weights.windows(2).all(|pair| pair[0] < pair[1]);
        (rising && weights.first().is_some_and(|first| !first.is_zero())).then_some(Steps(weights))
    }

    /// The weight of step `index`, or of the last step if there are fewer.
    #[must_use]
    pub fn weight(&self, index: usize) -> Weight {
        self.0
            .get(index)
            .or(self.0.last())
            .copied()
            .unwrap_or(Weight::ZERO)
    }

    /// Position of the last step.
    #[must_use]
    pub fn last(&self) -> usize {
        self.0.len().saturating_sub(1)
    }

    /// All weights in order.
    #[must_use]
    pub fn weights(&self) -> &[Weight] {
        &self.0
    }
}

/// What a release waits for at one point of its way.
#[derive(Clone, Debug, PartialEq)]
pub struct GateSpec {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub at: GatePoint,
    /// What opens it.
    pub opens: Opens,
    /// How long it may stay closed.
    pub timeout: Option<TimeDelta>,
}

/// What opens a gate.
#[derive(Clone, Debug, PartialEq)]
pub enum Opens {
    /// Somebody's approval.
    Approval {
        /// Not of whoever asked for the release.
        not_by_requester: bool,
    },
    /// A build that succeeds.
    Jenkins(JenkinsGate),
}

impl Opens {
    /// The job whose build opens it: name of the Jenkins, and path of the job.
    #[must_use]
    pub fn job(&self) -> Option<String> {
        match self {
            Opens::Approval { .. } => None,
            Opens::Jenkins(job) => Some(format!("{} {}", job.instance, job.job)),
        }
    }
}

/// What a deletion does with a workload whose template was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandBack {
    /// The workload serves with the template that it has.
    AsIs,
    /// The workload gets the promoted template first.
    Promoted,
}

impl HandBack {
    /// As the annotation has it; anything else decides nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<HandBack> {
        match text {
            "as-is" => Some(HandBack::AsIs),
            "promoted" => Some(HandBack::Promoted),
            _ => None,
        }
    }
}

/// A Canary after validation.
#[derive(Clone, Debug)]
pub struct RolloutSpec {
    /// Which Canary.
    pub id: CanaryId,
    /// Its UID; part of every ownership mark.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// What somebody decided about a rejected template, for the deletion.
    pub hand_back: Option<HandBack>,
    /// Policies that need not select the primary's pods, as the annotation has them.
    pub accepted_policies: String,
    /// Names of its objects.
    pub names: Names,
    /// The weights of a rollout.
    pub steps: Steps,
    /// By how much traffic returns to the primary per interval; all at once if absent.
    pub promotion_step: Option<Weight>,
    /// Length of a step.
    pub interval: TimeDelta,
    /// Failed checks at which a rollout is rolled back; at least 1.
    pub threshold: i32,
    /// How long metrics may be missing before a retreat.
    pub max_blind: TimeDelta,
    /// Whether requests are taken to arrive wherever they are routed, because no metric of this service can tell.
    pub reach_assumed: bool,
    /// How long pods may take to become ready.
    pub progress_deadline: TimeDelta,
    /// Whose proxies count the requests that are judged.
    pub reporter: Reporter,
    /// The checks.
    pub metrics: Vec<MetricSpec>,
    /// What a release waits for beside its checks.
    pub gates: Vec<GateSpec>,
    /// Promote without analysis.
    pub skip_analysis: bool,
    /// Hands off.
    pub suspend: bool,
    /// Remove created routing objects on deletion.
    pub revert_on_deletion: bool,
    /// Whether gateways may need the created VirtualService after deletion.
    pub has_gateways: bool,
    /// How long proxies may go on using a route or an endpoint after it was changed.
    pub drain: TimeDelta,
}

impl RolloutSpec {
    /// Whether nothing may be touched because `spec.suspend` says so; a deletion is carried out all the same.
    #[must_use]
    pub fn suspended(&self) -> bool {
        self.suspend && !self.deleting
    }
}
