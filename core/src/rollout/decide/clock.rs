//! A clock that was set back: times of the status lie in the future, and would be waited for.
//!
//! What is due counts on from now. What the sampler has watched since then is known to be of the present traffic, so that
//! bad values are found at once; a pass begins anew.

use chrono::{DateTime, TimeDelta, Utc};

use super::plan::Plan;
use crate::{
    api::Hold,
    defect::{Defect, planted},
};

/// Brings times of the status that are still to come back to what is known of them.
pub(super) fn catch_up(plan: &mut Plan<'_>) {
    if planted(Defect::WaitsForTheFuture) {
        return;
    }
    let (now, watched) = (plan.now, plan.seen.sampled_since.min(plan.now));
    let next = &mut plan.next;
    if let Some(step) = &mut next.step {
        if step.started_at > now {
            step.weight_since.get_or_insert(watched);
            step.started_at = now;
        }
        not_after(now, watched, &mut step.traffic_since);
        step.weight_since
            .iter_mut()
            .for_each(|at| not_after(now, watched, at));
        step.last_check_at
            .iter_mut()
            .for_each(|at| not_after(now, watched, at));
        step.dark_since.iter_mut().for_each(|at| not_after(now, now, at));
        step.blind_since
            .iter_mut()
            .for_each(|at| not_after(now, watched, at));
    }
    next.revision
        .started_at
        .iter_mut()
        .for_each(|at| not_after(now, now, at));
    next.last_transition_time
        .iter_mut()
        .for_each(|at| not_after(now, now, at));
    let hold = |hold: &mut Hold| not_after(now, now, &mut hold.since);
    next.hold.iter_mut().chain(&mut next.holds).for_each(hold);
    next.retreat
        .iter_mut()
        .for_each(|retreat| not_after(now, now, &mut retreat.since));
    next.retirement
        .iter_mut()
        .for_each(|retirement| not_after(now, now, &mut retirement.since));
    next.transfer
        .iter_mut()
        .for_each(|transfer| not_after(now, now, &mut transfer.since));
    next.first_calls.iter_mut().for_each(|known| {
        not_after(now, now, &mut known.since);
        known
            .counted_at
            .iter_mut()
            .for_each(|at| not_after(now, watched, at));
    });
    next.interventions
        .iter_mut()
        .for_each(|known| not_after(now, now, &mut known.at));
    // It is over, and the end of no rollout that begins from now on.
    let before = now - TimeDelta::milliseconds(1);
    next.history
        .iter_mut()
        .for_each(|past| not_after(now, before, &mut past.ended_at));
    next.resumed_at.iter_mut().for_each(|at| not_after(now, now, at));
    next.gates
        .iter_mut()
        .for_each(|gate| not_after(now, now, &mut gate.since));
}

fn not_after(now: DateTime<Utc>, known: DateTime<Utc>, at: &mut DateTime<Utc>) {
    if *at > now {
        *at = known;
    }
}
