//! How traffic is divided between the primary and the canary.
//!
//! Each mesh has a room of its own. Invariant: an object of the user is never decoded into a type of ours and
//! written back; only patches leave this module, so that fields we do not know survive.

pub mod istio;
