//! Waits for news of one object, because a client that asks again and again would learn of it late.
//!
//! Invariants: a wait costs no request to the API server, and ends before proxies close what is silent; there are no more
//! at once than there is room for, and no tenant has all the room. Whoever has no place is told how things stand at once, and
//! when to come again: a client that is refused would take its release for lost.

use std::time::Duration;

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde_json::Value;

use crate::{
    hook_api::{
        Hook, WAIT_LIMIT,
        problem::{Code, Problem},
    },
    reconcile::kinds::Kind,
};

/// Seconds after which a client may come again for whom there was no place.
const AGAIN: u64 = 5;

/// Whether so many seconds may be waited.
///
/// # Errors
/// If they are too many.
pub(super) fn check(seconds: u64) -> Result<(), Problem> {
    if seconds > WAIT_LIMIT {
        return Err(Problem::new(
            Code::BadRequest,
            format!("waitSeconds: must lie in 0 to {WAIT_LIMIT}"),
        ));
    }
    Ok(())
}

/// The answer to whoever waited, or had no place and must not come again at once.
pub(super) fn answer(had_place: bool, answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    if !had_place {
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from(AGAIN));
    }
    response
}

impl Hook {
    /// Waits until the object of this kind, namespace and name is `news` or goes, for `seconds` at most, or until the
    /// process ends: another replica goes on. Returns whether there was a place to wait.
    pub(super) async fn wait(
        &self,
        (kind, namespace, name): (Kind, &str, &str),
        seconds: u64,
        news: impl Fn(&Value) -> bool,
    ) -> bool {
        let Some(_place) = self.waiters.take(namespace) else {
            return false;
        };
        let until_news = async {
            let mut changes = self.ctx.cache.follow(kind, namespace, name);
            let mut known = false;
            loop {
                // Marked before it is looked at, so that no change is missed.
                changes.mark_unchanged();
                match self.cached(kind, namespace, name) {
                    Some(object) if news(&object) => return,
                    Some(_) => known = true,
                    // It went, or its Canary did.
                    None if known => return,
                    // The watch never told of it: nothing would come of asking the API server again and again.
                    None => {}
                }
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(seconds), until_news);
        let _ = self.stopping.run_until_cancelled(waited).await;
        true
    }
}
