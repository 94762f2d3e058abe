//! Requests through the gateway at a steady pace, each with its fate.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Request, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::cluster::GATEWAY_PORT;
use crate::namespace::NODE_ADDRESS;

/// A request without an answer by then has failed.
const PATIENCE: Duration = Duration::from_secs(5);
/// Requests that are remembered; over an hour at 200 a second.
const REMEMBERED: usize = 1_000_000;
/// A share may be off by this many standard errors, which chance alone exceeds once in 15,000 times.
const STANDARD_ERRORS: f64 = 4.0;

type Connections = Client<HttpConnector, Empty<Bytes>>;

/// Traffic that flows until it is stopped or dropped.
pub struct Traffic {
    recorder: Arc<Recorder>,
    done: watch::Receiver<usize>,
    stop: oneshot::Sender<()>,
    task: JoinSet<()>,
}

/// One request.
#[derive(Clone, Debug)]
struct Sample {
    sent: Instant,
    took: Duration,
    fate: Fate,
}

#[derive(Clone, Debug)]
enum Fate {
    Answered { code: u16, workload: Option<String> },
    Lost(String),
}

struct Recorder {
    samples: Mutex<VecDeque<Sample>>,
    done: watch::Sender<usize>,
}

impl Traffic {
    /// Sends so many requests a second to a host, whether or not they are answered.
    pub fn start(host: &str, per_second: u32) -> Self {
        let (sender, done) = watch::channel(0);
        let recorder = Arc::new(Recorder {
            samples: Mutex::default(),
            done: sender,
        });
        let (stop, stopped) = oneshot::channel();
        let mut task = JoinSet::new();
        task.spawn(send_until(
            stopped,
            host.to_owned(),
            per_second,
            Arc::clone(&recorder),
        ));
        Self {
            recorder,
            done,
            stop,
            task,
        }
    }

    /// Returns when so many more requests have met their fate.
    pub async fn requests(&self, more: usize) -> Result<()> {
        let mut done = self.done.clone();
        let target = *done.borrow_and_update() + more;
        done.wait_for(|count| *count >= target)
            .await
            .context("the traffic has stopped")?;
        Ok(())
    }

    /// What became of the requests sent since an instant.
    pub fn since(&self, from: Instant) -> Stats {
        self.between(from, Instant::now())
    }

    /// What became of the requests sent between two instants.
    pub fn between(&self, from: Instant, to: Instant) -> Stats {
        let samples = self
            .recorder
            .samples
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Stats::of(
            samples
                .iter()
                .filter(|sample| sample.sent >= from && sample.sent < to),
        )
    }

    /// What became of the requests sent between two instants that this workload answered.
    pub fn answered_by(&self, workload: &str, from: Instant, to: Instant) -> Stats {
        let by_it =
            |fate: &Fate| matches!(fate, Fate::Answered { workload: Some(name), .. } if name == workload);
        let samples = self
            .recorder
            .samples
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let sent = |sample: &&Sample| sample.sent >= from && sample.sent < to;
        Stats::of(samples.iter().filter(sent).filter(|sample| by_it(&sample.fate)))
    }

    /// What became of all requests so far.
    pub fn so_far(&self) -> Stats {
        Stats::of(
            self.recorder
                .samples
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .iter(),
        )
    }

    /// Stops sending, waits for the answers that are still due, and sums up.
    pub async fn stop(self) -> Stats {
        let Self {
            recorder,
            stop,
            mut task,
            ..
        } = self;
        _ = stop.send(());
        while task.join_next().await.is_some() {}
        recorder.sum_up()
    }
}

/// What became of a number of requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// How many there were.
    pub requests: usize,
    /// Those that failed, by how.
    pub failures: BTreeMap<String, usize>,
    /// Those that were answered, by the workload that did.
    pub by_workload: BTreeMap<String, usize>,
    /// Half of the answers took no longer.
    pub p50: Duration,
    /// 99 in 100 answers took no longer.
    pub p99: Duration,
}

