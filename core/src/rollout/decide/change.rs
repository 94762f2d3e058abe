//! Whether the target's pod template is a new revision. A revision seen is never lost: what is not acted on now
//! still differs from `status.revision.current` later (W3).

use chrono::TimeDelta;

use super::plan::Plan;
use crate::{
    api::{NoticeKind, Phase},
    defect::{Defect, planted},
    rollout::Workload,
};

/// How long a changed digest may stand beside an unmoved mark before it is taken for a server's new default.
const FENCE: TimeDelta = TimeDelta::seconds(10);

/// What became of the target's pod template.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is the revision that was recorded, or too little is known yet.
    None,
    /// It is the promoted revision again.
    Promoted(String),
    /// It is a revision not seen before.
    New(String),
}

/// Compares the target's template with the recorded revision.
pub(super) fn detect(plan: &mut Plan<'_>) -> Change {
    let Some(target) = plan.target() else {
        return Change::None;
    };
    let known = &plan.next.revision;
    if known.current.as_ref() == Some(&target.revision) {
        let moved =
            target.up_to_date && target.mark.is_some() && known.mark.is_some() && known.mark != target.mark;
        if moved {
            // Something that is no part of the revision changed: the next form of this template is told by its new mark.
            plan.next.revision.mark.clone_from(&target.mark);
        }
        return Change::None;
    }
    if !target.up_to_date || target.mark.is_none() {
        return Change::None;
    }
    if is_rejected(plan, target) {
        return Change::None;
    }
    let under_way = plan.next.phase == Some(Phase::Progressing);
    if known.promoted.as_ref() == Some(&target.revision) {
        if under_way && planted(Defect::OverlooksARevert) {
            return Change::None;
        }
        return Change::Promoted(target.revision.clone());
    }
    if known.mark.is_none() || known.mark != target.mark {
        if under_way && planted(Defect::OverlooksANewerRevision) {
            plan.next.revision.current = Some(target.revision.clone());
            return Change::None;
        }
        return Change::New(target.revision.clone());
    }
    // A paused Deployment does not move its mark before it is resumed.
    if !target.paused && !settled(plan) && plan.elapsed(plan.seen.template_since, FENCE) {
        rerecord(plan, &target.revision);
    }
    Change::None
}

/// Whether this very template under this mark was withdrawn before: a verdict stands, whatever the present revision has become
/// since. Applied anew it has another mark, and is a new release.
fn is_rejected(plan: &Plan<'_>, target: &Workload) -> bool {
    let mut rejected = plan.next.revision.rejected.iter();
    rejected.any(|known| known.revision == target.revision && target.mark.as_ref() == Some(&known.mark))
}

/// Writes down which revision waits for its turn, so that one that was seen is never lost (W3).
pub(super) fn note_waiting(plan: &mut Plan<'_>) {
    let known = &plan.next.revision;
    let newer = plan.target().filter(|target| {
        let other = Some(&target.revision) != known.current.as_ref() && target.up_to_date;
        let moved = known.mark.is_some() && target.mark.is_some() && known.mark != target.mark;
        other && moved && !is_rejected(plan, target)
    });
    let under_way = plan.next.phase.is_some_and(|phase| phase != Phase::Terminating);
    plan.next.revision.waiting = newer.filter(|_| under_way).map(|target| target.revision.clone());
}

/// Whether nothing depends on the form in which the server returns the template: nothing is under way, and the primary runs
/// the promoted one. A new form is not even worth a write then, for an upgrade brings one to every Canary at once.
fn settled(plan: &Plan<'_>) -> bool {
    let promoted = plan.next.revision.promoted.as_ref();
    plan.at_rest() && promoted.is_some() && plan.primary().map(|primary| &primary.revision) == promoted
}

/// The server returns the same template in another form: the new digest replaces the old one and starts nothing.
fn rerecord(plan: &mut Plan<'_>, digest: &str) {
    let revision = &mut plan.next.revision;
    if revision.promoted == revision.current {
        revision.promoted = Some(digest.to_owned());
    }
    let old = revision.current.replace(digest.to_owned());
    if let Some(asked) = old.and_then(|old| revision.requesters.remove(&old)) {
        revision
            .requesters
            .entry(digest.to_owned())
            .or_default()
            .merge(&asked);
    }
    plan.tell(
        NoticeKind::Normal,
        "RevisionRerecorded",
        "the server returns the pod template in another form; no release was started",
    );
}
