//! Whether the target's pod template is a new revision. A revision seen is never lost: what is not acted on now
//! still differs from `status.revision.current` later (W3).

use chrono::TimeDelta;

use super::plan::Plan;
use crate::{
    api::{NoticeKind, Phase},
    defect::{Defect, planted},
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
        return Change::None;
    }
    if !target.up_to_date || target.mark.is_none() {
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
    if !target.paused && plan.elapsed(plan.seen.template_since, FENCE) {
        rerecord(plan, &target.revision);
    }
    Change::None
}

/// The server returns the same template in another form: the new digest replaces the old one and starts nothing.
fn rerecord(plan: &mut Plan<'_>, digest: &str) {
    let revision = &mut plan.next.revision;
    if revision.promoted == revision.current {
        revision.promoted = Some(digest.to_owned());
    }
    revision.current = Some(digest.to_owned());
    plan.tell(
        NoticeKind::Normal,
        "RevisionRerecorded",
        "the server returns the pod template in another form; no release was started",
    );
}
