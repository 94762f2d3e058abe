//! The decision: what to write now, given what was observed. Pure and total.
//!
//! One file per part of a rollout's life; `plan` holds the order of writes, so that the parts cannot get it wrong.

mod bootstrap;
mod change;
mod checks;
mod conditions;
pub mod facts;
mod fence;
mod gates;
mod orders;
mod plan;
mod progressing;
mod promoting;
mod rest;
mod retire;
mod silence;
mod stand;
mod terminating;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

use chrono::{DateTime, Utc};

use super::{Act, Decision, Observed, RolloutSpec, Routes};
use crate::api::{CanaryStatus, HoldReason, Phase};
use crate::defect::{Defect, planted};
pub use orders::analysis_is_skipped;
use plan::Plan;

/// Decides what to do about one Canary.
#[must_use]
pub fn decide(spec: &RolloutSpec, seen: &Observed, now: DateTime<Utc>) -> Decision {
    let mut plan = Plan::new(spec, seen, now);
    let hands_off = seen.hands_off(spec).is_some() || !seen.finalizer;
    if !hands_off && !fence::fenced(&mut plan) {
        return plan.finish();
    }
    if spec.deleting {
        terminating::decide(&mut plan);
        return plan.finish();
    }
    if spec.suspended() {
        plan.next.message = Some("suspended: nothing is touched, the traffic stays as it is".to_owned());
        plan.hold(HoldReason::Suspended, "spec.suspend is true");
        return plan.finish();
    }
    if let Some(conflict) = &seen.conflict {
        plan.say(conflict.clone());
        plan.hold(HoldReason::TargetConflict, conflict);
        return plan.finish();
    }
    if !seen.finalizer && !planted(Defect::ForgetsTheFinalizer) {
        plan.act(Act::AddFinalizer);
        return plan.finish();
    }
    if !routes_usable(&mut plan) {
        return plan.finish();
    }
    plan.clear_hold(&[
        HoldReason::Suspended,
        HoldReason::RoutesUnavailable,
        HoldReason::RouteInvalid,
        HoldReason::InvalidSpec,
    ]);
    if !plan.repairs_too_often() {
        plan.clear_hold(&[HoldReason::TargetConflict]);
    }
    if orders::heed(&mut plan) {
        return plan.finish();
    }
    match plan.next.phase {
        None | Some(Phase::Initializing) => bootstrap::decide(&mut plan),
        Some(Phase::Initialized | Phase::Succeeded | Phase::Failed | Phase::Terminating) => {
            rest::decide(&mut plan);
        }
        Some(Phase::Waiting | Phase::Progressing | Phase::WaitingPromotion) => {
            progressing::decide(&mut plan);
        }
        Some(Phase::Promoting) => promoting::decide(&mut plan),
        Some(Phase::Finalising) => promoting::finalise(&mut plan),
    }
    plan.finish()
}

/// The status of a Canary whose specification cannot be used: nothing else is touched.
#[must_use]
pub fn refuse(status: &CanaryStatus, generation: i64, problem: &str, now: DateTime<Utc>) -> CanaryStatus {
    let mut next = status.clone();
    next.message = Some(format!("invalid: {problem}"));
    if next
        .hold
        .as_ref()
        .is_none_or(|h| h.reason != HoldReason::InvalidSpec || h.message != problem)
    {
        next.hold = Some(crate::api::Hold {
            reason: HoldReason::InvalidSpec,
            since: now,
            message: problem.to_owned(),
            retreated: false,
            resumes: true,
        });
    }
    conditions::derive(&mut next, generation, now);
    next
}

/// Holds the rollout if its routes cannot be read or have no place for it.
fn routes_usable(plan: &mut Plan<'_>) -> bool {
    let routes = &plan.seen.routes;
    let Some(why) = routes.unusable() else {
        return true;
    };
    let (reason, said) = match routes {
        Routes::Invalid(_) => {
            let apex = &plan.spec.names.apex;
            (HoldReason::RouteInvalid, format!("VirtualService {apex}: {why}"))
        }
        Routes::Unavailable(_) => {
            let said = format!("Istio's resources cannot be read: {why}");
            (HoldReason::RoutesUnavailable, said)
        }
        _ => (HoldReason::RoutesUnavailable, why.to_owned()),
    };
    plan.say(said);
    plan.hold(reason, why);
    false
}
