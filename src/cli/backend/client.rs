//! Requests to the hook API, with patience: what stands between it and a pipeline (proxies, restarts, login pages) is
//! waited out, and what it refuses itself is an error at once.
//!
//! Invariants: a redirect is never followed, so that a token goes to the hook API alone; every request can be repeated,
//! because whatever starts something carries a key.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use reqwest::{
    Method, Response, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
    redirect::Policy,
};
use serde_json::Value;

use super::{Asked, address, token::Token};
use crate::{
    cli::{
        exit::{Exit, Failure},
        output::note,
    },
    clock::{Clock, SystemClock},
    http_client::{authorities, bounded, cause, in_the_clear},
    jitter::Jitter,
    printable::printable_json,
};

/// How long a connection, and an answer without a wait, may take.
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(30);
/// The first pause before a request is repeated, and the longest that nobody asked for.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// The longest pause that a server may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(300);
/// How long a token may be refused that was accepted before.
const REFUSED_FOR: Duration = Duration::from_secs(120);
/// The longest answer that is read, in bytes: far more than the Canaries of a large cluster.
const LONGEST_ANSWER: usize = 64 << 20;
/// Makes an order or a promotion unique.
const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A client of the hook API.
pub(super) struct Client {
    http: reqwest::Client,
    url: Url,
    token: Token,
    jitter: Jitter,
    clock: SystemClock,
    /// Whether the hook API answered before: from then on a foreign refusal is something on the way.
    met: AtomicBool,
    /// Since when the hook API that answered before refuses the token.
    refused_since: Mutex<Option<Duration>>,
    /// What was allowed before, by its path.
    allowed: Mutex<HashSet<String>>,
}

/// A request.
pub(super) struct Call<'a> {
    method: Method,
    segments: &'a [&'a str],
    query: Vec<(&'static str, String)>,
    key: Option<&'a str>,
    body: Option<Value>,
    /// Notes that what is asked for may have been done.
    asked: Option<&'a Asked>,
    /// How long the server may wait by our own request.
    waits: Duration,
}

impl<'a> Call<'a> {
    pub(super) fn get(segments: &'a [&'a str]) -> Call<'a> {
        Call {
            method: Method::GET,
            segments,
            query: Vec::new(),
            key: None,
            body: None,
            asked: None,
            waits: Duration::ZERO,
        }
    }

    pub(super) fn post(segments: &'a [&'a str], body: Value, key: &'a str) -> Call<'a> {
        Call {
            method: Method::POST,
            body: Some(body),
            key: Some(key),
            ..Call::get(segments)
        }
    }

    pub(super) fn noting(mut self, asked: &'a Asked) -> Call<'a> {
        self.asked = Some(asked);
        self
    }

    pub(super) fn with(mut self, name: &'static str, value: &impl ToString) -> Call<'a> {
        self.query.push((name, value.to_string()));
        self
    }

    pub(super) fn waiting(mut self, span: Duration) -> Call<'a> {
        self.waits = span;
        self
    }
}

/// An answer with its whole body.
pub(super) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn json(&self) -> Option<Value> {
        let json: Value = serde_json::from_str(&self.body).ok()?;
        json.is_object().then(|| printable_json(&json).into_owned())
    }

    /// What the hook API refuses, and nobody on the way: its refusals have a type of their own.
    fn problem(&self) -> Option<Value> {
        let kind = self.headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let kind = kind.split(';').next()?.trim();
        let problem = || self.json().filter(|problem| problem["code"].is_string());
        kind.eq_ignore_ascii_case("application/problem+json")
            .then(problem)?
    }

    pub(super) fn number(&self, header: &HeaderName) -> Option<i64> {
        self.headers.get(header)?.to_str().ok()?.trim().parse().ok()
    }

    async fn read(response: Response) -> Result<Answer, bounded::Error> {
        let (status, headers) = (response.status(), response.headers().clone());
        let body = bounded::body(response, LONGEST_ANSWER).await?;
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer {
            status,
            headers,
            body,
        })
    }
}

/// Why a request is repeated.
#[derive(Debug, PartialEq)]
struct Again {
    why: String,
    /// How long the server wants to be left alone.
    after: Option<Duration>,
}

impl Again {
    fn since(why: impl Into<String>) -> Again {
        let why = why.into();
        Again { why, after: None }
    }
}

