//! A sampler before a fake source, on a clock that tests move.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::super::*;
use crate::{
    judge::{Bucket, Counts, MetricKind},
    metrics_source::{Durations, Freshness, Requests, Row, Scope, SourceError, WorkloadKey},
};

/// Runs with tokio's time, which tests pause; starts 2.5 s after a full minute.
struct TestClock(Instant);

impl Clock for TestClock {
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn now(&self) -> DateTime<Utc> {
        instant(2) + TimeDelta::milliseconds(500) + TimeDelta::from_std(self.0.elapsed()).unwrap()
    }
}

pub(super) fn instant(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

/// A question that the source was asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    pub(super) at: DateTime<Utc>,
    pub(super) what: &'static str,
    pub(super) window: Duration,
    pub(super) reporters: Vec<Reporter>,
    pub(super) workloads: Vec<String>,
}

/// Answers for the workloads `a`, `b` and `c` in namespace `shop`, and notes what it was asked.
pub(super) struct Fake {
    clock: Arc<TestClock>,
    asked: Mutex<Vec<Asked>>,
    pub(super) broken: AtomicBool,
    pub(super) takes: Mutex<Duration>,
    /// Time between scrapes as the source shows it.
    pub(super) interval: Mutex<Option<Duration>>,
    /// By how much its time is behind.
    pub(super) behind: Mutex<TimeDelta>,
}

pub(super) fn key(name: &str) -> WorkloadKey {
    WorkloadKey {
        namespace: "shop".into(),
        workload: name.into(),
    }
}

impl Fake {
    async fn ask(
        &self,
        what: &'static str,
        scope: &Scope,
        reporters: &[Reporter],
        window: Duration,
    ) -> Result<(), SourceError> {
        let asked = Asked {
            at: self.clock.now(),
            what,
            window,
            reporters: reporters.to_vec(),
            workloads: scope.workloads.iter().map(|key| key.workload.clone()).collect(),
        };
        self.asked.lock().unwrap().push(asked);
        let takes = *self.takes.lock().unwrap();
        tokio::time::sleep_until(Instant::now() + takes).await;
        if self.broken.load(Ordering::Relaxed) {
            return Err(SourceError::Status {
                code: 502,
                body: "Bad Gateway".into(),
            });
        }
        Ok(())
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl MetricSource for Fake {
    async fn vector(&self, promql: &str) -> Result<Vec<Row>, SourceError> {
        panic!("asked for {promql}")
    }

    async fn requests(
        &self,
        scope: &Scope,
        reporters: &[Reporter],
        window: Duration,
    ) -> Result<Requests, SourceError> {
        self.ask("requests", scope, reporters, window).await?;
        let of = |name: &str, reporter, requests, bad| {
            let counts = Counts {
                requests,
                bad,
                ..Counts::default()
            };
            ((key(name), reporter), counts)
        };
        let mut found = Requests::new();
        for reporter in reporters {
            found.extend([
                of("a", *reporter, 1000.0, 10.0),
                of("b", *reporter, 0.0, 0.0),
                of("c", *reporter, f64::NAN, 0.0),
                of("a-primary", *reporter, 9000.0, 0.0),
                of("stranger", *reporter, 5.0, 0.0),
            ]);
        }
        Ok(found)
    }

    async fn durations(
        &self,
        scope: &Scope,
        reporter: Reporter,
        window: Duration,
    ) -> Result<Durations, SourceError> {
        self.ask("durations", scope, &[reporter], window).await?;
        let bucket = |le_ms, count| Bucket { le_ms, count };
        let buckets = vec![
            bucket(100.0, 1000.0),
            bucket(200.0, 1000.0),
            bucket(f64::INFINITY, 1000.0),
        ];
        Ok([(key("a"), buckets)].into())
    }

    async fn freshness(&self, scope: &Scope, _: Duration) -> Result<Freshness, SourceError> {
        self.ask("freshness", scope, &[], Duration::ZERO).await?;
        let ages = |seconds: &[u64]| {
            let pods = seconds.iter().enumerate();
            pods.map(|(n, age)| (format!("pod-{n}"), Duration::from_secs(*age)))
                .collect()
        };
        let interval = *self.interval.lock().unwrap();
        Ok(Freshness {
            now: Some(self.clock.now() - *self.behind.lock().unwrap()),
            ages: [(key("a"), ages(&[3, 19, 21])), (key("a-primary"), ages(&[5]))].into(),
            intervals: interval
                .map(|interval| (key("a-primary"), interval))
                .into_iter()
                .collect(),
        })
    }
}

pub(super) struct Bench {
    pub(super) fake: Arc<Fake>,
    pub(super) sampler: Arc<Sampler>,
    pub(super) woken: UnboundedReceiver<CanaryId>,
    running: tokio::task::JoinHandle<()>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.running.abort();
    }
}

pub(super) fn bench() -> Bench {
    let settings = Settings {
        scrape_interval: Some(Duration::from_secs(8)),
        ..Settings::default()
    };
    bench_with(settings)
}

pub(super) fn bench_with(settings: Settings) -> Bench {
    let (sender, woken) = unbounded_channel();
    let clock = Arc::new(TestClock(Instant::now()));
    let fake = Arc::new(Fake {
        clock: clock.clone(),
        asked: Mutex::default(),
        broken: AtomicBool::default(),
        takes: Mutex::default(),
        interval: Mutex::default(),
        behind: Mutex::new(TimeDelta::zero()),
    });
    let source: Arc<dyn MetricSource> = Arc::<Fake>::clone(&fake);
    let sampler = Arc::new(Sampler::new(source, clock, settings, sender));
    let runner = Arc::clone(&sampler);
    let running = tokio::spawn(async move { runner.run().await });
    Bench {
        fake,
        sampler,
        woken,
        running,
    }
}

pub(super) fn id(name: &str) -> CanaryId {
    CanaryId {
        namespace: "shop".into(),
        name: name.into(),
    }
}

pub(super) fn request(name: &str, interval: u64) -> Request {
    let metric = |name: &str, kind| MetricSpec {
        name: name.into(),
        kind,
        window: Duration::from_secs(60),
        min: Some(1.0),
        max: None,
        disconnects: Default::default(),
    };
    Request {
        namespace: "shop".into(),
        target: name.into(),
        primary: format!("{name}-primary"),
        period: period(Duration::from_secs(interval)),
        reporter: Reporter::Destination,
        metrics: vec![
            metric("rate", MetricKind::SuccessRate),
            metric("p99", MetricKind::Duration),
        ],
        since: None,
    }
}

/// Lets `seconds` of paused time pass.
pub(super) async fn pass(seconds: u64) {
    tokio::time::sleep_until(Instant::now() + Duration::from_secs(seconds)).await;
}
