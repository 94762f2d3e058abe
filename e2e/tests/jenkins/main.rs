//! The client of Jenkins against the fake Jenkins: every outcome, and death at every moment.

#![allow(clippy::print_stdout, reason = "it says how much was played")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod bench;
mod crashes;
mod login;
mod outcomes;
mod track;
