//! What became of requests: counts, shares and times.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Fate, Sample};

/// A share may be off by this many standard errors, which chance alone exceeds once in 15,000 times.
const STANDARD_ERRORS: f64 = 4.0;

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
    pub(super) fn of<'a>(samples: impl Iterator<Item = &'a Sample>) -> Self {
        let mut stats = Self::default();
        let mut times = Vec::new();
        for sample in samples {
            stats.requests += 1;
            match &sample.fate {
                Fate::Answered { code, grpc, workload } => {
                    times.push(sample.took);
                    if let Some(status) = grpc.filter(|status| *status != 0) {
                        *stats.failures.entry(format!("grpc {status}")).or_default() += 1;
                    } else if *code >= 500 || workload.is_none() {
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

    /// Fails if a request failed in another way than `kind`: a status that the release itself answers with.
    pub fn ensure_failures_are(&self, kind: &str) -> Result<()> {
        let own = self.failures.keys().all(|failure| failure == kind);
        ensure!(own, "requests failed that the release did not answer: {self}");
        Ok(())
    }

    /// Fails if any answer came from another workload.
    pub fn ensure_answered_by(&self, workload: &str) -> Result<()> {
        let by = &self.by_workload;
        ensure!(
            self.share(workload) == 1.0,
            "answered by {by:?}, and not by {workload} alone"
        );
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

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

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
                grpc: None,
                workload: Some("primary".into()),
            }),
            sample(Fate::Answered {
                code: 500,
                grpc: None,
                workload: Some("canary".into()),
            }),
            sample(Fate::Answered {
                code: 200,
                grpc: Some(14),
                workload: Some("canary".into()),
            }),
            // An answer of the gateway's own.
            sample(Fate::Answered {
                code: 404,
                grpc: None,
                workload: None,
            }),
            sample(Fate::Lost("connection reset".into())),
        ];
        let stats = Stats::of(samples.iter());
        assert_eq!((stats.requests, stats.failed()), (5, 4));
        assert!(stats.ensure_none_failed().is_err());
    }
}
