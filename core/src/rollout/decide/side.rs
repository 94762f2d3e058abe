//! Target and primary alike: the name, the pods and the counts of one side.

use chrono::TimeDelta;

use super::plan::Plan;
use crate::{
    judge::{Reading, Sample, Seen},
    rollout::{Serves, Workload},
};

/// Name of the workload.
pub(super) fn name<'a>(plan: &Plan<'a>, side: Serves) -> &'a str {
    match side {
        Serves::Target => &plan.spec.names.target,
        Serves::Primary => &plan.spec.names.primary,
    }
}

/// Pods of the workload that serve.
pub(super) fn serving(plan: &Plan<'_>, side: Serves) -> u32 {
    let workload = match side {
        Serves::Target => plan.target(),
        Serves::Primary => plan.primary(),
    };
    workload.map_or(0, Workload::serving).unsigned_abs()
}

/// The side that has what this one has not.
pub(super) fn other(side: Serves) -> Serves {
    match side {
        Serves::Target => Serves::Primary,
        Serves::Primary => Serves::Target,
    }
}

/// Requests in the window of the traffic, by the reporter of the analysis.
pub(super) fn count(sample: &Sample, side: Serves) -> &Reading {
    match side {
        Serves::Target => &sample.traffic.canary,
        Serves::Primary => &sample.traffic.primary,
    }
}

/// What is known of the pods in the same window.
pub(super) fn seen(sample: &Sample, side: Serves) -> &Seen {
    match side {
        Serves::Target => &sample.seen.canary,
        Serves::Primary => &sample.seen.primary,
    }
}

/// How far the counts look back.
pub(super) fn window(sample: &Sample) -> TimeDelta {
    TimeDelta::from_std(sample.traffic.window).unwrap_or_default()
}

/// Whether pods serve that the source of the metrics does not read, each of them; a sentence, which says that nobody knows
/// `what`.
pub(super) fn unread(plan: &Plan<'_>, sample: &Sample, side: Serves, what: &str) -> Option<String> {
    let ready = serving(plan, side);
    (ready > 0 && seen(sample, side).is_measured(ready) != Some(true)).then(|| {
        format!(
            "not every pod of {} is scraped (neither up nor a series of Istio's tells of it), so nobody knows whether {what}",
            name(plan, side)
        )
    })
}
