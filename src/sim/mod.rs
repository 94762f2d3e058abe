//! The simulated cluster: the real controller on an API server, workloads, traffic and metrics in this process, on
//! virtual time. One seed is one run.
//!
//! Nothing but the command line and tests names this room. [`cluster::SimCluster`] puts it together.

pub mod api_server;
pub mod chaos;
pub mod clock;
pub mod cluster;
pub mod invariants;
pub mod rehearse;
pub mod traffic;
pub mod workloads;
pub mod world;
