//! How a release is taken further: to a step, or into its promotion.
//!
//! Invariant: what gives it more traffic or promotes it needs the [`Permit`] of its transition.

use super::{
    plan::Plan,
    quarrel,
    steps::{present_step, step_from, step_left},
    transition::{self, Permit, Transition},
};
use crate::{
    api::{NoticeKind, Phase, StepStatus},
    defect::{Defect, planted},
    rollout::{Act, Weight},
};

/// Goes to step `index`: intent first, then the routes.
pub(super) fn raise(plan: &mut Plan<'_>, permit: Permit, index: usize) {
    raise_to(plan, permit, index, plan.spec.steps.weight(index));
}

/// Goes to step `index` with this weight, which is the step's own unless the primary cannot carry the rest. What somebody else
/// sends to the canary, and the primary cannot take back, is a step that was taken.
fn raise_to(plan: &mut Plan<'_>, permit: Permit, index: usize, weight: Weight) {
    let stays = plan.kept_by_others(weight).filter(|stays| *stays > weight);
    let (index, weight) = stays.map_or((index, weight), |stays| {
        (index.max(step_from(plan, stays)), stays)
    });
    come_to(plan, index, weight);
    plan.raise(permit, weight);
}

/// What is not analysed stays at its weight: step `index` begins without more traffic.
pub(super) fn stay_at(plan: &mut Plan<'_>, weight: Weight) {
    come_to(plan, step_from(plan, weight), weight);
    plan.stand_in(weight);
}

fn come_to(plan: &mut Plan<'_>, index: usize, weight: Weight) {
    let old = plan.next.step.take();
    plan.next.step = Some(StepStatus {
        dark_since: None,
        blind_retreats: old.as_ref().map_or(0, |s| s.blind_retreats),
        index: i32::try_from(index).unwrap_or(i32::MAX),
        started_at: plan.now,
        weight_since: Some(plan.now),
        // After a retreat the canary's traffic begins anew; otherwise it has run since the first step.
        traffic_since: old
            .as_ref()
            .filter(|_| !plan.weight().is_zero())
            .map_or(plan.now, |s| s.traffic_since),
        last_check_at: None,
        blind_since: None,
        retreats: old.as_ref().map_or(0, |s| s.retreats),
    });
    let steps = plan.spec.steps.last() + 1;
    plan.clear_holds();
    plan.enter(Phase::Progressing);
    plan.say(format!("step {} of {steps}: weight {weight}", index + 1));
    plan.tell(
        NoticeKind::Normal,
        "WeightAdvanced",
        format!("step {} of {steps}: weight {weight}", index + 1),
    );
    plan.sample();
}

/// The analysis of what has traffic already begins with the first step that is not below it.
pub(super) fn begin_under_traffic(plan: &mut Plan<'_>, permit: Permit) {
    let weight = plan.weight();
    let index = step_from(plan, weight);
    raise_to(plan, permit, index, plan.spec.steps.weight(index).max(weight));
}

/// The routes were changed by someone, or our own write after the intent was lost: the step's clock starts again, so
/// that its evidence is of this weight alone (I5).
pub(super) fn restore_weight(plan: &mut Plan<'_>, weight: Weight) {
    let writes = [Act::Route(weight), Act::ApplyRoutes(weight)];
    if writes.iter().any(|act| quarrel::puts_off(plan, act).is_some()) {
        // Somebody insists on other weights: the step begins anew with our writes, and not with each of theirs.
        return plan.route(weight);
    }
    if let Some(stays) = plan.kept_by_others(weight) {
        return keep_what_primary_cannot_take(plan, weight, stays);
    }
    let fresh = plan.next.step.as_ref().is_some_and(|s| s.started_at == plan.now);
    if !fresh && let Some(step) = &mut plan.next.step {
        step.started_at = plan.now;
    }
    plan.record();
    plan.route(weight);
}

/// Somebody sent more to the canary than the step gives it, and the primary has too few pods to take it back: as much stays.
fn keep_what_primary_cannot_take(plan: &mut Plan<'_>, weight: Weight, stays: Weight) {
    plan.route(stays);
    transition::primary_ready(plan);
    plan.say(format!(
        "{} cannot take back what somebody sends to the canary: the routes stay at weight {stays} instead of {weight}",
        plan.spec.names.primary
    ));
}

/// Takes the next step.
pub(super) fn next_step(plan: &mut Plan<'_>, permit: Permit) {
    let index = present_step(plan);
    raise(plan, permit, index + 1 + usize::from(planted(Defect::SkipsAStep)));
}

/// The intent to promote; the primary follows in the next round.
pub(super) fn begin_promotion(plan: &mut Plan<'_>, _permit: Permit) {
    plan.clear_holds();
    plan.enter(Phase::Promoting);
    plan.say(format!("{} takes the new revision over", plan.spec.names.primary));
}

/// Somebody orders the next step, whatever the evidence; it was not refused, so that no freeze and no closed gate is in
/// the way, and the pods can carry it (I2).
pub(super) fn advance(plan: &mut Plan<'_>) {
    plan.clear_holds();
    let transition = if plan.weight().is_zero() {
        Transition::FirstTraffic
    } else if plan.next.step.is_none() {
        Transition::AnalyseInPlace
    } else if step_left(plan) {
        Transition::Step
    } else {
        Transition::Promote
    };
    if let Some(permit) = transition::ordered(plan, transition) {
        match transition {
            Transition::FirstTraffic => raise(plan, permit, present_step(plan)),
            Transition::AnalyseInPlace => begin_under_traffic(plan, permit),
            Transition::Step => next_step(plan, permit),
            _ => begin_promotion(plan, permit),
        }
    }
    plan.record();
}
