//! What of the simulated world a timeline shows.

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    pace,
    timeline::{Measured, Requests, rounded},
};
use crate::{
    rollout::{Names, RolloutSpec},
    sim::{
        traffic::{Failure, meter::Counts, metrics::Trouble},
        world::World,
    },
};

/// Requests so far.
#[must_use]
pub fn count(world: &World, names: &Names) -> Requests {
    let place = (names.namespace.clone(), names.apex.clone());
    let Some(ledger) = world.traffic.ledgers.get(&place) else {
        return Requests::default();
    };
    let answered = |workload: &str| ledger.answered.get(workload).copied().unwrap_or(0);
    let failed = |answered: bool| {
        let failed = ledger.failed.iter();
        failed
            .filter(|((how, _), _)| (*how == Failure::Answered) == answered)
            .map(|(_, count)| count)
            .sum()
    };
    Requests {
        sent: ledger.sent,
        canary: answered(&names.target),
        primary: answered(&names.primary),
        answered_with_error: failed(true),
        lost: failed(false),
    }
}

/// What Prometheus has of primary and canary at `now`.
#[must_use]
pub fn measured(world: &World, spec: &RolloutSpec, now: DateTime<Utc>) -> (Measured, Measured) {
    if world.trouble != Trouble::None {
        return Default::default();
    }
    let window = pace::window(spec);
    let of = |workload: &str| of_workload(world, (&spec.names.namespace, workload), now, window);
    (of(&spec.names.primary), of(&spec.names.target))
}

fn of_workload(
    world: &World,
    (namespace, workload): (&str, &str),
    now: DateTime<Utc>,
    window: TimeDelta,
) -> Measured {
    let mut sum = Counts::default();
    for pod in world.workloads.all() {
        if pod.namespace == namespace
            && pod.workload == workload
            && let Some(counts) = pod.meter.increase(now, window)
        {
            sum += counts;
        }
    }
    let all = sum.all();
    Measured {
        success_percent: (all > 0.0).then(|| rounded(100.0 - 100.0 * sum.bad / all)),
        p99_ms: sum.quantile(0.99).filter(|_| all > 0.0).map(rounded),
    }
}
