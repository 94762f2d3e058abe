//! Playing a story, under the invariants, to its rest.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use bellwether::sim::{
    api_server::{Key, Kind},
    chaos::{Chaos, Control, Strike, Tally, note},
    cluster::SimCluster,
    invariants::{Invariants, Shared, canary_weight, ready_endpoints},
    traffic::{Barrier, Failure, metrics::Trouble},
    workloads::behaviour::Behaviour,
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{
    happening::{Happening, SECOND, image_of, order},
    setup::{PRIMARY, SHOP, Setup, key, namespace, primary},
    story::Story,
};

/// How long routes may lead to a canary without ready pods while requests to the API server fail.
const DARK_UNDER_FAULTS: TimeDelta = TimeDelta::seconds(240);
/// And while they do not.
const DARK: TimeDelta = TimeDelta::seconds(20);

/// Pauses after attempts to hand over that failed, and what each takes.
const RETRIES: TimeDelta = TimeDelta::minutes(1 + 5 + 15 + 4);
/// How long it may take until the metrics tell that nobody answers.
const KNOWN: TimeDelta = TimeDelta::seconds(20);

/// What came of a play that broke something.
#[derive(Debug)]
pub struct Broken {
    /// What is wrong, in words; ends with the invariant in brackets.
    pub what: String,
    /// Faults that had struck.
    pub struck: Vec<Strike>,
    /// What the status of each Canary said, and what happened.
    pub timeline: Vec<String>,
}

impl Broken {
    /// Which rule was broken.
    pub fn rule(&self) -> &str {
        let open = self.what.rfind('(').unwrap_or(0);
        &self.what[open..]
    }
}

/// What came of a play that broke nothing.
#[derive(Debug, Default)]
pub struct Played {
    /// Rollouts that were begun.
    pub rollouts: u64,
}

/// A play under way.
pub struct Play {
    pub cluster: SimCluster,
    pub disturbed: bool,
    /// Canaries whose primary a policy keeps requests from: since when, and how many it had answered by then.
    pub barred: BTreeMap<usize, (DateTime<Utc>, u64)>,
    /// The workloads as they were when proxies were last told of changes.
    told_of: Vec<Option<Value>>,
    pub images: u32,
    /// The image that was shipped last, by Canary.
    pub shipped: BTreeMap<usize, String>,
    story: Story,
    tally: Tally,
    control: Arc<Mutex<Control>>,
    record: Shared,
    calm: bool,
}

/// Plays a story; what was exercised goes into `tally`.
pub fn play(story: &Story, tally: &Tally) -> Result<Played, Broken> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut play = Play::begin(story, tally).await;
        let outcome = play.go_on().await;
        let record = play.record.lock().unwrap();
        for (transition, count) in &record.transitions {
            for _ in 0..*count {
                note(tally, transition.clone());
            }
        }
        match outcome {
            Ok(()) => Ok(Played {
                rollouts: record.rollouts,
            }),
            Err(what) => Err(Broken {
                what,
                struck: play.control.lock().unwrap().struck.clone(),
                timeline: record.timeline.clone(),
            }),
        }
    })
}

impl Play {
    async fn begin(story: &Story, tally: &Tally) -> Play {
        let mut cluster = SimCluster::start(story.seed, TimeDelta::seconds(2));
        let record = Shared::default();
        let invariants = Invariants::new(record.clone(), cluster.clock());
        cluster.server.add_witness(Box::new(invariants));
        if story.replicas > 1 {
            cluster.elect(story.skews);
        }
        for (n, setup) in story.setups.iter().enumerate() {
            let ns = namespace(n);
            cluster.apply(&ns, setup.deployment("shop:good-0")).unwrap();
            cluster.apply(&ns, Setup::service()).unwrap();
            if setup.adopted {
                cluster.apply(&ns, Setup::routes()).unwrap();
            }
        }
        cluster.pass(TimeDelta::seconds(2)).await;
        let now = cluster.now();
        for (n, setup) in story.setups.iter().enumerate() {
            cluster.world().traffic.call(&namespace(n), SHOP, setup.rate, now);
        }
        let (chaos, control) = Chaos::new(story.seed, story.strikes.clone(), tally.clone());
        cluster.server.set_faults(Box::new(chaos));
        for replica in 0..story.replicas {
            cluster.start_replica(replica);
        }
        for (n, setup) in story.setups.iter().enumerate() {
            cluster.apply(&namespace(n), setup.canary()).unwrap();
        }
        let mut play = Play {
            cluster,
            disturbed: false,
            barred: BTreeMap::new(),
            told_of: Vec::new(),
            images: 0,
            shipped: BTreeMap::new(),
            story: story.clone(),
            tally: tally.clone(),
            control,
            record,
            calm: false,
        };
        play.trouble(Trouble::None);
        play
    }

    pub fn setups(&self) -> &[Setup] {
        &self.story.setups
    }

