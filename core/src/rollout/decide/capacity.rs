//! Whether there are enough pods for a share of the traffic. No other file compares pods with traffic.
//!
//! Invariants: traffic is sent to pods only if they carry it (I2, I14), by whatever rule it is sent; what must leave bad
//! pods leaves them by as much as the others carry.

use super::plan::Plan;
use crate::{
    api::Phase,
    rollout::{Weight, Workload},
};

/// How many pods `weight` of a service needs that `full` pods serve alone: rounded up, and one for any traffic at all.
pub(super) fn need(weight: Weight, full: i32) -> i32 {
    if weight.is_zero() {
        return 0;
    }
    let share = (i64::from(full) * i64::from(weight.percent()) + 99) / 100;
    i32::try_from(share).unwrap_or(i32::MAX).max(1)
}

/// Nine tenths of `wanted`, rounded up: a pod of many may be away.
fn most_of(wanted: i32) -> i32 {
    i32::try_from((i64::from(wanted) * 9 + 9) / 10).unwrap_or(i32::MAX)
}

/// Pods that serve the whole service: as many as the primary is asked to have. What a manifest of the target says is no
/// measure, for the traffic is served by the primary.
pub(super) fn full(plan: &Plan<'_>) -> i32 {
    let asked = plan.primary().map(|primary| primary.desired).filter(|n| *n > 0);
    let there = plan.target().map(|target| target.desired);
    // Of a primary that somebody deleted it is known how many pods it had.
    asked
        .or(there.max(plan.next.primary_replicas))
        .unwrap_or(1)
        .max(1)
}

/// How often the primary may fail under all of the traffic before a promotion is undone.
pub(super) const MAX_FAILURES: i32 = 3;

/// Whether the primary failed under all of the traffic as often as it may, with what it runs.
pub(super) fn primary_fails(plan: &Plan<'_>) -> bool {
    let transfer = plan.next.transfer.as_ref();
    if !transfer.is_some_and(|known| known.attempts >= MAX_FAILURES && !known.assumed) {
        return false;
    }
    match plan.next.phase {
        Some(Phase::Failed | Phase::Waiting | Phase::Progressing | Phase::WaitingPromotion) => true,
        Some(Phase::Promoting) => {
            let runs = plan.primary().map(|primary| &primary.revision);
            plan.next.retirement.is_none() && runs != plan.next.revision.current.as_ref()
        }
        _ => false,
    }
}

/// The primary, if requests are not known to fail there: then its pods carry nothing.
fn fit_primary<'a>(plan: &Plan<'a>) -> Option<&'a Workload> {
    plan.primary().filter(|_| !primary_fails(plan))
}

/// Whether `workload` serves with nearly as many pods as `weight` needs.
fn carries(workload: Option<&Workload>, weight: Weight, full: i32) -> bool {
    weight.is_zero() || workload.is_some_and(|w| w.serving() >= most_of(need(weight, full)))
}

/// Whether the canary has the pods for `weight`.
pub(super) fn canary_carries(plan: &Plan<'_>, weight: Weight) -> bool {
    carries(plan.target(), weight, full(plan))
}

/// Whether the canary still has the pods for `weight` that it was given. That the primary has grown since is no loss of the
/// canary's.
pub(super) fn canary_keeps(plan: &Plan<'_>, weight: Weight) -> bool {
    let asked = plan.target().map_or(1, |target| target.desired.max(1));
    carries(plan.target(), weight, full(plan).min(asked))
}

/// Whether the primary has the pods for what the canary does not get at `weight`.
pub(super) fn primary_carries_rest(plan: &Plan<'_>, weight: Weight) -> bool {
    carries(fit_primary(plan), weight.complement(), full(plan))
}

/// Whether all pods of the new revision run, but for one of ten at most. A release of which more crash takes no step.
pub(super) fn canary_complete(target: &Workload) -> bool {
    target.up_to_date
        && target.desired > 0
        && target.updated >= target.desired
        && target.total <= target.desired
        && target.serving() >= most_of(target.desired)
}

/// How many pods the canary is to be asked for before it gets traffic, if it is asked for fewer than its last step needs:
/// as many as the primary has.
pub(super) fn canary_wants(plan: &Plan<'_>) -> Option<i32> {
    let full = full(plan);
    let last = plan.spec.steps.weight(plan.spec.steps.last());
    let target = plan.target()?;
    (target.desired < need(last, full)).then_some(full)
}

