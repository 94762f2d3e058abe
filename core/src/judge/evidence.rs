//! What was measured of one canary at one instant.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

use super::{Counts, MetricSpec, Sides};
use crate::defect::{Defect, planted};

/// Time between two samples where neither the source nor the configuration tells it.
pub const UNKNOWN_INTERVAL: Duration = Duration::from_secs(60);

/// Longest text of an error that is kept, in characters.
const MAX_ERROR: usize = 200;

/// The answer to one question.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Reading {
    /// A number that is not NaN; its unit is the metric's.
    Value(f64),
    /// The question was answered: there is nothing to measure.
    #[default]
    NoData,
    /// The question was not answered; why, in a short text.
    Error(String),
}

impl Reading {
    /// The reading of a series with this value; NaN means that there was nothing to divide.
    #[must_use]
    pub fn of(value: f64) -> Reading {
        if value.is_nan() {
            Reading::NoData
        } else {
            Reading::Value(value)
        }
    }

    /// A failure to read, its text cut to a bounded length.
    #[must_use]
    pub fn error(text: &str) -> Reading {
        Reading::Error(text.chars().take(MAX_ERROR).collect())
    }

    /// The number, if there is one.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        match self {
            Reading::Value(value) if !value.is_nan() => Some(*value),
            _ => None,
        }
    }
}

/// Everything that was measured of one canary at one instant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// The instant up to which was measured: not the one of the question where the source answered of an earlier one.
    pub at: DateTime<Utc>,
    /// How far the metrics look back from there; the longest, if they differ.
    pub window: Duration,
    /// The canary's metrics by name.
    pub readings: BTreeMap<String, Reading>,
    /// Requests of both versions.
    pub traffic: Traffic,
    /// How far a metric looks back, by its name, where that is less than its specification allows.
    pub windows: BTreeMap<String, Duration>,
    /// What both versions counted in each window that a metric looks back, with the durations where a metric wants them. A
    /// window that was not answered is missing; `None` is a side whose requests cannot be counted.
    pub counts: BTreeMap<Duration, Sides<Option<Counts>>>,
    /// What is known of both versions in the window of [`Sample::traffic`].
    pub seen: Sides<Seen>,
    /// Whether something is missing in it that was there in the sample before: one answer that is lost is no news.
    pub gap_is_new: bool,
    /// By how much the source's own time is behind ours, in whole seconds.
    pub behind: Duration,
    /// Time between two samples of these workloads' series, as the source shows it, or as it must be assumed.
    pub scrape_interval: Option<Duration>,
    /// How much later than its scrape a sample can be read, as far as the source shows it.
    pub lag: Option<Duration>,
}

impl Sample {
    /// How far `metric` looks back in this sample.
    #[must_use]
    pub fn window_of(&self, metric: &MetricSpec) -> Duration {
        self.windows.get(&metric.name).copied().unwrap_or(metric.window)
    }

    /// How long after a change of the routes the counts tell of it: proxies follow within `drain`, then two samples are
    /// taken, and can be read.
    #[must_use]
    pub fn settles_after(&self, drain: TimeDelta) -> TimeDelta {
        let interval = self.scrape_interval.unwrap_or(UNKNOWN_INTERVAL);
        let known = interval * 2 + self.lag.unwrap_or_default();
        drain + TimeDelta::from_std(known).unwrap_or_default()
    }

    /// Whether every metric has a value, and the requests of both versions were asked for with success.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let values = self.readings.values().all(|reading| reading.value().is_some());
        values && self.unanswered().is_none()
    }

    /// Why the source did not answer one of the questions, if it did not: then missing requests mean nothing, also where no
    /// metric is judged.
    #[must_use]
    pub fn unanswered(&self) -> Option<&str> {
        let mut all = self
            .readings
            .values()
            .chain([&self.traffic.canary, &self.traffic.primary]);
        all.find_map(|reading| match reading {
            Reading::Error(text) => Some(text.as_str()),
            _ => None,
        })
    }
}

/// What a source knows of one version, apart from the reporter that the analysis chose.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Number of pods whose proxy has a recent sample (2.5 scrape intervals and the lag): `up == 1`, or a series of Istio's.
    pub pods: Reading,
    /// Requests that the pods' own proxies counted; `None` if no two samples of any series are there. For TCP, connections.
    pub arrived: Option<Counts>,
    /// Requests that the callers' proxies counted, those that never arrived included.
    pub called: Option<Counts>,
}

impl Seen {
    /// Whether missing requests would be known to be missing: each of `ready` pods has a recent sample, or callers report
    /// requests to this version. `None` if the source did not answer.
    #[must_use]
    pub fn is_measured(&self, ready: u32) -> Option<bool> {
        if self.called.as_ref().is_some_and(|counts| counts.requests > 0.0) {
            return Some(true);
        }
        match &self.pods {
            Reading::Value(pods) => Some(*pods >= f64::from(ready)),
            Reading::NoData => Some(false),
            Reading::Error(_) => None,
        }
    }

