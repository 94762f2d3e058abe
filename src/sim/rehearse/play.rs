//! One rehearsal: the cluster is set up, the release is shipped, and everything is followed to the end.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    Error, before,
    input::{DRAIN, Input},
    pace,
    release::Release,
    story::Act,
    timeline::{Entry, Requests, Scribe, What},
    verdict::{self, Outcome, Verdict},
    view,
};
use crate::{
    api::Phase,
    sim::{
        api_server::{
            Key, Kind, Witness,
            store::{Change, Happened, Store},
        },
        cluster::SimCluster,
        workloads::behaviour::Behaviour,
    },
    workload::deployment::revision,
};

/// What is rehearsed.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The objects.
    pub input: Input,
    /// The release.
    pub release: Release,
    /// How the present release behaves.
    pub present: Behaviour,
    /// What happens, in order of time.
    pub acts: Vec<Act>,
    /// Requests a second.
    pub rps: f64,
    /// The labels by which the controller tells the primary's pods from the workload's; its default if empty.
    pub selector_labels: Vec<String>,
    /// Time between two scrapes of Prometheus.
    pub scrape: TimeDelta,
}

/// What a rehearsal came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// The verdict.
    pub verdict: Verdict,
    /// Requests from the ship to the end.
    pub requests: Requests,
    /// Requests from the ship to the verdict.
    pub until_verdict: Requests,
    /// Seconds from the Canary's creation to the ship.
    pub set_up_seconds: f64,
}

/// Is told every entry.
pub type Tell<'a> = &'a mut dyn FnMut(&Entry) -> std::io::Result<()>;

/// Plays one rehearsal of this seed.
///
/// # Errors
/// If an object is refused, or `tell` fails.
pub fn play(setup: &Setup, seed: u64, tell: Tell<'_>) -> Result<Ending, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    runtime.block_on(Box::pin(async {
        let mut stage = Stage::set(setup, seed, tell).await?;
        if !stage.initialized().await? {
            return Ok(stage.ending());
        }
        stage.follow().await?;
        Ok(stage.ending())
    }))
}

/// Keeps every state of the Canary until it is read; `None` is its end.
struct Journal {
    canary: Key,
    states: States,
}

type States = Arc<Mutex<VecDeque<Option<Arc<Value>>>>>;

impl Witness for Journal {
    fn saw(&mut self, change: &Change, _: &Store) {
        if change.key == self.canary {
            let state = (change.happened != Happened::Deleted).then(|| change.object.clone());
            let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
            states.push_back(state);
        }
    }
}

/// A rehearsal under way.
pub(super) struct Stage<'a> {
    pub(super) setup: &'a Setup,
    tell: Tell<'a>,
    pub(super) cluster: SimCluster,
    states: States,
    scribe: Scribe,
    gone: bool,
    began: DateTime<Utc>,
    shipped: Option<DateTime<Utc>>,
    /// Images shipped so far.
    pub(super) images: u32,
    /// Requests before the ship.
    before: Requests,
    /// Requests when the weight last changed.
    at_weight: Requests,
    /// Requests at the last beat.
    at_beat: Requests,
    decided: Option<Decided>,
}

/// A decision about the release.
#[derive(Clone, Debug)]
struct Decided {
    /// Seconds since the ship.
    at: f64,
    /// Requests since the ship.
    requests: Requests,
    /// Why it was rolled back, if it was.
    rolled_back: Option<String>,
}

