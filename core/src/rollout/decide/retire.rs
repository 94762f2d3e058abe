//! Withdrawing a revision: rollback, abort, and the undo of a promotion that failed.
//!
//! Invariant: from the verdict to the weight there is nothing in the way (I6); the terminal phase is written last,
//! when it is true.

use chrono::{DateTime, Utc};

use super::{plan::Plan, silence};
use crate::{
    api::{HoldReason, NoticeKind, Outcome, Phase, Retirement, RetirementKind},
    defect::{Defect, planted},
    rollout::{Act, Serves, Weight, Workload},
};

/// The verdict fell: traffic first, then the memory of it.
pub(super) fn begin(plan: &mut Plan<'_>, kind: RetirementKind, verdict: &str) {
    plan.next.retirement = Some(Retirement {
        kind,
        since: plan.now,
        message: verdict.to_owned(),
    });
    plan.next.hold = None;
    if matches!(plan.next.phase, Some(Phase::Waiting | Phase::WaitingPromotion)) {
        plan.enter(Phase::Progressing);
    }
    let (reason, text) = match kind {
        RetirementKind::RollBack => ("RolledBack", format!("rolled back: {verdict}")),
        RetirementKind::Abort => ("Aborted", format!("aborted: {verdict}")),
        RetirementKind::Cancel => ("Aborted", format!("aborted {verdict}")),
        RetirementKind::UndoOnCanary | RetirementKind::UndoOnPrimary => {
            ("PromotionFailed", format!("promotion failed: {verdict}"))
        }
    };
    let severity = if matches!(kind, RetirementKind::Abort | RetirementKind::Cancel) {
        NoticeKind::Normal
    } else {
        NoticeKind::Warning
    };
    plan.tell(severity, reason, text.clone());
    plan.say(text);
    if planted(Defect::ScalesBeforeItRoutes) {
        plan.act(Act::ScaleTarget(0));
    }
    move_traffic(plan, kind);
    if matches!(kind, RetirementKind::UndoOnCanary | RetirementKind::UndoOnPrimary) {
        plan.record();
        restore(plan, plan.now);
    }
}

/// Goes on with a withdrawal that was begun.
pub(super) fn proceed(plan: &mut Plan<'_>) {
    let Some(retirement) = plan.next.retirement.clone() else {
        return;
    };
    if retirement.kind == RetirementKind::Cancel && plan.primary().is_none() && !plan.weight().is_zero() {
        return go_on_without_primary(plan);
    }
    match retirement.kind {
        RetirementKind::RollBack | RetirementKind::Abort | RetirementKind::Cancel => {
            move_traffic(plan, retirement.kind);
            let sent = plan.seen.routes.weight().is_some_and(|weight| !weight.is_zero());
            if !plan.weight().is_zero() || (sent && !plan.least_weight().is_zero()) {
                let text = format!("{} cannot carry the traffic", plan.spec.names.primary);
                plan.hold(HoldReason::WorkloadNotReady, &text);
            } else {
                plan.clear_hold(&[HoldReason::WorkloadNotReady]);
            }
            finish_when_drained(plan, &retirement);
        }
        RetirementKind::UndoOnCanary | RetirementKind::UndoOnPrimary => undo(plan, &retirement),
    }
}

/// Somebody called the release off, and somebody deleted the primary before it had all of its traffic back: the release is
/// the only one that serves, and its promotion makes a primary again.
fn go_on_without_primary(plan: &mut Plan<'_>) {
    plan.next.retirement = None;
    plan.clear_hold(&[HoldReason::WorkloadNotReady]);
    let text = format!(
        "{} does not exist any more, so the traffic has nowhere to return to; the release goes on",
        plan.spec.names.primary
    );
    plan.say(text.clone());
    plan.tell(NoticeKind::Warning, "GoesOn", text);
}

