//! Prometheus in a simulation: answers the typed questions from the pods' counters.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use tokio::time::Instant;

use super::meter::Counts;
use crate::{
    clock::Clock,
    judge::MetricKind,
    metrics_source::{MetricSource, Query, SourceError, WorkloadKey, query::Measure},
    sim::{clock::SimClock, world::World},
};

/// What is wrong with Prometheus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    #[default]
    None,
    /// It cannot be reached.
    Down,
    /// It answers, and knows of nothing.
    Empty,
    /// It answers with NaN.
    NotANumber,
    /// It answers after 20 s.
    Slow,
    /// It answers what was true a minute ago.
    Late,
}

/// The metric source of a simulation.
pub struct SimMetrics {
    world: Arc<Mutex<World>>,
    clock: SimClock,
}

impl SimMetrics {
    /// Prometheus of this world.
    #[must_use]
    pub fn new(world: Arc<Mutex<World>>, clock: SimClock) -> SimMetrics {
        SimMetrics { world, clock }
    }
}

/// How long a slow answer takes.
const SLOW: Duration = Duration::from_secs(20);
/// By how much late data is behind.
const LATE: TimeDelta = TimeDelta::minutes(1);

impl SimMetrics {
    fn trouble(&self) -> Trouble {
        self.world.lock().unwrap_or_else(PoisonError::into_inner).trouble
    }
}

#[async_trait]
impl MetricSource for SimMetrics {
    async fn vector(&self, promql: &str, _: DateTime<Utc>) -> Result<Vec<(WorkloadKey, f64)>, SourceError> {
        Err(SourceError::Malformed(format!(
            "the simulation has no PromQL engine: {promql}"
        )))
    }

    async fn measure(&self, query: &Query, _: DateTime<Utc>) -> Result<Vec<(WorkloadKey, f64)>, SourceError> {
        if self.trouble() == Trouble::Slow {
            tokio::time::sleep_until(Instant::now() + SLOW).await;
        }
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.catch_up(self.clock.now());
        let at = self.clock.now();
        let at = match world.trouble {
            Trouble::Down => return Err(SourceError::Unreachable("connection refused".to_owned())),
            Trouble::Empty => return Ok(Vec::new()),
            Trouble::Late => at - LATE,
            Trouble::None | Trouble::NotANumber | Trouble::Slow => at,
        };
        let window = TimeDelta::from_std(query.window).unwrap_or_default();
        let mut sums: BTreeMap<WorkloadKey, Counts> = BTreeMap::new();
        for pod in world.workloads.all() {
            let key = WorkloadKey {
                namespace: pod.namespace.clone(),
                workload: pod.workload.clone(),
            };
            if query.workloads.contains(&key)
                && let Some(counts) = pod.meter.increase(at, window)
            {
                *sums.entry(key).or_default() += counts;
            }
        }
        let nan = world.trouble == Trouble::NotANumber;
        let values = sums.into_iter().filter_map(|(key, counts)| {
            let value = match query.measure {
                Measure::Requests => Some(counts.all()),
                Measure::Metric(MetricKind::SuccessRate) => {
                    (counts.all() > 0.0).then(|| 100.0 - 100.0 * counts.bad / counts.all())
                }
                Measure::Metric(MetricKind::Duration) => counts.quantile(0.99),
            };
            value.map(|value| (key, if nan { f64::NAN } else { value }))
        });
        Ok(values.collect())
    }
}
