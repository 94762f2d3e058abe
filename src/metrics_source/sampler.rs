//! Samples the metrics of every canary that is being judged, in batches on an aligned grid.
//!
//! Canaries with the same interval are asked for together: one query per metric and instant, however many they are.
//! The reconciler registers a canary while it needs evidence and reads the latest sample; it never waits here.
//! Invariant: no query without a registered canary, and at most one round under way per interval.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
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
    MetricSource, SourceError, WorkloadKey,
    query::{Measure, Query},
};
use crate::{
    clock::Clock,
    judge::{MetricKind, MetricSpec, Reading, Sample, Traffic, has_requests},
    rollout::CanaryId,
};

/// Canaries per query. Each adds two names to the regexes of a query.
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
    /// Interval of the analysis; sampled are four instants of it, but at least every 15 s and at most every second.
    pub interval: Duration,
    /// The metrics to measure of the canary.
    pub metrics: Vec<MetricSpec>,
}

/// Settings of all samples.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How far request counts look back.
    pub traffic_window: Duration,
}

/// The sampler of one metric source. Its work is done by [`Sampler::run`].
pub struct Sampler {
    source: Arc<dyn MetricSource>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    woken: UnboundedSender<CanaryId>,
    watched: Mutex<BTreeMap<CanaryId, Watched>>,
    changed: Notify,
}

struct Watched {
    request: Arc<Request>,
    since: DateTime<Utc>,
    latest: Option<Arc<Sample>>,
}

/// The canaries of one interval, and the instant they are sampled at.
struct Round {
    interval: Duration,
    at: DateTime<Utc>,
    canaries: Vec<(CanaryId, Arc<Request>)>,
}

