//! The cluster beside the API server: pods, traffic and what is wrong with Prometheus.

use chrono::{DateTime, Utc};

use super::{
    traffic::{Traffic, metrics::Trouble},
    workloads::Workloads,
};

/// Pods, the requests that reach them, and Prometheus.
pub struct World {
    /// Pods.
    pub workloads: Workloads,
    /// Requests.
    pub traffic: Traffic,
    /// What is wrong with Prometheus.
    pub trouble: Trouble,
}

impl World {
    /// Works off all requests and scrapes up to `now`. To be called before anything else changes.
    pub fn catch_up(&mut self, now: DateTime<Utc>) {
        self.traffic.advance(&mut self.workloads, now);
    }
}
