//! How often the samples of a canary's series come, and how late: learnt from the source, since a flag may be wrong.

use std::{collections::VecDeque, time::Duration};

use chrono::{DateTime, Utc};

use super::{Freshness, WorkloadKey};
use crate::judge::UNKNOWN_INTERVAL;

/// Answers over which the smallest age is taken.
const KEPT: usize = 8;
/// Intervals that people configure, in seconds. What is counted may be off by one sample.
const USUAL: [u64; 10] = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300];
/// By which share an interval may differ from a usual one to be taken for it.
const TOLERANCE: f64 = 0.12;
/// Scrape intervals after which a pod without a sample is not measured: one scrape may be lost.
const MEASURED_WITHIN: f64 = 2.5;
/// By how much the clocks of two machines that are kept right may differ.
const CLOCKS_DIFFER: Duration = Duration::from_secs(1);
/// Shortest window in which requests are counted.
const MIN_WINDOW: Duration = Duration::from_secs(3);

/// What was learnt of both workloads of a canary.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cadence {
    interval: Option<Duration>,
    /// Age of the newest sample of both, in the latest answers, by the source's time.
    ages: VecDeque<Duration>,
    /// By how much the source's time was behind ours in the latest answer, in whole seconds.
    behind: Duration,
}

impl Cadence {
    /// Learns from an answer. The workload that is scraped more rarely counts.
    pub(super) fn learn(&mut self, freshness: &Freshness, workloads: [&WorkloadKey; 2]) {
        let intervals = workloads.iter().filter_map(|key| freshness.intervals.get(*key));
        if let Some(interval) = intervals.max() {
            self.interval = Some(usual(*interval));
        }
        let pods = workloads.iter().filter_map(|key| freshness.ages.get(*key));
        if let Some(age) = pods.flat_map(|pods| pods.values()).min() {
            self.ages.push_back(*age);
            if self.ages.len() > KEPT {
                self.ages.pop_front();
            }
        }
    }

    /// Learns that the source answered at its time `now` what it was asked at ours, `at`.
    pub(super) fn learn_time(&mut self, now: DateTime<Utc>, at: DateTime<Utc>) {
        let behind = (at - now).to_std().unwrap_or_default();
        self.behind = if behind <= CLOCKS_DIFFER {
            Duration::ZERO
        } else {
            Duration::from_secs(behind.as_secs_f64().ceil() as u64)
        };
    }

    /// By how much the source's time is behind ours, in whole seconds: what it answers at an instant is what was known so long
    /// before. A cache in front of it, or its clock, may cause that.
    pub(super) fn behind(&self) -> Duration {
        self.behind
    }

    /// Time between two samples as the source shows it.
    pub(super) fn learnt(&self) -> Option<Duration> {
        self.interval
    }

    /// Time between two samples: what was learnt of these workloads, else of others (`elsewhere`), else what was
    /// configured, else a minute: too long costs time, too short a healthy release. What was configured is a lower limit
    /// of what was learnt.
    pub(super) fn interval(&self, configured: Option<Duration>, elsewhere: Option<Duration>) -> Duration {
        let learnt = self.interval.or(elsewhere.filter(|_| configured.is_none()));
        learnt.max(configured).unwrap_or(UNKNOWN_INTERVAL)
    }

    /// How much later than its scrape a sample can be read: the age of the newest one beyond one interval, in the best of
    /// the latest answers, so that scrapes that fail are not taken for late ones.
    pub(super) fn lag(&self, interval: Duration) -> Option<Duration> {
        self.ages.iter().min().map(|age| age.saturating_sub(interval))
    }
}

/// Window in which two samples lie even if one is lost.
pub(super) fn window(interval: Duration) -> Duration {
    interval.mul_f64(MEASURED_WITHIN).max(MIN_WINDOW)
}

