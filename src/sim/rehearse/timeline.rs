//! What happened, one entry after the other; the form in which every output gets it.

use serde::Serialize;
use serde_json::Value;

use crate::api::{CanaryStatus, NoticeKind};

/// One entry of the timeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Seconds since the release was shipped.
    pub at_seconds: f64,
    /// `status.phase`; empty if there is none.
    pub phase: String,
    /// Intended weight of the canary in percent.
    pub weight: i32,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum What {
    /// Somebody or something acted: the release was shipped, Prometheus went down.
    Act {
        /// One sentence.
        message: String,
    },
    /// The controller told a fact, as it does in a Kubernetes Event.
    Fact {
        /// CamelCase reason of the Event.
        reason: String,
        /// Whether the Event is a warning.
        warning: bool,
        /// One sentence.
        message: String,
    },
    /// The controller judged a step.
    Checks {
        /// Every check.
        checks: Vec<Check>,
        /// Percent of the requests that the canary answered since the weight changed; null without any.
        share_percent: Option<f64>,
    },
    /// A look at the traffic, at even intervals.
    Beat {
        /// Percent of the requests since the last look that the canary answered; null without any.
        share_percent: Option<f64>,
        /// What Prometheus has of the primary.
        primary: Measured,
        /// What Prometheus has of the canary.
        canary: Measured,
    },
}

/// One check.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Name of the metric.
    pub name: String,
    /// Whether the value lies within the range.
    pub passed: bool,
    /// The value in the metric's unit: percent, or milliseconds.
    pub value: Option<f64>,
    /// The accepted range in words.
    pub bound: String,
}

/// What Prometheus has of one version, over the longest window of the analysis; null without data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// Percent of requests without a 5xx.
    pub success_percent: Option<f64>,
    /// 99th percentile of the request duration in milliseconds.
    pub p99_ms: Option<f64>,
}

/// Requests since the release was shipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Requests {
    /// Sent by callers.
    pub sent: u64,
    /// Answered by the canary's pods.
    pub canary: u64,
    /// Answered by the primary's pods.
    pub primary: u64,
    /// Answered with 500.
    pub answered_with_error: u64,
    /// Answered by nobody.
    pub lost: u64,
}

impl Requests {
    /// Requests since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Requests) -> Requests {
        Requests {
            sent: self.sent.saturating_sub(earlier.sent),
            canary: self.canary.saturating_sub(earlier.canary),
            primary: self.primary.saturating_sub(earlier.primary),
            answered_with_error: self
                .answered_with_error
                .saturating_sub(earlier.answered_with_error),
            lost: self.lost.saturating_sub(earlier.lost),
        }
    }

    /// The canary's share of the answers in percent.
    #[must_use]
    pub fn share_percent(self) -> Option<f64> {
        let all = self.canary + self.primary;
        (all > 0).then(|| rounded(100.0 * self.canary as f64 / all as f64))
    }

    /// Failed in any way.
    #[must_use]
    pub fn failed(self) -> u64 {
        self.answered_with_error + self.lost
    }
}

/// `value` with four decimals at most.
#[must_use]
pub fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// Reads statuses one after the other and says what is new in each.
#[derive(Debug, Default)]
pub struct Scribe {
    /// The latest status.
    pub status: CanaryStatus,
    seq: i64,
}

impl Scribe {
    /// What is new in this Canary, in the order in which it is to be told.
    pub fn read(&mut self, canary: &Value) -> Vec<What> {
        let Ok(status) = serde_json::from_value::<CanaryStatus>(canary["status"].clone()) else {
            // Before its first status a Canary has none.
            return Vec::new();
        };
        let mut news = Vec::new();
        let judged = |status: &CanaryStatus| status.checks.first().map(|check| check.at);
        if !status.checks.is_empty() && judged(&status) != judged(&self.status) {
            let checks = status.checks.iter().map(|check| Check {
                name: check.name.clone(),
                passed: check.outcome == "Pass",
                value: check.value,
                bound: check.bound.clone(),
            });
            news.push(What::Checks {
                checks: checks.collect(),
                share_percent: None,
            });
        }
        for notice in status.outbox.pending.iter().filter(|n| n.seq > self.seq) {
            news.push(What::Fact {
                reason: notice.reason.clone(),
                warning: notice.kind == NoticeKind::Warning,
                message: notice.message.clone(),
            });
        }
        self.seq = self.seq.max(status.outbox.seq);
        self.status = status;
        news
    }
}