    /// Whether the counts are of pods that the source reads now: at least one has a recent sample, or callers report requests to
    /// this version. A source that is behind answers with what pods counted that are gone. `None` if the source did not answer.
    #[must_use]
    pub fn is_current(&self) -> Option<bool> {
        if planted(Defect::JudgesPodsOfBefore) {
            return Some(true);
        }
        self.is_measured(1)
    }

    /// What the pods' own proxies counted; where none of them tells anything, what the callers' proxies did.
    #[must_use]
    pub fn counts(&self) -> Option<&Counts> {
        self.arrived
            .as_ref()
            .or(self.called.as_ref().filter(|_| self.is_called()))
    }

    /// Whether the callers' proxies count a request.
    #[must_use]
    pub fn is_called(&self) -> bool {
        self.called.as_ref().is_some_and(|counts| counts.requests >= 0.5)
    }

    /// Share of the callers' requests that are refused, from 0 to 1; `None` without requests.
    #[must_use]
    pub fn refused_share(&self) -> Option<f64> {
        self.counts()?.of_callers().refused_share()
    }

    /// Share of the callers' requests that are refused or do not arrive, by their own proxies; `None` if those count none.
    #[must_use]
    pub fn lost_share(&self) -> Option<f64> {
        self.called.as_ref()?.of_callers().refused_share()
    }
}

/// Requests of both versions over a short window. A value of 0 says that proxies were read twice and counted nothing new;
/// no data, that no growth can be told: no series, or none with two samples in the window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Traffic {
    /// How far the counts look back.
    pub window: Duration,
    /// Requests of the canary that ended in the window.
    pub canary: Reading,
    /// Requests of the primary that ended in the window.
    pub primary: Reading,
    /// When the latest sample was taken in which the canary had requests, as far as this process knows.
    pub reached_at: Option<DateTime<Utc>>,
}

impl Traffic {
    /// Whether requests are known to have reached the canary since `since`, all of them counted after it.
    #[must_use]
    pub fn reached_since(&self, since: DateTime<Utc>) -> bool {
        let window = TimeDelta::from_std(self.window).unwrap_or_default();
        self.reached_at.is_some_and(|at| at - window >= since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_settle_two_samples_after_the_proxies() {
        let sample = Sample {
            scrape_interval: Some(Duration::from_secs(15)),
            lag: Some(Duration::from_secs(7)),
            ..Sample::default()
        };
        assert_eq!(
            sample.settles_after(TimeDelta::seconds(5)),
            TimeDelta::seconds(42)
        );
        assert_eq!(
            Sample::default().settles_after(TimeDelta::seconds(5)),
            TimeDelta::seconds(125)
        );
    }

    #[test]
    fn sample_without_metrics_tells_as_well_that_nobody_answered() {
        let mut sample = Sample::default();
        assert_eq!(sample.unanswered(), None, "no data is an answer");
        sample.seen.primary.pods = Reading::Error("timeout".into());
        assert_eq!(sample.unanswered(), None, "how many pods are seen judges nothing");
        sample.traffic.canary = Reading::Error("refused".into());
        assert_eq!(sample.unanswered(), Some("refused"));
    }

    #[test]
    fn side_is_measured_when_each_ready_pod_is_seen_or_callers_report_it() {
        let seen = |pods: Reading| Seen {
            pods,
            ..Seen::default()
        };
        assert_eq!(seen(Reading::Value(2.0)).is_measured(2), Some(true));
        assert_eq!(seen(Reading::Value(1.0)).is_measured(2), Some(false));
        assert_eq!(seen(Reading::NoData).is_measured(1), Some(false));
        assert_eq!(seen(Reading::Error("down".into())).is_measured(1), None);
        let called = |requests: f64| Seen {
            called: Some(Counts {
                requests,
                ..Counts::default()
            }),
            ..Seen::default()
        };
        assert_eq!(called(1.0).is_measured(2), Some(true));
        assert_eq!(
            called(0.0).is_measured(2),
            Some(false),
            "whether they still call it is unknown"
        );
    }

    #[test]
    fn nan_is_no_data_and_errors_are_cut() {
        assert_eq!(Reading::of(f64::NAN), Reading::NoData);
        assert_eq!(Reading::of(0.0), Reading::Value(0.0));
        assert_eq!(Reading::Value(f64::NAN).value(), None);
        let Reading::Error(text) = Reading::error(&"ä".repeat(500)) else {
            panic!("no error")
        };
        assert_eq!(text.chars().count(), MAX_ERROR);
    }
}
