//! Pods: not objects of the API server, for nothing under test reads them, but what answers requests.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::behaviour::Behaviour;
use crate::sim::traffic::meter;

/// How long a pod that is told to end goes on answering.
pub const GRACE: TimeDelta = TimeDelta::seconds(3);

/// A pod.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its address; never used twice.
    pub ip: String,
    /// Namespace.
    pub namespace: String,
    /// Name of its Deployment.
    pub workload: String,
    /// `pod-template-hash`.
    pub hash: String,
    /// Its labels.
    pub labels: Value,
    /// How it behaves.
    pub behaviour: Behaviour,
    /// When it started.
    pub started: DateTime<Utc>,
    /// How long it must be ready before it counts as available: `minReadySeconds` of its Deployment.
    pub min_ready: TimeDelta,
    /// When it was told to end.
    pub ending: Option<DateTime<Utc>>,
    /// When something outside killed it.
    pub killed: Option<DateTime<Utc>>,
    /// Whether it waits for a node with room.
    pub pending: bool,
    /// Whether something outside keeps it from being ready.
    pub hung: bool,
    /// What it counted.
    pub meter: meter::Meter,
}

impl Pod {
    fn ready_at(&self) -> Option<DateTime<Utc>> {
        let runs = self.behaviour.ready_after.filter(|_| !self.pending);
        runs.map(|span| self.started + span)
    }

    fn crashed(&self, at: DateTime<Utc>) -> bool {
        let crash = self
            .ready_at()
            .zip(self.behaviour.crash_after)
            .map(|(ready, span)| ready + span);
        crash.is_some_and(|crash| crash <= at) || self.killed.is_some_and(|killed| killed <= at)
    }

    /// Whether its readiness probe succeeds.
    #[must_use]
    pub fn ready(&self, at: DateTime<Utc>) -> bool {
        self.ready_at().is_some_and(|ready| ready <= at)
            && !self.hung
            && !self.crashed(at)
            && self.ending.is_none_or(|ending| at < ending)
    }

    /// Whether its Deployment counts it as available.
    #[must_use]
    pub fn available(&self, at: DateTime<Utc>) -> bool {
        self.ready(at) && self.ready_at().is_some_and(|ready| ready + self.min_ready <= at)
    }

    /// Whether a connection to it is accepted.
    #[must_use]
    pub fn listens(&self, at: DateTime<Utc>) -> bool {
        let dark = self
            .ready_at()
            .zip(self.behaviour.dark_after)
            .is_some_and(|(ready, span)| ready + span <= at);
        !dark && self.is_scraped(at)
    }

    /// The share of requests that it fails.
    #[must_use]
    pub fn error_rate(&self, at: DateTime<Utc>) -> f64 {
        let begun = self
            .ready_at()
            .is_some_and(|ready| ready + self.behaviour.errors_after <= at);
        if begun { self.behaviour.error_rate } else { 0.0 }
    }

    /// Whether its proxy tells what it counted: it does so as long as the pod runs, also where the application behind it does
    /// not answer.
    #[must_use]
    pub fn is_scraped(&self, at: DateTime<Utc>) -> bool {
        self.ready_at().is_some_and(|ready| ready <= at)
            && !self.crashed(at)
            && self.ending.is_none_or(|ending| at < ending + GRACE)
    }

    /// Whether nothing of it is left.
    #[must_use]
    pub fn gone(&self, at: DateTime<Utc>) -> bool {
        self.ending.is_some_and(|ending| ending + GRACE <= at)
    }

    /// Whether anything asks for what it counted: while it is there, and as long as scrapes are kept.
    #[must_use]
    pub fn is_counted(&self, at: DateTime<Utc>) -> bool {
        self.ending.is_none_or(|ending| at < ending + GRACE + meter::KEPT)
    }

    /// When its state changes by itself after `at`.
    #[must_use]
    pub fn next_change(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let ready = self.ready_at();
        let crash = ready.zip(self.behaviour.crash_after).map(|(r, span)| r + span);
        let available = ready.map(|ready| ready + self.min_ready);
        let end = self.ending.map(|ending| ending + GRACE);
        [ready, available, crash, end]
            .into_iter()
            .flatten()
            .filter(|when| *when > at)
            .min()
    }
}