/// What a finished round brought.
type Brought = (Duration, Vec<(CanaryId, Arc<Request>, Sample)>);

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
            changed: Notify::new(),
        }
    }

    /// Samples `id` from now on. Asking again for the same changes nothing; asking for something else drops the samples
    /// of before, which would answer another question.
    pub fn watch(&self, id: &CanaryId, request: Request) {
        let mut watched = self.lock();
        if watched.get(id).is_some_and(|w| *w.request == request) {
            return;
        }
        watched.insert(
            id.clone(),
            Watched {
                request: Arc::new(request),
                since: self.clock.now(),
                latest: None,
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
        self.lock().get(id).map(|watched| watched.since)
    }

    /// Samples for ever; drop the future to stop.
    pub async fn run(&self) {
        // When each interval is due next. An interval whose round is still under way has no entry.
        let mut due: HashMap<Duration, DateTime<Utc>> = HashMap::new();
        let mut rounds: FuturesUnordered<BoxFuture<'_, Brought>> = FuturesUnordered::new();
        let mut busy: BTreeSet<Duration> = BTreeSet::new();
        loop {
            let now = self.clock.now();
            let intervals = self.intervals();
            due.retain(|interval, _| intervals.contains(interval));
            for interval in intervals {
                if busy.contains(&interval) {
                    continue;
                }
                let next = due
                    .entry(interval)
                    .or_insert_with(|| after(now, period(interval)));
                if *next <= now {
                    due.remove(&interval);
                    busy.insert(interval);
                    rounds.push(Box::pin(self.measure(self.round(interval, now))));
                }
            }
            let wait = due
                .values()
                .min()
                .map(|next| (*next - now).to_std().unwrap_or_default());
            tokio::select! {
                () = self.changed.notified() => {}
                Some((interval, brought)) = rounds.next(), if !rounds.is_empty() => {
                    busy.remove(&interval);
                    self.keep(brought);
                }
                () = until(wait) => {}
            }
        }
    }

    fn intervals(&self) -> BTreeSet<Duration> {
        self.lock()
            .values()
            .map(|watched| watched.request.interval)
            .collect()
    }

    /// The round of the newest instant of the grid; instants that were missed stay missed.
    fn round(&self, interval: Duration, now: DateTime<Utc>) -> Round {
        let watched = self.lock();
        let same = watched.iter().filter(|(_, w)| w.request.interval == interval);
        let canaries = same.map(|(id, w)| (id.clone(), Arc::clone(&w.request))).collect();
        let period = period(interval);
        Round {
            interval,
            at: after(now, period) - TimeDelta::seconds(period),
            canaries,
        }
    }

    async fn measure(&self, round: Round) -> Brought {
        let chunks = round
            .canaries
            .chunks(CHUNK)
            .map(|chunk| self.measure_chunk(chunk, round.at));
        let samples = futures::future::join_all(chunks).await;
        (round.interval, samples.into_iter().flatten().collect())
    }

    async fn measure_chunk(
        &self,
        canaries: &[(CanaryId, Arc<Request>)],
        at: DateTime<Utc>,
    ) -> Vec<(CanaryId, Arc<Request>, Sample)> {
        let questions = questions(canaries, self.settings.traffic_window);
        let answers = questions.into_iter().map(|(question, query)| async move {
            (question, answer(self.source.measure(&query, at).await))
        });
        let answers: HashMap<Question, Answer> =
            futures::future::join_all(answers).await.into_iter().collect();
        let sample = |request: &Request| sample(request, at, self.settings.traffic_window, &answers);
        canaries
            .iter()
            .map(|(id, request)| (id.clone(), Arc::clone(request), sample(request)))
            .collect()
    }

    /// Keeps what was measured for canaries that still want it.
    fn keep(&self, brought: Vec<(CanaryId, Arc<Request>, Sample)>) {
        for (id, request, mut sample) in brought {
            let mut watched = self.lock();
            let Some(entry) = watched.get_mut(&id).filter(|w| Arc::ptr_eq(&w.request, &request)) else {
                continue;
            };
            if sample.traffic.reached_at.is_none() {
                sample.traffic.reached_at = entry.latest.as_ref().and_then(|s| s.traffic.reached_at);
            }
            entry.latest = Some(Arc::new(sample));
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

/// One query: a metric over a window, or the count of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Question {
    Metric(MetricKind, Duration),
    Requests,
}

type Answer = Result<HashMap<WorkloadKey, f64>, String>;

fn answer(vector: Result<Vec<(WorkloadKey, f64)>, SourceError>) -> Answer {
    vector
        .map(|values| values.into_iter().collect())
        .map_err(|error| {
            tracing::debug!(reason = error.reason(), %error, "metric query failed");
            error.to_string()
        })
}

fn questions(canaries: &[(CanaryId, Arc<Request>)], traffic_window: Duration) -> BTreeMap<Question, Query> {
    let mut asked: BTreeMap<Question, BTreeSet<WorkloadKey>> = BTreeMap::new();
    for (_, request) in canaries {
        for metric in &request.metrics {
            let question = Question::Metric(metric.kind, metric.window);
            asked
                .entry(question)
                .or_default()
                .insert(workload(request, &request.target));
        }
        let both = [&request.target, &request.primary].map(|name| workload(request, name));
        asked.entry(Question::Requests).or_default().extend(both);
    }
    let query = |question, workloads: BTreeSet<WorkloadKey>| match question {
        Question::Metric(kind, window) => Query {
            measure: Measure::Metric(kind),
            window,
            workloads,
        },
        Question::Requests => Query {
            measure: Measure::Requests,
            window: traffic_window,
            workloads,
        },
    };
    asked
        .into_iter()
        .map(|(question, workloads)| (question, query(question, workloads)))
        .collect()
}

fn workload(request: &Request, name: &str) -> WorkloadKey {
    WorkloadKey {
        namespace: request.namespace.clone(),
        workload: name.to_owned(),
    }
}

fn sample(
    request: &Request,
    at: DateTime<Utc>,
    traffic_window: Duration,
    answers: &HashMap<Question, Answer>,
) -> Sample {
    let reading = |question: Question, name: &str| match answers.get(&question) {
        Some(Ok(values)) => values
            .get(&workload(request, name))
            .map_or(Reading::NoData, |value| read(question, *value)),
        Some(Err(text)) => Reading::error(text),
        None => Reading::NoData,
    };
    let metrics = request.metrics.iter();
    let readings = metrics
        .clone()
        .map(|m| {
            (
                m.name.clone(),
                reading(Question::Metric(m.kind, m.window), &request.target),
            )
        })
        .collect();
    let canary = reading(Question::Requests, &request.target);
    Sample {
        at,
        window: metrics.map(|m| m.window).max().unwrap_or(traffic_window),
        readings,
        traffic: Traffic {
            window: traffic_window,
            reached_at: has_requests(&canary).then_some(at),
            canary,
            primary: reading(Question::Requests, &request.primary),
        },
    }
}

/// A rate that is not a number had nothing to divide; a count divides nothing, so it says that something is wrong, and never
/// that nothing came.
fn read(question: Question, value: f64) -> Reading {
    if question == Question::Requests && value.is_nan() {
        return Reading::error("the count of requests is not a number");
    }
    Reading::of(value)
}

/// Distance of samples in whole seconds, so that an instant is one that Prometheus' API can name.
fn period(interval: Duration) -> i64 {
    let period = (interval / 4).clamp(MIN_PERIOD, MAX_PERIOD);
    i64::try_from(period.as_secs()).unwrap_or(1)
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
