//! At rest (Initialized, Succeeded, Failed): all traffic on the primary, the canary at zero (I4), and an eye on the
//! target's pod template.

use super::{
    capacity,
    change::{self, Change},
    first_calls, mend,
    plan::Plan,
    quarrel, release, silence,
    transition::{self, Transition},
    undo,
};
use crate::{
    api::{HoldReason, NoticeKind, Phase},
    rollout::{Act, Serves, Weight, Workload},
};

pub(super) fn decide(plan: &mut Plan<'_>) {
    if plan.next.canary_weight > 0 {
        return after_failed_promotion(plan);
    }
    plan.mend_children();
    let home = plan.route_home();
    let stranded = leads_to_the_only_pods(plan);
    if !stranded {
        plan.point_apex(Serves::Primary);
    }
    let Some(target) = plan.target() else {
        let text = format!(
            "Deployment {} does not exist; the primary serves",
            plan.spec.names.target
        );
        plan.hold(HoldReason::TargetNotFound, &text);
        plan.say(text);
        // An undo needs no workload.
        return mend::restore(plan);
    };
    if first_calls::watch(plan) {
        return;
    }
    match change::detect(plan) {
        Change::New(revision) => {
            if transition::may(plan, Transition::Begin).is_some() {
                return release::start(plan, revision);
            }
        }
        Change::Promoted(revision) if home => back_at_promoted(plan, revision),
        Change::Promoted(_) | Change::None => {}
    }
    hold_paused(plan, target);
    mend::restore(plan);
    if plan.primary().is_none() && !plan.acting() {
        let text = format!(
            "Deployment {} is gone, and {} has another revision than the promoted one; release one that works",
            plan.spec.names.primary, plan.spec.names.target
        );
        plan.say(text.clone());
        plan.hold(HoldReason::WorkloadNotReady, &text);
        return;
    }
    if target.gone()
        && plan
            .next
            .transfer
            .as_ref()
            .is_some_and(|transfer| transfer.assumed)
    {
        // What somebody said was about these pods.
        plan.next.transfer = None;
    }
    if stranded || stands_behind_the_service(plan, target) {
        return;
    }
    if target.desired > 0 && target.up_to_date {
        follow_replicas(plan, target.desired);
        // Somebody (a person, or a tool that owns the manifest) asked for pods that nobody needs; or a newer revision came
        // while the canary was to be scaled away, and was set back.
        silence::scale_away(plan);
    }
}

/// Somebody pointed the apex Service at the target, whose pods serve, and none of the primary's does: callers keep what they
/// have until it is there again.
fn leads_to_the_only_pods(plan: &Plan<'_>) -> bool {
    let apex = &plan.seen.apex;
    // The endpoints of a Service follow a new selector after a moment.
    let serves = apex.endpoints > 0 || plan.target().is_some_and(|target| target.serving() > 0);
    apex.serves == Some(Serves::Target)
        && serves
        && plan.primary().is_none_or(|primary| primary.serving() == 0)
}

/// Somebody insists on the target's pods behind the apex Service: as long as it has the promoted template it gets some, for
/// callers without a proxy would find nobody each time.
fn stands_behind_the_service(plan: &mut Plan<'_>, target: &Workload) -> bool {
    let promoted = plan.next.revision.promoted.as_ref() == Some(&target.revision);
    if !promoted || !quarrel::is_about(plan, &Act::PointApex(Serves::Primary)) {
        return false;
    }
    if target.desired == 0 {
        plan.act(Act::ScaleTarget(capacity::full(plan)));
    }
    true
}

/// A paused Deployment with another template: nothing is released before somebody resumes it.
fn hold_paused(plan: &mut Plan<'_>, target: &Workload) {
    if target.paused && Some(&target.revision) != plan.next.revision.current.as_ref() {
        let text = format!(
            "Deployment {} is paused, and has a pod template that was not released",
            plan.spec.names.target
        );
        let text = plan.hold(HoldReason::WorkloadPaused, &text);
        plan.say(text);
    }
}

/// Replicas that a user asks for on the target belong to the primary. Only ever more: whoever wants less scales the
/// primary itself, and an autoscaler there must not be undone by a manifest's number.
fn follow_replicas(plan: &mut Plan<'_>, wanted: i32) {
    let unchanged = plan.target().map(|t| &t.revision) == plan.next.revision.promoted.as_ref();
    if unchanged && plan.primary().is_some_and(|p| p.desired < wanted) {
        plan.act(Act::ScalePrimary(wanted));
    }
}

