//! A primary that does not run the promoted template, or has no pods: how it gets them again.
//!
//! Invariant: what somebody changed by hand is named and not written over, for that may be how an outage is being mended.

use super::{capacity, plan::Plan, release};
use crate::{
    api::{HoldReason, NoticeKind},
    defect::{Defect, planted},
    rollout::{Act, Weight},
};

/// At rest the primary runs the promoted template.
pub(super) fn restore(plan: &mut Plan<'_>) {
    if !hold_edited(plan) {
        follow_promoted_template(plan);
        return_to_promoted(plan);
    }
}

/// While the canary has traffic that is to return, a primary that is gone, or has what failed, gets the promoted template as soon
/// as that is possible: from the workload if somebody set it back, else from its own ReplicaSets. Pods that have a share keep it;
/// one that was scaled to zero while it was idle gets its pods.
pub(super) fn behind_the_canary(plan: &mut Plan<'_>) {
    if hold_edited(plan) {
        return;
    }
    if plan.primary().is_some_and(|primary| primary.desired == 0) {
        return plan.act(Act::ScalePrimary(capacity::full(plan)));
    }
    let weight = plan.weight();
    let serves = plan.primary().is_some_and(|primary| primary.serving() > 0);
    if serves && weight != Weight::FULL && !capacity::primary_keeps_serving(plan, weight) {
        return;
    }
    follow_promoted_template(plan);
    if plan.seen.unrestorable != plan.next.revision.promoted {
        return_to_promoted(plan);
    }
}

/// Somebody changed the primary's template, or rolled it back: it runs what was not released last. It keeps that until the next
/// promotion or an undo. Returns whether it is so.
fn hold_edited(plan: &mut Plan<'_>) -> bool {
    let Some(primary) = plan.primary() else {
        return false;
    };
    let name = &plan.spec.names.primary;
    let text = if let Some(who) = primary.edited_by.as_ref().filter(|_| !is_undone(plan)) {
        format!(
            "{who} changed the pod template of Deployment {name}: it runs something that was not released"
        )
    } else if release::is_rolled_back(plan) {
        format!(
            "somebody rolled Deployment {name} back to the revision before; it keeps that until the next promotion, or \
             bellwether undo makes it the promoted one"
        )
    } else {
        return false;
    };
    let text = plan.hold(HoldReason::TargetConflict, &text);
    plan.say(text);
    true
}

/// Whether the primary bears the revision that was withdrawn, so that it gets another template in any case.
fn is_undone(plan: &Plan<'_>) -> bool {
    let revision = &plan.next.revision;
    let runs = plan.primary().map(|primary| &primary.revision);
    runs == revision.current.as_ref() && revision.current != revision.promoted
}

/// While the target has the promoted template, a primary that is gone or has another one gets it (again).
fn follow_promoted_template(plan: &mut Plan<'_>) {
    let promoted = plan.next.revision.promoted.clone();
    let (Some(target), Some(revision)) = (plan.target(), promoted) else {
        return;
    };
    if target.revision != revision || plan.primary().is_some_and(|p| p.revision == revision) {
        return;
    }
    let replicas = plan.primary().is_none().then(|| capacity::full(plan));
    plan.act(Act::Promote { revision, replicas });
}

/// A late write, a person or an undo: the primary has another template than the promoted one, and so has the target. It comes from
/// the primary's own ReplicaSets. If none has it, the primary keeps what it runs: only analysed templates bear a revision.
fn return_to_promoted(plan: &mut Plan<'_>) {
    let (Some(primary), Some(promoted)) = (plan.primary(), plan.next.revision.promoted.clone()) else {
        return;
    };
    let restored = primary.revision.is_empty() || primary.revision == promoted;
    let followed = plan.target().is_some_and(|target| target.revision == promoted);
    if restored || followed || planted(Defect::DoesNotRestore) {
        return;
    }
    if plan.seen.unrestorable.as_ref() == Some(&promoted) {
        plan.next.revision.promoted = Some(primary.revision.clone());
        tell_kept(plan);
    } else {
        plan.act(Act::Restore { revision: promoted });
    }
}

/// The primary keeps what it runs.
pub(super) fn tell_kept(plan: &mut Plan<'_>) {
    let text = format!(
        "{} cannot return to its old template and keeps the one that passed its analysis",
        plan.spec.names.primary
    );
    plan.tell(NoticeKind::Warning, "PrimaryKept", text);
}
