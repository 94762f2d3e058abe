//! What is taken out of a request. Whatever cannot be taken is a problem, never the framework's plain text.

use std::convert::Infallible;

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{StatusCode, request::Parts},
};
use serde::de::DeserializeOwned;

use super::{
    BODY_LIMIT, Hook, body,
    problem::{Code, Problem},
};

/// The parameters of a path.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(path)| Path(path))
            .map_err(|rejection| Problem::new(Code::BadRequest, format!("path: {}", rejection.body_text())))
    }
}

/// A body that is not read yet: of whoever was not admitted nothing is kept.
pub struct RequestBody(Request);

impl<S: Sync> FromRequest<S> for RequestBody {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Infallible> {
        Ok(RequestBody(request))
    }
}

impl RequestBody {
    /// Reads it within its bounds, and what it says; its place is one of `namespace`. To be called once the caller is admitted.
    ///
    /// # Errors
    /// If it does not come in time, is too long, or is not what it must be.
    pub async fn read<T: DeserializeOwned>(self, hook: &Hook, namespace: &str) -> Result<T, Problem> {
        let _place = hook.bodies.take(namespace).ok_or_else(|| {
            Problem::new(
                Code::TooManyRequests,
                "too many clients send at once; come again in a moment",
            )
        })?;
        let limit = hook.limits.body;
        let read = tokio::time::timeout(limit, Bytes::from_request(self.0, &())).await;
        let read = read.map_err(|_| {
            let text = format!("the body did not come within {} s", limit.as_secs_f32());
            Problem::new(Code::RequestTimeout, text)
        })?;
        match read {
            Ok(bytes) => body::read(&bytes),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(Problem::new(
                Code::BodyTooLarge,
                format!("the body has more than {BODY_LIMIT} bytes"),
            )),
            Err(rejection) => Err(Problem::new(Code::BadRequest, rejection.body_text())),
        }
    }
}
