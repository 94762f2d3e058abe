//! What is remembered of one Canary, and who may write its objects (I10).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::Seen;
use crate::{
    sim::api_server::{Key, Kind, store::Store},
    workload::marks::EPOCH_ANNOTATION,
};

/// Names of the objects of a Canary; in a simulation it is called as its workload.
#[derive(Clone, Debug)]
pub struct Names {
    /// The Canary, its workload, apex Service and VirtualService.
    pub canary: String,
    /// Deployment, Service and DestinationRule of the primary.
    pub primary: String,
    /// Service and DestinationRule of the canary.
    pub canary_service: String,
}

impl Names {
    /// The names around an object of that name.
    #[must_use]
    pub fn of(object: &str) -> Names {
        let canary = object
            .strip_suffix("-primary")
            .or(object.strip_suffix("-canary"))
            .unwrap_or(object);
        Names {
            canary: canary.to_owned(),
            primary: format!("{canary}-primary"),
            canary_service: format!("{canary}-canary"),
        }
    }
}

/// When something was written lately, and whether callers would have stayed with pods that are not fit for them.
pub type Writes = VecDeque<(DateTime<Utc>, bool)>;

/// What is remembered of one Canary.
#[derive(Debug, Default)]
pub struct Ledger {
    /// When routes or the apex Service's selector last changed.
    pub routed_at: Option<DateTime<Utc>>,
    /// When somebody else last changed the routes.
    pub edited_at: Option<DateTime<Utc>>,
    /// When somebody else last changed the apex Service's selector.
    pub redirected_at: Option<DateTime<Utc>>,
    /// When somebody else last scaled the workload, or changed its template.
    pub changed_at: Option<DateTime<Utc>>,
    /// Weights that the routes had since the present revision is analysed.
    pub visited: BTreeSet<i64>,
    /// Every revision that was analysed at all steps, or that the user shipped unanalysed.
    pub passed: BTreeSet<String>,
    /// When the present step was recorded.
    pub step_at: Option<DateTime<Utc>>,
    /// When the controller wrote the status lately.
    pub recorded: VecDeque<DateTime<Utc>>,
    /// Which process first wrote an epoch.
    pub epochs: BTreeMap<String, &'static str>,
    /// Epochs in the order in which the status had them.
    pub succession: Vec<String>,
    /// Facts that must be told, by name of their Event.
    pub facts: BTreeSet<String>,
    /// Since when a Service has ready pods.
    pub served: BTreeMap<String, DateTime<Utc>>,
    /// Since when a Service has no ready pod.
    pub bare: BTreeMap<String, DateTime<Utc>>,
    /// Ready pods of each Service lately: since when there were how many.
    pub ready: BTreeMap<String, VecDeque<(DateTime<Utc>, usize)>>,
    /// What a process of the controller wrote lately, and when.
    pub repairs: BTreeMap<(String, &'static str), Writes>,
    /// Services that had a ready pod once.
    pub served_once: BTreeSet<String>,
    /// Who asked for an image by a Promotion, since it was last released.
    pub asked: BTreeMap<String, BTreeSet<String>>,
    /// The revision that may be promoted: analysed at every step, or shipped unanalysed as the user asked.
    pub cleared: Option<String>,
    /// Every revision that could be promoted at some time.
    pub cleared_once: BTreeSet<String>,
    /// The weight that could not be taken back when the present revision overtook another one.
    pub floor: i64,
    /// Since when the routes send to a canary without a ready pod.
    pub dark_since: Option<DateTime<Utc>>,
}

/// The canary's share of what is not foreign in percent, as the VirtualService has it: the largest of its routes.
#[must_use]
pub fn canary_weight(routes: &Value) -> i64 {
    let http = routes["spec"]["http"].as_array().into_iter().flatten();
    let of_route = |route: &Value| -> i64 {
        let entries = route["route"].as_array().into_iter().flatten();
        let sum = |side: &str| -> i64 {
            let side = entries.clone().filter(|d| host(d).ends_with(side));
            side.map(|d| d["weight"].as_i64().unwrap_or(100)).sum()
        };
        let (canary, primary) = (sum("-canary"), sum("-primary"));
        // A share without a primary beside it, as half of a pair that somebody removed, is what it says.
        if primary == 0 {
            canary.min(100)
        } else {
            canary * 100 / (canary + primary)
        }
    };
    http.map(of_route).max().unwrap_or(0)
}

/// The Service that a destination names, without namespace.
pub(super) fn host(destination: &Value) -> &str {
    let host = destination["destination"]["host"].as_str().unwrap_or_default();
    host.split('.').next().unwrap_or_default()
}

/// Ready addresses behind a Service.
#[must_use]
pub fn ready_endpoints(store: &Store, namespace: &str, service: &str) -> usize {
    let slice = store.get(&Key::new(
        Kind::ENDPOINT_SLICE,
        namespace,
        &format!("{service}-slice"),
    ));
    let endpoints = slice.and_then(|slice| slice["endpoints"].as_array());
    let ready = endpoints.into_iter().flatten();
    ready.filter(|e| e["conditions"]["ready"] == true).count()
}

/// An epoch without the count of its unsettled writes.
fn process_part(epoch: &str) -> &str {
    epoch.split('+').next().unwrap_or_default()
}

/// I10: what carries the present epoch is written by its process alone.
pub(super) fn fenced(seen: &Seen<'_>, ledger: &mut Ledger, found: &mut Vec<String>) {
    let annotation = &seen.change.object["metadata"]["annotations"][EPOCH_ANNOTATION];
    let present = seen.status("epoch").as_str().unwrap_or_default();
    let Some(carried) = annotation.as_str() else {
        return;
    };
    let writer = *ledger
        .epochs
        .entry(process_part(carried).to_owned())
        .or_insert(seen.change.actor);
    let resting = ["Initialized", "Succeeded", "Failed"]
        .iter()
        .any(|phase| seen.status("phase") == phase);
    if carried == present && writer != seen.change.actor && !resting {
        found.push(format!("{writer} decides here since epoch {present} (I10)"));
    }
}

/// I10: an epoch that another has followed does not come back.
pub(super) fn succeeded(seen: &Seen<'_>, ledger: &mut Ledger, found: &mut Vec<String>) {
    let Some(epoch) = seen.change.object["status"]["epoch"].as_str() else {
        return;
    };
    let process = process_part(epoch).to_owned();
    if ledger.succession.last() == Some(&process) {
        return;
    }
    if ledger.succession.contains(&process) {
        found.push(format!(
            "epoch {epoch} is back after {:?} (I10)",
            ledger.succession.last()
        ));
    }
    ledger.epochs.entry(process.clone()).or_insert(seen.change.actor);
    ledger.succession.push(process);
}