/// Puts the traffic where this withdrawal wants it, by as much as the pods there can carry.
fn move_traffic(plan: &mut Plan<'_>, kind: RetirementKind) {
    let ordinary = !matches!(kind, RetirementKind::UndoOnCanary | RetirementKind::UndoOnPrimary);
    if ordinary && plan.weight().is_zero() {
        return plan.route_home();
    }
    let canary_serves = plan.target().is_some_and(|t| t.serving() > 0);
    let analysed = plan.runs_analysed();
    let primary = plan.primary_carries_all();
    let weight = match kind {
        RetirementKind::UndoOnCanary if canary_serves && (analysed || !primary) => Weight::FULL,
        RetirementKind::UndoOnPrimary if stands_in(plan) => Weight::FULL,
        RetirementKind::UndoOnCanary => Weight::ZERO,
        // Whoever serves has the traffic while the primary has no pod at all.
        RetirementKind::UndoOnPrimary if plan.primary().is_none_or(|p| p.serving() == 0) => {
            plan.least_weight()
        }
        _ => plan.least_weight().min(plan.weight()),
    };
    if weight > plan.weight() {
        plan.raise(weight);
    } else {
        plan.lower(weight);
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

/// Whether the primary's pods will all go before restored ones come (`Recreate`), and the canary can serve meanwhile.
fn stands_in(plan: &Plan<'_>) -> bool {
    let serves = plan.primary().is_some_and(|p| p.floor == 0 && p.serving() > 0);
    serves && plan.target().is_some_and(|t| t.serving() > 0) && restorable(plan).is_some()
}

/// Gives the primary its old template back. A canary that stands in has the traffic first (I2), but proxies that do not
/// follow do not keep a bad revision there for longer than the deadline.
fn restore(plan: &mut Plan<'_>, since: DateTime<Utc>) {
    let Some(revision) = restorable(plan) else {
        return;
    };
    if stands_in(plan) && !plan.elapsed(since, plan.spec.progress_deadline) {
        let moved = plan.weight() == Weight::FULL && !plan.acting() && plan.settled_at(Weight::FULL);
        if !moved || !silence::silent(plan, Serves::Primary) {
            return;
        }
    }
    plan.act(Act::Restore { revision });
}

/// The primary returns to its last promoted template; the healthy side has the traffic until it is ready.
fn undo(plan: &mut Plan<'_>, retirement: &Retirement) {
    let restored = plan
        .primary()
        .is_some_and(|p| Some(&p.revision) == plan.next.revision.promoted.as_ref());
    if restored && plan.primary().is_some_and(Workload::ready) {
        plan.clear_hold(&[HoldReason::PromotionFailed]);
        plan.lower(Weight::ZERO);
        return finish_when_drained(plan, retirement);
    }
    if forward_again(plan, retirement.kind) {
        return;
    }
    if !stands_in(plan) {
        plan.clear_hold(&[HoldReason::TrafficNotShifting, HoldReason::MetricsUnavailable]);
    }
    // What keeps the canary from standing in has a name of its own: two holds in turn would be a write each.
    plan.hold_beside(&[], HoldReason::PromotionFailed, &retirement.message);
    move_traffic(plan, retirement.kind);
    restore(plan, retirement.since);
    if plan.weight() == Weight::FULL && plan.elapsed(retirement.since, plan.spec.progress_deadline) {
        // Neither is as it should be: the healthy canary keeps the traffic, nothing is scaled away.
        conclude(plan, retirement);
    }
}

/// The primary cannot return to anything, because its old template is nowhere any more, and got ready with the new one
/// after all: then the promotion goes on, unless that was judged bad.
fn forward_again(plan: &mut Plan<'_>, kind: RetirementKind) -> bool {
    let nothing_else =
        plan.seen.unrestorable.is_some() && plan.seen.unrestorable == plan.next.revision.promoted;
    let bad = kind != RetirementKind::UndoOnCanary && plan.next.failed_checks >= plan.spec.threshold;
    if bad || !nothing_else || !late_success(plan) {
        return false;
    }
    plan.next.retirement = None;
    plan.enter(Phase::Promoting);
    true
}

/// Whether the primary is ready with the analysed revision.
pub(super) fn late_success(plan: &Plan<'_>) -> bool {
    let analysed = plan.next.revision.current.as_ref();
    plan.primary()
        .is_some_and(|primary| primary.ready() && Some(&primary.revision) == analysed)
}

fn finish_when_drained(plan: &mut Plan<'_>, retirement: &Retirement) {
    if planted(Defect::ConcludesEarly) {
        return conclude(plan, retirement);
    }
    if plan.acting() || !plan.weight().is_zero() || !plan.settled_at(Weight::ZERO) {
        return;
    }
    match plan.target() {
        Some(target) if target.desired > 0 => {
            if silence::silent(plan, Serves::Target) {
                plan.act(Act::ScaleTarget(0));
            }
        }
        Some(target) if !target.gone() => {}
        _ => conclude(plan, retirement),
    }
}

fn conclude(plan: &mut Plan<'_>, retirement: &Retirement) {
    let text = retirement.message.clone();
    let (phase, outcome, said) = match retirement.kind {
        RetirementKind::RollBack => (Phase::Failed, Outcome::RolledBack, format!("rolled back: {text}")),
        RetirementKind::Abort => (Phase::Initialized, Outcome::Aborted, format!("aborted: {text}")),
        RetirementKind::Cancel => (Phase::Failed, Outcome::Aborted, format!("aborted {text}")),
        RetirementKind::UndoOnCanary | RetirementKind::UndoOnPrimary => (
            Phase::Failed,
            Outcome::Failed,
            format!("promotion failed: {text}"),
        ),
    };
    plan.remember(outcome, &text);
    if retirement.kind == RetirementKind::Abort {
        plan.next
            .revision
            .current
            .clone_from(&plan.next.revision.promoted);
        // Another template that came meanwhile has a mark of its own, and is a new revision.
        let promoted = plan.target().filter(|target| {
            Some(&target.revision) == plan.next.revision.promoted.as_ref() || planted(Defect::TakesAnyMark)
        });
        plan.next.revision.mark = promoted.and_then(|target| target.mark.clone());
    }
    plan.next.retirement = None;
    plan.next.step = None;
    plan.next.hold = None;
    plan.enter(phase);
    plan.say(said.clone());
    let (severity, reason) = match phase {
        Phase::Failed => (NoticeKind::Warning, "Failed"),
        _ => (NoticeKind::Normal, "RolloutEnded"),
    };
    plan.tell(severity, reason, said);
}
