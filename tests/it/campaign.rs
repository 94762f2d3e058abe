//! Seeded faults: whatever goes wrong, no write breaks an invariant, no request is lost because of us, and when the
//! faults stop every rollout comes to rest. `SEED=… cargo test --test it campaign` replays one; `SEEDS=N` plays more.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use bellwether::sim::{
    api_server::{Key, Kind, NoFaults},
    chaos::{Chaos, Tally, note},
    cluster::SimCluster,
    invariants::{Invariants, Violations, canary_weight},
    traffic::{Failure, metrics::Trouble},
    workloads::behaviour::Behaviour,
};
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::sim::{NS, canary, deployment, key, route, run, service};

/// Seeds of one run of the suite.
const SEEDS: u64 = 300;

/// One play.
struct Play {
    cluster: SimCluster,
    rng: fastrand::Rng,
    tally: Tally,
    story: Vec<String>,
    /// Whether something happened that may cost requests whatever we do.
    disturbed: bool,
    images: u32,
}

impl Play {
    fn say(&mut self, what: &'static str) {
        note(&self.tally, what);
        let at = self.cluster.now().format("%M:%S%.3f").to_string();
        self.story.push(format!("{at} {what}"));
    }

    fn ship(&mut self, preset: &'static str) {
        self.images += 1;
        let image = format!("shop:{preset}-{}", self.images);
        self.cluster.ship(NS, "shop", &image).unwrap();
    }

    fn happen(&mut self) {
        match self.rng.u8(..22) {
            0..=3 => {
                self.ship("good");
                self.say("a good release");
            }
            4 => {
                self.ship("errors30");
                self.say("a release with errors");
            }
            5 => {
                self.ship("slow");
                self.say("a slow release");
            }
            6 => {
                self.ship("neverready");
                self.say("a release that is never ready");
            }
            7 => {
                self.disturbed = true;
                self.ship("crash");
                self.say("a release that crashes");
            }
            8 => {
                self.disturbed = true;
                self.ship("dark");
                self.say("a release that goes dark");
            }
            9 => {
                let primary = self.cluster.get(&Key::new(Kind::DEPLOYMENT, NS, "shop-primary"));
                if let Some(primary) = primary {
                    let image = &primary["spec"]["template"]["spec"]["containers"][0]["image"];
                    self.cluster.ship(NS, "shop", image.as_str().unwrap()).unwrap();
                    self.say("a revert");
                }
            }
            10 => self.edit_routes(),
            11 => {
                // Gone or about to go is fine.
                let _ = self.cluster.delete(&key(Kind::CANARY));
                self.say("the Canary is deleted");
            }
            12 | 13 => {
                // Refused while the old one is being deleted: the user tries again later.
                let _ = self.cluster.apply(NS, canary());
                self.say("the Canary is applied");
            }
            14 => self.suspend(true),
            15 => self.suspend(false),
            16 => {
                let trouble = [Trouble::Down, Trouble::Empty, Trouble::NotANumber];
                self.cluster.world().trouble = trouble[self.rng.usize(..3)];
                self.say("trouble with Prometheus");
            }
            17 => {
                self.cluster.world().trouble = Trouble::None;
                self.say("Prometheus is well");
            }
            18 => {
                self.cluster.start_controller();
                self.say("the controller restarts");
            }
            19 => {
                self.cluster
                    .server
                    .write("etcd", |writer, _| writer.store.compact());
                self.say("the log is compacted");
            }
            20 => {
                let change = json!({"spec": {"replicas": self.rng.u32(1..5)}});
                let _ = self
                    .cluster
                    .merge(&Key::new(Kind::DEPLOYMENT, NS, "shop-primary"), change);
                self.say("the primary is scaled");
            }
            _ => self.kill_pod(),
        }
    }

    fn edit_routes(&mut self) {
        let Some(routes) = self.cluster.get(&key(Kind::VIRTUAL_SERVICE)) else {
            return;
        };
        let mut http = routes["spec"]["http"].clone();
        http[0]["timeout"] = json!(format!("{}s", self.rng.u8(1..60)));
        let change = json!({"spec": {"http": http}});
        self.cluster.merge(&key(Kind::VIRTUAL_SERVICE), change).unwrap();
        self.say("the routes get a timeout");
    }

