//! Withdrawing a revision that the primary has not taken over: rollback and abort.
//!
//! Invariant: from the verdict to the weight there is nothing in the way (I6); the terminal phase is written last,
//! when it is true.

use super::{capacity, plan::Plan, undo};
use crate::{
    api::{HoldReason, NoticeKind, Outcome, Phase, RejectedRevision, Retirement, RetirementKind},
    defect::{Defect, planted},
    rollout::{Act, Weight},
};

/// Revisions that are remembered as rejected.
const REJECTED: usize = 5;

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
        conclude(plan, &retirement);
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
                let text = format!("{} cannot carry the traffic", plan.spec.names.primary);
                plan.hold(HoldReason::WorkloadNotReady, &text);
            }
            finish_when_drained(plan, &retirement);
        }
        RetirementKind::UndoOnCanary | RetirementKind::UndoOnPrimary => undo::proceed(plan, &retirement),
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
    let least = capacity::least_weight(plan).min(plan.weight());
    plan.lower(least);
}

/// A withdrawal is over when the routes were read back without the canary and every proxy had time to follow. Its pods go
/// later, at rest, when no request reaches them: a pipeline does not wait for those who still call them.
pub(super) fn finish_when_drained(plan: &mut Plan<'_>, retirement: &Retirement) {
    if planted(Defect::ConcludesEarly) {
        return conclude(plan, retirement);
    }
    if plan.acting() || !plan.weight().is_zero() || !plan.settled_at(Weight::ZERO) {
        return;
    }
    conclude(plan, retirement);
}

/// Writes the end of a withdrawal down.
pub(super) fn conclude(plan: &mut Plan<'_>, retirement: &Retirement) {
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
    } else {
        reject(plan, retirement.kind == RetirementKind::UndoOnCanary);
    }
    plan.next.retirement = None;
    plan.next.transfer = None;
    plan.next.step = None;
    plan.clear_holds();
    plan.enter(phase);
    plan.say(said.clone());
    let (severity, reason) = match phase {
        Phase::Failed => (NoticeKind::Warning, "Failed"),
        _ => (NoticeKind::Normal, "RolloutEnded"),
    };
    plan.tell(severity, reason, said);
}

/// The verdict belongs to this template under this mark: whatever becomes the present revision later, it is not released
/// again by itself.
fn reject(plan: &mut Plan<'_>, late: bool) {
    let revision = &mut plan.next.revision;
    let (Some(current), Some(mark)) = (revision.current.clone(), revision.mark.clone()) else {
        return;
    };
    let verdict = RejectedRevision {
        revision: current,
        mark,
        late,
    };
    let same = |known: &RejectedRevision| known.revision == verdict.revision && known.mark == verdict.mark;
    revision.rejected.retain(|known| !same(known));
    revision.rejected.insert(0, verdict);
    revision.rejected.truncate(REJECTED);
}