/// How old the newest sample of a pod may be that is measured.
pub(super) fn fresh_within(interval: Duration, lag: Option<Duration>) -> Duration {
    interval.mul_f64(MEASURED_WITHIN) + lag.unwrap_or_default()
}

/// The interval that was configured where this one was observed, as far as one can guess; the same guess each time keeps
/// windows alike.
fn usual(observed: Duration) -> Duration {
    let whole = observed.as_secs_f64().round() as u64;
    let near = |seconds: &u64| {
        let configured = *seconds as f64;
        (observed.as_secs_f64() - configured).abs() <= TOLERANCE * configured
    };
    let guess = USUAL.into_iter().chain([whole]).find(near);
    guess.map_or(observed, Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn key(workload: &str) -> WorkloadKey {
        WorkloadKey {
            namespace: "n".into(),
            workload: workload.into(),
        }
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn answer(interval: Option<f64>, ages: &[f64]) -> Freshness {
        let pods: BTreeMap<String, Duration> = ages
            .iter()
            .enumerate()
            .map(|(n, age)| (format!("pod-{n}"), seconds(*age)))
            .collect();
        Freshness {
            now: None,
            ages: [(key("a"), pods)].into(),
            intervals: interval
                .map(|value| (key("b"), seconds(value)))
                .into_iter()
                .collect(),
        }
    }

    fn learnt(answers: &[Freshness]) -> Cadence {
        let mut cadence = Cadence::default();
        for answer in answers {
            cadence.learn(answer, [&key("a"), &key("b")]);
        }
        cadence
    }

    #[test]
    fn interval_is_learnt_and_the_flag_is_its_lower_limit() {
        let none = Cadence::default();
        let fifteen = Some(seconds(15.0));
        assert_eq!(none.interval(None, None), UNKNOWN_INTERVAL);
        assert_eq!(none.interval(fifteen, None), seconds(15.0));
        assert_eq!(none.interval(None, Some(seconds(30.0))), seconds(30.0));
        assert_eq!(none.interval(fifteen, Some(seconds(30.0))), seconds(15.0));
        let thirty = learnt(&[answer(Some(27.3), &[])]);
        assert_eq!(thirty.interval(None, fifteen), seconds(30.0));
        assert_eq!(
            thirty.interval(fifteen, None),
            seconds(30.0),
            "rarer than believed"
        );
        assert_eq!(
            thirty.interval(Some(UNKNOWN_INTERVAL), None),
            UNKNOWN_INTERVAL,
            "the flag may ask for more"
        );
    }

    #[test]
    fn counting_one_sample_more_changes_nothing() {
        for (observed, expected) in [
            (14.3, 15.0),
            (15.0, 15.0),
            (27.3, 30.0),
            (7.1, 7.0),
            (0.5, 0.5),
            (42.8, 43.0),
        ] {
            assert_eq!(usual(seconds(observed)), seconds(expected), "{observed}");
        }
    }

    #[test]
    fn lag_is_what_the_newest_sample_is_older_than_an_interval() {
        let direct = learnt(&[answer(None, &[3.0, 14.0]), answer(None, &[12.0])]);
        assert_eq!(direct.lag(seconds(15.0)), Some(Duration::ZERO));
        let remote = learnt(&[answer(None, &[70.0, 62.0])]);
        assert_eq!(remote.lag(seconds(15.0)), Some(seconds(47.0)));
        assert_eq!(
            fresh_within(seconds(15.0), remote.lag(seconds(15.0))),
            seconds(84.5)
        );
        assert_eq!(Cadence::default().lag(seconds(15.0)), None);
    }

    #[test]
    fn scrapes_that_stop_are_not_taken_for_late_ones() {
        let mut answers = vec![answer(None, &[2.0])];
        answers.extend((1..6).map(|n| answer(None, &[15.0 * f64::from(n)])));
        assert_eq!(learnt(&answers).lag(seconds(15.0)), Some(Duration::ZERO));
    }
}
