//! The invariants that every single write must keep, checked as the store sees it.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::{
    api_server::{
        Key, Kind, Witness,
        store::{Change, Happened, Store},
    },
    workloads::behaviour::Behaviour,
};

/// Violations found so far, in words.
pub type Violations = Arc<Mutex<Vec<String>>>;

/// Looks at the controller's writes.
pub struct Invariants {
    found: Violations,
}

impl Invariants {
    /// Notes what it finds in `found`.
    #[must_use]
    pub fn new(found: Violations) -> Invariants {
        Invariants { found }
    }

    fn violated(&self, change: &Change, what: &str) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.push(format!(
            "version {}: {} {}: {what}",
            change.version,
            change.key.kind.resource().kind,
            change.key.name
        ));
    }
}

impl Witness for Invariants {
    fn saw(&mut self, change: &Change, store: &Store) {
        if change.actor != "bellwether" || change.happened == Happened::Deleted {
            return;
        }
        let name = change.key.name.as_str();
        match change.key.kind {
            Kind::DEPLOYMENT if name.ends_with("-primary") => self.primary(change, store),
            Kind::DEPLOYMENT => self.target(change, store),
            Kind::VIRTUAL_SERVICE => self.routes(change, store),
            Kind::CANARY => self.status(change, store),
            _ => {}
        }
    }
}

fn image(deployment: &Value) -> &str {
    deployment["spec"]["template"]["spec"]["containers"][0]["image"]
        .as_str()
        .unwrap_or_default()
}

fn canary_of<'a>(store: &'a Store, key: &Key, name: &str) -> Option<&'a Value> {
    let key = Key::new(Kind::CANARY, &key.namespace, name);
    store.get(&key).map(|object| &**object)
}

/// The canary's share in percent, as the VirtualService has it.
#[must_use]
pub fn canary_weight(routes: &Value) -> i64 {
    let http = routes["spec"]["http"].as_array().into_iter().flatten();
    http.filter_map(|route| route["route"].as_array())
        .flatten()
        .filter(|d| {
            d["destination"]["host"]
                .as_str()
                .is_some_and(|h| h.contains("-canary"))
        })
        .filter_map(|d| d["weight"].as_i64())
        .sum()
}

impl Invariants {
    /// I3: only what passed, or what was there at the beginning.
    fn primary(&self, change: &Change, store: &Store) {
        let name = change.key.name.trim_end_matches("-primary");
        let shipped = image(&change.object);
        let changed = change
            .before
            .as_ref()
            .is_none_or(|before| image(before) != shipped);
        let phase = canary_of(store, &change.key, name)
            .map(|c| c["status"]["phase"].clone())
            .unwrap_or_default();
        let begins = phase.is_null() || phase == "Initializing";
        if changed && !begins && !Behaviour::of_image(shipped).good() {
            self.violated(
                change,
                &format!("the primary runs {shipped}, which cannot pass (I3)"),
            );
        }
    }

    /// I2: no pods are scaled away while the routes send them traffic.
    fn target(&self, change: &Change, store: &Store) {
        let key = Key::new(Kind::VIRTUAL_SERVICE, &change.key.namespace, &change.key.name);
        let weight = store.get(&key).map_or(0, |routes| canary_weight(routes));
        let before = change
            .before
            .as_ref()
            .and_then(|b| b["spec"]["replicas"].as_i64());
        if change.object["spec"]["replicas"] == 0 && before != Some(0) && weight > 0 {
            self.violated(change, &format!("scaled away at weight {weight} (I2)"));
        }
    }

    /// I5: a weight rises only after its intent was recorded.
    fn routes(&self, change: &Change, store: &Store) {
        let Some(before) = &change.before else { return };
        let (old, new) = (canary_weight(before), canary_weight(&change.object));
        let Some(canary) = canary_of(store, &change.key, &change.key.name) else {
            return;
        };
        let intended = canary["status"]["canaryWeight"].as_i64().unwrap_or(0);
        if new > old && new > intended {
            self.violated(
                change,
                &format!("the weight rises to {new}, intended is {intended} (I5)"),
            );
        }
        let rest = |vs: &Value| {
            (
                vs["spec"]["hosts"].clone(),
                vs["metadata"]["labels"].clone(),
                vs["spec"]["http"][0]["name"].clone(),
            )
        };
        if rest(before) != rest(&change.object) {
            self.violated(change, "something that is not ours was changed (I8)");
        }
    }

    /// I4: a terminal phase is written when it is true.
    fn status(&self, change: &Change, store: &Store) {
        let phase = &change.object["status"]["phase"];
        let was = change.before.as_ref().map(|b| b["status"]["phase"].clone());
        let terminal = ["Initialized", "Succeeded", "Failed"].iter().any(|p| phase == p);
        if !terminal || was.as_ref() == Some(phase) || change.object["status"]["canaryWeight"] != 0 {
            return;
        }
        let key = |kind| Key::new(kind, &change.key.namespace, &change.key.name);
        let weight = store
            .get(&key(Kind::VIRTUAL_SERVICE))
            .map_or(0, |routes| canary_weight(routes));
        if weight > 0 && change.object["status"]["hold"].is_null() {
            self.violated(
                change,
                &format!("{phase} while the canary has weight {weight} (I4)"),
            );
        }
    }
}
