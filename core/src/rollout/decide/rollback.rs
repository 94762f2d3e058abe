//! Withdrawing a revision that the primary has not taken over: rollback and abort.
//!
//! Invariant: from the verdict to the weight there is nothing in the way (I6).

use super::{capacity, mend, plan::Plan, undo, withdrawal};
use crate::{
    api::{HoldReason, NoticeKind, Phase, Retirement, RetirementKind},
    defect::{Defect, planted},
    rollout::Act,
};

/// The verdict fell: traffic first, then the memory of it.
pub(super) fn begin(plan: &mut Plan<'_>, kind: RetirementKind, verdict: &str) {
    plan.next.retirement = Some(Retirement {
        kind,
        since: plan.now,
        message: verdict.to_owned(),
    });
    plan.clear_holds();
    if matches!(plan.next.phase, Some(Phase::Waiting | Phase::WaitingPromotion)) {
        plan.enter(Phase::Progressing);
    }
    tell_verdict(plan, kind, verdict);
    if planted(Defect::ScalesBeforeItRoutes) {
        plan.act(Act::ScaleTarget(0));
    }
    if planted(Defect::ConcludesEarly)
        && let Some(retirement) = plan.next.retirement.clone()
    {
        plan.next.canary_weight = 0;
        withdrawal::conclude(plan, &retirement);
        plan.record();
    }
    match kind {
        RetirementKind::RollBack | RetirementKind::Abort | RetirementKind::Cancel => return_traffic(plan),
        RetirementKind::UndoOnCanary | RetirementKind::UndoOnPrimary => undo::begin(plan, kind),
    }
}

fn tell_verdict(plan: &mut Plan<'_>, kind: RetirementKind, verdict: &str) {
    let (severity, reason, text) = match kind {
        RetirementKind::RollBack => (
            NoticeKind::Warning,
            "RolledBack",
            format!("rolled back: {verdict}"),
        ),
        RetirementKind::Abort => (NoticeKind::Normal, "Aborted", format!("aborted: {verdict}")),
        RetirementKind::Cancel => (NoticeKind::Normal, "Aborted", format!("aborted {verdict}")),
        RetirementKind::UndoOnCanary | RetirementKind::UndoOnPrimary => (
            NoticeKind::Warning,
            "PromotionFailed",
            format!("promotion failed: {verdict}"),
        ),
    };
    plan.tell(severity, reason, text.clone());
    plan.say(text);
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
            return_traffic(plan);
            let sent = plan.seen.routes.weight().is_some_and(|weight| !weight.is_zero());
            if !plan.weight().is_zero() || (sent && !capacity::least_weight(plan).is_zero()) {
                hold_what_stays(plan);
            }
            withdrawal::finish_when_drained(plan, &retirement);
        }
        RetirementKind::UndoOnCanary | RetirementKind::UndoOnPrimary => undo::proceed(plan, &retirement),
    }
}

/// The primary cannot carry what is withdrawn: that has a name, and whatever can be done for the primary is done.
fn hold_what_stays(plan: &mut Plan<'_>) {
    let primary = &plan.spec.names.primary;
    if capacity::primary_fails(plan) {
        let text = format!(
            "requests fail at {primary}, so the traffic cannot return to it; bellwether advance says that they arrive now"
        );
        plan.hold(HoldReason::NotReached, &text);
    } else {
        let text = format!("{primary} cannot carry the traffic");
        plan.hold(HoldReason::WorkloadNotReady, &text);
    }
    if !plan.acting() {
        mend::behind_the_canary(plan);
    }
}

/// Somebody called the release off, and somebody deleted the primary before it had all of its traffic back: the release is
/// the only one that serves, and its promotion makes a primary again.
fn go_on_without_primary(plan: &mut Plan<'_>) {
    plan.next.retirement = None;
    let text = format!(
        "{} does not exist any more, so the traffic has nowhere to return to; the release goes on",
        plan.spec.names.primary
    );
    plan.say(text.clone());
    plan.tell(NoticeKind::Warning, "GoesOn", text);
}

/// As much traffic as the primary's pods carry goes back to it; never more of it to the canary.
fn return_traffic(plan: &mut Plan<'_>) {
    if plan.weight().is_zero() {
        plan.route_home();
        return;
    }
    let least = capacity::kept_weight(plan);
    plan.lower(least);
}