/// Whether the primary can take all traffic at once: half of its pods serve. It never can without one.
pub(super) fn primary_carries_all(plan: &Plan<'_>) -> bool {
    fit_primary(plan).is_some_and(|primary| {
        primary.serving() > 0 && i64::from(primary.serving()) * 2 >= i64::from(primary.desired)
    })
}

/// The least weight of the canary that the primary's ready pods leave (I6): zero if half of them serve, and then the more
/// the fewer do, as long as the canary has some.
pub(super) fn least_weight(plan: &Plan<'_>) -> Weight {
    let canary_serves = plan.target().is_some_and(|target| target.serving() > 0);
    if primary_carries_all(plan) || !canary_serves {
        return Weight::ZERO;
    }
    let taken = fit_primary(plan).map_or(0, |primary| {
        i64::from(primary.serving()) * 200 / i64::from(primary.desired.max(1))
    });
    Weight::saturating(100 - taken)
}

/// What the canary keeps of the weight that it has while as much as the primary carries is taken back; never more than it has.
pub(super) fn kept_weight(plan: &Plan<'_>) -> Weight {
    least_weight(plan).min(plan.weight())
}

/// Whether the target serves at least as well as the primary: with all the pods that it needs, or with no fewer.
pub(super) fn target_carries_more(plan: &Plan<'_>) -> bool {
    let serving = |workload: Option<&Workload>| workload.map_or(0, Workload::serving);
    let target = serving(plan.target());
    target > 0 && (canary_carries(plan, Weight::FULL) || target >= serving(plan.primary()))
}

/// The share of the canary by its own pods alone, where nobody is reached at the primary: what it lacks fails in any case.
pub(super) fn canary_share(plan: &Plan<'_>) -> Weight {
    if canary_carries(plan, Weight::FULL) {
        return Weight::FULL;
    }
    let serving = plan.target().map_or(0, |target| i64::from(target.serving()));
    Weight::saturating(serving * 100 / i64::from(full(plan)))
}

/// The weight at which both sides together serve best while the canary is fit and the primary is not complete: all of it
/// where one side carries it, else each by its pods.
pub(super) fn best_split(plan: &Plan<'_>) -> Weight {
    if canary_carries(plan, Weight::FULL) {
        return Weight::FULL;
    }
    if primary_carries_all(plan) {
        return Weight::ZERO;
    }
    split_by_pods(plan)
}

/// The weight at which each side gets what its pods are of all.
pub(super) fn split_by_pods(plan: &Plan<'_>) -> Weight {
    let serving = |workload: Option<&Workload>| i64::from(workload.map_or(0, Workload::serving));
    let (canary, primary) = (serving(plan.target()), serving(fit_primary(plan)));
    if canary + primary == 0 {
        return Weight::ZERO;
    }
    Weight::saturating((canary * 100 + (canary + primary) / 2) / (canary + primary))
}

/// Whether another template may be given to the primary while it has the traffic: its rollout strategy keeps half of what
/// its share needs. `Recreate` keeps none, and neither does `maxUnavailable: 100%`.
pub(super) fn primary_keeps_serving(plan: &Plan<'_>, weight: Weight) -> bool {
    let share = need(weight.complement(), full(plan));
    let floor = |workload: &Workload| i64::from(workload.floor) * 2 >= i64::from(share);
    // The primary gets the target's strategy, which may keep another part of its pods than the one that it has now.
    let keeps_half = |target: &Workload| i64::from(target.floor) * 2 >= i64::from(target.desired);
    plan.primary().is_none_or(floor) && plan.target().is_none_or(keeps_half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn need_is_rounded_up_and_one_for_any_traffic() {
        let table = [
            (0, 50, 0),
            (1, 1, 1),
            (10, 4, 1),
            (50, 5, 3),
            (100, 50, 50),
            (5, 0, 1),
        ];
        for (weight, full, wanted) in table {
            assert_eq!(
                need(Weight::saturating(weight), full),
                wanted,
                "{weight} % of {full}"
            );
        }
    }

    #[test]
    fn one_pod_of_ten_may_be_away() {
        assert_eq!([1, 2, 9, 10, 20, 50].map(most_of), [1, 2, 9, 9, 18, 45]);
    }
}
