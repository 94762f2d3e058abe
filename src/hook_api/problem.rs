//! Errors as `application/problem+json` (RFC 9457), with codes that stay.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::PromotionPhase;

/// Content type; clients that know nothing of JSON need the character set.
const CONTENT_TYPE: &str = "application/problem+json; charset=utf-8";
/// Seconds after which a client may come again.
const RETRY_AFTER: u64 = 5;

/// What went wrong, by its stable code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request is not what it must be.
    BadRequest,
    /// Nobody is known by this token.
    Unauthenticated,
    /// Who is known may not.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// The path has no such method.
    MethodNotAllowed,
    /// The body did not come in time.
    RequestTimeout,
    /// Another promotion is not over.
    Conflict,
    /// The body is too long.
    BodyTooLarge,
    /// The same key came with another body.
    KeyReused,
    /// A freeze is in force.
    Frozen,
    /// The key, or the promotion, is of one that is over and forgotten.
    Expired,
    /// A newer version wrote it, and this one cannot read it.
    Unreadable,
    /// Too many clients wait.
    TooManyRequests,
    /// The API server cannot be reached.
    Unavailable,
    /// A defect of ours.
    Internal,
}

impl Code {
    fn status(self) -> StatusCode {
        match self {
            Code::BadRequest => StatusCode::BAD_REQUEST,
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::Forbidden => StatusCode::FORBIDDEN,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Code::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Code::Conflict => StatusCode::CONFLICT,
            Code::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Code::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Code::Frozen => StatusCode::LOCKED,
            Code::Expired => StatusCode::GONE,
            Code::Unreadable => StatusCode::NOT_IMPLEMENTED,
            Code::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// An error as the client gets it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Problem {
    /// Always `about:blank`: the code tells the kind.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The status in words.
    pub title: &'static str,
    /// The status.
    pub status: u16,
    /// The stable code.
    pub code: Code,
    /// What is wrong, and what would be right.
    pub detail: String,
    /// Path of the promotion that is not over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<String>,
    /// What became of a promotion that is forgotten.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Box<Ended>>,
    /// Seconds after which the client may come again, if it may.
    #[serde(skip)]
    pub retry_after: Option<u64>,
}

/// What became of a promotion that is forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// Its result.
    pub result: PromotionPhase,
    /// Exit code of a client that ends with it.
    pub exit_code: Option<i32>,
    /// When it ended.
    pub finished_at: DateTime<Utc>,
}

impl Problem {
    /// A problem of this kind.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Problem {
        let status = code.status();
        Problem {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code,
            detail: detail.into(),
            other: None,
            ended: None,
            retry_after: matches!(code, Code::TooManyRequests | Code::Unavailable).then_some(RETRY_AFTER),
        }
    }

    /// The same; the client may come again after so many seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Problem {
        self.retry_after = Some(seconds);
        self
    }

    /// The same, with what became of a promotion.
    #[must_use]
    pub fn with_end(mut self, ended: Ended) -> Problem {
        self.ended = Some(Box::new(ended));
        self
    }

    /// The same, naming another promotion.
    #[must_use]
    pub fn with_other(mut self, path: String) -> Problem {
        self.other = Some(path);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_string(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        if self.code == Code::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// What the API server answered to a write or read of ours.
impl From<kube::Error> for Problem {
    fn from(error: kube::Error) -> Problem {
        match error {
            kube::Error::Api(status) => match status.code {
                400 | 422 => Problem::new(Code::BadRequest, status.message.clone()),
                403 => Problem::new(
                    Code::Forbidden,
                    format!("Bellwether itself may not: {}", status.message),
                ),
                404 => Problem::new(Code::NotFound, status.message.clone()),
                429 => Problem::new(Code::TooManyRequests, "the API server has too many requests"),
                _ => Problem::new(
                    Code::Unavailable,
                    format!("the API server answers {}", status.code),
                ),
            },
            other => {
                tracing::warn!(error = %other, "the API server cannot be reached");
                Problem::new(Code::Unavailable, "the API server cannot be reached")
            }
        }
    }
}
