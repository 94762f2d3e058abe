//! What was measured of one canary at one instant.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

/// Longest text of an error that is kept, in characters.
const MAX_ERROR: usize = 200;

/// The answer to one question.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// A number that is not NaN; its unit is the metric's.
    Value(f64),
    /// The question was answered: there is nothing to measure.
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
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The instant up to which was measured.
    pub at: DateTime<Utc>,
    /// How far the metrics look back from there; the longest, if they differ.
    pub window: Duration,
    /// The canary's metrics by name.
    pub readings: BTreeMap<String, Reading>,
    /// Requests of both versions.
    pub traffic: Traffic,
}

/// Requests of both versions over a short window.
#[derive(Clone, Debug, PartialEq)]
pub struct Traffic {
    /// How far the counts look back.
    pub window: Duration,
    /// Requests that the canary answered in the window.
    pub canary: Reading,
    /// Requests that the primary answered in the window.
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