impl Stats {
    fn of<'a>(samples: impl Iterator<Item = &'a Sample>) -> Self {
        let mut stats = Self::default();
        let mut times = Vec::new();
        for sample in samples {
            stats.requests += 1;
            match &sample.fate {
                Fate::Answered { code, workload } => {
                    times.push(sample.took);
                    if *code >= 500 || workload.is_none() {
                        *stats.failures.entry(code.to_string()).or_default() += 1;
                    }
                    if let Some(workload) = workload {
                        *stats.by_workload.entry(workload.clone()).or_default() += 1;
                    }
                }
                Fate::Lost(reason) => *stats.failures.entry(reason.clone()).or_default() += 1,
            }
        }
        times.sort_unstable();
        stats.p50 = quantile(&times, 0.5);
        stats.p99 = quantile(&times, 0.99);
        stats
    }

    /// How many failed.
    pub fn failed(&self) -> usize {
        self.failures.values().sum()
    }

    /// Fails if any request did.
    pub fn ensure_none_failed(&self) -> Result<()> {
        ensure!(self.failed() == 0, "requests failed: {self}");
        Ok(())
    }

    /// The share of the answers that came from a workload, in `0.0..=1.0`.
    pub fn share(&self, workload: &str) -> f64 {
        let answered: usize = self.by_workload.values().sum();
        self.by_workload.get(workload).copied().unwrap_or_default() as f64 / answered.max(1) as f64
    }

    /// Fails if the share of a workload is further from the expected one than chance explains.
    pub fn ensure_share(&self, workload: &str, expected: f64) -> Result<()> {
        let answered: usize = self.by_workload.values().sum();
        ensure!(answered > 0, "no request was answered: {self}");
        let error = (expected * (1.0 - expected) / answered as f64).sqrt();
        let share = self.share(workload);
        ensure!(
            (share - expected).abs() <= STANDARD_ERRORS * error,
            "{workload} got {:.1} % of {answered} requests instead of {:.1} ± {:.1} %",
            share * 100.0,
            expected * 100.0,
            STANDARD_ERRORS * error * 100.0
        );
        Ok(())
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests, {} failed", self.requests, self.failed())?;
        if !self.failures.is_empty() {
            write!(f, " {:?}", self.failures)?;
        }
        write!(
            f,
            ", p50 {:.1} ms, p99 {:.1} ms",
            milliseconds(self.p50),
            milliseconds(self.p99)
        )
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

fn quantile(sorted: &[Duration], q: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    sorted
        .get((last as f64 * q).round() as usize)
        .copied()
        .unwrap_or_default()
}

/// Sends on the beat of a clock until told to stop, and then waits for the answers that are due.
async fn send_until(
    mut stopped: oneshot::Receiver<()>,
    host: String,
    per_second: u32,
    recorder: Arc<Recorder>,
) {
    let connections: Connections = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
    let mut beat = interval(Duration::from_secs(1) / per_second.max(1));
    // After a stall the pace goes on; a burst would measure the stall again.
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            _ = beat.tick() => {}
        }
        under_way.spawn(send_one(connections.clone(), host.clone(), Arc::clone(&recorder)));
        while under_way.try_join_next().is_some() {}
    }
    under_way.join_all().await;
}

async fn send_one(connections: Connections, host: String, recorder: Arc<Recorder>) {
    let sent = Instant::now();
    let fate = match timeout(PATIENCE, exchange(&connections, &host)).await {
        Ok(Ok(fate)) => fate,
        Ok(Err(error)) => Fate::Lost(format!("{:#}", error.root_cause())),
        Err(_) => Fate::Lost("no answer in time".into()),
    };
    recorder.add(Sample {
        sent,
        took: sent.elapsed(),
        fate,
    });
}

async fn exchange(connections: &Connections, host: &str) -> Result<Fate> {
    let request = Request::get(format!("http://{NODE_ADDRESS}:{GATEWAY_PORT}/"))
        .header(header::HOST, host)
        .body(Empty::new())?;
    let response = connections.request(request).await?;
    let code = response.status().as_u16();
    let workload = response
        .headers()
        .get("x-workload")
        .map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned());
    response.into_body().collect().await?;
    Ok(Fate::Answered { code, workload })
}

impl Recorder {
    fn sum_up(&self) -> Stats {
        Stats::of(self.samples.lock().unwrap_or_else(PoisonError::into_inner).iter())
    }

    fn add(&self, sample: Sample) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() >= REMEMBERED {
            samples.pop_front();
        }
        samples.push_back(sample);
        self.done.send_modify(|count| *count += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(canary: usize, primary: usize) -> Stats {
        let by_workload = BTreeMap::from([("canary".to_owned(), canary), ("primary".to_owned(), primary)]);
        Stats {
            requests: canary + primary,
            by_workload,
            ..Stats::default()
        }
    }

    #[test]
    fn a_share_within_chance_passes_and_one_beyond_fails() {
        assert!(stats(110, 890).ensure_share("canary", 0.1).is_ok());
        assert!(stats(150, 850).ensure_share("canary", 0.1).is_err());
        assert!(stats(1, 999).ensure_share("canary", 0.0).is_err());
        assert!(stats(0, 0).ensure_share("canary", 0.0).is_err());
    }

    #[test]
    fn failures_count_whatever_their_kind() {
        let sample = |fate| Sample {
            sent: Instant::now(),
            took: Duration::from_millis(5),
            fate,
        };
        let samples = [
            sample(Fate::Answered {
                code: 200,
                workload: Some("primary".into()),
            }),
            sample(Fate::Answered {
                code: 500,
                workload: Some("canary".into()),
            }),
            // An answer of the gateway's own.
            sample(Fate::Answered {
                code: 404,
                workload: None,
            }),
            sample(Fate::Lost("connection reset".into())),
        ];
        let stats = Stats::of(samples.iter());
        assert_eq!((stats.requests, stats.failed()), (4, 3));
        assert!(stats.ensure_none_failed().is_err());
    }
}