fn back_at_promoted(plan: &mut Plan<'_>, revision: String) {
    plan.next.revision.mark = plan.target().and_then(|t| t.mark.clone());
    plan.next.revision.current = Some(revision);
    plan.enter(Phase::Initialized);
    plan.say(format!(
        "{} is back at the promoted revision; nothing to release",
        plan.spec.names.target
    ));
    plan.tell(
        NoticeKind::Normal,
        "BackAtPromoted",
        "the pod template is the promoted one again; nothing to release",
    );
}

/// The primary could not return to the promoted template: what it runs, which had passed its analysis, is the promoted
/// revision from now on.
fn keep_what_the_primary_runs(plan: &mut Plan<'_>) {
    let analysed = plan.next.revision.current.clone();
    if analysed.is_some() && plan.primary().map(|primary| &primary.revision) == analysed.as_ref() {
        plan.next.revision.promoted = analysed;
        mend::tell_kept(plan);
    }
}

/// Whether the promotion failed because the primary was late, and not by a verdict or somebody's order.
fn was_late(plan: &Plan<'_>) -> bool {
    let revision = &plan.next.revision;
    let mut rejected = revision.rejected.iter();
    rejected.any(|known| known.late && Some(&known.revision) == revision.current.as_ref())
}

/// Failed, and the canary serves because the primary could not: wait for the primary, whatever is pushed (W4).
fn after_failed_promotion(plan: &mut Plan<'_>) {
    let weight = plan.weight();
    let unreleased = plan.next.revision.current != plan.next.revision.promoted;
    let said = plan.next.transfer.as_ref().is_some_and(|known| known.assumed);
    if unreleased && (was_late(plan) || said) && undo::late_success(plan) && plan.runs_analysed() {
        // It had nothing to return to, and got ready with the new template after all, or somebody says that requests arrive.
        plan.enter(Phase::Promoting);
        return;
    }
    let fails = capacity::primary_fails(plan) && undo::late_success(plan);
    let primary_ready = plan.primary().is_some_and(Workload::ready) && !fails;
    let primary_serves = plan.primary().is_some_and(|primary| primary.serving() > 0);
    let canary_dead = plan.target().is_none_or(|t| t.serving() == 0);
    if primary_ready || (canary_dead && primary_serves) {
        plan.next.transfer = None;
        plan.lower(Weight::ZERO);
        plan.say("the primary is ready again and serves all traffic");
        plan.tell(
            NoticeKind::Normal,
            "PrimaryRecovered",
            "the primary is ready again; traffic returns to it",
        );
        return;
    }
    if let Change::New(revision) = change::detect(plan)
        && plan.elapsed(plan.phase_since(), plan.spec.progress_deadline)
    {
        // The primary does not recover, and here may be the fix: it is analysed where the traffic is (never rolled back onto
        // the broken primary, W4), and mends the primary if it passes.
        let failed = plan.next.transfer.take().filter(|_| fails);
        if failed.is_none() {
            keep_what_the_primary_runs(plan);
        }
        release::begin(plan, revision);
        plan.next.transfer = failed;
        plan.next.canary_weight = i32::from(weight.percent());
        return;
    }
    let wanted = capacity::full(plan);
    if plan.runs_analysed() && plan.target().is_some_and(|target| target.desired == 0) {
        // A tool took the only pods that are to serve.
        return plan.act(Act::ScaleTarget(wanted));
    }
    mend::behind_the_canary(plan);
    let split = capacity::split_by_pods(plan).min(weight);
    if primary_serves && !split.is_zero() && !capacity::canary_keeps(plan, weight) {
        // Both have too few pods: each serves by them.
        plan.lower(split);
    } else {
        plan.route(weight);
    }
    let (hold, text) = if fails {
        plan.hold(
            HoldReason::NotReached,
            "requests fail at the primary with this revision; bellwether advance says that they arrive now",
        );
        (
            "the primary fails under the traffic with this revision; the canary serves all traffic until another revision is released",
            "the promotion failed, for the primary fails under the traffic: the canary serves all traffic",
        )
    } else {
        (
            "the primary is not ready; the canary serves all traffic until it is",
            "the promotion failed and the primary is not ready: the canary serves all traffic",
        )
    };
    plan.hold(HoldReason::PromotionFailed, hold);
    plan.say(text);
}
