//! The decision: what to write now, given what was observed. Pure and total.
//!
//! One file per part of a rollout's life; `plan` holds the order of writes, so that the parts cannot get it wrong. Each stands
//! only on those further down:
//!
//! - The phases: `bootstrap`, `rest`, `progressing`, `promoting`, `finalising`, `terminating`; and `orders`, which come before them.
//! - What happens in several phases: a `release` begins, `advance` takes it further, `retreat`, `rollback` and `undo` back, and
//!   `withdrawal` ends it.
//! - What may be done, and how it is done: `mend`, `transition`, `routing`, `transfer`.
//! - What is asked by many of them: `capacity`, `change`, `checks`, `gates`, `pods`, `quarrel`, `reach`, `side`, `silence`,
//!   `standing_orders`, `steps`.
//! - The decision in the making, and what follows from it alone: `plan`; `conditions`, `facts`, `situation`.

mod advance; // a release goes to a step, or into its promotion
mod bootstrap; // the primary is set up beside the workload, and takes over
mod capacity; // whether there are enough pods for a share of the traffic
mod change; // whether the workload has a new revision
mod checks; // what the metrics say of the present step
mod clock; // a clock that was set back
mod conditions; // conditions follow from the rest of the status
pub mod facts; // room for facts that wait to be told
mod fence; // late writes of those who decided before
mod finalising; // the traffic is back on the primary
mod first_calls; // the first callers of a service that nobody called
mod gates; // what somebody or a job has to open
mod identity; // by which name a template is known
mod mend; // a primary without the promoted template, or without pods
mod missing; // requests that are expected and do not arrive
mod orders; // what somebody orders
mod plan; // a decision in the making, and what holds it back
mod pods; // the pods of a release
mod policies; // policies that would not cover the primary
mod progressing; // the new revision is analysed
mod promoting; // the primary takes it over
mod quarrel; // somebody else keeps changing what is written
mod reach; // whether requests reach pods that they were handed over to
mod release; // a release begins
mod requesters; // who asked for a release, and so does not approve it
mod rest; // nothing is under way
mod retreat; // the traffic goes back for now
mod rollback; // a revision is withdrawn before it was promoted
mod routing; // what routes and Services carry, and the order of writes
mod samples; // samples that do not come
mod side; // one side of target and primary, whichever
mod silence; // whether pods that lost their traffic get none
mod situation; // where the rollout stands, beside each fact
mod standing_orders; // a pause, and an analysis that is skipped
mod steps; // where a release stands among them, and which weight is next
mod terminating; // the service is handed back
mod transfer; // traffic is handed over outside of steps
mod transition; // what a release may do next: one table
mod undo; // a promotion is taken back
mod withdrawal; // how a rollback or an undo ends

#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::{Act, Decision, Observed, RolloutSpec, Routes};
use crate::api::{CanaryStatus, HoldReason, Phase};
use crate::defect::{Defect, planted};
pub use fence::refuses_late_writes;
use plan::Plan;
pub use policies::policies_wanted;
pub use quarrel::repeated;
pub use standing_orders::analysis_is_skipped;

/// Decides what to do about one Canary.
#[must_use]
pub fn decide(spec: &RolloutSpec, seen: &Observed, now: DateTime<Utc>) -> Decision {
    let recognised = identity::recognise(seen);
    let seen = recognised.as_ref().unwrap_or(seen);
    let mut plan = Plan::new(spec, seen, now);
    clock::catch_up(&mut plan);
    quarrel::end_what_is_over(&mut plan);
    requesters::note(&mut plan);
    name_refusals(&mut plan);
    let hands_off = seen.hands_off(spec).is_some() || !seen.finalizer;
    if !hands_off && !fence::fenced(&mut plan) {
        return finish(plan);
    }
    if spec.deleting {
        if !orders::heed_advance(&mut plan) {
            terminating::decide(&mut plan);
        }
        return finish(plan);
    }
    if !may_act(&mut plan) || orders::heed(&mut plan) {
        return finish(plan);
    }
    match plan.next.phase {
        None | Some(Phase::Initializing) => bootstrap::decide(&mut plan),
        Some(Phase::Initialized | Phase::Succeeded | Phase::Failed | Phase::Terminating) => {
            rest::decide(&mut plan);
        }
        Some(Phase::Waiting | Phase::Progressing | Phase::WaitingPromotion) => {
            progressing::decide(&mut plan);
            plan.keep_callers_on_primary();
        }
        Some(Phase::Promoting) => {
            promoting::decide(&mut plan);
            plan.keep_callers_on_primary();
        }
        Some(Phase::Finalising) => finalising::decide(&mut plan),
    }
    finish(plan)
}

/// Ends the round: what somebody undoes again and again waits, and which revision waits for its turn is written down.
fn finish(mut plan: Plan<'_>) -> Decision {
    if !plan.acting() {
        checks::keep_recent_values(&mut plan);
    }
    quarrel::slow_down(&mut plan);
    change::note_waiting(&mut plan);
    let evidence_from = checks::evidence_from(&plan);
    plan.close(evidence_from)
}

/// Refusals from which on a write is named: the first may be a race.
const REFUSALS: u32 = 2;

/// A write that the API server refuses again and again is a hold with the server's own words (I16). It is recorded before the
/// write is tried once more, for what fails ends the round.
fn name_refusals(plan: &mut Plan<'_>) {
    let seen = plan.seen;
    let refused: Vec<_> = seen
        .refused
        .iter()
        .filter(|write| write.times >= REFUSALS)
        .collect();
    let Some(first) = refused.first() else {
        return;
    };
    let objects: BTreeSet<&str> = refused.iter().map(|write| write.object.as_str()).collect();
    let more = match objects.len() {
        1 => String::new(),
        n => format!(" (and {} more objects)", n - 1),
    };
    let text = format!(
        "the API server refuses {} ({}): {}{more}",
        first.act, first.object, first.message
    );
    // The server's words may have numbers in them that change: what is refused is the same.
    let same = format!("the API server refuses {} ({}):", first.act, first.object);
    plan.end_holds_but(HoldReason::WriteRefused, &same);
    plan.hold(HoldReason::WriteRefused, &text);
    plan.record();
}

/// Whether anything may be touched, and the round may go on to the release.
fn may_act(plan: &mut Plan<'_>) -> bool {
    let (spec, seen) = (plan.spec, plan.seen);
    plan.cut_short();
    if spec.suspended() {
        plan.say("suspended: nothing is touched, the traffic stays as it is");
        plan.hold(HoldReason::Suspended, "spec.suspend is true");
        return false;
    }
    if let Some(conflict) = &seen.conflict {
        plan.say(conflict.clone());
        plan.hold_for(HoldReason::TargetConflict, conflict);
        return false;
    }
    if !seen.finalizer && !planted(Defect::ForgetsTheFinalizer) {
        plan.act(Act::AddFinalizer);
        return false;
    }
    if !routes_usable(plan) {
        return false;
    }
    plan.goes_on();
    true
}

/// The status of a Canary whose specification cannot be used: nothing else is touched.
#[must_use]
pub fn refuse(status: &CanaryStatus, generation: i64, problem: &str, now: DateTime<Utc>) -> CanaryStatus {
    let mut next = status.clone();
    next.observed_generation = Some(generation);
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
        next.holds = Vec::new();
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
    if matches!(routes, Routes::Awaited(_)) {
        // It may have gone together with the Service, by which all callers come meanwhile.
        plan.keep_service();
    }
    plan.say(said);
    plan.hold_for(reason, why);
    false
}
