//! A simulated cluster with the real controller on it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::pointer::At;
use chrono::{DateTime, TimeDelta, Utc};
use futures::{
    FutureExt,
    future::{Either, select},
};
use serde_json::{Value, json};
use tokio::{
    sync::{Notify, mpsc::unbounded_channel},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    api_server::{
        ApiServer, Key, Kind, Refusal,
        store::Store,
        write::{Deletion, Patch},
    },
    clock::SimClock,
    traffic::{Traffic, metrics::SimMetrics, metrics::Trouble, routes::Routes},
    workloads::Workloads,
    world::World,
};
use crate::{
    clock::Clock,
    config_file::Reloaded,
    gates::{Gates, Instances},
    jitter::Jitter,
    leader::{self, Candidate, Leadership, election::Timing},
    metrics::Metrics,
    metrics_source::{self, Sampler},
    outbox::{self, Outbox, Sink},
    reconcile::{self, Context, Settings},
    user_aliases::UserAliases,
};

/// How long Kubernetes' own controllers take to react.
const REACTION: Duration = Duration::from_millis(20);

/// The default of `--selector-labels`.
pub const SELECTOR_LABELS: [&str; 3] = ["app", "name", "app.kubernetes.io/name"];

/// A simulated cluster.
pub struct SimCluster {
    /// The API server.
    pub server: ApiServer,
    /// How long the controller lets proxies use a changed route; read when it starts.
    pub drain: TimeDelta,
    /// The labels by which the controller tells the primary's pods from the target's; read when it starts.
    pub selector_labels: Vec<String>,
    /// Whether the controller is told how often pods are scraped, or has to learn it; read when it starts.
    pub tells_scrapes: bool,
    /// The one namespace that the controller works in.
    pub namespace: Option<String>,
    /// Makes the sinks that the controller tells besides Kubernetes Events; asked when it starts.
    pub sinks: Option<Box<dyn Fn() -> Vec<Sink> + Send + Sync>>,
    clock: SimClock,
    world: Arc<Mutex<World>>,
    seed: u64,
    scrape_interval: TimeDelta,
    platform: JoinSet<()>,
    processes: BTreeMap<usize, Process>,
    starts: u64,
    skews: Option<[TimeDelta; 2]>,
    jenkins: Instances,
}

/// A replica of the controller; its tasks end with it.
struct Process {
    name: &'static str,
    clock: SimClock,
    /// Cancelled when a fault kills it, or when it ends by itself.
    dead: CancellationToken,
    /// Cancelled when it is asked to stop.
    stop: CancellationToken,
    tasks: JoinSet<()>,
    ctx: Option<Arc<Context>>,
}

/// Whose credentials each start of a replica uses, so that a change shows which process made it.
const PROCESSES: [&str; 16] = [
    "bellwether-0",
    "bellwether-1",
    "bellwether-2",
    "bellwether-3",
    "bellwether-4",
    "bellwether-5",
    "bellwether-6",
    "bellwether-7",
    "bellwether-8",
    "bellwether-9",
    "bellwether-10",
    "bellwether-11",
    "bellwether-12",
    "bellwether-13",
    "bellwether-14",
    "bellwether-15",
];

/// Namespace and name of the Lease that replicas contend for.
const LEASE: (&str, &str) = ("bellwether", "leader");
/// Stands between the name of a process and its number, in its identity.
const BETWEEN: char = '_';

/// The process that holds the Lease, if any does.
#[must_use]
pub fn leader(store: &Store) -> Option<String> {
    let lease = store.get(&Key::new(Kind::LEASE, LEASE.0, LEASE.1))?;
    let (process, _) = lease["spec"]["holderIdentity"].as_str()?.split_once(BETWEEN)?;
    Some(process.to_owned())
}

/// Whether a change was made by a process of the controller.
#[must_use]
pub fn by_controller(actor: &str) -> bool {
    actor.starts_with("bellwether")
}

