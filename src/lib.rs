//! Bellwether, a progressive delivery controller for Kubernetes.
//!
//! Data flows one way: [`reconcile`] observes, [`rollout`] decides by what [`judge`] says, [`reconcile`] acts.

// How Bellwether decides is a crate of its own, without input and output.
pub use bellwether_core::{
    api, defect, duration, explain, freeze, judge, pointer, printable, promotion, rollout, traffic,
    user_aliases, workload,
};

pub mod admin; // /healthz, /readyz, /metrics
pub mod cli; // one file per subcommand
pub mod clock; // the only place that asks for the time
pub mod config_file; // files that flags name
pub mod gates; // jobs at gates, apart from the reconcile path
pub mod hook_api; // the HTTP API that pipelines call
pub mod http_client; // what all HTTP clients share
pub mod jenkins; // Jenkins as a peer: a job is triggered once, followed, and stopped if need be
pub mod jitter; // the only place that asks for chance
pub mod leader; // leader election: of several replicas one decides
pub mod metrics; // the controller's own metrics
pub mod metrics_source; // Prometheus, asked in batches, apart from the reconcile path
pub mod outbox; // facts on their way out: Kubernetes Events, CloudEvents over HTTP
pub mod paint; // colours and bars, for terminals
pub mod reconcile; // SHELL: watch, queue, observe, act
pub mod sim; // the simulated cluster: only the command line and tests name it
pub mod telemetry; // the log
