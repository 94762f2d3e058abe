//! Prometheus in a simulation: answers the typed questions from the pods' counters.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use super::meter;
use crate::{
    clock::Clock,
    judge::{Counts, Reporter},
    metrics_source::{
        Durations, Freshness, MetricSource, Requests, Row, Scope, SourceError, WorkloadKey,
        query::LEARNT_OVER,
    },
    sim::{clock::SimClock, workloads::pods::Pod, world::World},
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
    /// It answers what was true a minute ago, by its own time, and tells that time.
    Late,
    /// The same, and it tells the present time, as a cache does that answers for it.
    Stale,
    /// It gets samples late, as by remote write: the newest ones are not known yet.
    Lagging,
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
pub const LATE: TimeDelta = TimeDelta::minutes(1);
/// How long samples are on their way.
const LAG: TimeDelta = TimeDelta::seconds(12);

/// An instant at which a question is answered.
#[derive(Clone, Copy)]
struct Asked {
    /// The end of every window.
    at: DateTime<Utc>,
    /// Scrapes that were taken later are not known.
    known: DateTime<Utc>,
    /// The source's own time, as it tells it.
    told: DateTime<Utc>,
}

impl SimMetrics {
    fn trouble(&self) -> Trouble {
        self.lock().trouble
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits as long as an answer takes, and shows `look` the pods that were asked for, and what is known of them. Over a `range` those have series too that were gone by then; at an instant they have
    /// none.
    async fn answer<T: Default>(
        &self,
        scope: &Scope,
        range: bool,
        look: impl Fn(&mut T, WorkloadKey, &Pod, Asked) + Send,
    ) -> Result<T, SourceError> {
        if self.trouble() == Trouble::Slow {
            tokio::time::sleep_until(Instant::now() + SLOW).await;
        }
        let mut world = self.lock();
        let now = self.clock.now();
        world.catch_up(now);
        let at = match world.trouble {
            Trouble::Down => return Err(SourceError::Unreachable("connection refused".to_owned())),
            Trouble::Empty => return Ok(T::default()),
            Trouble::Late | Trouble::Stale => now - LATE,
            Trouble::None | Trouble::NotANumber | Trouble::Slow | Trouble::Lagging => now,
        };
        let told = if world.trouble == Trouble::Stale { now } else { at };
        let known = if world.trouble == Trouble::Lagging {
            at - LAG
        } else {
            at
        };
        let mut found = T::default();
        let gone = world.workloads.gone.iter().filter(|pod| range || !pod.gone(at));
        for pod in world.workloads.all().chain(gone) {
            let key = WorkloadKey {
                namespace: pod.namespace.clone(),
                workload: pod.workload.clone(),
            };
            if scope.workloads.contains(&key) {
                look(&mut found, key, pod, Asked { at, known, told });
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl MetricSource for SimMetrics {
    async fn vector(&self, promql: &str) -> Result<Vec<Row>, SourceError> {
        Err(SourceError::Malformed(format!(
            "the simulation has no PromQL engine: {promql}"
        )))
    }

    /// Nobody asks the callers' proxies here: there are none.
    async fn requests(
        &self,
        scope: &Scope,
        _: &[Reporter],
        window: Duration,
    ) -> Result<Requests, SourceError> {
        let window = TimeDelta::from_std(window).unwrap_or_default();
        let count = |found: &mut Requests, key, pod: &Pod, asked: Asked| {
            if let Some(counted) = pod.meter.increase_of_known(asked.at, asked.known, window) {
                let counts: &mut Counts = found.entry((key, Reporter::Destination)).or_default();
                counts.requests += counted.all();
                counts.bad += counted.bad;
                counts.denied += counted.denied;
            }
        };
        let mut found = self.answer(scope, true, count).await?;
        if self.trouble() == Trouble::NotANumber {
            for counts in found.values_mut() {
                counts.requests = f64::NAN;
            }
        }
        Ok(found)
    }

    async fn durations(
        &self,
        scope: &Scope,
        _: Reporter,
        window: Duration,
    ) -> Result<Durations, SourceError> {
        let window = TimeDelta::from_std(window).unwrap_or_default();
        let count = |found: &mut Vec<(WorkloadKey, meter::Counts)>, key, pod: &Pod, asked: Asked| {
            if let Some(counted) = pod.meter.increase_of_known(asked.at, asked.known, window) {
                found.push((key, counted));
            }
        };
        let mut sums = std::collections::HashMap::<WorkloadKey, meter::Counts>::new();
        for (key, counted) in self.answer(scope, true, count).await? {
            *sums.entry(key).or_default() += counted;
        }
        Ok(sums
            .into_iter()
            .map(|(key, sum)| (key, sum.cumulative()))
            .collect())
    }

    async fn freshness(&self, scope: &Scope, window: Duration) -> Result<Freshness, SourceError> {
        let window = TimeDelta::from_std(window).unwrap_or_default();
        let look = |found: &mut Freshness, key: WorkloadKey, pod: &Pod, asked: Asked| {
            let Asked { at, known, told } = asked;
            found.now = Some(told);
            // Every pod is scraped, whether anybody ever called it or not.
            if let Some(newest) = pod
                .meter
                .newest(known)
                .filter(|_| pod.meter.scraped_twice(at, known, window))
            {
                let age = (told - newest).to_std().unwrap_or_default();
                let ages = found.ages.entry(key.clone()).or_default();
                ages.insert(pod.ip.clone(), age);
            }
            let learnt = LEARNT_OVER.iter().find_map(|span| {
                let gap = pod.meter.gap(at, known, TimeDelta::from_std(*span).ok()?)?;
                gap.to_std().ok()
            });
            if let Some(learnt) = learnt {
                let least = found.intervals.entry(key).or_insert(learnt);
                *least = learnt.min(*least);
            }
        };
        self.answer(scope, false, look).await
    }
}
