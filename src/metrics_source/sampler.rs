//! Samples the metrics of every canary that is being judged, in batches on an aligned grid.
//!
//! Canaries with the same period are asked for together: one query per metric and instant, for as many as it has room for.
//! The reconciler registers a canary while it needs evidence and reads the latest sample; it never waits here.
//! Invariant: no query without a registered canary, and at most one round under way per period.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::{Notify, mpsc::UnboundedSender},
    time::Instant,
};

use super::{
    MetricSource, Selector,
    cadence::Cadence,
    round::{self, Asked, Measured, workloads},
};
use crate::{
    clock::Clock,
    judge::{MetricSpec, Reporter, Sample},
    rollout::CanaryId,
};

/// Most canaries per query, if their names are short. Each adds two names to the regexes of a query.
const CHUNK: usize = 100;
const MIN_PERIOD: Duration = Duration::from_secs(1);
const MAX_PERIOD: Duration = Duration::from_secs(15);

/// What to measure for one canary.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Namespace of both workloads.
    pub namespace: String,
    /// The canary's workload.
    pub target: String,
    /// The primary's workload.
    pub primary: String,
    /// Distance of two samples, in whole seconds.
    pub period: Duration,
    /// Whose proxies count the requests of the metrics.
    pub reporter: Reporter,
    /// The metrics to measure of both.
    pub metrics: Vec<MetricSpec>,
    /// Where the metrics' evidence begins, by our clock: they look back no further, and no further than their window. With
    /// `None` they look back as far as their window.
    pub since: Option<DateTime<Utc>>,
}

impl Request {
    /// Whether both ask the same, wherever the evidence begins.
    fn asks_as(&self, other: &Request) -> bool {
        let from = |request: &Request| Request {
            since: None,
            ..request.clone()
        };
        from(self) == from(other)
    }

    /// How far `metric` looks back from `at`; `None` if no evidence is there yet. Whole periods of the grid, so that canaries
    /// share their questions though their steps do not begin at the same time.
    pub(super) fn window(&self, metric: &MetricSpec, at: DateTime<Utc>) -> Option<Duration> {
        let Some(since) = self.since else {
            return Some(metric.window);
        };
        let period = seconds(self.period);
        let whole = (at - since).num_seconds().div_euclid(period) * period;
        let whole = u64::try_from(whole).ok().filter(|seconds| *seconds > 0)?;
        Some(metric.window.min(Duration::from_secs(whole)))
    }
}

/// Settings of all samples.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Time between two scrapes; the source may show that it is longer. If absent, it is learnt from the source.
    pub scrape_interval: Option<Duration>,
    /// What every series must have.
    pub selector: Selector,
}

/// The sampler of one metric source. Its work is done by [`Sampler::run`].
pub struct Sampler {
    source: Arc<dyn MetricSource>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    woken: UnboundedSender<CanaryId>,
    watched: Mutex<BTreeMap<CanaryId, Watched>>,
    /// Time between two samples that was learnt last, of whomever.
    learnt: Mutex<Option<Duration>>,
    changed: Notify,
}

struct Watched {
    request: Arc<Request>,
    since: DateTime<Utc>,
    latest: Option<Arc<Sample>>,
    cadence: Cadence,
}

/// The canaries of one period, and the instant they are sampled at.
struct Round {
    period: Duration,
    at: DateTime<Utc>,
    canaries: Vec<Asked>,
}

/// What a finished round brought.
type Brought = (Duration, Vec<Measured>);

