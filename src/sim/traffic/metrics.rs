//! Prometheus in a simulation: answers the typed questions from the pods' counters.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use super::meter::Counts;
use crate::{
    judge::MetricKind,
    metrics_source::{MetricSource, Query, SourceError, WorkloadKey, query::Measure},
    sim::world::World,
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
}

/// The metric source of a simulation.
pub struct SimMetrics {
    world: Arc<Mutex<World>>,
}

impl SimMetrics {
    /// Prometheus of this world.
    #[must_use]
    pub fn new(world: Arc<Mutex<World>>) -> SimMetrics {
        SimMetrics { world }
    }
}

#[async_trait]
impl MetricSource for SimMetrics {
    async fn vector(&self, promql: &str, _: DateTime<Utc>) -> Result<Vec<(WorkloadKey, f64)>, SourceError> {
        Err(SourceError::Malformed(format!(
            "the simulation has no PromQL engine: {promql}"
        )))
    }

    async fn measure(
        &self,
        query: &Query,
        at: DateTime<Utc>,
    ) -> Result<Vec<(WorkloadKey, f64)>, SourceError> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.catch_up(at);
        match world.trouble {
            Trouble::Down => return Err(SourceError::Unreachable("connection refused".to_owned())),
            Trouble::Empty => return Ok(Vec::new()),
            Trouble::None | Trouble::NotANumber => {}
        }
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
