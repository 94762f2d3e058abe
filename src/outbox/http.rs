//! Posting events. Redirects are not followed: an event, and the credentials beside it, go where they were meant to.

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;
use http::{
    HeaderMap, HeaderValue,
    header::{AUTHORIZATION, RETRY_AFTER},
};
use reqwest::{Certificate, Url, redirect::Policy};

use super::{cloud_event::Message, config::SinkConfig, verdict::Answer};
use crate::http_client::{bounded, cause};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(3);
/// How long a whole answer may take.
const TOTAL: Duration = Duration::from_secs(10);
/// As much of an answer is read, so that the connection can be used again.
const MAX_ANSWER: usize = 64 << 10;

/// The way to a sink.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Posts a message.
    async fn post(&self, message: Message) -> Answer;
}

/// The way to a sink over HTTP.
pub struct Http {
    client: reqwest::Client,
    url: Url,
    headers: HeaderMap,
    token_file: Option<PathBuf>,
}

/// A client that cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("{sink}: {source}")]
pub struct Error {
    sink: String,
    source: reqwest::Error,
}

impl Http {
    /// A client for `config`. A process-wide TLS provider must be installed before.
    ///
    /// # Errors
    /// If it cannot be made, for example with these authorities.
    pub fn new(config: &SinkConfig) -> Result<Http, Error> {
        Http::with_timeouts(config, CONNECT, TOTAL)
    }

    fn with_timeouts(config: &SinkConfig, connect: Duration, total: Duration) -> Result<Http, Error> {
        let client = client(config.authorities.clone(), connect, total).map_err(|source| Error {
            sink: config.name.clone(),
            source,
        })?;
        Ok(Http {
            client,
            url: config.url.clone(),
            headers: config.headers.clone(),
            token_file: config.token_file.clone(),
        })
    }

    /// The headers of a request, with the token as the file has it now.
    fn headers(&self) -> Result<HeaderMap, String> {
        let mut headers = self.headers.clone();
        if let Some(path) = &self.token_file {
            let shown = path.display();
            let token = std::fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.trim()))
                .map_err(|_| format!("{shown}: what it holds is no token"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(headers)
    }
}

fn client(
    authorities: Option<Vec<Certificate>>,
    connect: Duration,
    total: Duration,
) -> Result<reqwest::Client, reqwest::Error> {
    let builder = reqwest::Client::builder()
        .connect_timeout(connect)
        .timeout(total)
        .redirect(Policy::none());
    match authorities {
        Some(authorities) => builder.tls_certs_only(authorities),
        None => builder,
    }
    .build()
}

#[async_trait]
impl Transport for Http {
    async fn post(&self, message: Message) -> Answer {
        let headers = match self.headers() {
            Ok(headers) => headers,
            Err(problem) => return Answer::Unready(problem),
        };
        let request = self
            .client
            .post(self.url.clone())
            .headers(headers)
            .headers(message.headers)
            .body(message.body);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_timeout() => return Answer::TimedOut,
            Err(error) => return Answer::Unreachable(cause(&error.without_url())),
        };
        let retry_after = response.headers().get(RETRY_AFTER);
        let answer = Answer::Said {
            code: response.status().as_u16(),
            retry_after: retry_after
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned),
        };
        // Only a connection that is read to its end can be used again.
        let _ = bounded::body(response, MAX_ANSWER).await;
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::{
        Router,
        extract::Request,
        http::StatusCode,
        response::{IntoResponse, Response},
    };

    use super::*;
    use crate::outbox::config;

    /// Posts to a server that answers with `answer`; returns what came of it and the requests that the server saw.
    async fn post_to(
        answer: impl Fn(&Request) -> Response + Clone + Send + Sync + 'static,
        more: &str,
        posts: impl AsyncFn(Http) -> Vec<Answer>,
    ) -> (Vec<Answer>, Vec<HeaderMap>) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<HeaderMap>>> = Arc::default();
        let noted = seen.clone();
        let app = Router::new().fallback(move |request: Request| {
            noted.lock().unwrap().push(request.headers().clone());
            let response = answer(&request);
            async move { response }
        });
        let server = tokio::spawn(async move { axum::serve(listener, app).await });
        let text = format!("[{{name: a, url: 'http://{address}/in?key=5ec7e7', {more}}}]");
        let config = config::parse(&text).unwrap().remove(0);
        let answers = posts(Http::new(&config).unwrap()).await;
        server.abort();
        let _ = server.await;
        let seen = seen.lock().unwrap().clone();
        (answers, seen)
    }

    fn message() -> Message {
        Message {
            headers: HeaderMap::from_iter([(
                http::header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            )]),
            body: b"{}".to_vec(),
        }
    }

    fn said(code: u16, retry_after: Option<&str>) -> Answer {
        Answer::Said {
            code,
            retry_after: retry_after.map(str::to_owned),
        }
    }

    #[tokio::test]
    async fn redirect_is_not_followed() {
        let answer = |_: &Request| (StatusCode::FOUND, [("location", "/elsewhere")]).into_response();
        let (answers, seen) = post_to(answer, "", async |http| vec![http.post(message()).await]).await;
        assert_eq!(answers, [said(302, None)]);
        assert_eq!(seen.len(), 1);
    }

    #[tokio::test]
    async fn token_is_read_for_every_request_and_missing_one_is_waited_for() {
        let path = std::env::temp_dir().join(format!("bellwether-token-{}", std::process::id()));
        let file = path.clone();
        let more = format!("tokenFile: '{}', headers: {{X-Key: abc}}", path.display());
        let answer = |_: &Request| (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "7")]).into_response();
        let (answers, seen) = post_to(answer, &more, async |http| {
            let mut answers = Vec::new();
            for token in [Some("first\n"), Some("second"), None] {
                match token {
                    Some(token) => std::fs::write(&file, token).unwrap(),
                    None => std::fs::remove_file(&file).unwrap(),
                }
                answers.push(http.post(message()).await);
            }
            answers
        })
        .await;
        assert_eq!(answers[..2], [said(503, Some("7")), said(503, Some("7"))]);
        assert!(matches!(&answers[2], Answer::Unready(why) if why.contains("bellwether-token")));
        let tokens: Vec<&HeaderValue> = seen.iter().map(|headers| &headers["authorization"]).collect();
        assert_eq!(tokens, ["Bearer first", "Bearer second"]);
        assert!(seen.iter().all(|headers| headers["x-key"] == "abc"));
    }

    #[tokio::test]
    async fn what_cannot_be_reached_is_told_apart_without_its_address() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/in?key=5ec7e7", listener.local_addr().unwrap());
        let config = config::parse(&format!("[{{name: a, url: '{url}'}}]")).unwrap();
        let (connect, total) = (Duration::from_secs(3), Duration::from_millis(50));
        let hanging = Http::with_timeouts(&config[0], connect, total).unwrap();
        assert_eq!(hanging.post(message()).await, Answer::TimedOut);
        drop(listener);
        let answer = Http::new(&config[0]).unwrap().post(message()).await;
        assert!(
            matches!(&answer, Answer::Unreachable(why) if why.contains("refused") && !why.contains("5ec7e7")),
            "{answer:?}"
        );
    }

    #[test]
    fn what_holds_no_certificate_is_no_authority() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut config = config::parse("[{name: a, url: 'https://a/'}]").unwrap().remove(0);
        let pem = "-----BEGIN CERTIFICATE-----\nbm8gY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n";
        config.authorities = Some(vec![Certificate::from_pem(pem.as_bytes()).unwrap()]);
        assert!(Http::new(&config).is_err());
    }
}
