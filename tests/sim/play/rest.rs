//! Nothing goes wrong any more: everything exists, and every Canary comes to rest within its bound.

use bellwether::sim::{
    api_server::{Key, Kind},
    chaos::note,
    invariants::canary_weight,
    traffic::metrics::Trouble,
    workloads::behaviour::Behaviour,
};
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{
    super::{
        happening::{Happening, SECOND, image_of, order},
        setup::{SHOP, key, namespace, primary},
    },
    Play,
};

/// Pauses after attempts to hand over that failed, and what each takes.
const RETRIES: TimeDelta = TimeDelta::minutes(1 + 5 + 15 + 4);

/// How long a quarrel with a robot is remembered, and its last pause.
const QUARREL: TimeDelta = TimeDelta::minutes(10 + 1);

impl Play {
    /// Nothing goes wrong any more, everything exists, and somebody wants every Canary.
    pub(super) async fn calm_down(&mut self) -> Result<(), String> {
        self.say("calm");
        self.robots.clear();
        self.cut(false);
        {
            let mut control = self.control();
            control.calm = true;
            control.outage = false;
            control.cut_off = None;
            control.refused = None;
        }
        self.trouble(Trouble::None);
        self.apply_again(|_, _| true);
        for n in 0..self.story.setups.len() {
            self.bar(n, None);
            self.set_night(n, false);
        }
        {
            let mut world = self.cluster.world();
            world.traffic.told = true;
            world.traffic.scrapes_lost = 0;
            world.workloads.schedulable = true;
            for pod in world.workloads.pods.values_mut().flatten() {
                if pod.behaviour.ready_after.is_none() && Behaviour::default() != pod.behaviour {
                    continue;
                }
                pod.hung = false;
            }
        }
        self.cluster.nudge();
        // Late writes of before may still come, and leaders find each other.
        self.pass(TimeDelta::seconds(70)).await?;
        self.calm = true;
        for n in 0..self.story.setups.len() {
            let ns = namespace(n);
            let setup = self.story.setups[n].clone();
            if self.cluster.get(&key(n, Kind::DEPLOYMENT)).is_none() {
                self.images += 1;
                let image = format!("shop:good-{}", self.images);
                self.cluster.apply(&ns, setup.deployment(&image)).unwrap();
            }
            let _gone = self
                .cluster
                .merge(&key(n, Kind::CANARY), json!({"spec": {"suspend": false}}));
            let _thawed = self.cluster.delete(&key(n, Kind::FREEZE));
            self.await_end_of_deletion(n).await?;
            self.cluster
                .apply(&ns, setup.canary())
                .map_err(|refusal| format!("the Canary is refused: {} (apply)", refusal.message))?;
        }
        Ok(())
    }

    /// A deletion that was begun ends within the bound; a person who wants the Canary again waits for that.
    async fn await_end_of_deletion(&mut self, n: usize) -> Result<(), String> {
        let mut left = self.story.setups[n].bound() + RETRIES;
        while self
            .canary(n)
            .is_some_and(|canary| !canary["metadata"]["deletionTimestamp"].is_null())
        {
            self.decide_about_rejected(n);
            if left <= TimeDelta::zero() {
                if self.workload_is_broken(n) {
                    // Held with a name: nobody can take over from the primary.
                    self.images += 1;
                    let image = format!("shop:good-{}", self.images);
                    let _shipped = self.cluster.ship(&namespace(n), SHOP, &image);
                    left = self.story.setups[n].bound() + RETRIES;
                    continue;
                }
                return Err(format!("no end of the deletion: {} (liveness)", self.status(n)));
            }
            self.pass(SECOND).await?;
            left -= SECOND;
        }
        Ok(())
    }

