//! What a Canary is doing now and why, what holds it, and what comes next. Pure.
//!
//! The command line and the hook API tell the same, whoever has read the Canary. Invariant: there is nothing in it but what
//! specification and status say, so whoever may get the Canary may have it.

mod next; // what comes next, as far as specification and status say

use chrono::{DateTime, TimeDelta, Utc};
use kube::ResourceExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    api::{Canary, CheckStatus, Hold, Intervention, PastRollout, Pause, Phase, Retirement, RevisionStatus},
    rollout,
};
pub use next::Next;

/// Everything that can be said of a Canary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The workload whose changes are released.
    pub workload: String,
    /// Where its rollout stands.
    pub phase: Option<Phase>,
    /// Since when it is in this phase.
    pub since: Option<DateTime<Utc>>,
    /// One sentence for a person.
    pub message: Option<String>,
    /// Share of the canary in percent.
    pub weight: i32,
    /// The present step, while a revision is analysed.
    pub step: Option<PresentStep>,
    /// The revisions in play.
    pub revision: RevisionStatus,
    /// What holds the rollout back: the most urgent of `holds`.
    pub hold: Option<Hold>,
    /// Everything that holds the rollout back, the most urgent first.
    pub holds: Vec<Hold>,
    /// Somebody's order to take no further step.
    pub pause: Option<Pause>,
    /// Why the present revision is being withdrawn.
    pub retirement: Option<Retirement>,
    /// Failed checks of the present rollout.
    pub failed_checks: i32,
    /// Failed checks at which a release is rolled back; null if the specification cannot be used.
    pub threshold: Option<i32>,
    /// The last checks with their values.
    pub checks: Vec<CheckStatus>,
    /// What comes next, and what happens otherwise.
    pub next: Vec<Next>,
    /// Orders that were heeded or refused, newest first.
    pub interventions: Vec<Intervention>,
    /// The last rollouts, newest first; at most ten.
    pub history: Vec<PastRollout>,
}

/// The present step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PresentStep {
    /// From 1.
    pub number: i32,
    /// How many there are; null if the specification cannot be used.
    pub of: Option<usize>,
    /// Since when it has its weight.
    pub since: DateTime<Utc>,
}

impl Explanation {
    /// What can be said of `canary`.
    #[must_use]
    pub fn of(canary: &Canary) -> Explanation {
        let status = canary.status.clone().unwrap_or_default();
        let target = &canary.spec.target_ref;
        let spec = rollout::validate(canary, TimeDelta::zero());
        let steps = spec.as_ref().ok().map(|spec| spec.steps.weights().len());
        let step = status.step.as_ref().map(|step| PresentStep {
            number: step.index.saturating_add(1),
            of: steps,
            since: step.started_at,
        });
        let holds = status.all_holds().to_vec();
        Explanation {
            namespace: canary.namespace().unwrap_or_default(),
            name: canary.name_any(),
            workload: format!("{} {}", target.kind, target.name),
            phase: status.phase,
            since: status.last_transition_time,
            message: status.message.clone(),
            weight: status.canary_weight,
            step,
            failed_checks: status.failed_checks,
            threshold: spec.as_ref().ok().map(|spec| spec.threshold),
            checks: status.checks.clone(),
            next: match &spec {
                Ok(spec) => next::after(spec, &status),
                Err(invalid) => vec![Next::when(format!("the specification is mended: {invalid}"))],
            },
            interventions: status.interventions.iter().rev().cloned().collect(),
            history: status.history,
            revision: status.revision,
            holds,
            hold: status.hold,
            pause: status.pause,
            retirement: status.retirement,
        }
    }
}
