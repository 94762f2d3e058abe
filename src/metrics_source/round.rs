//! The questions of a round, and the samples that their answers make.
//!
//! All canaries of a batch share their questions: one for each window, reporter and kind. Invariant: a question that was
//! not answered is an error in every sample that it was asked for, and never nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures::future::join_all;

use super::{
    Durations, Freshness, MetricSource, Request, Requests, Scope, Selector, SourceError, WorkloadKey,
    cadence::{self, Cadence},
    query,
};
use crate::{
    judge::{
        Counts, MetricKind, MetricSpec, Reading, Reporter, Sample, Seen, Sides, Traffic, has_requests,
        reading,
    },
    rollout::CanaryId,
};

const BOTH: [Reporter; 2] = [Reporter::Destination, Reporter::Source];

/// A canary in a round.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) id: CanaryId,
    pub(super) request: Arc<Request>,
    pub(super) cadence: Cadence,
    /// Time between two samples, as it was believed when the round began.
    pub(super) interval: Duration,
}

/// What a round brought for a canary.
pub(super) struct Measured {
    pub(super) id: CanaryId,
    pub(super) request: Arc<Request>,
    pub(super) cadence: Cadence,
    pub(super) sample: Sample,
}

/// A question about requests that canaries share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Question {
    /// How many, by one reporter, for a metric.
    Requests(Reporter, Duration),
    /// How long they took.
    Durations(Reporter, Duration),
    /// How many, by both reporters.
    Traffic(Duration),
    /// How old the newest samples of pods are that have two in this window.
    Freshness(Duration),
}

enum Answer {
    Requests(Requests),
    Durations(Durations),
    Freshness(Freshness),
}

type Answers = HashMap<Question, Result<Answer, String>>;

/// `canaries` in parts, so that no question about one of them is too long; a canary alone is asked about in any case.
pub(super) fn short_enough<'a>(selector: &Selector, canaries: &'a [Asked]) -> Vec<&'a [Asked]> {
    let scope = || Scope {
        workloads: canaries
            .iter()
            .flat_map(|asked| workloads(&asked.request))
            .collect(),
        selector: selector.clone(),
    };
    if canaries.len() < 2 || query::longest(&scope()) <= query::MAX_LENGTH {
        return vec![canaries];
    }
    let (some, others) = canaries.split_at(canaries.len() / 2);
    [some, others].map(|part| short_enough(selector, part)).concat()
}

/// Asks `source` about all `canaries`.
pub(super) async fn measure(
    source: &dyn MetricSource,
    selector: &Selector,
    configured: Option<Duration>,
    canaries: Vec<Asked>,
    at: DateTime<Utc>,
) -> Vec<Measured> {
    let scope = |workloads: BTreeSet<WorkloadKey>| Scope {
        workloads,
        selector: selector.clone(),
    };
    let questions = questions(&canaries, at).into_iter().map(|(question, workloads)| {
        let scope = scope(workloads);
        async move { (question, told(ask(source, &scope, question).await)) }
    });
    let answers: Answers = join_all(questions).await.into_iter().collect();
    canaries
        .into_iter()
        .map(|mut asked| {
            let [canary, primary] = workloads(&asked.request);
            let freshness = freshness(&answers, asked.interval);
            let believed = asked.cadence.behind();
            if let Ok(freshness) = freshness {
                asked.cadence.learn(freshness, [&canary, &primary]);
                if let Some(now) = freshness.now {
                    asked.cadence.learn_time(now, at);
                }
            }
            let behind = asked.cadence.behind().max(believed);
            let sample = Making {
                asked: &asked,
                configured,
                at: at - behind,
                behind,
                freshness,
                answers: &answers,
            };
            Measured {
                sample: sample.sample(),
                id: asked.id,
                request: asked.request,
                cadence: asked.cadence,
            }
        })
        .collect()
}

async fn ask(source: &dyn MetricSource, scope: &Scope, question: Question) -> Result<Answer, SourceError> {
    match question {
        Question::Requests(reporter, window) => source
            .requests(scope, &[reporter], window)
            .await
            .map(Answer::Requests),
        Question::Traffic(window) => source.requests(scope, &BOTH, window).await.map(Answer::Requests),
        Question::Durations(reporter, window) => source
            .durations(scope, reporter, window)
            .await
            .map(Answer::Durations),
        Question::Freshness(window) => source.freshness(scope, window).await.map(Answer::Freshness),
    }
}

/// How fresh the samples are of whoever has two within the window of `interval`: one tells nothing of growth, so what was not
/// counted since the source lost its memory is no count of none.
fn freshness(answers: &Answers, interval: Duration) -> Result<&Freshness, &str> {
    match answers.get(&Question::Freshness(cadence::window(interval))) {
        Some(Ok(Answer::Freshness(found))) => Ok(found),
        Some(Err(text)) => Err(text),
        _ => Err("not asked"),
    }
}

fn told<T>(answer: Result<T, SourceError>) -> Result<T, String> {
    answer.map_err(|error| {
        tracing::debug!(reason = error.reason(), %error, "metric query failed");
        error.to_string()
    })
}

fn questions(canaries: &[Asked], at: DateTime<Utc>) -> BTreeMap<Question, BTreeSet<WorkloadKey>> {
    let mut questions: BTreeMap<Question, BTreeSet<WorkloadKey>> = BTreeMap::new();
    for asked in canaries {
        let reporter = asked.request.reporter;
        let mut ask = |question| {
            questions
                .entry(question)
                .or_default()
                .extend(workloads(&asked.request));
        };
        for metric in &asked.request.metrics {
            let Some(window) = asked.request.window(metric, at - asked.cadence.behind()) else {
                continue;
            };
            ask(Question::Requests(reporter, window));
            if metric.kind == MetricKind::Duration {
                ask(Question::Durations(reporter, window));
            }
        }
        ask(Question::Traffic(cadence::window(asked.interval)));
        ask(Question::Freshness(cadence::window(asked.interval)));
    }
    questions
}