    /// A person reads why a deletion is held, and decides.
    fn decide_about_rejected(&mut self, n: usize) {
        let held = |canary: &Value| canary["status"]["hold"]["reason"] == "HandBackUnreleased";
        let decided =
            |canary: &Value| canary["metadata"]["annotations"]["bellwether.dev/hand-back"].is_string();
        if self
            .canary(n)
            .is_some_and(|canary| held(&canary) && !decided(&canary))
        {
            note(&self.tally, "HandBackUnreleased");
            let message = self.status(n);
            let restorable = !message.contains("nowhere");
            let choice = if restorable && self.images.is_multiple_of(2) {
                "promoted"
            } else {
                "as-is"
            };
            let annotations = json!({"metadata": {"annotations": {"bellwether.dev/hand-back": choice}}});
            let _decided = self.cluster.merge(&key(n, Kind::CANARY), annotations);
        }
    }

    /// Whether the workload's own pods cannot become ready, so that waiting for them has a name and no end.
    pub(super) fn workload_is_broken(&self, n: usize) -> bool {
        image_of(&self.cluster, &key(n, Kind::DEPLOYMENT))
            .is_some_and(|image| !Behaviour::of_image(&image).good())
    }

    pub(super) async fn come_to_rest(&mut self) -> Result<(), String> {
        for n in 0..self.story.setups.len() {
            let mut left = self.bound(n);
            let mut quiet = 0;
            while quiet < 20 {
                if self
                    .canary(n)
                    .is_some_and(|canary| !canary["status"]["pause"].is_null())
                {
                    let _resumed = order(self, n, "Resume");
                }
                quiet = if self.at_rest(n) { quiet + 1 } else { 0 };
                if left <= TimeDelta::zero() {
                    return Err(format!(
                        "{} does not come to rest within {}: {} (liveness)",
                        namespace(n),
                        self.bound(n),
                        self.status(n)
                    ));
                }
                self.pass(SECOND).await?;
                left -= SECOND;
            }
            self.the_last_revision_was_judged(n)?;
            self.callers_are_answered(n).await?;
        }
        Ok(())
    }

    /// I1: whoever is at rest, and held by nothing, serves.
    async fn callers_are_answered(&mut self, n: usize) -> Result<(), String> {
        let answered = |play: &Play| {
            let world = play.cluster.world();
            let ledger = world.traffic.ledgers.get(&(namespace(n), SHOP.to_owned()));
            ledger.map_or(0, |ledger| ledger.answered.values().sum::<u64>())
        };
        let works =
            || image_of(&self.cluster, &primary(n)).is_none_or(|image| Behaviour::of_image(&image).good());
        let held = self
            .canary(n)
            .is_none_or(|canary| !canary["status"]["hold"].is_null());
        if held || !works() {
            return Ok(());
        }
        let before = answered(self);
        self.pass(TimeDelta::seconds(10)).await?;
        if self.at_rest(n) && answered(self) == before {
            return Err(format!(
                "{} is at rest, and nobody is answered (I1)",
                namespace(n)
            ));
        }
        Ok(())
    }

    /// Whatever happened: how long it may take to come to rest, with the promotions that wait for each other.
    fn bound(&self, n: usize) -> TimeDelta {
        let robots = self
            .story
            .events
            .iter()
            .any(|event| matches!(event.what, Happening::Robot(..)));
        let quarrel = if robots { QUARREL } else { TimeDelta::zero() };
        let bound = self.story.setups[n].bound() + RETRIES + quarrel;
        let promotions = self
            .story
            .events
            .iter()
            .any(|event| matches!(event.what, Happening::Promote(..)));
        // One that is running ends as the rollout does; then comes the next. All are over with their deadlines.
        if promotions {
            bound * 2 + TimeDelta::seconds(200)
        } else {
            bound
        }
    }

    /// Promotions of the `n`-th Canary that are not over.
    fn unfinished(&self, n: usize) -> usize {
        let of_canary = |key: &Key| key.kind == Kind::PROMOTION && key.namespace == namespace(n);
        self.cluster.server.read(|store| {
            let all = store.all().filter(|(key, _)| of_canary(key));
            all.filter(|(_, object)| object["status"]["finishedAt"].is_null())
                .count()
        })
    }

