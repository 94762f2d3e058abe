//! The steps of an analysis: where a release stands among them, and which weight is next.

use super::plan::Plan;
use crate::rollout::Weight;

/// The first step that is not below `weight`, or the last.
pub(super) fn step_from(plan: &Plan<'_>, weight: Weight) -> usize {
    let mut steps = plan.spec.steps.weights().iter();
    let index = steps.position(|step| *step >= weight);
    index.unwrap_or(plan.spec.steps.last())
}

pub(super) fn present_step(plan: &Plan<'_>) -> usize {
    let step = plan.next.step.as_ref();
    step.map_or(0, |step| usize::try_from(step.index).unwrap_or(0))
}

/// Whether there is a further step, or the next transition is the promotion.
pub(super) fn step_left(plan: &Plan<'_>) -> bool {
    let last = plan.spec.steps.last();
    present_step(plan) < last && plan.weight() < plan.spec.steps.weight(last)
}

/// The weight that the next transition gives the canary: its own, if that is the promotion.
pub(super) fn next_weight(plan: &Plan<'_>) -> Weight {
    let steps = &plan.spec.steps;
    if plan.weight().is_zero() {
        steps.weight(present_step(plan))
    } else if plan.next.step.is_some() && step_left(plan) {
        steps.weight(present_step(plan) + 1)
    } else {
        plan.weight()
    }
}
