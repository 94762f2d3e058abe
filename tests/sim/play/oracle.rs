//! What is looked at every virtual second, beside the invariants of every write.

use bellwether::sim::{
    api_server::{Key, Kind},
    chaos::Strikes,
    invariants::{canary_weight, ready_endpoints},
    traffic::{
        Barrier, Failure,
        metrics::{LATE, Trouble},
    },
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{
    super::setup::{PRIMARY, SHOP, key, namespace, primary},
    Play,
};

/// How long routes may lead to a canary without ready pods while requests to the API server fail.
const DARK_UNDER_FAULTS: TimeDelta = TimeDelta::seconds(240);
/// And while they do not.
const DARK: TimeDelta = TimeDelta::seconds(20);
/// How long the callers' Service may lead to the target while the primary serves.
const MISLED: TimeDelta = TimeDelta::seconds(90);
/// How long it may take until the metrics tell that nobody answers.
const KNOWN: TimeDelta = TimeDelta::seconds(20);

impl Play {
    pub(super) fn look(&mut self) -> Result<(), String> {
        if let Some(first) = self.record.lock().unwrap().violations.first() {
            return Err(first.clone());
        }
        let now = self.cluster.now();
        let (told, trouble) = {
            let world = self.cluster.world();
            (world.traffic.told, world.trouble)
        };
        // Proxies that do not follow, and metrics that say nothing of anybody: nobody can know who is still reached.
        self.disturbed |= !told && trouble == Trouble::Empty;
        let templates = self.templates();
        if told {
            self.told_of = templates;
        } else {
            // Pods were replaced since, between two looks.
            self.disturbed |= self.told_of != templates;
        }
        for n in 0..self.story.setups.len() {
            let taken_over = ["Promoting", "Finalising"]
                .iter()
                .any(|phase| self.phase(n).as_deref() == Some(phase));
            // Pods are replaced, and proxies that are told nothing cannot follow.
            self.disturbed |= !told && (taken_over || self.replaces_pods());
            self.look_at_hand_over(n, now)?;
            self.look_at_routes(n, now)?;
            self.look_at_callers(n, now)?;
            self.look_at_exposed(n, now)?;
            if !self.disturbed {
                self.look_at_requests(n)?;
            }
        }
        Ok(())
    }

    /// A policy keeps requests from the primary's pods from now on, or none does.
    pub fn bar(&mut self, n: usize, barrier: Option<Barrier>) {
        let place = (namespace(n), PRIMARY.to_owned());
        let Some(barrier) = barrier else {
            self.cluster.world().traffic.barred.remove(&place);
            self.barred.remove(&n);
            return;
        };
        self.cluster.world().traffic.barred.insert(place, barrier);
        // Whoever is barred fails requests, wherever they are sent by right.
        self.disturbed = true;
        let takes_over = self
            .phase(n)
            .is_none_or(|phase| ["Initializing", "Promoting", "Finalising"].contains(&phase.as_str()));
        if takes_over && self.replicas_of_target(n) != Some(0) {
            let known = (self.cluster.now(), self.answered_by_primary(n));
            self.barred.entry(n).or_insert(known);
        }
    }

    fn replicas_of_target(&self, n: usize) -> Option<i64> {
        self.cluster.get(&key(n, Kind::DEPLOYMENT))?["spec"]["replicas"].as_i64()
    }

    fn answered_by_primary(&self, n: usize) -> u64 {
        let world = self.cluster.world();
        let ledger = world.traffic.ledgers.get(&(namespace(n), SHOP.to_owned()));
        ledger
            .and_then(|ledger| ledger.answered.get(PRIMARY))
            .copied()
            .unwrap_or(0)
    }

    /// I13: pods are not scaled away before requests are known to reach those that take over.
    fn look_at_hand_over(&mut self, n: usize, now: DateTime<Utc>) -> Result<(), String> {
        let Some((since, answered)) = self.barred.get(&n).copied() else {
            return Ok(());
        };
        let status = self.canary(n).map(|canary| canary["status"].clone());
        let assumed = status
            .as_ref()
            .is_none_or(|status| status["transfer"]["assumed"] == true);
        // What was promoted before the policy came, or is withdrawn, takes nothing over.
        let withdrawn =
            status.is_none_or(|status| status["phase"] == "Failed" || !status["retirement"].is_null());
        // Where no pod of either side answers anybody, nothing is taken away.
        let broken = self.workload_is_broken(n);
        // Where nobody calls, nobody can fail to be reached.
        let night = self.nights.contains(&n);
        if night || assumed || withdrawn || broken || self.answered_by_primary(n) != answered {
            self.barred.remove(&n);
        } else if self.replicas_of_target(n) == Some(0) {
            self.barred.remove(&n);
            let behind = match self.cluster.world().trouble {
                Trouble::Late | Trouble::Stale => LATE,
                _ => TimeDelta::zero(),
            };
            let known = KNOWN + behind + TimeDelta::seconds(3 * (self.story.setups[n].scrapes - 2));
            if now - since > known {
                return Err("the target is scaled away, and no request reaches the primary (I13)".to_owned());
            }
        }
        Ok(())
    }

    /// I2: routes that lead to a canary without ready pods are set back in time.
    fn look_at_routes(&self, n: usize, now: DateTime<Utc>) -> Result<(), String> {
        let ns = namespace(n);
        let routes = self.cluster.get(&key(n, Kind::VIRTUAL_SERVICE));
        let weight = routes.map_or(0, |routes| canary_weight(&routes));
        let ready = self.cluster.server.read(|store| {
            (
                ready_endpoints(store, &ns, "shop-canary"),
                ready_endpoints(store, &ns, "shop-primary"),
            )
        });
        let suspended = self
            .canary(n)
            .is_some_and(|canary| canary["spec"]["suspend"] == true);
        let mut record = self.record.lock().unwrap();
        // Whoever cannot see the API server sets nothing back.
        let refused = self.control.lock().unwrap().refused.is_some();
        let blind = refused || record.stale_until.is_some_and(|until| now <= until);
        let known = !suspended && !blind && self.canary(n).is_some();
        let dark = weight > 0 && ready.0 == 0 && ready.1 > 0 && known;
        let ledger = record.ledgers.entry((ns, SHOP.to_owned())).or_default();
        ledger.dark_since = dark.then(|| ledger.dark_since.unwrap_or(now));
        let limit = if self.calm { DARK } else { DARK_UNDER_FAULTS };
        if ledger.dark_since.is_some_and(|since| now - since > limit) {
            return Err(format!(
                "weight {weight} for {limit} without a ready pod of the canary (I2)"
            ));
        }
        Ok(())
    }

    /// Callers without a proxy know no weights: while the primary serves, their Service does not lead to the target for long,
    /// whoever applies it. In a quarrel it is put right once a minute.
    fn look_at_callers(&mut self, n: usize, now: DateTime<Utc>) -> Result<(), String> {
        let canary = self.canary(n);
        let status = canary.as_ref().map_or(&Value::Null, |canary| &canary["status"]);
        let knows = [
            "Initialized",
            "Waiting",
            "Progressing",
            "WaitingPromotion",
            "Promoting",
            "Succeeded",
            "Failed",
        ];
        let set_up = knows.iter().any(|phase| status["phase"] == *phase);
        let suspended = canary
            .as_ref()
            .is_some_and(|canary| canary["spec"]["suspend"] == true);
        // A promotion that failed leaves whoever serves where they are.
        let failed = status["phase"] == "Failed" && status["canaryWeight"] != 0;
        let blind = self.control.lock().unwrap().refused.is_some()
            || self
                .record
                .lock()
                .unwrap()
                .stale_until
                .is_some_and(|until| now <= until);
        let away = self
            .cluster
            .get(&key(n, Kind::SERVICE))
            .is_some_and(|service| service["spec"]["selector"]["app"] == SHOP);
        let ready = self
            .cluster
            .server
            .read(|store| ready_endpoints(store, &namespace(n), "shop-primary"));
        // Between two looks it may have been put right, and the robot was there again.
        let blind = blind || self.robots.iter().any(|robot| robot.insists_soon(n));
        if !set_up || suspended || failed || blind || !away || ready == 0 {
            self.misled.remove(&n);
            return Ok(());
        }
        let since = *self.misled.entry(n).or_insert(now);
        let faults = match &self.story.strikes {
            Strikes::ByChance(rate) => *rate > 0.0,
            Strikes::Listed(strikes) => !strikes.is_empty(),
        };
        let limit = if faults { DARK_UNDER_FAULTS } else { MISLED };
        if now - since > limit {
            return Err(format!(
                "the callers' Service leads to the target for {limit} while the primary serves (I2)"
            ));
        }
        Ok(())
    }

    /// Which template each workload has.
    fn templates(&self) -> Vec<Option<Value>> {
        let of = |key: &Key| Some(self.cluster.get(key)?["spec"]["template"].clone());
        let canaries = 0..self.story.setups.len();
        canaries
            .flat_map(|n| [of(&key(n, Kind::DEPLOYMENT)), of(&primary(n))])
            .collect()
    }

    /// Whether pods of a workload are being replaced by those of another template.
    pub fn replaces_pods(&self) -> bool {
        let replaced = |key: &Key| {
            self.cluster.get(key).is_some_and(|deployment| {
                let [all, updated] = ["replicas", "updatedReplicas"]
                    .map(|field| deployment["status"][field].as_i64().unwrap_or(0));
                all > updated
            })
        };
        (0..self.story.setups.len()).any(|n| replaced(&key(n, Kind::DEPLOYMENT)) || replaced(&primary(n)))
    }

    fn look_at_requests(&self, n: usize) -> Result<(), String> {
        let world = self.cluster.world();
        let Some(ledger) = world.traffic.ledgers.get(&(namespace(n), SHOP.to_owned())) else {
            return Ok(());
        };
        let lost: u64 = ledger
            .failed
            .iter()
            .filter(|((how, _), _)| *how != Failure::Answered)
            .map(|(_, count)| count)
            .sum();
        if lost > 0 {
            let at = self.cluster.now().format("%M:%S");
            return Err(format!(
                "{at} {lost} of {} requests to {} were lost, last {:?} (lost)",
                ledger.sent,
                namespace(n),
                ledger.last_lost
            ));
        }
        Ok(())
    }
}
