//! Prometheus, or whatever speaks its HTTP API.
//!
//! The answer is read here and not by the client library, so that a proxy's HTML page appears as what it is, with its
//! status and beginning, and so that its size is bounded.

use std::{collections::BTreeSet, error::Error, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use prometheus_http_query::{
    Client,
    response::{Data, PromqlResult},
};
use serde::Deserialize;

use super::{
    MetricSource, SourceError, WorkloadKey,
    query::{NAMESPACE_LABEL, WORKLOAD_LABEL},
};
use crate::http_client::{bounded, cause};

const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(2),
    total: Duration::from_secs(5),
};
/// Ten thousand series take about two megabytes.
const MAX_ANSWER: usize = 8 << 20;
const MAX_BODY_SHOWN: usize = 200;

/// How long to wait for a connection, and for a whole answer.
#[derive(Clone, Copy)]
struct Timeouts {
    connect: Duration,
    total: Duration,
}

/// A Prometheus server.
pub struct Prometheus {
    client: Client,
    timeout: Duration,
}

impl Prometheus {
    /// The server at `url`, which may have a path. A process-wide TLS provider must be installed before.
    ///
    /// # Errors
    /// If `url` is no HTTP URL or no client can be made.
    pub fn new(url: &str) -> Result<Prometheus, SourceError> {
        Prometheus::with_timeouts(url, TIMEOUTS)
    }

    fn with_timeouts(url: &str, timeouts: Timeouts) -> Result<Prometheus, SourceError> {
        let setup = |problem: String| SourceError::Setup(problem);
        if !["http://", "https://"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
        {
            return Err(setup(format!("{url:?} is no http or https URL")));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(timeouts.connect)
            .timeout(timeouts.total)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|e| setup(chain(&e)))?;
        let client = Client::from(http, url).map_err(|e| setup(format!("{url:?}: {}", chain(&e))))?;
        Ok(Prometheus {
            client,
            timeout: timeouts.total,
        })
    }
}

#[async_trait]
impl MetricSource for Prometheus {
    /// Evaluated at Prometheus' own present time: a window that ends now ends now by either clock, while an instant of
    /// our clock lies in the past or the future of a Prometheus whose clock is set otherwise, and would bring evidence
    /// of an earlier step, or none.
    async fn vector(&self, promql: &str, _: DateTime<Utc>) -> Result<Vec<(WorkloadKey, f64)>, SourceError> {
        // As a form, because a query for a hundred canaries is longer than some proxies allow URLs to be.
        let request = self.client.query(promql).timeout(milliseconds(self.timeout));
        let response = request.post_raw().await.map_err(|e| unreachable(&e))?;
        let code = response.status().as_u16();
        let body = bounded::body(response, MAX_ANSWER).await;
        let body = body.map_err(|error| match error {
            bounded::Error::TooLong => SourceError::TooLarge { limit: MAX_ANSWER },
            bounded::Error::Broken(error) => broken(&error),
        })?;
        read(code, &body)
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Prometheus' answer; `data` is absent from a refusal.
#[derive(Deserialize)]
struct Answer {
    status: String,
    data: Option<PromqlResult>,
    #[serde(default)]
    error: String,
}

fn read(code: u16, body: &[u8]) -> Result<Vec<(WorkloadKey, f64)>, SourceError> {
    let answer: Result<Answer, _> = serde_json::from_slice(body);
    let refused = |text: &str| SourceError::Status {
        code,
        body: shortened(text),
    };
    match answer {
        Ok(Answer {
            status,
            data: Some(data),
            ..
        }) if status == "success" && (200..300).contains(&code) => workloads(data),
        Ok(Answer { error, .. }) if !error.is_empty() => Err(refused(&error)),
        _ if !(200..300).contains(&code) => Err(refused(&String::from_utf8_lossy(body))),
        Ok(_) => Err(SourceError::Malformed("neither data nor an error".to_owned())),
        Err(error) => Err(SourceError::Malformed(shortened(&error.to_string()))),
    }
}

fn workloads(result: PromqlResult) -> Result<Vec<(WorkloadKey, f64)>, SourceError> {
    let malformed = |text: String| Err(SourceError::Malformed(shortened(&text)));
    let (Data::Vector(series), _) = result.into_inner() else {
        return malformed("not an instant vector".to_owned());
    };
    let mut seen = BTreeSet::new();
    let mut values = Vec::with_capacity(series.len());
    for one in series {
        let (mut labels, sample) = one.into_inner();
        let (Some(namespace), Some(workload)) =
            (labels.remove(NAMESPACE_LABEL), labels.remove(WORKLOAD_LABEL))
        else {
            return malformed(format!(
                "a series lacks the labels {NAMESPACE_LABEL} and {WORKLOAD_LABEL}"
            ));
        };
        let key = WorkloadKey { namespace, workload };
        if !seen.insert(key.clone()) {
            return malformed(format!(
                "more than one series for workload {}/{}",
                key.namespace, key.workload
            ));
        }
        values.push((key, sample.value()));
    }
    Ok(values)
}

fn unreachable(error: &prometheus_http_query::Error) -> SourceError {
    match error {
        prometheus_http_query::Error::Client(client) => match client.inner() {
            Some(inner) => broken(inner),
            None => SourceError::Unreachable(shortened(&chain(client))),
        },
        other => SourceError::Unreachable(shortened(&chain(other))),
    }
}

fn broken(error: &reqwest::Error) -> SourceError {
    if error.is_timeout() {
        SourceError::Timeout
    } else {
        SourceError::Unreachable(shortened(&cause(error)))
    }
}

fn chain(error: &dyn Error) -> String {
    let inner = cause(error);
    let outer = error.to_string();
    if outer == inner {
        outer
    } else {
        format!("{outer}: {inner}")
    }
}

/// One line of bounded length, fit for a status field.
fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(MAX_BODY_SHOWN).collect()
}

#[cfg(test)]
mod tests;
