//! The invariants of a rollout, checked with every single write as the store sees it.
//!
//! [`Invariants`] looks at every change; what it remembers of a Canary stands in its [`Ledger`]. It knows nothing of how the
//! controller decides: only objects, who wrote them, and when.

mod canary;
mod capacity;
mod ledger;
mod promotions;
mod quarrel;
mod routes;
mod workloads;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{
    api_server::{
        Key, Kind, Witness,
        request::Verb,
        store::{Change, Happened, Store},
    },
    clock::SimClock,
    cluster::{by_controller, leader},
};
use crate::clock::Clock;

pub use ledger::{Ledger, Names, canary_weight, ready_endpoints};

/// What is remembered, and what was found.
#[derive(Debug, Default)]
pub struct Record {
    /// By namespace and name of the Canary.
    pub ledgers: BTreeMap<(String, String), Ledger>,
    /// Violations, in words.
    pub violations: Vec<String>,
    /// Every change of phase, weight or hold of every Canary.
    pub timeline: Vec<String>,
    /// Since when nothing is to be learnt from Prometheus.
    pub blind_since: Option<DateTime<Utc>>,
    /// Since when Prometheus can be asked.
    pub seeing_since: Option<DateTime<Utc>>,
    /// Until when the controller cannot know what is: its watches are cut, or were a moment ago.
    pub stale_until: Option<DateTime<Utc>>,
    /// Whether the clock of a process was set wrong.
    pub clock_was_set: bool,
    /// Facts that were told, by name of their Event.
    pub told: std::collections::BTreeSet<String>,
    /// How many rollouts were begun.
    pub rollouts: u64,
    /// How often each phase followed each other.
    pub transitions: BTreeMap<String, u64>,
}

/// What is remembered, shared with whoever plays.
pub type Shared = Arc<Mutex<Record>>;

/// Looks at every change.
pub struct Invariants {
    record: Shared,
    clock: SimClock,
}

/// One change to judge.
struct Seen<'a> {
    change: &'a Change,
    store: &'a Store,
    at: DateTime<Utc>,
    names: Names,
    /// Whether a process of the controller made it.
    ours: bool,
}

impl Seen<'_> {
    fn canary(&self) -> Option<&Value> {
        let key = Key::new(Kind::CANARY, &self.change.key.namespace, &self.names.canary);
        self.store.get(&key).map(|object| &**object)
    }

    fn get(&self, kind: Kind, name: &str) -> Option<&Value> {
        let key = Key::new(kind, &self.change.key.namespace, name);
        self.store.get(&key).map(|object| &**object)
    }

    fn status<'a>(&'a self, field: &str) -> &'a Value {
        self.canary()
            .map_or(&Value::Null, |canary| &canary["status"][field])
    }

    fn weight_of_routes(&self) -> i64 {
        self.get(Kind::VIRTUAL_SERVICE, &self.names.canary)
            .map_or(0, canary_weight)
    }
}

impl Invariants {
    /// Notes what it sees in `record`.
    #[must_use]
    pub fn new(record: Shared, clock: SimClock) -> Invariants {
        Invariants { record, clock }
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    /// Notes a violation.
    pub fn violated(&mut self, at: DateTime<Utc>, what: &str) {
        self.violations.push(format!("{} {what}", at.format("%M:%S%.3f")));
    }
}

impl Witness for Invariants {
    fn saw(&mut self, change: &Change, store: &Store) {
        let at = self.clock.now();
        let record = &mut *self.lock();
        if change.key.kind == Kind::EVENT {
            record.told.insert(change.key.name.clone());
            return;
        }
        let object = change.key.name.strip_suffix("-slice").unwrap_or(&change.key.name);
        let names = Names::of(object);
        let seen = Seen {
            change,
            store,
            at,
            ours: by_controller(change.actor),
            names,
        };
        let asked = change.object["spec"]["canaryRef"]["name"].as_str();
        // Who asks for a release is remembered with what they ask it of.
        let of = asked.filter(|_| change.key.kind == Kind::PROMOTION && !seen.ours);
        let place = (
            change.key.namespace.clone(),
            of.unwrap_or(&seen.names.canary).to_owned(),
        );
        let mut ledger = record.ledgers.remove(&place).unwrap_or_default();
        let found = judge(&seen, &mut ledger, record);
        record.ledgers.insert(place, ledger);
        for what in found {
            let object = format!(
                "{} {}/{}",
                change.key.kind.resource().kind,
                change.key.namespace,
                change.key.name
            );
            record.violated(at, &format!("{} writes {object}: {what}", change.actor));
        }
    }