impl<'a> Stage<'a> {
    async fn set(setup: &'a Setup, seed: u64, tell: Tell<'a>) -> Result<Self, Error> {
        let mut cluster = SimCluster::start(seed, setup.scrape);
        cluster.drain = DRAIN;
        if !setup.selector_labels.is_empty() {
            cluster.selector_labels.clone_from(&setup.selector_labels);
        }
        let names = &setup.input.spec.names;
        for applied in &setup.input.objects {
            before::apply(&cluster, applied, &setup.present)?;
        }
        let least = setup.input.find("Deployment", &names.target);
        let least = least.and_then(|target| target["spec"]["minReadySeconds"].as_i64());
        let available =
            setup.present.ready_after.unwrap_or_default() + TimeDelta::seconds(least.unwrap_or(0));
        cluster.pass(available + TimeDelta::seconds(2)).await;
        before::pause(&cluster, &setup.input);
        let states = States::default();
        cluster.server.add_witness(Box::new(Journal {
            canary: Key::new(Kind::CANARY, &names.namespace, &setup.input.spec.id.name),
            states: states.clone(),
        }));
        cluster.start_controller();
        let began = cluster.now();
        let applied = cluster.apply(&names.namespace, setup.input.canary.clone());
        let name = &setup.input.spec.id.name;
        applied.map_err(|refusal| Error::BadInput(format!("Canary {name}: {}", refusal.message)))?;
        Ok(Stage {
            setup,
            tell,
            cluster,
            states,
            scribe: Scribe::default(),
            gone: false,
            began,
            shipped: None,
            images: 0,
            before: Requests::default(),
            at_weight: Requests::default(),
            at_beat: Requests::default(),
            decided: None,
        })
    }

    /// Waits until the Canary is set up; whether it is.
    async fn initialized(&mut self) -> Result<bool, Error> {
        let spec = &self.setup.input.spec;
        let key = self.canary_key();
        let within = spec.progress_deadline + spec.max_blind + TimeDelta::minutes(2);
        let ready = |canary: &Value| canary["status"]["phase"] == "Initialized";
        let met = self.cluster.wait(&key, within, ready).await;
        self.read_states(false)?;
        Ok(met)
    }

    pub(super) fn canary_key(&self) -> Key {
        let id = &self.setup.input.spec.id;
        Key::new(Kind::CANARY, &id.namespace, &id.name)
    }

    pub(super) fn key(&self, kind: Kind, name: &str) -> Key {
        Key::new(kind, &self.setup.input.spec.names.namespace, name)
    }

    /// The revision that is being released.
    pub(super) fn revision(&self) -> Option<String> {
        self.scribe.status.revision.current.clone()
    }

    /// Seconds since the ship, whole milliseconds.
    fn at(&self) -> f64 {
        let since = self.cluster.now() - self.shipped.unwrap_or(self.began);
        since.num_milliseconds() as f64 / 1e3
    }

    fn count(&self) -> Requests {
        view::count(&self.cluster.world(), &self.setup.input.spec.names)
    }

    fn say(&mut self, what: What) -> Result<(), Error> {
        let status = &self.scribe.status;
        let entry = Entry {
            at_seconds: self.at(),
            phase: status.phase.map(|phase| phase.to_string()).unwrap_or_default(),
            weight: status.canary_weight,
            what,
        };
        Ok((self.tell)(&entry)?)
    }

    pub(super) fn act(&mut self, message: impl Into<String>) -> Result<(), Error> {
        let message = message.into();
        self.say(What::Act { message })
    }