impl Client {
    /// The hook API at `url`, which may have a path; with a CA file nothing else is trusted. A token must be there by now.
    pub(super) fn new(url: &str, token: Token, ca: Option<&PathBuf>) -> anyhow::Result<Client> {
        let url = address::parse(url)?;
        let mut builder = reqwest::Client::builder()
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .user_agent(concat!("bellwether/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = ca {
            let shown = path.display();
            let pem =
                std::fs::read(path).map_err(|error| Failure::input(format!("--ca-file {shown}: {error}")))?;
            let trusted = authorities(&pem)
                .map_err(|problem| Failure::input(format!("--ca-file {shown}: {problem}")))?;
            builder = builder.tls_certs_only(trusted);
        }
        let clock = SystemClock::default();
        token.header(&clock).map_err(Failure::input)?;
        if in_the_clear(&url) {
            note(&format!(
                "{url}: others can read the token on its way; write https"
            ));
        }
        Ok(Client {
            http: builder.build().context("no client can be made")?,
            url,
            token,
            jitter: Jitter::random(),
            clock,
            met: AtomicBool::new(false),
            refused_since: Mutex::default(),
            allowed: Mutex::default(),
        })
    }

    /// Asks until it is answered. `read` says whether an answer is the hook API's, and not a page of something on the way.
    pub(super) async fn ask<T>(
        &self,
        call: &Call<'_>,
        read: impl Fn(&Answer) -> Option<T>,
    ) -> anyhow::Result<T> {
        let mut pause = PAUSE;
        loop {
            let earlier = call.asked.is_some_and(Asked::sending);
            let again = match self.attempt(call, &read).await {
                Ok(Ok(read)) => return Ok(read),
                Ok(Err(again)) => again,
                Err(refused) => {
                    if let Some(asked) = call.asked {
                        asked.refused(earlier);
                    }
                    return Err(refused);
                }
            };
            let wait = self.jitter.spread(pause).max(again.after.unwrap_or_default());
            note(&format!(
                "{}; asking again in {:.0} s",
                again.why,
                wait.as_secs_f64().ceil()
            ));
            rest(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Asks once; an error does not pass by asking again.
    async fn attempt<T>(
        &self,
        call: &Call<'_>,
        read: impl Fn(&Answer) -> Option<T>,
    ) -> anyhow::Result<Result<T, Again>> {
        // At the start there was one: it is being exchanged.
        let token = match self.token.header(&self.clock) {
            Ok(token) => token,
            Err(why) => return Ok(Err(Again::since(why))),
        };
        let met = self.met.load(Ordering::Relaxed);
        let answer = match self.send(call, token).await? {
            Ok(answer) => answer,
            Err(bounded::Error::Broken(error)) if distrusted(&error) && !met => {
                let text = format!("{}; is --ca-file right?", cause(&error));
                return Err(Failure::with(Exit::Error, text));
            }
            Err(bounded::Error::Broken(error)) => {
                return Ok(Err(Again::since(format!("no answer ({})", cause(&error)))));
            }
            Err(bounded::Error::TooLong) => {
                let why = format!(
                    "more than {} MiB came, which is not the hook API's",
                    LONGEST_ANSWER >> 20
                );
                return Ok(Err(Again::since(why)));
            }
        };
        if let Some(again) = self.refused(call, &answer, met) {
            return Ok(Err(again));
        }
        if let Some(again) = judge(&answer, met, self.clock.now())? {
            return Ok(Err(again));
        }
        let Some(read) = read(&answer) else {
            return Ok(Err(Again::since("a page came that is not the hook API's")));
        };
        self.met.store(true, Ordering::Relaxed);
        self.allowed().insert(call.segments.join("/"));
        if !call.waits.is_zero()
            && let Some(pause) = asked_pause(&answer, self.clock.now())
        {
            // It had no room to let us wait.
            rest(pause).await;
        }
        Ok(Ok(read))
    }

    /// A token that was accepted before and is refused now may be in exchange, or its key, or the rights behind it: for a while
    /// it is tried again, with a new one where there is one.
    fn refused(&self, call: &Call<'_>, answer: &Answer, met: bool) -> Option<Again> {
        let mut since = self.refused_since.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = match answer.status {
            StatusCode::UNAUTHORIZED => met,
            // A right that was never there does not come by waiting.
            StatusCode::FORBIDDEN => self.allowed().contains(&call.segments.join("/")),
            _ => false,
        };
        if !refused {
            *since = None;
            return None;
        }
        self.token.renew();
        let now = self.clock.monotonic();
        let waited = now.saturating_sub(*since.get_or_insert(now));
        (waited < REFUSED_FOR)
            .then(|| Again::since(format!("status {}: the token is refused", answer.status.as_u16())))
    }

    fn allowed(&self) -> MutexGuard<'_, HashSet<String>> {
        self.allowed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request: what cannot be sent at all is an error, what was not answered is another matter.
    async fn send(
        &self,
        call: &Call<'_>,
        token: HeaderValue,
    ) -> anyhow::Result<Result<Answer, bounded::Error>> {
        let mut url = self.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("v1").extend(call.segments);
        }
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        let mut request = self
            .http
            .request(call.method.clone(), url)
            .header(AUTHORIZATION, token)
            .timeout(ANSWER + call.waits);
        if let Some(key) = call.key {
            let value = HeaderValue::from_str(key).ok().filter(|_| !key.is_empty());
            let value =
                value.ok_or_else(|| Failure::input("--key: must have visible signs of ASCII only"))?;
            request = request.header(KEY, value);
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        Ok(match request.send().await {
            Ok(response) => Answer::read(response).await,
            Err(error) => Err(bounded::Error::Broken(error)),
        })
    }
}

/// Whether a request must be repeated; an error if the hook API refuses it.
fn judge(answer: &Answer, met: bool, now: DateTime<Utc>) -> anyhow::Result<Option<Again>> {
    let status = answer.status;
    if status.is_success() {
        return Ok(None);
    }
    let again = |why: String| {
        let after = asked_pause(answer, now);
        Ok(Some(Again { why, after }))
    };
    let code = status.as_u16();
    if status.is_redirection() {
        return again(format!("status {code}, to a place that the token is not for"));
    }
    if status.is_server_error() || [408, 425, 429].contains(&code) {
        return again(format!("status {code}"));
    }
    match answer.problem() {
        Some(problem) => Err(Failure::of_problem(&problem)),
        None if met => again(format!("status {code} of something that is not the hook API")),
        None => Err(Failure::with(
            Exit::Error,
            format!("status {code} of something that is not the hook API; is --hook right?"),
        )),
    }
}

/// How long the server asks to be left alone.
fn asked_pause(answer: &Answer, now: DateTime<Utc>) -> Option<Duration> {
    let value = answer.headers.get(RETRY_AFTER)?.to_str().ok()?;
    Some(retry_after(value, now)?.min(LONGEST_ASKED))
}

/// Seconds, or a date.
fn retry_after(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTime::parse_from_rfc2822(text.trim()).ok()?;
    (at.to_utc() - now).to_std().ok()
}

/// Whether the server's certificate is not trusted: that does not pass by waiting, unless it was trusted before.
fn distrusted(error: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return matches!(tls, rustls::Error::InvalidCertificate(_));
    }
    // An I/O error names the cause of what it wraps as its own, and so hides it.
    let wrapped = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref);
    let inner = wrapped.map(|wrapped| wrapped as &(dyn std::error::Error + 'static));
    inner.or_else(|| error.source()).is_some_and(distrusted)
}

/// A pause.
#[expect(
    clippy::disallowed_methods,
    reason = "a server that asks to be left alone is left alone for that long"
)]
pub(super) async fn rest(span: Duration) {
    tokio::time::sleep(span).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Answer {
        let headers = headers.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )
        });
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: headers.collect(),
            body: body.to_owned(),
        }
    }

    #[test]
    fn certificate_that_is_not_trusted_is_found_however_deep_it_lies() {
        use std::io::Error;
        let certificate = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let wrapped = Error::other(Error::other(certificate));
        assert!(distrusted(&wrapped));
        assert!(!distrusted(&Error::other("connection refused")));
        assert!(!distrusted(&Error::other(rustls::Error::HandshakeNotComplete)));
    }

    #[test]
    fn what_lies_on_the_way_is_waited_out_and_refusals_are_told_at_once() {
        let now = DateTime::from_timestamp(1_767_225_600, 0).unwrap();
        let after = |answer: &Answer| judge(answer, false, now).unwrap().unwrap().after;
        for (text, seconds) in [("7", 7), ("100000", 300), ("Thu, 01 Jan 2026 00:00:20 GMT", 20)] {
            let busy = answer(503, &[("retry-after", text)], "");
            assert_eq!(after(&busy), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(after(&answer(429, &[("retry-after", "soon")], "")), None);
        assert_eq!(
            after(&answer(302, &[("location", "https://login.example")], "")),
            None
        );
        let problem = r#"{"code": "conflict", "detail": "another one is not over", "other": "/v1/x"}"#;
        let kind = [("content-type", "application/problem+json; charset=utf-8")];
        let error = judge(&answer(409, &kind, problem), true, now).unwrap_err();
        assert_eq!(
            (Exit::of(&error), error.to_string().as_str()),
            (Exit::Failed, "another one is not over (/v1/x)")
        );
        let json = [("content-type", "application/json")];
        for foreign in [
            answer(403, &[], "<html>who are you?</html>"),
            answer(403, &kind, "<html>who are you?</html>"),
            answer(409, &json, problem),
        ] {
            let error = judge(&foreign, false, now).unwrap_err();
            assert!(error.to_string().contains("is --hook right?"), "{error}");
            let again = judge(&foreign, true, now).unwrap();
            assert!(again.is_some(), "a gateway had a bad moment");
        }
    }
}
