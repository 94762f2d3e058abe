//! A stage in a simulated cluster of its own, on virtual time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bellwether::sim::api_server::{
    Key, Kind, Witness,
    request::Verb,
    store::{Change, Store},
};
use bellwether::sim::cluster::{SimCluster, by_controller};
use bellwether::sim::traffic::Barrier;
use bellwether::sim::traffic::metrics::Trouble;
use chrono::{DateTime, TimeDelta, Utc};
use kube::Client;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::Scrapes;
use crate::traffic::Traffic;

/// How long an API server takes to come back.
const RESTART: Duration = Duration::from_secs(4);
const ISTIO_KINDS: [Kind; 2] = [Kind::VIRTUAL_SERVICE, Kind::DESTINATION_RULE];

/// What a stage in the simulated cluster has.
pub(super) struct Simulated {
    cluster: Arc<Mutex<SimCluster>>,
    namespace: String,
    writes: Arc<Mutex<Vec<(Instant, Kind)>>>,
}

/// Notes what the controller writes.
struct Writes(Arc<Mutex<Vec<(Instant, Kind)>>>);

impl Witness for Writes {
    fn saw(&mut self, _: &Change, _: &Store) {}

    fn asked(&mut self, actor: &'static str, verb: Verb, kind: Kind, _: &Store) {
        if verb.writes() && by_controller(actor) {
            let mut writes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            writes.push((Instant::now(), kind));
        }
    }
}

impl Simulated {
    pub(super) fn new(namespace: &str, seed: u64, scrapes: Scrapes) -> Self {
        let seconds = if scrapes == Scrapes::Rarely { 30 } else { 1 };
        let mut cluster = SimCluster::start(seed, TimeDelta::seconds(seconds));
        cluster.tells_scrapes = scrapes == Scrapes::Often;
        for kind in Kind::POLICIES {
            cluster.server.serve(kind, true);
        }
        let writes = Arc::default();
        cluster.server.add_witness(Box::new(Writes(Arc::clone(&writes))));
        Self {
            cluster: Arc::new(Mutex::new(cluster)),
            namespace: namespace.to_owned(),
            writes,
        }
    }

    pub(super) fn client(&self) -> Client {
        self.lock().server.client("user", Default::default())
    }

    fn lock(&self) -> MutexGuard<'_, SimCluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.lock().now()
    }

    pub(super) fn start_controller(&self) {
        self.lock().start_controller();
    }

    pub(super) fn kill_controller(&self) {
        self.lock().kill_controller();
    }

    /// Callers of a Service, or of a VirtualService of that name at a gateway.
    pub(super) fn traffic(&self, service: &str, per_second: u32) -> Traffic {
        Traffic::simulated(Arc::clone(&self.cluster), &self.namespace, service, per_second)
    }

    /// What the controller wrote since an instant, by kind.
    pub(super) fn writes(&self, from: Instant) -> BTreeMap<String, usize> {
        let writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut count = BTreeMap::new();
        for (_, kind) in writes.iter().filter(|(at, _)| *at >= from) {
            *count.entry(kind.resource().plural.to_owned()).or_default() += 1;
        }
        count
    }

    pub(super) fn deny(&self, kind: crate::objects::Kind, name: &str, on: bool) {
        if let Some(kind) = Kind::named(&kind.api_version(), kind.name()) {
            let key = Key::new(kind, &self.namespace, name);
            self.lock().server.deny(key, on);
        }
    }

    pub(super) fn set_full(&self, kind: crate::objects::Kind, on: bool) {
        if let Some(kind) = Kind::named(&kind.api_version(), kind.name()) {
            self.lock().server.set_full(kind, &self.namespace, on);
        }
    }

    pub(super) fn bar(&self, workload: &str, barrier: Option<Barrier>) {
        let cluster = self.lock();
        let barred = &mut cluster.world().traffic.barred;
        let place = (self.namespace.clone(), workload.to_owned());
        match barrier {
            Some(barrier) => barred.insert(place, barrier),
            None => barred.remove(&place),
        };
    }

    /// Kills so many running pods with this `app` label; returns how many.
    pub(super) fn crash(&self, app: &str, count: usize) -> usize {
        let cluster = self.lock();
        let now = cluster.now();
        let mut world = cluster.world();
        let pods = world.workloads.pods.values_mut().flatten();
        let of_app = pods.filter(|pod| pod.namespace == self.namespace && pod.labels["app"] == app);
        let mut crashed = 0;
        for pod in of_app
            .filter(|pod| pod.ending.is_none() && pod.ready(now))
            .take(count)
        {
            pod.killed = Some(now);
            crashed += 1;
        }
        drop(world);
        cluster.server.nudge();
        crashed
    }

    /// How many pods with this `app` label there are, and how many of them are ready.
    pub(super) fn pods(&self, app: &str) -> (usize, usize) {
        let cluster = self.lock();
        let now = cluster.now();
        let world = cluster.world();
        let of_app = |labels: &Value| labels["app"] == app;
        let pods = world
            .workloads
            .all()
            .filter(|pod| pod.namespace == self.namespace && of_app(&pod.labels));
        pods.fold((0, 0), |(all, ready), pod| {
            (all + 1, ready + usize::from(pod.ready(now)))
        })
    }

    pub(super) fn set_schedulable(&self, on: bool) {
        let cluster = self.lock();
        cluster.world().workloads.schedulable = on;
        cluster.server.nudge();
    }

    pub(super) fn set_metrics(&self, on: bool) {
        self.lock().world().trouble = if on { Trouble::None } else { Trouble::Down };
    }

    pub(super) fn set_mesh(&self, on: bool) {
        let cluster = self.lock();
        cluster.world().traffic.told = on;
        cluster.server.nudge();
    }

    pub(super) async fn restart_api_server(&self) {
        self.lock().server.stop();
        sleep(RESTART).await;
        self.lock().server.start();
    }

    pub(super) fn set_istio_kinds(&self, on: bool) {
        let cluster = self.lock();
        for kind in ISTIO_KINDS {
            cluster.server.serve(kind, on);
        }
    }

    pub(super) fn set_canary_kind(&self, on: bool) {
        self.lock().server.serve(Kind::CANARY, on);
    }

    pub(super) fn print_evidence(&self) {
        let cluster = self.lock();
        let text = |store: &Store| {
            let kinds = [Kind::CANARY, Kind::VIRTUAL_SERVICE, Kind::DEPLOYMENT];
            let objects = kinds
                .into_iter()
                .flat_map(|kind| store.list(kind, Some(&self.namespace)).map(|(_, object)| object));
            let texts: Vec<String> = objects.map(|object| format!("{object:#}")).collect();
            texts.join("\n")
        };
        println!(
            "--- {} at {}\n{}",
            self.namespace,
            cluster.now(),
            cluster.server.read(text)
        );
    }
}
