//! Where measurements come from.
//!
//! The sampler asks a source on an aligned grid, for many canaries at once and apart from the reconcile path; the
//! reconciler only reads the latest [`Sample`](crate::judge::Sample). Invariant: nobody is asked while nobody wants to
//! know.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::judge::{Bucket, Counts, Reporter};

pub mod access;
mod answer; // what the series of an answer say
mod cadence; // how often and how late samples come
mod pod_name; // whose pod it is
pub mod prometheus;
pub mod query;
mod round; // the questions of a round, and the samples that their answers make
pub mod sampler;
pub mod selector;

pub use access::Access;
pub use prometheus::Prometheus;
pub use sampler::{Request, Sampler, Settings};
pub use selector::Selector;

/// A workload, by the names its proxies report.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadKey {
    /// Namespace.
    pub namespace: String,
    /// Name of the Deployment.
    pub workload: String,
}

/// Whom a question is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The workloads; an answer may tell of others as well.
    pub workloads: BTreeSet<WorkloadKey>,
    /// What else a series must have.
    pub selector: Selector,
}

/// A series of an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value; may be NaN.
    pub value: f64,
    /// The source's time at which it was computed, in seconds since the epoch.
    pub at: f64,
}

/// Requests by workload and by who counted them. What no growth can be told of is missing.
pub type Requests = HashMap<(WorkloadKey, Reporter), Counts>;

/// Histograms of durations by workload, each by rising bound.
pub type Durations = HashMap<WorkloadKey, Vec<Bucket>>;

/// How old the newest samples are, and how often they come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Freshness {
    /// The source's time.
    pub now: Option<DateTime<Utc>>,
    /// Age of the newest sample at that time, by workload and pod: of `up`, if that is 1, or of a series of Istio's.
    pub ages: HashMap<WorkloadKey, BTreeMap<String, Duration>>,
    /// Time between two samples by workload, where series are old enough to show it.
    pub intervals: HashMap<WorkloadKey, Duration>,
}

/// Something that answers PromQL, or the same questions in another way.
#[async_trait]
pub trait MetricSource: Send + Sync {
    /// The instant vector of `promql` at the source's own present time.
    async fn vector(&self, promql: &str) -> Result<Vec<Row>, SourceError>;

    /// The requests that `reporters` counted in `window`. With both, connections count as requests for a workload that has
    /// none: what is known of TCP.
    async fn requests(
        &self,
        scope: &Scope,
        reporters: &[Reporter],
        window: Duration,
    ) -> Result<Requests, SourceError> {
        let promql = query::requests(scope, reporters, window);
        answer::requests(self.vector(&promql).await?)
    }

    /// How long the requests took that `reporter` counted in `window`.
    async fn durations(
        &self,
        scope: &Scope,
        reporter: Reporter,
        window: Duration,
    ) -> Result<Durations, SourceError> {
        let promql = query::durations(scope, reporter, window);
        answer::durations(self.vector(&promql).await?)
    }

    /// How old the newest samples are, and how often they come.
    async fn freshness(&self, scope: &Scope, window: Duration) -> Result<Freshness, SourceError> {
        let promql = query::freshness(scope, window);
        answer::freshness(scope, self.vector(&promql).await?)
    }
}

/// A question that got no usable answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The address is no usable URL, a file of a secret cannot be used, or no client can be made.
    #[error("metrics server cannot be used: {0}")]
    Setup(String),
    /// No answer in time.
    #[error("metrics server did not answer in time")]
    Timeout,
    /// No connection, or it broke.
    #[error("metrics server cannot be reached: {0}")]
    Unreachable(String),
    /// An answer that refuses.
    #[error("metrics server answered with status {code}: {body}")]
    Status {
        /// HTTP status code.
        code: u16,
        /// The beginning of the answer, at most 200 characters.
        body: String,
    },
    /// An answer that lacks a part of what was asked for: a store that could not be read, for example.
    #[error("metrics server answered only in part: {0}")]
    Partial(String),
    /// An answer that is not what Prometheus answers, or not what was asked for.
    #[error("answer of the metrics server is malformed: {0}")]
    Malformed(String),
    /// An answer beyond the limit.
    #[error("answer of the metrics server exceeds {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}

impl SourceError {
    /// A stable word for events and metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            SourceError::Setup(_) => "MetricsSetup",
            SourceError::Timeout => "MetricsTimeout",
            SourceError::Unreachable(_) => "MetricsUnreachable",
            SourceError::Status { .. } => "MetricsStatus",
            SourceError::Partial(_) => "MetricsPartial",
            SourceError::Malformed(_) => "MetricsMalformed",
            SourceError::TooLarge { .. } => "MetricsTooLarge",
        }
    }
}