    fn at_rest(&self, n: usize) -> bool {
        if self.unfinished(n) > 0 {
            return false;
        }
        let Some(canary) = self.canary(n) else {
            return false;
        };
        let status = &canary["status"];
        let phase = ["Initialized", "Succeeded", "Failed"]
            .iter()
            .any(|phase| status["phase"] == *phase);
        let target = self.cluster.get(&key(n, Kind::DEPLOYMENT));
        let routes = self.cluster.get(&key(n, Kind::VIRTUAL_SERVICE));
        let away = target.is_some_and(|target| target["spec"]["replicas"] == 0)
            && routes.is_some_and(|routes| canary_weight(&routes) == 0);
        if phase && away && status["hold"].is_null() {
            return true;
        }
        // What nobody can mend has a name, and whoever serves goes on: a workload that cannot be set up, or a primary
        // that cannot return to a template that works.
        let unready = status["hold"]["reason"] == "WorkloadNotReady" && status["phase"] == "Initializing";
        let broken =
            image_of(&self.cluster, &primary(n)).is_some_and(|image| !Behaviour::of_image(&image).good());
        let failed = status["hold"]["reason"] == "PromotionFailed" && status["phase"] == "Failed" && broken;
        // Somebody deleted the primary, and nothing has its template any more.
        let lost = !status["hold"].is_null() && self.cluster.get(&primary(n)).is_none();
        // The release that everybody depends on was broken from the beginning, or is broken by now.
        let stuck = !status["hold"].is_null() && broken;
        (unready && self.workload_is_broken(n)) || failed || lost || stuck
    }

    /// W3: the template that the target has is the one that the verdict is about.
    fn the_last_revision_was_judged(&self, n: usize) -> Result<(), String> {
        let (Some(canary), Some(target)) = (self.canary(n), self.cluster.get(&key(n, Kind::DEPLOYMENT)))
        else {
            return Ok(());
        };
        let status = &canary["status"];
        // Whoever is stuck is held with a name, and judged nothing yet.
        let judged = ["Initialized", "Succeeded", "Failed"]
            .iter()
            .any(|phase| status["phase"] == *phase);
        if !judged {
            return Ok(());
        }
        let revision = bellwether::workload::deployment::revision(&target["spec"]["template"]);
        if status["revision"]["current"] != revision.as_str() {
            return Err(format!(
                "the target has revision {revision}, the status speaks of {} (W3)",
                status["revision"]["current"]
            ));
        }
        let promoted = status["revision"]["promoted"] == revision.as_str();
        let Some(primary) = self.cluster.get(&primary(n)) else {
            return Ok(());
        };
        let primary = Some(primary);
        let runs = primary
            .map(|p| p["spec"]["template"]["metadata"]["annotations"]["bellwether.dev/revision"].clone());
        if runs.as_ref() != Some(&status["revision"]["promoted"]) {
            return Err(format!(
                "the primary runs {runs:?}, promoted is {} (W3)",
                status["revision"]["promoted"]
            ));
        }
        // Somebody deleted the primary, and its old template with it: an undo finds nothing to return to.
        let nothing_old = self
            .story
            .events
            .iter()
            .any(|event| matches!(event.what, Happening::PrimaryIsDeleted));
        let kept = promoted && nothing_old && status["history"][0]["outcome"] == "Failed";
        if promoted != (status["phase"] != "Failed") && !kept {
            return Err(format!("phase {}, promoted: {promoted} (W3)", status["phase"]));
        }
        Ok(())
    }

    pub(super) async fn delete_all(&mut self) -> Result<(), String> {
        self.say("every Canary is deleted");
        for n in 0..self.story.setups.len() {
            let _gone = self.cluster.delete(&key(n, Kind::CANARY));
        }
        for n in 0..self.story.setups.len() {
            self.await_end_of_deletion(n).await?;
        }
        self.pass(TimeDelta::seconds(20)).await
    }

    /// I9: every outcome was told.
    pub(super) fn everything_was_told(&self) -> Result<(), String> {
        let record = self.record.lock().unwrap();
        let facts = record.ledgers.values().flat_map(|ledger| &ledger.facts);
        let untold: Vec<&String> = facts.filter(|fact| !record.told.contains(*fact)).collect();
        if untold.is_empty() {
            Ok(())
        } else {
            Err(format!("facts that nobody was told: {untold:?} (I9)"))
        }
    }
}