    /// I10: whoever does not hold the Lease sends no write. What was sent before may arrive later.
    fn asked(&mut self, actor: &'static str, verb: Verb, kind: Kind, store: &Store) {
        if !verb.writes() || !by_controller(actor) || [Kind::LEASE, Kind::EVENT].contains(&kind) {
            return;
        }
        if let Some(leader) = leader(store).filter(|leader| leader != actor) {
            let object = kind.resource().kind;
            let what = format!("{actor} sends a write of a {object} while {leader} holds the Lease (I10)");
            self.lock().violated(self.clock.now(), &what);
        }
    }
}

fn judge(seen: &Seen<'_>, ledger: &mut Ledger, record: &mut Record) -> Vec<String> {
    let mut found = Vec::new();
    let deleted = seen.change.happened == Happened::Deleted;
    let stale = record.stale_until.is_some_and(|until| seen.at <= until);
    // Hands are off a Canary that is suspended: what comes was sent before, and nothing may be touched to fence it off.
    let late = seen.ours
        && seen
            .canary()
            .is_some_and(|canary| canary["spec"]["suspend"] == true);
    match seen.change.key.kind {
        Kind::VIRTUAL_SERVICE if late && !deleted => routes::visited(seen, ledger),
        Kind::VIRTUAL_SERVICE | Kind::SERVICE | Kind::DEPLOYMENT if late => {}
        Kind::VIRTUAL_SERVICE if !deleted => routes::changed(seen, ledger, stale, &mut found),
        Kind::ENDPOINT_SLICE => routes::endpoints(seen, ledger),
        Kind::SERVICE if !deleted && !stale => routes::pointed(seen, ledger, &mut found),
        Kind::DEPLOYMENT if seen.change.key.name == seen.names.primary => {
            workloads::primary(seen, ledger, deleted, &mut found);
        }
        Kind::DEPLOYMENT if !deleted => workloads::target(seen, ledger, stale, &mut found),
        Kind::PROMOTION if !deleted && seen.ours => promotions::changed(seen, &mut found),
        Kind::PROMOTION if !deleted => promotions::asked(seen, ledger),
        Kind::CANARY if deleted => canary::gone(seen, ledger, &mut found),
        Kind::CANARY => canary::changed(seen, ledger, record, &mut found),
        _ => {}
    }
    if seen.ours && !deleted {
        ledger::fenced(seen, ledger, &mut found);
    }
    if seen.ours && deleted && !created(seen) {
        found.push("what was not created for a Canary is deleted (I12)".to_owned());
    }
    found
}

/// Whether the object was made by the controller, or for it.
fn created(seen: &Seen<'_>) -> bool {
    // A Canary goes when its finalizer does, by whoever deleted it.
    let asked = [Kind::CANARY, Kind::PROMOTION, Kind::COMMAND, Kind::APPROVAL];
    let owner = &seen.change.object["metadata"]["annotations"]["bellwether.dev/owner-uid"];
    asked.contains(&seen.change.key.kind) || owner.is_string()
}

/// How long `at` is after `since`; nothing if it never was.
fn elapsed(since: Option<DateTime<Utc>>, at: DateTime<Utc>) -> TimeDelta {
    since.map_or(TimeDelta::zero(), |since| at - since)
}
