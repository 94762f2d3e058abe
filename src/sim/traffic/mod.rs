//! Requests: from callers through the routes to pods that answer, or do not; and what is counted of them.
//!
//! Nothing ticks: arrivals and scrapes up to an instant are worked off when somebody wants to know ([`Traffic::advance`]),
//! in their order in time.

pub mod meter;
pub mod metrics;
pub mod routes;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};

use super::workloads::{Workloads, pods::Pod};
use crate::workload::contains;
use routes::{Choice, Routes};

/// How often a proxy tries another pod when a connection is refused; Istio's default.
const RETRIES: usize = 2;

/// Callers of one Service.
#[derive(Clone, Debug)]
pub struct Callers {
    /// Namespace of the Service.
    pub namespace: String,
    /// Name of the Service they call.
    pub service: String,
    /// The port they call; the Service's first if absent.
    pub port: Option<i64>,
    /// Requests a second.
    pub rate: f64,
    next: DateTime<Utc>,
}

/// What became of a request, if it was not answered well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// The release answered 500.
    Answered,
    /// No pod behind the destination was ready.
    NoEndpoint,
    /// Every pod that was tried refused the connection.
    Refused,
    /// A policy kept the request from the pod, whose proxy answered 403.
    Denied,
    /// The destination has no such port or subset, or another port of the pods was reached than was meant.
    Misrouted,
}

/// How a policy keeps requests from the pods of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barrier {
    /// The pods' proxies answer 403.
    Denies,
    /// No connection comes about.
    Drops,
}

/// Requests of one Service, counted over the whole simulation.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Sent.
    pub sent: u64,
    /// Failed, by how and by the workload that was meant.
    pub failed: BTreeMap<(Failure, String), u64>,
    /// Answered, by workload.
    pub answered: BTreeMap<String, u64>,
    /// The latest failure that no release answered.
    pub last_lost: Option<(DateTime<Utc>, Failure, String)>,
}

/// One request, for those who want to look at each.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// When it was sent.
    pub at: DateTime<Utc>,
    /// Time to the answer in milliseconds.
    pub took: f64,
    /// The workload that answered, if any did.
    pub workload: Option<String>,
    /// How it failed, if it did.
    pub failure: Option<Failure>,
}

/// All traffic.
pub struct Traffic {
    callers: Vec<Callers>,
    /// What proxies do now.
    effective: Routes,
    /// What they will do, and when.
    coming: VecDeque<(DateTime<Utc>, Routes)>,
    /// Whether proxies are told of changes.
    pub told: bool,
    /// Workloads that a policy keeps requests from, by namespace and name.
    pub barred: BTreeMap<(String, String), Barrier>,
    /// How long a change takes to the proxies.
    pub lag: TimeDelta,
    /// How many of a hundred scrapes of a pod are lost.
    pub scrapes_lost: u8,
    /// Time between two scrapes.
    pub scrape_interval: TimeDelta,
    next_scrape: DateTime<Utc>,
    rng: fastrand::Rng,
    /// By namespace and Service.
    pub ledgers: BTreeMap<(String, String), Ledger>,
    /// Requests one by one, of the Services for which somebody wants them.
    records: BTreeMap<(String, String), Vec<Request>>,
}

impl Traffic {
    /// No traffic yet; scrapes begin at `now`.
    #[must_use]
    pub fn new(seed: u64, now: DateTime<Utc>, scrape_interval: TimeDelta) -> Traffic {
        Traffic {
            callers: Vec::new(),
            effective: Routes::default(),
            coming: VecDeque::new(),
            told: true,
            barred: BTreeMap::new(),
            lag: TimeDelta::milliseconds(150),
            scrapes_lost: 0,
            scrape_interval,
            next_scrape: now + scrape_interval,
            rng: fastrand::Rng::with_seed(seed),
            ledgers: BTreeMap::new(),
            records: BTreeMap::new(),
        }
    }

    /// Callers begin to call.
    pub fn call(&mut self, namespace: &str, service: &str, rate: f64, now: DateTime<Utc>) {
        self.call_port((namespace, service), None, rate, now);
    }

    /// Callers of one port of a Service begin to call.
    pub fn call_port(
        &mut self,
        (namespace, service): (&str, &str),
        port: Option<i64>,
        rate: f64,
        now: DateTime<Utc>,
    ) {
        self.callers
            .retain(|c| c.namespace != namespace || c.service != service || c.port != port);
        self.callers.push(Callers {
            namespace: namespace.to_owned(),
            service: service.to_owned(),
            port,
            rate,
            next: now,
        });
    }

    /// Keeps the requests to a Service one by one from now on, or no longer.
    pub fn record(&mut self, namespace: &str, service: &str, on: bool) {
        let place = (namespace.to_owned(), service.to_owned());
        if on {
            self.records.entry(place).or_default();
        } else {
            self.records.remove(&place);
        }
    }

