//! Requests at a steady pace, each with its fate: through the gateway of the real cluster, or in the simulated one.

mod gateway;
mod simulated;
mod stats;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use bellwether::sim::cluster::SimCluster;
use tokio::sync::watch;
use tokio::time::Instant;

use self::gateway::Gateway;
use self::simulated::Callers;
pub use self::stats::Stats;

/// Requests that are remembered; over an hour at 200 a second.
const REMEMBERED: usize = 1_000_000;

/// Traffic that flows until it is stopped or dropped.
pub struct Traffic {
    recorder: Arc<Recorder>,
    source: Source,
}

enum Source {
    Gateway(Gateway),
    Simulated(Callers),
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
    Answered {
        code: u16,
        /// The status of gRPC, if the call was one.
        grpc: Option<u16>,
        workload: Option<String>,
    },
    Lost(String),
}

struct Recorder {
    samples: Mutex<VecDeque<Sample>>,
    done: watch::Sender<usize>,
}

impl Traffic {
    /// Sends so many requests a second to a host of the real cluster, whether or not they are answered.
    pub fn through_gateway(host: &str, per_second: u32) -> Self {
        let recorder = Recorder::new();
        let source = Source::Gateway(Gateway::send(host, per_second, &recorder));
        Self { recorder, source }
    }

    /// Sends so many requests a second to a Service of the simulated cluster.
    pub fn simulated(
        cluster: Arc<Mutex<SimCluster>>,
        namespace: &str,
        service: &str,
        per_second: u32,
    ) -> Self {
        Self {
            recorder: Recorder::new(),
            source: Source::Simulated(Callers::call(cluster, namespace, service, per_second)),
        }
    }

    /// Returns when so many more requests have met their fate.
    pub async fn requests(&self, more: usize) -> Result<()> {
        match &self.source {
            Source::Gateway(gateway) => gateway.requests(&self.recorder, more).await,
            Source::Simulated(callers) => {
                callers.requests(&self.recorder, more).await;
                Ok(())
            }
        }
    }

    /// What became of the requests sent since an instant.
    pub fn since(&self, from: Instant) -> Stats {
        self.between(from, Instant::now())
    }

    /// What became of the requests sent between two instants.
    pub fn between(&self, from: Instant, to: Instant) -> Stats {
        let samples = self.samples();
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
        let samples = self.samples();
        let sent = |sample: &&Sample| sample.sent >= from && sample.sent < to;
        Stats::of(samples.iter().filter(sent).filter(|sample| by_it(&sample.fate)))
    }

    /// What became of all requests so far.
    pub fn so_far(&self) -> Stats {
        Stats::of(self.samples().iter())
    }

    /// Stops sending, waits for the answers that are still due, and sums up.
    pub async fn stop(self) -> Stats {
        let Self { recorder, source } = self;
        match source {
            Source::Gateway(gateway) => gateway.stop().await,
            Source::Simulated(callers) => callers.stop(&recorder),
        }
        Stats::of(recorder.lock().iter())
    }

    fn samples(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        if let Source::Simulated(callers) = &self.source {
            callers.deliver(&self.recorder);
        }
        self.recorder.lock()
    }
}

impl Recorder {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            samples: Mutex::default(),
            done: watch::Sender::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, sample: Sample) {
        let mut samples = self.lock();
        if samples.len() >= REMEMBERED {
            samples.pop_front();
        }
        samples.push_back(sample);
        self.done.send_modify(|count| *count += 1);
    }
}
