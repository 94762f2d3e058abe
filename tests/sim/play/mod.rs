//! Playing a story, under the invariants, to its rest.

mod exposed; // how long callers meet a bad release
mod oracle; // what is looked at every second
mod rest; // nothing goes wrong any more

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use bellwether::sim::{
    api_server::Kind,
    chaos::{Chaos, Control, Strike, Tally, note},
    cluster::SimCluster,
    invariants::{Invariants, Shared},
    traffic::metrics::Trouble,
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use exposed::Exposed;

use super::{
    happening::SECOND,
    robot::Robot,
    setup::{SHOP, Setup, key, namespace},
    story::{Moment, Story},
};

/// How often it is looked for a moment that an event waits for.
const GLANCE: TimeDelta = TimeDelta::milliseconds(50);
/// How many times.
const PATIENCE: u32 = 1_200;

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
    /// Canaries that nobody calls.
    pub nights: BTreeSet<usize>,
    /// Since when the callers' Service of a Canary leads to the target while the primary serves.
    misled: BTreeMap<usize, DateTime<Utc>>,
    /// How often the controller lost what it remembers, or its clock was set.
    pub restarts: u32,
    /// Canaries whose callers meet a bad release.
    exposed: BTreeMap<usize, Exposed>,
    /// Robots at work.
    pub robots: Vec<Robot>,
    /// The workloads as they were when proxies were last told of changes.
    told_of: Vec<Option<Value>>,
    /// What its owner deleted, to apply it again: when, and whose.
    pub away: Vec<(DateTime<Utc>, usize, Value)>,
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
        let mut cluster = SimCluster::start(story.seed, TimeDelta::seconds(story.setups[0].scrapes));
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
            nights: BTreeSet::new(),
            restarts: 0,
            exposed: BTreeMap::new(),
            misled: BTreeMap::new(),
            robots: Vec::new(),
            told_of: Vec::new(),
            away: Vec::new(),
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

    /// A replica's clock is wrong by `skew` from now on.
    pub fn set_clock(&mut self, replica: usize, skew: TimeDelta) {
        self.restarts += 1;
        self.cluster.set_clock(replica, skew);
        self.record.lock().unwrap().clock_was_set = true;
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
            if let Some(moment) = event.when {
                self.await_moment(event.canary, moment).await?;
            }
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

    /// Lets time pass until the moment, or until it is too long in coming.
    async fn await_moment(&mut self, n: usize, moment: Moment) -> Result<(), String> {
        for step in 1..=PATIENCE {
            let come = match moment {
                Moment::Phase(phase) => self.phase(n).as_deref() == Some(phase),
                Moment::Weight => self
                    .canary(n)
                    .is_some_and(|canary| canary["status"]["canaryWeight"].as_i64() > Some(0)),
            };
            if come {
                note(&self.tally, "moment awaited");
                return Ok(());
            }
            self.cluster.pass_restarting(GLANCE).await;
            if step % 20 == 0 {
                // As if a second had passed at once.
                self.pass(TimeDelta::milliseconds(1)).await?;
            }
        }
        Ok(())
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
            self.let_robots_act();
            let now = self.cluster.now();
            self.apply_again(|at, _| at <= now);
            self.look()?;
        }
    }

    /// From now on nobody calls, or callers do as before.
    pub fn set_night(&mut self, n: usize, night: bool) {
        let now = self.cluster.now();
        let rate = if night { 0.0 } else { self.story.setups[n].rate };
        self.cluster.world().traffic.call(&namespace(n), SHOP, rate, now);
        if night {
            self.nights.insert(n);
        } else {
            self.nights.remove(&n);
        }
    }

    /// Owners apply again what they deleted, of what is `due`.
    pub fn apply_again(&mut self, due: impl Fn(DateTime<Utc>, usize) -> bool) {
        let (due, away): (Vec<_>, Vec<_>) = self.away.drain(..).partition(|(at, n, _)| due(*at, *n));
        self.away = away;
        for (_, n, manifest) in due {
            match self.cluster.apply(&namespace(n), manifest.clone()) {
                Ok(_) => self.say(&format!(
                    "{}: {} is applied again",
                    namespace(n),
                    manifest["kind"]
                )),
                // Writes are refused, whoever's they are: people try again.
                Err(_) => self.away.push((self.cluster.now() + SECOND, n, manifest)),
            }
        }
    }

    fn let_robots_act(&mut self) {
        let now = self.cluster.now();
        for robot in self.robots.iter_mut().filter(|robot| robot.next <= now) {
            robot.act(&mut self.cluster, &self.story.setups[robot.canary()]);
            self.restarts += u32::from(robot.restarts());
        }
    }

    fn canary(&self, n: usize) -> Option<Arc<Value>> {
        self.cluster.get(&key(n, Kind::CANARY))
    }

    /// The phase of the `n`-th Canary.
    pub fn phase(&self, n: usize) -> Option<String> {
        self.canary(n)?["status"]["phase"].as_str().map(str::to_owned)
    }

    fn status(&self, n: usize) -> String {
        let status = self.canary(n).map(|canary| canary["status"].clone());
        let status = status.unwrap_or_default();
        format!(
            "{} weight {} hold {} retirement {}: {}",
            status["phase"], status["canaryWeight"], status["hold"], status["retirement"], status["message"]
        )
    }
}
