//! Robots: tools that set something back to what a repository says, again and again.

use bellwether::sim::{api_server::Kind, cluster::SimCluster};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::setup::{SHOP, Setup, key};

/// What a robot sets back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Insists {
    /// The routes, as they were before the Canary.
    Routes,
    /// The pods behind the callers' Service: the target's.
    Service,
    /// The target's replicas.
    Replicas,
    /// Nothing: the controller is killed again and again, as by a probe or for want of memory.
    Restarts,
}

/// A robot that is at work.
#[derive(Clone, Debug)]
pub struct Robot {
    n: usize,
    insists: Insists,
    every: TimeDelta,
    /// When it looks next.
    pub next: DateTime<Utc>,
}

impl Robot {
    /// One that looks at once, and every so many seconds from then on.
    pub fn new(n: usize, insists: Insists, every: i64, now: DateTime<Utc>) -> Robot {
        Robot {
            n,
            insists,
            every: TimeDelta::seconds(every),
            next: now,
        }
    }

    /// Sets back what is not as the repository says.
    pub fn act(&mut self, cluster: &mut SimCluster, setup: &Setup) {
        self.next += self.every;
        let n = self.n;
        // What is gone is not made again: its manifest may be gone as well.
        let _refused = match self.insists {
            Insists::Routes if !setup.adopted => return,
            Insists::Routes => {
                let http = Setup::routes()["spec"]["http"].clone();
                cluster.merge(&key(n, Kind::VIRTUAL_SERVICE), json!({"spec": {"http": http}}))
            }
            Insists::Service => cluster.merge(
                &key(n, Kind::SERVICE),
                json!({"spec": {"selector": {"app": SHOP}}}),
            ),
            Insists::Restarts => return cluster.start_replica(0),
            Insists::Replicas => cluster.merge(
                &key(n, Kind::DEPLOYMENT),
                json!({"spec": {"replicas": setup.replicas}}),
            ),
        };
    }

    /// Whether it sets the Service of this Canary back within seconds.
    pub fn insists_soon(&self, n: usize) -> bool {
        self.n == n && self.insists == Insists::Service && self.every < TimeDelta::minutes(1)
    }

    /// Whether it kills the controller.
    pub fn restarts(&self) -> bool {
        self.insists == Insists::Restarts
    }

    /// Which Canary's objects it looks at.
    pub fn canary(&self) -> usize {
        self.n
    }
}