    /// The requests to a Service that were kept since the last time.
    pub fn take(&mut self, namespace: &str, service: &str) -> Vec<Request> {
        let place = (namespace.to_owned(), service.to_owned());
        self.records
            .get_mut(&place)
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// The routes changed: proxies follow after the lag, if they are told at all.
    pub fn reroute(&mut self, routes: Routes, now: DateTime<Utc>) {
        if self.told {
            self.coming.push_back((now + self.lag, routes));
        }
    }

    /// What proxies do now.
    #[must_use]
    pub fn effective(&self) -> &Routes {
        &self.effective
    }

    /// Works off everything up to `now`.
    pub fn advance(&mut self, workloads: &mut Workloads, now: DateTime<Utc>) {
        loop {
            let call = self
                .callers
                .iter()
                .enumerate()
                .filter(|(_, c)| c.rate > 0.0)
                .min_by_key(|(_, c)| c.next);
            let call = call.map(|(i, c)| (c.next, i));
            let route = self.coming.front().map(|(at, _)| *at);
            let first = [Some(self.next_scrape), route, call.map(|(at, _)| at)]
                .into_iter()
                .flatten()
                .min()
                .filter(|at| *at <= now);
            let Some(at) = first else { return };
            if route == Some(at) {
                if let Some((_, routes)) = self.coming.pop_front() {
                    self.effective = routes;
                }
            } else if at == self.next_scrape {
                self.scrape(workloads, at);
            } else if let Some((_, i)) = call {
                self.send(workloads, i, at);
            }
        }
    }

    fn scrape(&mut self, workloads: &mut Workloads, at: DateTime<Utc>) {
        for pod in workloads.pods.values_mut().flatten() {
            let lost = self.scrapes_lost > 0 && self.rng.u8(..100) < self.scrapes_lost;
            if pod.is_scraped(at) && !lost {
                pod.meter.scrape(at);
            }
        }
        self.next_scrape += self.scrape_interval;
    }

    fn send(&mut self, workloads: &mut Workloads, caller: usize, at: DateTime<Utc>) {
        let Some(callers) = self.callers.get_mut(caller) else {
            return;
        };
        let gap = -(1.0 - self.rng.f64()).ln() / callers.rate;
        callers.next = at + TimeDelta::nanoseconds((gap * 1e9) as i64).max(TimeDelta::microseconds(1));
        let place = (callers.namespace.clone(), callers.service.clone());
        let port = callers.port;
        let (request, meant) = self.meet_fate(workloads, &place, port, at);
        match self.ledgers.get_mut(&place) {
            Some(ledger) => ledger.note(&request, meant),
            None => self
                .ledgers
                .entry(place.clone())
                .or_default()
                .note(&request, meant),
        }
        if let Some(record) = self.records.get_mut(&place) {
            record.push(request);
        }
    }

    /// What becomes of a request, and the workload or Service that it was meant for.
    fn meet_fate(
        &mut self,
        workloads: &mut Workloads,
        place: &(String, String),
        port: Option<i64>,
        at: DateTime<Utc>,
    ) -> (Request, String) {
        let mut request = Request {
            at,
            took: 0.0,
            workload: None,
            failure: None,
        };
        let dice = self.rng.f64();
        let Choice {
            service,
            mut addresses,
            labels,
            misrouted,
        } = self.effective.choose(place, port, dice);
        if misrouted {
            request.failure = Some(Failure::Misrouted);
            return (request, service);
        }
        if let Some(labels) = labels {
            let selected =
                |ip: &&String| find(workloads, ip).is_some_and(|pod| contains(&pod.labels, &labels));
            addresses = Arc::new(addresses.iter().filter(selected).cloned().collect());
        }
        if addresses.is_empty() {
            request.failure = Some(Failure::NoEndpoint);
            return (request, service);
        }
        for _ in 0..=RETRIES {
            let ip = &addresses[self.rng.usize(..addresses.len())];
            let Some(pod) = find(workloads, ip).filter(|pod| pod.listens(at)) else {
                continue;
            };
            let barrier = if self.barred.is_empty() {
                None
            } else {
                self.barred.get(&(place.0.clone(), pod.workload.clone()))
            };
            match barrier {
                None => {}
                Some(Barrier::Drops) => continue,
                Some(Barrier::Denies) => {
                    pod.meter.deny();
                    request.failure = Some(Failure::Denied);
                    return (request, pod.workload.clone());
                }
            }
            let failed = self.rng.f64() < pod.error_rate(at);
            request.took = -(1.0 - self.rng.f64()).ln() * pod.behaviour.latency;
            pod.meter.count(failed, request.took);
            request.failure = failed.then_some(Failure::Answered);
            request.workload = Some(pod.workload.clone());
            return (request, pod.workload.clone());
        }
        request.failure = Some(Failure::Refused);
        (request, service)
    }
}

impl Ledger {
    fn note(&mut self, request: &Request, meant: String) {
        self.sent += 1;
        if let Some(workload) = &request.workload {
            match self.answered.get_mut(workload) {
                Some(count) => *count += 1,
                None => {
                    self.answered.insert(workload.clone(), 1);
                }
            }
        }
        let Some(failure) = request.failure else { return };
        *self.failed.entry((failure, meant.clone())).or_default() += 1;
        if failure != Failure::Answered {
            self.last_lost = Some((request.at, failure, meant));
        }
    }
}

fn find<'a>(workloads: &'a mut Workloads, ip: &str) -> Option<&'a mut Pod> {
    workloads.pods.values_mut().flatten().find(|pod| pod.ip == ip)
}
