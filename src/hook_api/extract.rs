//! What is taken out of a request. Whatever cannot be taken is a problem, never the framework's plain text.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{StatusCode, request::Parts},
};
use serde::de::DeserializeOwned;

use super::{
    BODY_LIMIT, Hook,
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

/// A body within its bounds, before anything is made of it.
pub struct RequestBody(pub Bytes);

impl FromRequest<Arc<Hook>> for RequestBody {
    type Rejection = Problem;

    async fn from_request(request: Request, hook: &Arc<Hook>) -> Result<Self, Problem> {
        let _place = hook.bodies.try_acquire().map_err(|_| {
            Problem::new(
                Code::TooManyRequests,
                "too many clients send at once; come again in a moment",
            )
        })?;
        let limit = hook.limits.body;
        let read = tokio::time::timeout(limit, Bytes::from_request(request, hook)).await;
        let read = read.map_err(|_| {
            let text = format!("the body did not come within {} s", limit.as_secs_f32());
            Problem::new(Code::RequestTimeout, text)
        })?;
        match read {
            Ok(bytes) => Ok(RequestBody(bytes)),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(Problem::new(
                Code::BodyTooLarge,
                format!("the body has more than {BODY_LIMIT} bytes"),
            )),
            Err(rejection) => Err(Problem::new(Code::BadRequest, rejection.body_text())),
        }
    }
}
