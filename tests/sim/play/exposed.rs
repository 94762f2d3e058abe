//! I17: what is bad is taken back after as many checks as it needs, whatever becomes of the controller.

use bellwether::sim::{
    api_server::Kind,
    chaos::Strikes,
    invariants::{canary_weight, ready_endpoints},
    traffic::metrics::Trouble,
    workloads::behaviour::Behaviour,
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{
    super::{
        happening::image_of,
        setup::{key, namespace},
    },
    Play,
};

/// Callers meet a bad release.
pub struct Exposed {
    /// Which one: when it began.
    release: Value,
    since: DateTime<Utc>,
    /// Restarts until then.
    restarts: u32,
}

/// What a check takes beside its window: the answer, the fence of its template, the writes.
const CHECK: TimeDelta = TimeDelta::seconds(6);
/// And before the first one: proxies follow, the drain, a template that is looked at twice.
const FIRST: TimeDelta = TimeDelta::seconds(20);

impl Play {
    pub(super) fn look_at_exposed(&mut self, n: usize, now: DateTime<Utc>) -> Result<(), String> {
        let Some(release) = self.bad_release(n) else {
            self.exposed.remove(&n);
            return Ok(());
        };
        let known = self.exposed.get(&n).filter(|known| known.release == release);
        let Some(known) = known else {
            let (since, restarts) = (now, self.restarts);
            let exposed = Exposed {
                release,
                since,
                restarts,
            };
            self.exposed.insert(n, exposed);
            return Ok(());
        };
        let setup = &self.story.setups[n];
        let check = TimeDelta::seconds(setup.interval.max(setup.window) + 2 * setup.scrapes) + CHECK;
        let restarts = i32::try_from(self.restarts - known.restarts).unwrap_or(i32::MAX);
        let checks = i32::try_from(setup.threshold).unwrap_or(i32::MAX) + 1 + restarts;
        let bound = check * checks + FIRST;
        if now - known.since > bound {
            return Err(format!(
                "callers meet a bad release for {bound}, through {restarts} restarts: {} (I17)",
                self.status(n)
            ));
        }
        Ok(())
    }

    /// The release that callers of the `n`-th Canary meet, if it is bad from its beginning, and nothing keeps anybody from
    /// knowing it.
    fn bad_release(&self, n: usize) -> Option<Value> {
        let sound = match &self.story.strikes {
            Strikes::ByChance(rate) => *rate == 0.0,
            Strikes::Listed(strikes) => strikes.is_empty(),
        };
        let world = self.cluster.world();
        let seen = world.trouble == Trouble::None && world.traffic.told && world.traffic.scrapes_lost == 0;
        drop(world);
        let control = self.control();
        let reached = control.refused.is_none() && control.cut_off.is_none() && !control.outage;
        drop(control);
        let stale = self.record.lock().unwrap().stale_until;
        let alone = self.story.replicas == 1 && !self.nights.contains(&n);
        if !sound || !seen || !reached || !alone || stale.is_some_and(|until| self.cluster.now() <= until) {
            return None;
        }
        let canary = self.canary(n)?;
        let status = &canary["status"];
        if status["phase"] != "Progressing"
            || !status["pause"].is_null()
            || canary["spec"]["suspend"] == true
            || canary["spec"]["skipAnalysis"] == true
            || !canary["metadata"]["deletionTimestamp"].is_null()
        {
            return None;
        }
        let behaviour = Behaviour::of_image(&image_of(&self.cluster, &key(n, Kind::DEPLOYMENT))?);
        let bad = behaviour.error_rate > 0.5 && behaviour.errors_after.is_zero();
        let routes = self.cluster.get(&key(n, Kind::VIRTUAL_SERVICE))?;
        let ready = |service| {
            let server = &self.cluster.server;
            server.read(|store| ready_endpoints(store, &namespace(n), service))
        };
        // Where the primary has no pods left, there is nowhere to take callers back to.
        let ready = ready("shop-canary").min(ready("shop-primary"));
        // So many that each window has enough of them.
        let requests = self.story.setups[n].rate * canary_weight(&routes) as f64 / 100.0;
        (bad && ready > 0 && requests >= 2.0).then(|| status["revision"]["startedAt"].clone())
    }
}
