//! The campaign: thousands of seeded plays of the real controller on the simulated cluster, with faults, under the
//! invariants; and the proof that it would find a defect.
//!
//! `make sim` plays more: `make sim N=100000`, or one seed: `SEED=4711 make sim`.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail by panicking, say what they have to say, and are timed by the clock of the machine"
)]

mod campaign;
mod coverage;
mod defects;
mod happening;
mod made; // plays for defects that chance shows too rarely
mod play;
mod robot;
mod setup;
mod shrink;
mod story;

/// The plays spend a quarter of their time in the allocator of the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Each test here uses every core, so they run one after the other.
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
