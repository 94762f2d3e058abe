//! One test binary: what must hold of the whole crate.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends where its preparation fails"
)]

mod architecture;
mod argocd;
mod command_line;
mod crd;
mod events;
mod gates;
mod hook_api;
mod hook_oidc;
mod hook_serve;
mod inputs;
mod late_writes;
mod leader;
mod many_promotions;
mod objects;
mod owners;
mod refused_writes;
mod rehearse;
#[path = "../shared/mod.rs"]
mod shared;
mod sim;
mod watches;