    fn suspend(&mut self, on: bool) {
        let _ = self
            .cluster
            .merge(&key(Kind::CANARY), json!({"spec": {"suspend": on}}));
        self.say(if on { "suspended" } else { "resumed" });
    }

    fn kill_pod(&mut self) {
        let now = self.cluster.now();
        let mut world = self.cluster.world();
        let pods: Vec<_> = world.workloads.pods.values_mut().flatten().collect();
        let count = pods.len().max(1);
        let chosen = self.rng.usize(..count);
        if let Some(pod) = pods.into_iter().nth(chosen) {
            pod.killed = Some(now);
            // As a kubelet that starts it anew: the old one goes, its Deployment makes another.
            pod.ending = Some(now);
            drop(world);
            // Whoever was on it is lost for as long as proxies do not know.
            self.disturbed = true;
            self.say("a pod is killed");
        }
    }
}

fn play(seed: u64, tally: &Tally) -> Result<(), String> {
    run(async {
        let cluster = SimCluster::start(seed, TimeDelta::seconds(2));
        let violations = Violations::default();
        cluster
            .server
            .add_witness(Box::new(Invariants::new(violations.clone())));
        let mut play = Play {
            cluster,
            rng: fastrand::Rng::with_seed(seed),
            tally: tally.clone(),
            story: Vec::new(),
            disturbed: false,
            images: 1,
        };
        for object in [deployment("shop:good-1"), service(), route()] {
            play.cluster.apply(NS, object).unwrap();
        }
        play.cluster.pass(TimeDelta::seconds(2)).await;
        let now = play.cluster.now();
        play.cluster.world().traffic.call(NS, "shop", 50.0, now);
        let rate = [0.0, 0.02, 0.1, 0.25][play.rng.usize(..4)];
        let chaos = Chaos::new(seed, rate, tally.clone());
        play.cluster.server.set_faults(Box::new(chaos));
        play.cluster.start_controller();
        play.cluster.apply(NS, canary()).unwrap();
        let calm_begin = play.rng.bool();
        let first = if calm_begin {
            60_000
        } else {
            play.rng.i64(1..10_000)
        };
        play.cluster.pass_restarting(TimeDelta::milliseconds(first)).await;
        for _ in 0..play.rng.usize(1..9) {
            play.happen();
            let span = play.rng.i64(1..45_000);
            play.cluster.pass_restarting(TimeDelta::milliseconds(span)).await;
        }
        calm(&mut play).await;
        let verdict = judge(&mut play, &violations).await;
        verdict.map_err(|problem| {
            format!(
                "SEED={seed} (faults {rate}): {problem}\n  {}",
                play.story.join("\n  ")
            )
        })
    })
}

/// Nothing goes wrong any more, and the Canary is there.
async fn calm(play: &mut Play) {
    play.cluster.server.set_faults(Box::new(NoFaults));
    play.cluster.world().trouble = Trouble::None;
    play.story
        .push(format!("{} calm", play.cluster.now().format("%M:%S%.3f")));
    play.cluster.pass_restarting(TimeDelta::seconds(30)).await;
    let _ = play
        .cluster
        .merge(&key(Kind::CANARY), json!({"spec": {"suspend": false}}));
    // A deletion that was begun ends first; a person who wants it again waits for that.
    for _ in 0..40 {
        let dying = play
            .cluster
            .get(&key(Kind::CANARY))
            .is_some_and(|c| !c["metadata"]["deletionTimestamp"].is_null());
        if !dying {
            break;
        }
        play.cluster.pass_restarting(TimeDelta::seconds(30)).await;
    }
    let _ = play.cluster.apply(NS, canary());
}