/// Both workloads: the canary's, and the primary's.
pub(super) fn workloads(request: &Request) -> [WorkloadKey; 2] {
    [&request.target, &request.primary].map(|name| WorkloadKey {
        namespace: request.namespace.clone(),
        workload: name.clone(),
    })
}

/// What a sample is made of.
struct Making<'a> {
    asked: &'a Asked,
    configured: Option<Duration>,
    /// The instant of which the source answered: a metric that was asked further back than evidence goes from there has no
    /// answer yet.
    at: DateTime<Utc>,
    behind: Duration,
    freshness: Result<&'a Freshness, &'a str>,
    answers: &'a Answers,
}

/// What was counted of a workload, or why that is not known; `None` if no growth can be told.
type Counted = Result<Option<Counts>, String>;

impl Making<'_> {
    fn sample(&self) -> Sample {
        let request = &self.asked.request;
        let [canary, primary] = workloads(request);
        let window = |metric: &MetricSpec| request.window(metric, self.at);
        let windows = request.metrics.iter().filter_map(window);
        let interval = self
            .asked
            .cadence
            .interval(self.configured, Some(self.asked.interval));
        let seen = Sides {
            canary: self.seen(&canary, interval),
            primary: self.seen(&primary, interval),
        };
        let traffic = self.traffic(&canary, &primary, &seen.canary);
        let readings = request.metrics.iter().map(|metric| {
            let value = match window(metric).map(|window| self.metric(&canary, window)) {
                Some(Ok(counts)) => reading(metric, counts.as_ref()),
                Some(Err(text)) => Reading::error(&text),
                None => Reading::NoData,
            };
            (metric.name.clone(), value)
        });
        let shorter = request.metrics.iter().filter_map(|metric| {
            let window = window(metric).unwrap_or_default();
            (window != metric.window).then(|| (metric.name.clone(), window))
        });
        let counts = windows.clone().filter_map(|window| {
            let sides = Sides {
                canary: self.metric(&canary, window).ok()?,
                primary: self.metric(&primary, window).ok()?,
            };
            Some((window, sides))
        });
        Sample {
            at: self.at,
            window: windows.clone().max().unwrap_or(traffic.window),
            readings: readings.collect(),
            windows: shorter.collect(),
            counts: counts.collect(),
            seen,
            gap_is_new: false,
            behind: self.behind,
            scrape_interval: Some(interval),
            lag: self.asked.cadence.lag(interval),
            traffic,
        }
    }

    fn traffic(&self, canary: &WorkloadKey, primary: &WorkloadKey, seen: &Seen) -> Traffic {
        let window = cadence::window(self.asked.interval);
        let of = |key| count(self.counted(Question::Traffic(window), key, self.asked.request.reporter));
        let canary = of(canary);
        // Pods that are gone were reached, not these.
        let reached = seen.is_current() == Some(true) || self.asked.request.reporter == Reporter::Source;
        Traffic {
            window,
            reached_at: (has_requests(&canary) && reached).then_some(self.at),
            canary,
            primary: of(primary),
        }
    }

    /// What the metrics of one window judge, with durations where they were asked for. A reading of the success rate must
    /// not fail because durations could not be read, but both are asked of the same source at the same time.
    fn metric(&self, key: &WorkloadKey, window: Duration) -> Counted {
        let reporter = self.asked.request.reporter;
        let counts = self.counted(Question::Requests(reporter, window), key, reporter)?;
        let buckets = match self.answers.get(&Question::Durations(reporter, window)) {
            Some(Ok(Answer::Durations(found))) => found.get(key).cloned().unwrap_or_default(),
            Some(Err(text)) if self.wants_durations(window) => return Err(text.clone()),
            _ => Vec::new(),
        };
        Ok(counts.map(|counts| Counts { buckets, ..counts }))
    }

    fn wants_durations(&self, window: Duration) -> bool {
        let mut metrics = self.asked.request.metrics.iter();
        metrics.any(|metric| {
            metric.kind == MetricKind::Duration && self.asked.request.window(metric, self.at) == Some(window)
        })
    }

    fn counted(&self, question: Question, key: &WorkloadKey, reporter: Reporter) -> Counted {
        match self.answers.get(&question) {
            Some(Ok(Answer::Requests(found))) => match found.get(&(key.clone(), reporter)) {
                // A count divides nothing: this says that something is wrong, and never that nothing came.
                Some(counts) if counts.requests.is_nan() => {
                    Err("the count of requests is not a number".to_owned())
                }
                counts => Ok(counts.cloned()),
            },
            Some(Err(text)) => Err(text.clone()),
            _ => Ok(None),
        }
    }

    fn seen(&self, key: &WorkloadKey, interval: Duration) -> Seen {
        let traffic = Question::Traffic(cadence::window(self.asked.interval));
        let of = |reporter| self.counted(traffic, key, reporter).ok().flatten();
        let within = cadence::fresh_within(interval, self.asked.cadence.lag(interval));
        let pods = match self.freshness {
            Err(text) => Reading::error(text),
            Ok(freshness) => freshness.ages.get(key).map_or(Reading::NoData, |pods| {
                Reading::Value(pods.values().filter(|age| **age <= within).count() as f64)
            }),
        };
        Seen {
            pods,
            arrived: of(Reporter::Destination),
            called: of(Reporter::Source),
        }
    }
}

fn count(counted: Counted) -> Reading {
    match counted {
        Ok(Some(counts)) => Reading::Value(counts.requests),
        Ok(None) => Reading::NoData,
        Err(text) => Reading::error(&text),
    }
}
