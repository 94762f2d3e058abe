//! Istio's objects as JSON: what to create, what to patch, what was read.
//!
//! Everything here is a pure function of [`serde_json::Value`]s, because a VirtualService may hold fields that no
//! type of ours knows and that must survive. Every patch begins with a `test` of `metadata.resourceVersion` and
//! tests what it replaces; a concurrent edit makes it fail as a whole, and the decision is made anew.
//! Invariant: applying a patch changes nothing that the Canary does not own.

pub mod claims;
pub mod destination_rule;
mod edit;
mod error;
mod generated;
mod names;
mod notes;
mod owned;
mod route;
mod split;
pub mod virtual_service;

pub use error::RouteError;
pub use generated::OwnedRoute;
pub use names::{Role, ServiceNames};
pub use notes::{IMPLICIT_WEIGHT_ANNOTATION, WEIGHT_SCALE_ANNOTATION};
pub use virtual_service::RouteState;
