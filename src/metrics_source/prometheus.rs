//! Prometheus, or whatever speaks its HTTP API.
//!
//! The answer is read here and not by a client library, so that a proxy's HTML page appears as what it is, with its
//! status and beginning, and so that its size is bounded. Invariant: what is not known to be the whole answer is none.

use std::{
    collections::BTreeMap,
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use reqwest::{Client, Url, header};
use serde::Deserialize;
use tokio::{sync::Semaphore, time::Instant};

use super::{Access, MetricSource, Row, SourceError, access::Credentials};
use crate::{
    http_client::{authorities, bounded, cause, in_the_clear},
    jitter::Jitter,
};

const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(2),
    total: Duration::from_secs(5),
};
/// Ten thousand series take about two megabytes.
const MAX_ANSWER: usize = 8 << 20;
const MAX_BODY_SHOWN: usize = 200;
/// Questions that are asked at once.
const MAX_AT_ONCE: usize = 4;
/// By how much a question is put off at most: everybody's clock strikes the same second.
const SPREAD: Duration = Duration::from_millis(200);
/// What warnings begin with that say something of the query; others say that the answer lacks something.
const ANNOTATIONS: [&str; 2] = ["PromQL info:", "PromQL warning:"];
/// What is told where VictoriaMetrics says no more than that.
const PARTIAL: &str = "isPartial is true: a storage node of VictoriaMetrics did not answer";

/// How long to wait for a connection, and for a whole answer.
#[derive(Clone, Copy)]
struct Timeouts {
    connect: Duration,
    total: Duration,
}

/// A Prometheus server.
pub struct Prometheus {
    url: Url,
    access: Access,
    timeouts: Timeouts,
    /// The client, and the authorities that it trusts.
    client: Mutex<(Client, Option<Vec<u8>>)>,
    at_once: Semaphore,
    jitter: Option<Arc<Jitter>>,
}

impl Prometheus {
    /// The server at `url`, which may have a path. With `jitter`, questions are put off by 0.1 to 0.2 s. A process-wide TLS
    /// provider must be installed before.
    ///
    /// # Errors
    /// If `url` is no HTTP URL, a file of `access` cannot be used, or no client can be made.
    pub fn new(url: &str, access: Access, jitter: Option<Arc<Jitter>>) -> Result<Prometheus, SourceError> {
        let prometheus = Prometheus::with_timeouts(url, access, TIMEOUTS)?;
        Ok(Prometheus { jitter, ..prometheus })
    }

    fn with_timeouts(url: &str, access: Access, timeouts: Timeouts) -> Result<Prometheus, SourceError> {
        let url = address(url).map_err(SourceError::Setup)?;
        access.credentials().map_err(SourceError::Setup)?;
        let trusted = access.authorities().map_err(SourceError::Setup)?;
        let client = client(timeouts, trusted.as_deref()).map_err(|e| ca_error(&access, &e))?;
        if access.is_secret() && in_the_clear(&url) {
            tracing::warn!("credentials of the metrics server travel in the clear: its address is not https");
        }
        Ok(Prometheus {
            url,
            access,
            timeouts,
            client: Mutex::new((client, trusted)),
            at_once: Semaphore::new(MAX_AT_ONCE),
            jitter: None,
        })
    }

    /// The client that trusts whom the file names now.
    fn client(&self) -> Result<Client, SourceError> {
        let wanted = self.access.authorities().map_err(SourceError::Setup)?;
        let mut held = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if held.1 != wanted {
            let made = client(self.timeouts, wanted.as_deref()).map_err(|e| ca_error(&self.access, &e))?;
            *held = (made, wanted);
        }
        Ok(held.0.clone())
    }

    async fn ask(&self, promql: &str, credentials: &Credentials) -> Result<(u16, Vec<u8>), SourceError> {
        // As a form, because a query for a hundred canaries is longer than some proxies allow URLs to be.
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("query", promql)
            .append_pair("timeout", &format!("{}ms", self.timeouts.total.as_millis()))
            // Without it VictoriaMetrics answers what was so 30 s ago (-search.latencyOffset) and calls it the present, which
            // would be evidence of an earlier step. Others do not know the parameter, and ignore it.
            .append_pair("nocache", "1")
            .finish();
        let request = self
            .client()?
            .post(self.url.clone())
            .headers(credentials.headers.clone())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        let response = request.send().await.map_err(|e| broken(&e))?;
        let code = response.status().as_u16();
        let body = bounded::body(response, MAX_ANSWER).await;
        let body = body.map_err(|error| match error {
            bounded::Error::TooLong => SourceError::TooLarge { limit: MAX_ANSWER },
            bounded::Error::Broken(error) => broken(&error),
        })?;
        Ok((code, body))
    }
}

