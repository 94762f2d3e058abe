//! How a release behaves, as a person describes it.

use chrono::TimeDelta;
use serde::Serialize;
use serde_json::Value;

use super::units::{self, P99_OVER_MEAN};
use crate::sim::workloads::behaviour::Behaviour;

/// What is known of a release; what is not said is as with the present one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Release {
    /// Share of requests answered with 500, from 0 to 1.
    pub errors: Option<f64>,
    /// Mean time to an answer in milliseconds.
    pub latency: Option<f64>,
    /// From a pod's start to its readiness.
    pub ready_after: Option<TimeDelta>,
    /// Its pods are never ready.
    pub never_ready: bool,
    /// From a pod's readiness to its crash.
    pub crash_after: Option<TimeDelta>,
    /// From a pod's readiness to the moment it stops accepting connections.
    pub dark_after: Option<TimeDelta>,
}

/// The same in a JSON document.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Described {
    /// Percent of requests answered with 500.
    pub errors_percent: f64,
    /// 99 of 100 answers take no longer, in milliseconds.
    pub latency_p99_ms: f64,
    /// Seconds from a pod's start to its readiness; null if it never is.
    pub ready_after_seconds: Option<f64>,
    /// Seconds from a pod's readiness to its crash; null without one.
    pub crash_after_seconds: Option<f64>,
    /// Seconds from a pod's readiness to the moment it stops answering; null if it does not.
    pub dark_after_seconds: Option<f64>,
}

impl Described {
    /// What `behaviour` is.
    #[must_use]
    pub fn of(behaviour: &Behaviour) -> Described {
        let seconds = |span: Option<TimeDelta>| span.map(TimeDelta::as_seconds_f64);
        let rounded = |value: f64| (value * 1e6).round() / 1e6;
        Described {
            errors_percent: rounded(behaviour.error_rate * 100.0),
            latency_p99_ms: rounded(behaviour.latency * P99_OVER_MEAN),
            ready_after_seconds: seconds(behaviour.ready_after),
            crash_after_seconds: seconds(behaviour.crash_after),
            dark_after_seconds: seconds(behaviour.dark_after),
        }
    }
}

impl Release {
    /// Reads a release from a story.
    ///
    /// # Errors
    /// The field that cannot be used.
    pub fn parse(value: Value) -> Result<Release, String> {
        let Value::Object(fields) = value else {
            return Err(format!("{value} is no object; write {{errors: 2%}}"));
        };
        let mut release = Release::default();
        for (field, value) in fields {
            release
                .set(&field, &value)
                .map_err(|problem| format!("{field}: {problem}"))?;
        }
        Ok(release)
    }

    fn set(&mut self, field: &str, value: &Value) -> Result<(), String> {
        let text = || value.as_str().ok_or_else(|| format!("{value} has no unit"));
        match field {
            "errors" => self.errors = Some(units::percent(text()?)?),
            "latency" => self.latency = Some(units::latency(text()?)?),
            "ready-after" => self.ready_after = Some(units::duration(text()?)?),
            "crash-after" => self.crash_after = Some(units::duration(text()?)?),
            "dark-after" => self.dark_after = Some(units::duration(text()?)?),
            "never-ready" => {
                self.never_ready = value
                    .as_bool()
                    .ok_or_else(|| format!("{value} is neither true nor false"))?;
            }
            _ => {
                return Err(
                    "unknown field; known are errors, latency, ready-after, never-ready, crash-after and dark-after"
                        .to_owned(),
                );
            }
        }
        Ok(())
    }

    /// How its pods behave, where those of the present release behave like `present`.
    #[must_use]
    pub fn behaviour(&self, present: &Behaviour) -> Behaviour {
        Behaviour {
            error_rate: self.errors.unwrap_or(present.error_rate),
            errors_after: TimeDelta::zero(),
            latency: self.latency.unwrap_or(present.latency),
            ready_after: if self.never_ready {
                None
            } else {
                self.ready_after.or(present.ready_after)
            },
            crash_after: self.crash_after,
            dark_after: self.dark_after,
        }
    }
}

/// A behaviour in words.
#[must_use]
pub fn in_words(behaviour: &Behaviour) -> String {
    let seconds = |span: TimeDelta| units::number(span.as_seconds_f64(), 3);
    let mut text = format!(
        "{} % errors, p99 {} ms",
        units::number(behaviour.error_rate * 100.0, 4),
        units::number(behaviour.latency * P99_OVER_MEAN, 0)
    );
    match behaviour.ready_after {
        None => text.push_str(", never ready"),
        Some(span) if span > TimeDelta::seconds(1) => {
            text.push_str(&format!(", ready after {} s", seconds(span)));
        }
        Some(_) => {}
    }
    if let Some(span) = behaviour.crash_after {
        text.push_str(&format!(", crashes after {} s", seconds(span)));
    }
    if let Some(span) = behaviour.dark_after {
        text.push_str(&format!(", answers nothing after {} s", seconds(span)));
    }
    text
}