impl Sampler {
    /// A sampler that reports on `woken` which canaries have a new sample.
    #[must_use]
    pub fn new(
        source: Arc<dyn MetricSource>,
        clock: Arc<dyn Clock>,
        settings: Settings,
        woken: UnboundedSender<CanaryId>,
    ) -> Sampler {
        Sampler {
            source,
            clock,
            settings,
            woken,
            watched: Mutex::default(),
            learnt: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Samples `id` from now on. Asking again for the same changes nothing, but where the evidence begins; asking for
    /// something else drops the samples of before, which would answer another question.
    pub fn watch(&self, id: &CanaryId, request: Request) {
        let mut watched = self.lock();
        if let Some(known) = watched.get_mut(id)
            && known.request.asks_as(&request)
        {
            if known.request.since != request.since {
                known.request = Arc::new(request);
            }
            return;
        }
        // How often samples come does not depend on the question, as long as it is about the same workloads.
        let same = watched
            .remove(id)
            .filter(|known| workloads(&known.request) == workloads(&request));
        watched.insert(
            id.clone(),
            Watched {
                request: Arc::new(request),
                since: self.clock.now(),
                latest: None,
                cadence: same.map(|known| known.cadence).unwrap_or_default(),
            },
        );
        drop(watched);
        self.changed.notify_one();
    }

    /// Stops sampling `id` and drops its samples.
    pub fn forget(&self, id: &CanaryId) {
        if self.lock().remove(id).is_some() {
            self.changed.notify_one();
        }
    }

    /// The latest sample of `id`, if it is watched and was sampled.
    #[must_use]
    pub fn latest(&self, id: &CanaryId) -> Option<Arc<Sample>> {
        self.lock().get(id).and_then(|watched| watched.latest.clone())
    }

    /// Since when `id` is watched, if it is.
    #[must_use]
    pub fn watched_since(&self, id: &CanaryId) -> Option<DateTime<Utc>> {
        let now = self.clock.now();
        self.lock().get_mut(id).map(|watched| {
            // An instant that is still to come is from before the clock was set back.
            watched.since = watched.since.min(now);
            watched.since
        })
    }

    /// Samples for ever; drop the future to stop.
    pub async fn run(&self) {
        // When each period is due next. One whose round is still under way has no entry.
        let mut due: BTreeMap<Duration, DateTime<Utc>> = BTreeMap::new();
        let mut rounds: FuturesUnordered<BoxFuture<'_, Brought>> = FuturesUnordered::new();
        let mut busy: BTreeSet<Duration> = BTreeSet::new();
        loop {
            let now = self.clock.now();
            let periods = self.periods();
            due.retain(|period, _| periods.contains(period));
            for period in periods {
                if busy.contains(&period) {
                    continue;
                }
                let next = due.entry(period).or_insert_with(|| after(now, seconds(period)));
                // A clock that was set back is not waited for.
                *next = after(now, seconds(period)).min(*next);
                if *next <= now {
                    due.remove(&period);
                    busy.insert(period);
                    rounds.push(Box::pin(self.measure(self.round(period, now))));
                }
            }
            let wait = due
                .values()
                .min()
                .map(|next| (*next - now).to_std().unwrap_or_default());
            tokio::select! {
                biased;
                () = self.changed.notified() => {}
                Some((period, brought)) = rounds.next(), if !rounds.is_empty() => {
                    busy.remove(&period);
                    self.keep(brought);
                }
                () = until(wait) => {}
            }
        }
    }

    fn periods(&self) -> BTreeSet<Duration> {
        self.lock()
            .values()
            .map(|watched| watched.request.period)
            .collect()
    }

    /// The round of the newest instant of the grid; instants that were missed stay missed.
    fn round(&self, period: Duration, now: DateTime<Utc>) -> Round {
        let elsewhere = *self.learnt.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = |(id, watched): (&CanaryId, &Watched)| Asked {
            id: id.clone(),
            request: Arc::clone(&watched.request),
            cadence: watched.cadence.clone(),
            interval: watched.cadence.interval(self.settings.scrape_interval, elsewhere),
        };
        let watched = self.lock();
        let same = watched.iter().filter(|(_, w)| w.request.period == period);
        let canaries = same.map(asked).collect();
        Round {
            period,
            at: after(now, seconds(period)) - TimeDelta::seconds(seconds(period)),
            canaries,
        }
    }

    async fn measure(&self, round: Round) -> Brought {
        let (
            source,
            Settings {
                selector,
                scrape_interval,
            },
        ) = (self.source.as_ref(), &self.settings);
        let chunks = round
            .canaries
            .chunks(CHUNK)
            .flat_map(|chunk| round::short_enough(selector, chunk))
            .map(|chunk| round::measure(source, selector, *scrape_interval, chunk.to_vec(), round.at));
        let measured = futures::future::join_all(chunks).await;
        (round.period, measured.into_iter().flatten().collect())
    }

    /// Keeps what was measured for canaries that still want it.
    fn keep(&self, brought: Vec<Measured>) {
        for Measured {
            id,
            request,
            cadence,
            mut sample,
        } in brought
        {
            if let Some(interval) = cadence.learnt() {
                *self.learnt.lock().unwrap_or_else(PoisonError::into_inner) = Some(interval);
            }
            let mut watched = self.lock();
            let Some(entry) = watched.get_mut(&id).filter(|w| w.request.asks_as(&request)) else {
                continue;
            };
            if sample.traffic.reached_at.is_none() {
                sample.traffic.reached_at = entry.latest.as_ref().and_then(|s| s.traffic.reached_at);
            }
            let before = entry.latest.as_ref();
            sample.gap_is_new = !sample.is_complete() && before.is_some_and(|before| before.is_complete());
            entry.latest = Some(Arc::new(sample));
            entry.cadence = cadence;
            drop(watched);
            // Nobody listens any more only while the process ends.
            let _ = self.woken.send(id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<CanaryId, Watched>> {
        // No code that holds the lock can leave the map half changed.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Distance of the samples of an analysis with this interval: a quarter of it, but at most 15 s and at least one. It is in whole
/// seconds, so that an instant is one that Prometheus' API can name.
#[must_use]
pub fn period(interval: Duration) -> Duration {
    let period = (interval / 4).clamp(MIN_PERIOD, MAX_PERIOD);
    Duration::from_secs(period.as_secs())
}

fn seconds(period: Duration) -> i64 {
    i64::try_from(period.as_secs()).unwrap_or(i64::MAX).max(1)
}

/// The first instant of the grid after `now`; the grid is the same for everybody.
fn after(now: DateTime<Utc>, period: i64) -> DateTime<Utc> {
    let next = (now.timestamp().div_euclid(period) + 1) * period;
    DateTime::from_timestamp(next, 0).unwrap_or(now)
}

/// Ends after `wait`, or never.
async fn until(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep_until(Instant::now() + wait).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