    /// Ships the release, and follows it until it is decided or the bound is reached.
    async fn follow(&mut self) -> Result<(), Error> {
        let setup = self.setup;
        let names = &setup.input.spec.names;
        let now = self.cluster.now();
        let mut changes = self.cluster.server.changes();
        self.cluster
            .world()
            .traffic
            .call(&names.namespace, &names.apex, setup.rps, now);
        self.shipped = Some(now);
        self.before = self.count();
        self.at_beat = self.before;
        self.at_weight = self.before;
        self.ship(&setup.release)?;
        let end = now + pace::bound(&setup.input.spec, &setup.acts);
        let beat = pace::beat(&setup.input.spec);
        let (mut acts, mut next_beat) = (setup.acts.iter().peekable(), now + beat);
        loop {
            changes.mark_unchanged();
            self.read_states(true)?;
            let time = self.cluster.now();
            while let Some(act) = acts.next_if(|act| now + act.at <= time) {
                self.perform(&act.action)?;
            }
            if time >= next_beat {
                self.beat()?;
                next_beat = time + beat;
            }
            let awaited = acts.clone().any(|act| act.action.decides());
            if time >= end || (!awaited && self.at_rest()) {
                return Ok(());
            }
            let next_act = acts.peek().map_or(end, |act| now + act.at);
            let wake = next_beat.min(next_act).min(end) - time;
            let wake = Instant::now() + wake.to_std().unwrap_or_default();
            tokio::select! {
                biased;
                changed = changes.changed() => if changed.is_err() { return Ok(()) },
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    /// Whether nothing more will happen by itself: the present template is the one the verdict speaks of.
    fn at_rest(&self) -> bool {
        let target = self.key(Kind::DEPLOYMENT, &self.setup.input.spec.names.target);
        let status = &self.scribe.status;
        let ended = status.phase.is_some_and(Phase::at_rest);
        let analysed = || {
            let target = self.cluster.get(&target);
            let template = target.map(|target| revision(&target["spec"]["template"]));
            template.is_some() && template == status.revision.current
        };
        self.gone || (ended && analysed())
    }

    fn read_states(&mut self, aloud: bool) -> Result<(), Error> {
        loop {
            let state = {
                let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
                states.pop_front()
            };
            let Some(state) = state else { return Ok(()) };
            self.gone = state.is_none();
            let weight = self.scribe.status.canary_weight;
            let news = state.map(|state| self.scribe.read(&state));
            if !aloud {
                continue;
            }
            let count = self.count();
            for mut what in news.unwrap_or_default() {
                match &mut what {
                    What::Checks { share_percent, .. } => {
                        *share_percent = count.since(self.at_weight).share_percent();
                    }
                    What::Fact { reason, message, .. } => self.note_decision(reason, message, count),
                    _ => {}
                }
                self.say(what)?;
            }
            if self.scribe.status.canary_weight != weight {
                self.at_weight = count;
            }
            if self.gone {
                self.scribe.status.phase = None;
                self.act("the Canary is gone")?;
            }
        }
    }

    fn note_decision(&mut self, reason: &str, message: &str, count: Requests) {
        let rolled_back = matches!(reason, "RolledBack" | "PromotionFailed");
        match reason {
            "NewRevision" => self.decided = None,
            "RolledBack" | "PromotionFailed" | "Aborted" | "Promoted" if self.decided.is_none() => {
                self.decided = Some(Decided {
                    at: self.at(),
                    requests: count.since(self.before),
                    rolled_back: rolled_back.then(|| message.to_owned()),
                });
            }
            _ => {}
        }
    }

    fn beat(&mut self) -> Result<(), Error> {
        let count = self.count();
        let share_percent = count.since(self.at_beat).share_percent();
        self.at_beat = count;
        let (primary, canary) =
            view::measured(&self.cluster.world(), &self.setup.input.spec, self.cluster.now());
        self.say(What::Beat {
            share_percent,
            primary,
            canary,
        })
    }

    fn paused(&self) -> bool {
        let target = self.key(Kind::DEPLOYMENT, &self.setup.input.spec.names.target);
        let target = self.cluster.get(&target);
        target.is_some_and(|target| target["spec"]["paused"] == true)
    }

    fn ending(&self) -> Ending {
        let requests = self.count().since(self.before);
        let decided = self.decided.clone().unwrap_or_else(|| Decided {
            at: self.at(),
            requests,
            rolled_back: None,
        });
        let status = (!self.gone).then_some(&self.scribe.status);
        let mut verdict = verdict::of(status, decided.rolled_back, decided.at);
        if verdict.outcome == Outcome::Undecided && self.paused() {
            verdict.reason = format!(
                "Deployment {} is paused (spec.paused), and its template waits until it is resumed; {}",
                self.setup.input.spec.names.target, verdict.reason
            );
        }
        if self.shipped.is_none() {
            verdict.reason = format!(
                "nothing was shipped, the Canary is not set up: {}",
                verdict.reason
            );
        }
        let set_up = self.shipped.unwrap_or_else(|| self.cluster.now()) - self.began;
        Ending {
            verdict,
            requests,
            until_verdict: decided.requests,
            set_up_seconds: set_up.num_milliseconds() as f64 / 1e3,
        }
    }
}