impl SimCluster {
    /// A cluster without objects. To be called in a current-thread runtime with paused time.
    #[must_use]
    pub fn start(seed: u64, scrape_interval: TimeDelta) -> SimCluster {
        let clock = SimClock::start();
        let server = ApiServer::new(Arc::new(clock));
        let world = World {
            workloads: Workloads::new(),
            traffic: Traffic::new(seed, clock.now(), scrape_interval),
            trouble: Trouble::None,
        };
        let mut cluster = SimCluster {
            server,
            drain: TimeDelta::seconds(3),
            selector_labels: SELECTOR_LABELS.map(str::to_owned).to_vec(),
            tells_scrapes: true,
            namespace: None,
            sinks: None,
            clock,
            world: Arc::new(Mutex::new(world)),
            seed,
            scrape_interval,
            platform: JoinSet::new(),
            processes: BTreeMap::new(),
            starts: 0,
            skews: None,
            jenkins: Instances::none(),
        };
        let running = run_platform(cluster.server.clone(), clock, cluster.world.clone());
        cluster.platform.spawn(running);
        cluster
    }

    /// The present time.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Pods and traffic, worked off up to now.
    pub fn world(&self) -> MutexGuard<'_, World> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.catch_up(self.clock.now());
        world
    }

    /// The Jenkins that controllers know which start from now on.
    pub fn know_jenkins(&mut self, instances: Instances) {
        self.jenkins = instances;
    }

    /// Lets replicas elect a leader from now on; `skews` are how wrong their clocks are.
    pub fn elect(&mut self, skews: [TimeDelta; 2]) {
        self.skews = Some(skews);
    }

    /// Starts the controller, as a process with no memory.
    pub fn start_controller(&mut self) {
        self.start_replica(0);
    }

    /// Starts a replica of the controller, as a process with no memory.
    pub fn start_replica(&mut self, replica: usize) {
        self.kill_replica(replica);
        self.starts += 1;
        let name = PROCESSES[usize::try_from(self.starts).unwrap_or_default() % PROCESSES.len()];
        let skew = self
            .skews
            .map_or(TimeDelta::zero(), |skews| skews[replica.min(1)]);
        let clock = self.clock.skewed(skew);
        let mut process = Process {
            name,
            clock,
            dead: CancellationToken::new(),
            stop: CancellationToken::new(),
            tasks: JoinSet::new(),
            ctx: None,
        };
        self.start_in(&mut process, name, clock);
        self.processes.insert(replica, process);
    }

    fn start_in(&self, process: &mut Process, name: &'static str, clock: SimClock) {
        let clock: Arc<dyn Clock> = Arc::new(clock);
        let jitter = Arc::new(Jitter::seeded(self.seed ^ self.starts));
        let client = self.server.client(name, process.dead.clone());
        let identity = format!("{name}{BETWEEN}{}", self.starts);
        let stop = process.stop.clone();
        let listed = Arc::new(Notify::new());
        let (leadership, holding) = if self.skews.is_some() {
            let (leadership, claim) = Leadership::elected(&identity, clock.clone());
            let candidate = Candidate {
                namespace: LEASE.0.to_owned(),
                name: LEASE.1.to_owned(),
                identity,
                timing: Timing::default(),
                listed: listed.clone(),
            };
            let holding = leader::hold(
                client.clone(),
                candidate,
                clock.clone(),
                jitter.clone(),
                claim,
                stop.clone(),
            );
            (leadership, holding.boxed())
        } else {
            let leadership = Leadership::alone(&identity, clock.clone());
            (leadership, stop.clone().cancelled_owned().boxed())
        };
        let (woken, sampled) = unbounded_channel();
        let told = woken.clone();
        let sampling = metrics_source::Settings {
            scrape_interval: self.scrape_interval.to_std().ok().filter(|_| self.tells_scrapes),
            ..Default::default()
        };
        let source = Arc::new(SimMetrics::new(self.world.clone(), self.clock));
        let gates = Gates::new(
            Reloaded::fixed(self.jenkins.clone()),
            jitter.clone(),
            leadership.clone(),
            woken.clone(),
        );
        let sampler = Arc::new(Sampler::new(source, clock.clone(), sampling, woken));
        let sinks = self.sinks.as_ref().map_or_else(Vec::new, |sinks| sinks());
        let (outbox, facts) = Outbox::new(sinks, told);
        let ctx = Arc::new(Context {
            client,
            settings: Settings {
                namespace: self.namespace.clone(),
                selector_labels: self.selector_labels.clone(),
                include_label_prefix: Vec::new(),
                drain: self.drain,
            },
            leadership,
            clock,
            jitter,
            cache: Default::default(),
            index: Default::default(),
            local: Default::default(),
            sampler: sampler.clone(),
            outbox,
            gates,
            aliases: Reloaded::fixed(UserAliases::default()),
            metrics: Metrics::new(),
        });
        process.ctx = Some(ctx.clone());
        let deciding = reconcile::run::run(ctx.clone(), sampled, listed, stop.clone()).boxed();
        process.tasks.spawn(
            stop.clone()
                .run_until_cancelled_owned(async move { sampler.run().await })
                .map(drop),
        );
        process.tasks.spawn(
            stop.clone()
                .run_until_cancelled_owned(outbox::deliver(ctx, facts))
                .map(drop),
        );
        // A process that lost its Lease ends; one that is asked to stop finishes its rounds and gives the Lease back.
        let dead = process.dead.clone();
        process.tasks.spawn(async move {
            let (Either::Left(((), other)) | Either::Right(((), other))) = select(holding, deciding).await;
            if stop.is_cancelled() {
                other.await;
            }
            dead.cancel();
        });
    }

    /// Asks a replica to stop. It is started again when it has ended, as one that was killed.
    pub fn stop_replica(&self, replica: usize) {
        if let Some(process) = self.processes.get(&replica) {
            process.stop.cancel();
        }
    }

    /// Kills the controller wherever it is.
    pub fn kill_controller(&mut self) {
        self.kill_replica(0);
    }

    /// Kills a replica wherever it is.
    pub fn kill_replica(&mut self, replica: usize) {
        self.processes.remove(&replica);
    }

    /// Which process a replica is, as changes name it.
    #[must_use]
    pub fn process_of(&self, replica: usize) -> Option<&'static str> {
        self.processes.get(&replica).map(|process| process.name)
    }

    /// Sets the clock of a replica wrong by `skew`, until it is started again.
    pub fn set_clock(&self, replica: usize, skew: TimeDelta) {
        if let Some(process) = self.processes.get(&replica) {
            process.clock.set(skew);
        }
    }

    /// What a replica works with.
    #[must_use]
    pub fn context_of(&self, replica: usize) -> Option<Arc<Context>> {
        self.processes.get(&replica)?.ctx.clone()
    }

    /// The world was changed by hand: Kubernetes' own controllers look at it.
    pub fn nudge(&self) {
        self.server.nudge();
    }

    /// The clock of this simulation.
    #[must_use]
    pub fn clock(&self) -> SimClock {
        self.clock
    }

    /// Applies an object as a user would.
    ///
    /// # Errors
    /// As the API server refuses.
    pub fn apply(&self, namespace: &str, object: Value) -> Result<Arc<Value>, Refusal> {
        let text = |pointer: &str| object.at(pointer).and_then(Value::as_str).unwrap_or_default();
        let kind = Kind::named(text("/apiVersion"), text("/kind")).ok_or_else(Refusal::not_served)?;
        let key = Key::new(kind, namespace, text("/metadata/name"));
        self.server.write("user", |writer, by| {
            writer.patch(by, &key, false, Patch::Apply(object, true))
        })
    }

    /// Changes an object as a user would.
    ///
    /// # Errors
    /// As the API server refuses.
    pub fn merge(&self, key: &Key, change: Value) -> Result<Arc<Value>, Refusal> {
        self.server.write("user", |writer, by| {
            writer.patch(by, key, false, Patch::Merge(change))
        })
    }

    /// Deletes an object as a user would.
    ///
    /// # Errors
    /// As the API server refuses.
    pub fn delete(&self, key: &Key) -> Result<Arc<Value>, Refusal> {
        self.server
            .write("user", |writer, by| writer.delete(by, key, &Deletion::default()))
    }

    /// Ships an image.
    ///
    /// # Errors
    /// As the API server refuses.
    pub fn ship(&self, namespace: &str, deployment: &str, image: &str) -> Result<Arc<Value>, Refusal> {
        let key = Key::new(Kind::DEPLOYMENT, namespace, deployment);
        let containers =
            json!([{"name": "app", "image": image, "ports": [{"name": "http", "containerPort": 8080}]}]);
        self.merge(
            &key,
            json!({"spec": {"template": {"spec": {"containers": containers}}}}),
        )
    }

    /// An object.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Arc<Value>> {
        self.server.read(|store| store.get(key).cloned())
    }

    /// Waits, on virtual time, until `met` holds of an object (null if it is missing); whether it came to hold.
    pub async fn wait(&self, key: &Key, within: TimeDelta, mut met: impl FnMut(&Value) -> bool) -> bool {
        let end = Instant::now() + within.to_std().unwrap_or_default();
        let mut changes = self.server.changes();
        loop {
            changes.mark_unchanged();
            let object = self.get(key);
            if met(object.as_deref().unwrap_or(&Value::Null)) {
                return true;
            }
            tokio::select! {
                biased;
                changed = changes.changed() => if changed.is_err() { return false },
                () = tokio::time::sleep_until(end) => return false,
            }
        }
    }

    /// Lets time pass; replicas that a fault killed are started again after a while, as Kubernetes would.
    pub async fn pass_restarting(&mut self, span: TimeDelta) {
        let end = Instant::now() + span.to_std().unwrap_or_default();
        loop {
            let ends: Vec<_> = self
                .processes
                .iter()
                .map(|(replica, process)| {
                    let (replica, dead) = (*replica, process.dead.clone());
                    async move {
                        dead.cancelled().await;
                        replica
                    }
                    .boxed()
                })
                .collect();
            let replica = tokio::select! {
                biased;
                (replica, ..) = futures::future::select_all(ends) => replica,
                () = tokio::time::sleep_until(end) => return,
            };
            self.kill_replica(replica);
            let pause = Duration::from_millis(500 + self.starts % 7 * 900);
            tokio::time::sleep_until(Instant::now() + pause).await;
            self.start_replica(replica);
        }
    }

    /// Lets time pass.
    pub async fn pass(&self, span: TimeDelta) {
        tokio::time::sleep_until(Instant::now() + span.to_std().unwrap_or_default()).await;
    }
}

/// Kubernetes' own controllers, and the mesh: they react to changes, and to what pods do by themselves.
async fn run_platform(server: ApiServer, clock: SimClock, world: Arc<Mutex<World>>) {
    let mut changes = server.changes();
    let (mut routes, mut wanted, mut known) = (Routes::default(), Routes::default(), None);
    loop {
        changes.mark_unchanged();
        // Without their API server they do nothing.
        let next = if server.stopped() {
            None
        } else {
            let now = clock.now();
            let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
            world.catch_up(now);
            let next = server.write("kubernetes", |writer, by| world.workloads.step(writer, by));
            server.read(|store| {
                if known != Some(store.routed()) {
                    (wanted, known) = (Routes::of(store), Some(store.routed()));
                }
            });
            if wanted != routes && world.traffic.told {
                world.traffic.reroute(wanted.clone(), now);
                routes = wanted.clone();
            }
            next
        };
        let wake = next.map(|at| clock.instant(at));
        tokio::select! {
            biased;
            changed = changes.changed() => if changed.is_err() { return },
            () = until(wake) => {}
        }
        tokio::time::sleep_until(Instant::now() + REACTION).await;
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