    pub fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap()
    }

    /// Prometheus is in this trouble from now on.
    pub fn trouble(&mut self, trouble: Trouble) {
        let now = self.cluster.now();
        self.cluster.world().trouble = trouble;
        let mut record = self.record.lock().unwrap();
        let blind = matches!(trouble, Trouble::Down | Trouble::Empty | Trouble::NotANumber);
        record.blind_since = blind.then(|| record.blind_since.unwrap_or(now));
    }

    /// The controller's watches are cut from now on, or find back.
    pub fn cut(&self, cut: bool) {
        let mut record = self.record.lock().unwrap();
        record.stale_until = match (cut, record.stale_until) {
            (true, _) => Some(DateTime::<Utc>::MAX_UTC),
            (false, Some(_)) => Some(self.cluster.now() + TimeDelta::seconds(15)),
            (false, None) => None,
        };
    }

    fn say(&self, what: &str) {
        let at = self.cluster.now().format("%M:%S%.3f");
        self.record
            .lock()
            .unwrap()
            .timeline
            .push(format!("{at} — {what}"));
    }

    async fn go_on(&mut self) -> Result<(), String> {
        for event in self.story.events.clone() {
            self.pass(event.after).await?;
            note(&self.tally, event.what.name());
            self.say(&format!("{}: {:?}", namespace(event.canary), event.what));
            event.what.happen(self, event.canary);
        }
        self.calm_down().await?;
        self.come_to_rest().await?;
        if self.story.deleted {
            self.delete_all().await?;
        }
        self.everything_was_told()
    }

    /// Lets time pass, and looks every second.
    async fn pass(&mut self, span: TimeDelta) -> Result<(), String> {
        let end = self.cluster.now() + span;
        loop {
            let left = end - self.cluster.now();
            if left <= TimeDelta::zero() {
                return Ok(());
            }
            self.cluster.pass_restarting(left.min(SECOND)).await;
            self.look()?;
        }
    }

    fn look(&mut self) -> Result<(), String> {
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
            if !self.disturbed {
                self.look_at_requests(n)?;
            }
        }
        Ok(())
    }

    /// A policy keeps requests from the primary's pods from now on, or none does.
    pub fn bar(&mut self, n: usize, barrier: Option<Barrier>) {
        let place = (namespace(n), PRIMARY.to_owned());
        let now = self.cluster.now();
        let answered = self.answered_by_primary(n);
        let scaled = self.replicas_of_target(n) == Some(0);
        let taken_over = self
            .phase(n)
            .is_none_or(|phase| ["Initializing", "Promoting", "Finalising"].contains(&phase.as_str()));
        let mut world = self.cluster.world();
        match barrier {
            Some(barrier) => {
                world.traffic.barred.insert(place, barrier);
                drop(world);
                // Whoever is barred fails requests, wherever they are sent by right.
                self.disturbed = true;
                if taken_over && !scaled {
                    self.barred.entry(n).or_insert((now, answered));
                }
            }
            None => {
                world.traffic.barred.remove(&place);
                drop(world);
                self.barred.remove(&n);
            }
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
        if assumed || withdrawn || self.answered_by_primary(n) != answered {
            self.barred.remove(&n);
        } else if self.replicas_of_target(n) == Some(0) {
            self.barred.remove(&n);
            if now - since > KNOWN {
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
        let blind = record.stale_until.is_some_and(|until| now <= until);
        let known = !suspended && !blind && self.canary(n).is_some();
        let dark = weight > 0 && ready.0 == 0 && ready.1 > 0 && known;
        let book = record.books.entry((ns, SHOP.to_owned())).or_default();
        book.dark_since = dark.then(|| book.dark_since.unwrap_or(now));
        let limit = if self.calm { DARK } else { DARK_UNDER_FAULTS };
        if book.dark_since.is_some_and(|since| now - since > limit) {
            return Err(format!(
                "weight {weight} for {limit} without a ready pod of the canary (I2)"
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

    fn canary(&self, n: usize) -> Option<Arc<Value>> {
        self.cluster.get(&key(n, Kind::CANARY))
    }

    /// The phase of the `n`-th Canary.
    pub fn phase(&self, n: usize) -> Option<String> {
        self.canary(n)?["status"]["phase"].as_str().map(str::to_owned)
    }

    /// Nothing goes wrong any more, everything exists, and somebody wants every Canary.
    async fn calm_down(&mut self) -> Result<(), String> {
        self.say("calm");
        self.cut(false);
        {
            let mut control = self.control();
            control.calm = true;
            control.outage = false;
            control.cut_off = None;
        }
        self.trouble(Trouble::None);
        for n in 0..self.story.setups.len() {
            self.bar(n, None);
        }
        {
            let mut world = self.cluster.world();
            world.traffic.told = true;
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
    fn workload_is_broken(&self, n: usize) -> bool {
        image_of(&self.cluster, &key(n, Kind::DEPLOYMENT))
            .is_some_and(|image| !Behaviour::of_image(&image).good())
    }

    fn status(&self, n: usize) -> String {
        let status = self.canary(n).map(|canary| canary["status"].clone());
        let status = status.unwrap_or_default();
        format!(
            "{} weight {} hold {} retirement {}: {}",
            status["phase"], status["canaryWeight"], status["hold"], status["retirement"], status["message"]
        )
    }

    async fn come_to_rest(&mut self) -> Result<(), String> {
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
        }
        Ok(())
    }

    /// Whatever happened: how long it may take to come to rest, with the promotions that wait for each other.
    fn bound(&self, n: usize) -> TimeDelta {
        let bound = self.story.setups[n].bound() + RETRIES;
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
        let of_canary = |key: &bellwether::sim::api_server::Key| {
            key.kind == Kind::PROMOTION && key.namespace == namespace(n)
        };
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

    async fn delete_all(&mut self) -> Result<(), String> {
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
    fn everything_was_told(&self) -> Result<(), String> {
        let record = self.record.lock().unwrap();
        let facts = record.books.values().flat_map(|book| &book.facts);
        let untold: Vec<&String> = facts.filter(|fact| !record.told.contains(*fact)).collect();
        if untold.is_empty() {
            Ok(())
        } else {
            Err(format!("facts that nobody was told: {untold:?} (I9)"))
        }
    }
}
