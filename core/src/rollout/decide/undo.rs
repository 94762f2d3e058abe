//! Undoing a promotion: the primary returns to its last promoted template, and whoever serves best has the traffic meanwhile.
//!
//! Invariants: an undo ends, within `progressDeadlineSeconds`, whatever becomes of the primary; a primary that was given a new
//! template is never simply sent the traffic back (W4).

use chrono::{DateTime, Utc};

use super::{capacity, plan::Plan, silence, transfer, withdrawal};
use crate::{
    api::{HoldReason, Phase, Retirement, RetirementKind},
    defect::{Defect, planted},
    rollout::{Act, Serves, Weight, Workload},
};

/// The traffic first, then the memory of it, then the template.
pub(super) fn begin(plan: &mut Plan<'_>, kind: RetirementKind) {
    move_traffic(plan, kind);
    plan.record();
    restore(plan, plan.now);
}

/// Goes on with an undo.
pub(super) fn proceed(plan: &mut Plan<'_>, retirement: &Retirement) {
    let restored = plan
        .primary()
        .is_some_and(|p| Some(&p.revision) == plan.next.revision.promoted.as_ref());
    if restored && plan.primary().is_some_and(Workload::ready) {
        plan.lower(Weight::ZERO);
        return withdrawal::finish_when_drained(plan, retirement);
    }
    if forward_again(plan, retirement.kind) {
        return;
    }
    plan.hold(HoldReason::PromotionFailed, &retirement.message);
    move_traffic(plan, retirement.kind);
    // The primary is not as it should be in its time: whoever carries the traffic keeps it, nothing is scaled away, and a
    // newer revision is heard from now on. What could not stand in is replaced all the same before that.
    let over = plan.spec.progress_deadline + plan.spec.drain;
    let since = plan
        .next
        .resumed_at
        .map_or(retirement.since, |resumed| resumed.max(retirement.since));
    if plan.elapsed(since, over) {
        return withdrawal::conclude(plan, retirement);
    }
    restore(plan, since);
}

/// Puts the traffic where the undo wants it, by as much as the pods there carry.
fn move_traffic(plan: &mut Plan<'_>, kind: RetirementKind) {
    let weight = wanted_weight(plan, kind);
    if weight > plan.weight() {
        plan.stand_in(weight);
    } else {
        plan.lower(weight);
    }
}

fn wanted_weight(plan: &Plan<'_>, kind: RetirementKind) -> Weight {
    let canary_serves = plan.target().is_some_and(|t| t.serving() > 0);
    let primary_serves = plan.primary().is_some_and(|p| p.serving() > 0);
    match kind {
        RetirementKind::UndoOnCanary if canary_serves && plan.runs_analysed() => capacity::best_split(plan),
        RetirementKind::UndoOnCanary if canary_serves && !capacity::primary_carries_all(plan) => {
            capacity::least_weight(plan)
        }
        RetirementKind::UndoOnCanary => Weight::ZERO,
        _ if stands_in(plan) && capacity::canary_carries(plan, Weight::FULL) => Weight::FULL,
        // Whoever serves has the traffic while the primary has no pod at all.
        _ if !primary_serves => capacity::least_weight(plan),
        _ => capacity::kept_weight(plan),
    }
}

/// The revision that the primary has to return to and can.
fn restorable(plan: &Plan<'_>) -> Option<String> {
    let promoted = plan.next.revision.promoted.clone()?;
    if planted(Defect::DoesNotRestore) || plan.seen.unrestorable.as_ref() == Some(&promoted) {
        return None;
    }
    // A primary that somebody deleted took its ReplicaSets along: there is nothing to restore it from.
    let other = plan.primary().is_some_and(|p| p.revision != promoted);
    other.then_some(promoted)
}

/// Whether too few of the primary's pods stay while it is restored, and the canary can serve meanwhile.
fn stands_in(plan: &Plan<'_>) -> bool {
    let serves = plan.primary().is_some_and(|p| p.serving() > 0);
    serves
        && !capacity::primary_keeps_serving(plan, Weight::ZERO)
        && plan.target().is_some_and(|t| t.serving() > 0)
        && restorable(plan).is_some()
}

/// Gives the primary its old template back. A canary that stands in has the pods and the traffic first (I2), but pods that do
/// not come and proxies that do not follow do not keep a bad revision there for longer than the deadline.
fn restore(plan: &mut Plan<'_>, since: DateTime<Utc>) {
    let Some(revision) = restorable(plan) else {
        return;
    };
    if stands_in(plan) && !plan.elapsed(since, plan.spec.progress_deadline) {
        let full = capacity::full(plan);
        if plan.target().is_some_and(|target| target.desired < full) {
            return plan.act(Act::ScaleTarget(full));
        }
        let moved = plan.weight() == Weight::FULL && !plan.acting() && plan.settled_at(Weight::FULL);
        if !moved || !silence::silent(plan, Serves::Primary) {
            return;
        }
    }
    plan.act(Act::Restore { revision });
}

/// The primary cannot return to anything, because its old template is nowhere any more, and got ready with the new one
/// after all: then the promotion goes on, unless it was judged bad or somebody called it off.
fn forward_again(plan: &mut Plan<'_>, kind: RetirementKind) -> bool {
    let nothing_else =
        plan.seen.unrestorable.is_some() && plan.seen.unrestorable == plan.next.revision.promoted;
    if kind != RetirementKind::UndoOnCanary || !nothing_else || !late_success(plan) || transfer::failed(plan)
    {
        return false;
    }
    plan.next.retirement = None;
    plan.clear_holds();
    plan.enter(Phase::Promoting);
    true
}

/// Whether the primary is ready with the analysed revision.
pub(super) fn late_success(plan: &Plan<'_>) -> bool {
    let analysed = plan.next.revision.current.as_ref();
    plan.primary()
        .is_some_and(|primary| primary.ready() && Some(&primary.revision) == analysed)
}
