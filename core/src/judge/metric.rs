//! A metric of an analysis: what it measures, and which values are accepted.

use std::time::Duration;

use super::Disconnects;

/// What a metric measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetricKind {
    /// Share of requests without a server error, in percent.
    SuccessRate,
    /// 99th percentile of the request duration, in milliseconds.
    Duration,
}

impl MetricKind {
    /// The built-in metric of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<MetricKind> {
        match name {
            "request-success-rate" => Some(MetricKind::SuccessRate),
            "request-duration" => Some(MetricKind::Duration),
            _ => None,
        }
    }

    /// The unit of its values, as written behind a number.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            MetricKind::SuccessRate => "%",
            MetricKind::Duration => "ms",
        }
    }
}

/// One metric of an analysis.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricSpec {
    /// The name users gave it; unique within a Canary.
    pub name: String,
    /// What it measures.
    pub kind: MetricKind,
    /// How far it looks back.
    pub window: Duration,
    /// Smallest accepted value, in the unit of its kind.
    pub min: Option<f64>,
    /// Largest accepted value, in the unit of its kind.
    pub max: Option<f64>,
    /// What a success rate takes requests for whose caller went away.
    pub disconnects: Disconnects,
}
