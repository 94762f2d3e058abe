//! The hook API: one call starts a promotion, the next ones wait for its verdict.
//!
//! Every replica serves it, because all it does is to read what the watches know and to create Kubernetes objects: whatever
//! dies, nothing that a pipeline started is lost. Invariants: no write without an authenticated user whom the cluster's own
//! RBAC allows it; the same key is the same promotion; a wait costs no request to the API server.

pub mod auth; // who asks, and whether they may
mod body; // what a request says
mod calls; // one function per call
mod connection; // how many there may be
mod extract; // what is taken out of a request
pub mod oidc; // tokens of Jenkins, GitLab, GitHub
pub mod openapi; // the description of the API, from the types
mod places; // places of which nobody takes more than a share
pub mod problem; // errors, as problem+json
mod rate_limited_log; // log lines that clients can cause
mod route; // every call, as one table
mod serve; // TLS, limits, the end
mod tokens; // static bearer tokens
mod ttl_cache; // what was true a moment ago
pub mod view; // what an answer says

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::reconcile::Context;
use auth::Gatekeeper;
use places::Places;
use ttl_cache::TtlCache;

pub use problem::Problem;
pub use route::router;
pub use serve::{Bound, Limits, Listen, serve};
pub use tokens::Tokens;

/// Longest body in bytes.
pub const BODY_LIMIT: usize = 256 * 1024;
/// Longest wait in seconds: proxies close what is silent for longer.
pub const WAIT_LIMIT: u64 = 25;
/// Clients that may wait at once.
pub const WAITERS: usize = 5000;

/// What every call needs.
pub struct Hook {
    /// Caches, client and clock.
    pub ctx: Arc<Context>,
    /// Who may.
    pub gatekeeper: Gatekeeper,
    /// Room for those who wait.
    pub waiters: Places,
    /// Room for bodies that are read.
    pub bodies: Places,
    /// How much clients may have.
    pub limits: Limits,
    /// Promotions whose client was noted a moment ago, by UID.
    noted: TtlCache<String, ()>,
    /// The process ends: whoever waits is answered.
    pub stopping: CancellationToken,
}

impl Hook {
    /// A hook on the caches of `ctx`.
    #[must_use]
    pub fn new(ctx: Arc<Context>, gatekeeper: Gatekeeper) -> Arc<Hook> {
        Hook::with_limits(ctx, gatekeeper, Limits::default())
    }

    /// The same, with these limits.
    #[must_use]
    pub fn with_limits(ctx: Arc<Context>, gatekeeper: Gatekeeper, limits: Limits) -> Arc<Hook> {
        Arc::new(Hook {
            ctx,
            gatekeeper,
            waiters: Places::new(limits.waiters),
            bodies: Places::new(limits.bodies),
            limits,
            noted: TtlCache::new(),
            stopping: CancellationToken::new(),
        })
    }
}
