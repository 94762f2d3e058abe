//! A release begins: the first moment of the rollout of a revision.

use super::{
    plan::Plan,
    pods,
    transition::{self, Transition},
};
use crate::api::{NoticeKind, Phase, RevisionStatus};

/// Begins the rollout of `revision`: the intent first, then the pods.
pub(super) fn start(plan: &mut Plan<'_>, revision: String) {
    begin(plan, revision);
    let confirmed = transition::may(plan, Transition::StartPods).is_some();
    plan.record();
    if confirmed {
        pods::start_pods(plan);
    }
}

/// Sets the status to the first moment of the rollout of `revision`.
pub(super) fn begin(plan: &mut Plan<'_>, revision: String) {
    let short = revision.get(..12).unwrap_or(&revision).to_owned();
    if is_rolled_back(plan) {
        // What somebody took out of production is nothing to return to.
        plan.next.revision.promoted = plan.next.revision.previous.take();
    }
    plan.next.revision = RevisionStatus {
        current: Some(revision),
        promoted: plan.next.revision.promoted.take(),
        previous: plan.next.revision.previous.take(),
        mark: plan.target().and_then(|t| t.mark.clone()),
        started_at: Some(plan.now),
        waiting: None,
        rejected: std::mem::take(&mut plan.next.revision.rejected),
        images: std::mem::take(&mut plan.next.revision.images),
        requesters: std::mem::take(&mut plan.next.revision.requesters),
        shipping: plan.next.revision.shipping.take(),
    };
    plan.next.canary_weight = 0;
    plan.next.pause = None;
    plan.next.gates = Vec::new();
    plan.next.failed_checks = 0;
    plan.next.step = None;
    plan.clear_holds();
    plan.next.retirement = None;
    plan.next.transfer = None;
    plan.next.checks = Vec::new();
    plan.enter(Phase::Progressing);
    plan.next.last_transition_time = Some(plan.now);
    plan.say(format!("new revision {short}: waiting for its pods"));
    plan.tell(
        NoticeKind::Normal,
        "NewRevision",
        format!("new revision {short} of {}", plan.spec.names.target),
    );
}

/// Whether the primary runs the revision before the promoted one, which nobody here gave it.
pub(super) fn is_rolled_back(plan: &Plan<'_>) -> bool {
    let revision = &plan.next.revision;
    let Some(runs) = plan.primary().map(|primary| &primary.revision) else {
        return false;
    };
    // What a promotion gave it that failed is ours.
    let given = revision.current.as_ref() == Some(runs);
    !given && revision.previous.as_ref() == Some(runs) && revision.promoted != revision.previous
}