#[async_trait]
impl MetricSource for Prometheus {
    /// Evaluated at Prometheus' own present time: a window that ends now ends now by either clock, while an instant of
    /// our clock lies in the past or the future of a Prometheus whose clock is set otherwise, and would bring evidence
    /// of an earlier step, or none.
    async fn vector(&self, promql: &str) -> Result<Vec<Row>, SourceError> {
        if let Some(jitter) = &self.jitter {
            tokio::time::sleep_until(Instant::now() + jitter.spread(SPREAD)).await;
        }
        let closed = |_| SourceError::Unreachable("nobody asks any more".to_owned());
        let _turn = self.at_once.acquire().await.map_err(closed)?;
        let credentials = self.access.credentials().map_err(SourceError::Setup)?;
        let (code, body) = self.ask(promql, &credentials).await?;
        read(code, &body).map_err(|error| {
            // The text of an error is of the answer, and the answer may show what was sent.
            let shown = credentials.redacted(&String::from_utf8_lossy(&body));
            read(code, shown.as_bytes())
                .err()
                .unwrap_or(SourceError::Malformed(error.reason().to_owned()))
        })
    }
}

/// Where queries go to.
fn address(url: &str) -> Result<Url, String> {
    // The text is not shown: it may have a password in it.
    let no_url = || "the address must be an http or https URL, such as http://prometheus:9090".to_owned();
    let mut parsed = Url::parse(url).map_err(|_| no_url())?;
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err("the URL must not have a user or password; use --metrics-basic-auth-file".to_owned());
    }
    if !["http", "https"].contains(&parsed.scheme()) {
        return Err(no_url());
    }
    parsed
        .path_segments_mut()
        .map_err(|()| no_url())?
        .pop_if_empty()
        .extend(["api", "v1", "query"]);
    Ok(parsed)
}

fn client(timeouts: Timeouts, trusted: Option<&[u8]>) -> Result<Client, String> {
    let mut builder = Client::builder()
        .connect_timeout(timeouts.connect)
        .timeout(timeouts.total)
        .redirect(reqwest::redirect::Policy::none());
    if let Some(pem) = trusted {
        builder = builder.tls_certs_only(authorities(pem)?);
    }
    builder.build().map_err(|e| chain(&e))
}

fn ca_error(access: &Access, error: &str) -> SourceError {
    SourceError::Setup(match &access.ca_file {
        Some(path) => format!("{}: {error}", path.display()),
        None => error.to_owned(),
    })
}

/// Prometheus' answer; `data` is absent from a refusal.
#[derive(Deserialize)]
struct Answer {
    status: String,
    data: Option<Data>,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Vec<String>,
    /// Of VictoriaMetrics: whether a node of its storage did not answer.
    #[serde(default, rename = "isPartial")]
    partial: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: serde_json::Value,
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

fn read(code: u16, body: &[u8]) -> Result<Vec<Row>, SourceError> {
    let answer: Result<Answer, _> = serde_json::from_slice(body);
    let refused = |text: &str| SourceError::Status {
        code,
        body: shortened(text),
    };
    match answer {
        Ok(Answer {
            status,
            data: Some(data),
            warnings,
            partial,
            ..
        }) if status == "success" && (200..300).contains(&code) => {
            let lacks = |warning: &&String| !ANNOTATIONS.iter().any(|known| warning.starts_with(known));
            match warnings.iter().find(lacks) {
                Some(warning) => Err(SourceError::Partial(shortened(warning))),
                None if partial => Err(SourceError::Partial(PARTIAL.to_owned())),
                None => rows(data),
            }
        }
        Ok(Answer { error, .. }) if !error.is_empty() => Err(refused(&error)),
        _ if !(200..300).contains(&code) => Err(refused(&String::from_utf8_lossy(body))),
        Ok(_) => Err(SourceError::Malformed("neither data nor an error".to_owned())),
        Err(error) => Err(SourceError::Malformed(shortened(&error.to_string()))),
    }
}

fn rows(data: Data) -> Result<Vec<Row>, SourceError> {
    let malformed = |text: &str| SourceError::Malformed(shortened(text));
    if data.result_type != "vector" {
        return Err(malformed("not an instant vector"));
    }
    let series: Vec<Series> =
        serde_json::from_value(data.result).map_err(|error| malformed(&error.to_string()))?;
    series
        .into_iter()
        .map(|Series { metric, value }| {
            let number = value.1.parse();
            Ok(Row {
                labels: metric,
                value: number.map_err(|_| malformed(&format!("{:?} is no number", value.1)))?,
                at: value.0,
            })
        })
        .collect()
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