async fn judge(play: &mut Play, violations: &Violations) -> Result<(), String> {
    // progressDeadline, maxBlind, steps and pauses with room.
    let mut quiet = 0;
    for _ in 0..60 {
        play.cluster.pass_restarting(TimeDelta::seconds(30)).await;
        quiet = if at_rest(&play.cluster) { quiet + 1 } else { 0 };
        if quiet == 3 {
            break;
        }
    }
    let found = violations.lock().unwrap().clone();
    if !found.is_empty() {
        return Err(found.join("; "));
    }
    let status = play
        .cluster
        .get(&key(Kind::CANARY))
        .map(|c| c["status"].clone())
        .unwrap_or_default();
    if quiet < 3 {
        return Err(format!("no rest: {status:#}"));
    }
    let primary = play
        .cluster
        .get(&Key::new(Kind::DEPLOYMENT, NS, "shop-primary"))
        .unwrap();
    let image = &primary["spec"]["template"]["spec"]["containers"][0]["image"];
    let timeout = play
        .cluster
        .get(&key(Kind::VIRTUAL_SERVICE))
        .map(|v| v["spec"]["http"][0]["timeout"].clone());
    if timeout.is_none() {
        return Err("the VirtualService is gone".to_owned());
    }
    let world = play.cluster.world();
    let ledger = &world.traffic.ledgers[&(NS.to_owned(), "shop".to_owned())];
    let lost: u64 = ledger
        .failed
        .iter()
        .filter(|((how, _), _)| *how != Failure::Answered)
        .map(|(_, count)| count)
        .sum();
    if lost > 0 && !play.disturbed {
        return Err(format!(
            "{lost} of {} requests were lost: {:?}, last {:?}; the primary runs {image}",
            ledger.sent, ledger.failed, ledger.last_lost
        ));
    }
    Ok(())
}

fn image_of(cluster: &SimCluster, deployment: &str) -> String {
    let object = cluster.get(&Key::new(Kind::DEPLOYMENT, NS, deployment));
    let image = object.map(|o| o["spec"]["template"]["spec"]["containers"][0]["image"].clone());
    image
        .and_then(|image| image.as_str().map(str::to_owned))
        .unwrap_or_default()
}

fn good(image: &str) -> bool {
    Behaviour::of_image(image).good()
}

fn at_rest(cluster: &SimCluster) -> bool {
    let Some(canary) = cluster.get(&key(Kind::CANARY)) else {
        return false;
    };
    let status = &canary["status"];
    let phase = ["Initialized", "Succeeded", "Failed"]
        .iter()
        .any(|p| status["phase"] == *p);
    let target = cluster
        .get(&key(Kind::DEPLOYMENT))
        .is_some_and(|d| d["spec"]["replicas"] == 0);
    let routed = cluster
        .get(&key(Kind::VIRTUAL_SERVICE))
        .is_some_and(|v| canary_weight(&v) == 0);
    if phase && target && routed && status["hold"] == Value::Null {
        return true;
    }
    // A primary that cannot become ready while it is set up, or a workload that cannot take over: held with a name, and
    // whoever served goes on.
    let unready = status["hold"]["reason"] == "WorkloadNotReady";
    let waits = status["phase"] == "Initializing" || status["phase"] == "Terminating";
    waits && unready && !good(&image_of(cluster, "shop"))
}

#[test]
fn no_fault_breaks_an_invariant_loses_a_request_or_keeps_a_rollout_from_rest() {
    let tally = Tally::default();
    if let Ok(seed) = std::env::var("SEED") {
        if let Err(problem) = play(seed.parse().unwrap(), &tally) {
            panic!("{problem}");
        }
        return;
    }
    let seeds = std::env::var("SEEDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let problems = Mutex::new(BTreeMap::new());
    let began = std::time::Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds || problems.lock().unwrap().len() >= 5 {
                        return;
                    }
                    if let Err(problem) = play(seed, &tally) {
                        problems.lock().unwrap().insert(seed, problem);
                    }
                }
            });
        }
    });
    println!(
        "{seeds} plays in {:.1} s: {:#?}",
        began.elapsed().as_secs_f64(),
        tally.lock().unwrap()
    );
    let problems: Vec<String> = problems.into_inner().unwrap().into_values().collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
