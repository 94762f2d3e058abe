//! Where measurements come from.
//!
//! The sampler asks a source on an aligned grid, for many canaries at once and apart from the reconcile path; the
//! reconciler only reads the latest [`Sample`](crate::judge::Sample). Invariant: nobody is asked while nobody wants to
//! know.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

pub mod prometheus;
pub mod query;
pub mod sampler;

pub use prometheus::Prometheus;
pub use query::Query;
pub use sampler::{Request, Sampler, Settings};

/// A workload, by the names its proxies report.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadKey {
    /// Namespace.
    pub namespace: String,
    /// Name of the Deployment.
    pub workload: String,
}

/// Something that answers PromQL.
#[async_trait]
pub trait MetricSource: Send + Sync {
    /// The instant vector of `promql`, asked for the instant `at` of our clock, which must be the present. It must have one
    /// series per workload at most.
    async fn vector(&self, promql: &str, at: DateTime<Utc>) -> Result<Vec<(WorkloadKey, f64)>, SourceError>;

    /// The answer to a question at `at`. A source without PromQL may answer it in another way.
    async fn measure(
        &self,
        query: &Query,
        at: DateTime<Utc>,
    ) -> Result<Vec<(WorkloadKey, f64)>, SourceError> {
        self.vector(&query.promql(), at).await
    }
}

/// A question that got no usable answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The address is no usable URL, or no client can be made.
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
            SourceError::Malformed(_) => "MetricsMalformed",
            SourceError::TooLarge { .. } => "MetricsTooLarge",
        }
    }
}
