//! How the withdrawal of a revision ends, by a rollback or an undo: what is remembered and told of it.
//!
//! Invariant: the terminal phase is written last, when it is true.

use super::{plan::Plan, transfer};
use crate::{
    api::{NoticeKind, Outcome, Phase, RejectedRevision, Retirement, RetirementKind},
    defect::{Defect, planted},
    rollout::Weight,
};

/// Revisions that are remembered as rejected.
const REJECTED: usize = 5;

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
        let late = retirement.kind == RetirementKind::UndoOnCanary && !transfer::failed(plan);
        reject(plan, late);
    }
    plan.next.retirement = None;
    // As long as the canary serves, it is known that requests do not arrive at the primary.
    let keeps = transfer::failed(plan) && plan.next.canary_weight > 0;
    plan.next.transfer = plan.next.transfer.take().filter(|_| keeps);
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
pub(super) fn reject(plan: &mut Plan<'_>, late: bool) {
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
