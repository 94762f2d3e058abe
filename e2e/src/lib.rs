//! The stories, the real cluster that they run on, and the probes that compare it with the simulated one.
//!
//! The real cluster: a control plane, a service mesh, a proxy and a Prometheus run as plain processes in a network
//! namespace of their own, with simulated pods that really answer. The simulated one is the library's, and nothing else
//! of the library is named here: the controller is known as a binary.
#![allow(
    clippy::print_stdout,
    reason = "what the suite has to say goes to the terminal"
)]
#![allow(clippy::disallowed_methods, reason = "the suite runs in real time")]

pub mod audit;
pub mod cluster;
pub mod demo;
pub mod hudson;
pub mod issuer;
pub mod jenkins;
pub mod namespace;
pub mod objects;
pub mod pods;
pub mod probes;
pub mod process;
pub mod rights;
pub mod run_folder;
pub mod stories;
pub mod story;
pub mod tools;
pub mod traffic;
pub mod wait;
