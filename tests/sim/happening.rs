//! What people, nodes and backends do to a play.

use bellwether::sim::{
    api_server::Kind,
    cluster::SimCluster,
    traffic::{Barrier, metrics::Trouble},
};
use chrono::TimeDelta;
use serde_json::json;

use super::{
    play::Play,
    setup::{SHOP, key, namespace, primary},
};

/// Something that happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    Ship(&'static str),
    ShipAgain,
    Revert,
    TimeoutOfRoutes(u8),
    RouteIsAdded,
    WeightsAreEdited(i64),
    RoutesAreDeleted,
    ServiceIsDeleted,
    CanaryIsDeleted,
    CanaryIsApplied,
    Suspend(bool),
    SkipAnalysis(bool),
    Respecified(i64),
    TargetIsScaled(u32),
    PrimaryIsScaled(u32),
    TargetIsDeleted,
    PrimaryIsDeleted,
    Trouble(Trouble),
    CountersReset,
    PrometheusForgets,
    PodIsKilled(u64),
    PodHangs(u64),
    NodeDrains(u64),
    NoRoomForPods(bool),
    MeshStops(bool),
    PrimaryIsBarred(Barrier),
    PrimaryIsOpen,
    ReplicaRestarts(usize),
    ReplicaIsAskedToStop(usize),
    ReplicaIsCutOff(usize),
    ApiServerIsDown,
    ApiServerIsBack,
    LogIsCompacted,
    Promote(&'static str, &'static str),
    CalledOff,
    Paused(bool),
    GatesAreSettled(bool),
    Freeze(bool),
}

const RELEASES: [&str; 9] = [
    "good",
    "good",
    "good",
    "good",
    "errors60",
    "slow",
    "neverready",
    "crash",
    "dark",
];

impl Happening {
    /// One by chance.
    pub fn draw(rng: &mut fastrand::Rng, replicas: usize) -> Happening {
        use Happening as H;
        let troubles = [
            Trouble::Down,
            Trouble::Empty,
            Trouble::NotANumber,
            Trouble::Slow,
            Trouble::Late,
        ];
        match rng.u8(..78) {
            0..=23 => H::Ship(RELEASES[rng.usize(..RELEASES.len())]),
            24 | 25 => H::ShipAgain,
            26 | 27 => H::Revert,
            28 => H::TimeoutOfRoutes(rng.u8(1..60)),
            29 => H::RouteIsAdded,
            30 => H::WeightsAreEdited(rng.i64(0..=100)),
            31 => H::RoutesAreDeleted,
            32 => H::ServiceIsDeleted,
            33 => H::CanaryIsDeleted,
            34 | 35 => H::CanaryIsApplied,
            36 => H::Suspend(true),
            37 => H::Suspend(false),
            38 => H::SkipAnalysis(rng.bool()),
            39 => H::Respecified(rng.i64(1..4)),
            40 => H::TargetIsScaled(rng.u32(0..4)),
            41 => H::PrimaryIsScaled(rng.u32(1..5)),
            42 => H::TargetIsDeleted,
            43 => H::PrimaryIsDeleted,
            44 | 45 => H::Trouble(troubles[rng.usize(..troubles.len())]),
            46 | 47 => H::Trouble(Trouble::None),
            48 if rng.bool() => H::CountersReset,
            48 => H::PrometheusForgets,
            49 => H::PodIsKilled(rng.u64(..)),
            50 => H::PodHangs(rng.u64(..)),
            51 => H::NodeDrains(rng.u64(..)),
            52 => H::NoRoomForPods(true),
            53 => H::NoRoomForPods(false),
            54 => H::MeshStops(true),
            55 => H::MeshStops(false),
            56 => H::ReplicaIsAskedToStop(rng.usize(..replicas)),
            57 | 58 => H::ReplicaRestarts(rng.usize(..replicas)),
            59 | 60 => H::ReplicaIsCutOff(rng.usize(..replicas)),
            61 => H::ApiServerIsDown,
            62 => H::ApiServerIsBack,
            63 => H::LogIsCompacted,
            64..=67 => {
                let conflict = ["reject", "queue", "supersede"][rng.usize(..3)];
                H::Promote(RELEASES[rng.usize(..RELEASES.len())], conflict)
            }
            68 => H::CalledOff,
            69 => H::Paused(rng.bool()),
            70..=73 => H::GatesAreSettled(rng.u8(..6) != 0),
            74 => H::Freeze(true),
            75 if rng.bool() => H::PrimaryIsBarred(Barrier::Denies),
            75 => H::PrimaryIsBarred(Barrier::Drops),
            76 => H::PrimaryIsOpen,
            _ => H::Freeze(false),
        }
    }

    /// Its name, for the tally.
    pub fn name(&self) -> String {
        match self {
            Happening::Ship(preset) => format!("ship {preset}"),
            Happening::Promote(_, conflict) => format!("promote, or {conflict}"),
            Happening::Trouble(trouble) => format!("Prometheus: {trouble:?}"),
            Happening::Suspend(on)
            | Happening::MeshStops(on)
            | Happening::NoRoomForPods(on)
            | Happening::Paused(on)
            | Happening::GatesAreSettled(on)
            | Happening::Freeze(on)
            | Happening::SkipAnalysis(on) => {
                let name = format!("{self:?}");
                format!("{} {on}", name.split('(').next().unwrap_or_default())
            }
            other => {
                let name = format!("{other:?}");
                name.split('(').next().unwrap_or_default().to_owned()
            }
        }
    }

    /// Whether it may cost requests whatever the controller does.
    fn disturbs(&self, recreate: bool) -> bool {
        use Happening as H;
        match self {
            H::Ship(preset) | H::Promote(preset, _) => recreate || ["crash", "dark"].contains(preset),
            H::WeightsAreEdited(_)
            | H::TargetIsScaled(0)
            | H::ServiceIsDeleted
            | H::TargetIsDeleted
            | H::PrimaryIsDeleted
            | H::PodIsKilled(_)
            | H::PodHangs(_)
            | H::NodeDrains(_) => true,
            H::Revert | H::TargetIsScaled(_) => recreate,
            _ => false,
        }
    }

    /// Lets it happen to the `n`-th Canary. What the API server refuses did not happen.
    pub fn happen(&self, play: &mut Play, n: usize) {
        let recreate = play.setups()[n].recreate;
        // Proxies that are told nothing cannot follow pods that are replaced.
        let replaces = matches!(
            self,
            Happening::Ship(_)
                | Happening::ShipAgain
                | Happening::Promote(..)
                | Happening::Revert
                | Happening::TargetIsScaled(_)
                | Happening::PrimaryIsScaled(_)
        );
        if replaces && !play.cluster.world().traffic.told {
            play.disturbed = true;
        }
        if *self == Happening::MeshStops(true) && play.replaces_pods() {
            play.disturbed = true;
        }
        let set_up = play.phase(n).is_some_and(|phase| phase != "Initializing");
        let again = *self == Happening::ShipAgain
            && play
                .shipped
                .get(&n)
                .is_some_and(|image| recreate || image.contains("crash") || image.contains("dark"));
        if again || self.disturbs(recreate) || (*self == Happening::TargetIsScaled(0) && !set_up) {
            play.disturbed = true;
        }
        if matches!(self, Happening::TargetIsScaled(_)) {
            play.barred.remove(&n);
        }
        if !self.to_objects(play, n) {
            self.to_the_world(play, n);
        }
    }

    fn to_objects(&self, play: &mut Play, n: usize) -> bool {
        use Happening as H;
        let setup = play.setups()[n].clone();
        let ns = namespace(n);
        let canary = key(n, Kind::CANARY);
        let cluster = &play.cluster;
        // A refusal (the object is gone, or being deleted) is how the real server would answer the user.
        let _refused = match self {
            H::Ship(preset) => {
                play.images += 1;
                let image = format!("shop:{preset}-{}", play.images);
                play.shipped.insert(n, image.clone());
                cluster.ship(&ns, SHOP, &image).map(drop)
            }
            H::ShipAgain => {
                let image = play.shipped.get(&n).cloned();
                image.map_or(Ok(()), |image| cluster.ship(&ns, SHOP, &image).map(drop))
            }
            H::Revert => {
                let image = image_of(cluster, &primary(n));
                image.map_or(Ok(()), |image| cluster.ship(&ns, SHOP, &image).map(drop))
            }
            H::TimeoutOfRoutes(seconds) => edit_routes(cluster, n, |http| {
                http[0]["timeout"] = json!(format!("{seconds}s"));
            }),
            H::RouteIsAdded => edit_routes(cluster, n, |http| {
                let teapot = json!({"name": "teapot", "match": [{"uri": {"prefix": "/teapot"}}],
                    "directResponse": {"status": 418}});
                if let Some(list) = http.as_array_mut()
                    && list.iter().all(|route| route["name"] != "teapot")
                {
                    list.insert(0, teapot);
                }
            }),
            H::WeightsAreEdited(weight) => edit_routes(cluster, n, |http| {
                for route in http.as_array_mut().into_iter().flatten() {
                    if let Some([one, other]) = route["route"].as_array_mut().map(Vec::as_mut_slice) {
                        one["weight"] = json!(100 - weight);
                        other["weight"] = json!(weight);
                    }
                }
            }),
            H::RoutesAreDeleted if !setup.adopted => cluster.delete(&key(n, Kind::VIRTUAL_SERVICE)).map(drop),
            H::RoutesAreDeleted => Ok(()),
            H::ServiceIsDeleted => {
                let service = bellwether::sim::api_server::Key::new(Kind::SERVICE, &ns, "shop-canary");
                cluster.delete(&service).map(drop)
            }
            H::CanaryIsDeleted => cluster.delete(&canary).map(drop),
            H::CanaryIsApplied => cluster.apply(&ns, setup.canary()).map(drop),
            H::Suspend(on) => cluster.merge(&canary, json!({"spec": {"suspend": on}})).map(drop),
            H::SkipAnalysis(on) => cluster
                .merge(&canary, json!({"spec": {"skipAnalysis": on}}))
                .map(drop),
            H::Respecified(threshold) => {
                let analysis = json!({"spec": {"analysis": {"threshold": threshold}}});
                cluster.merge(&canary, analysis).map(drop)
            }
            H::TargetIsScaled(replicas) => {
                let change = json!({"spec": {"replicas": replicas}});
                cluster.merge(&key(n, Kind::DEPLOYMENT), change).map(drop)
            }
            H::PrimaryIsScaled(replicas) => cluster
                .merge(&primary(n), json!({"spec": {"replicas": replicas}}))
                .map(drop),
            H::Promote(preset, conflict) => {
                play.images += 1;
                let image = format!("shop:{preset}-{}", play.images);
                let promotion = json!({"apiVersion": API, "kind": "Promotion",
                    "metadata": {"name": format!("p-{}", play.images)},
                    "spec": {"canaryRef": {"name": SHOP}, "image": image,
                        "policy": {"conflict": conflict, "deadlineSeconds": 60 + play.images * 10}}});
                cluster.apply(&ns, promotion).map(drop)
            }
            H::CalledOff => order(play, n, "Abort"),
            H::Paused(on) => order(play, n, if *on { "Pause" } else { "Resume" }),
            H::GatesAreSettled(yes) => settle(play, n, *yes),
            H::Freeze(true) => {
                let under_way = if play.images.is_multiple_of(2) {
                    "finish"
                } else {
                    "hold"
                };
                let freeze = json!({"apiVersion": API, "kind": "Freeze", "metadata": {"name": SHOP},
                    "spec": {"reason": "holidays", "underWay": under_way}});
                cluster.apply(&ns, freeze).map(drop)
            }
            H::Freeze(false) => cluster.delete(&key(n, Kind::FREEZE)).map(drop),
            H::TargetIsDeleted => cluster.delete(&key(n, Kind::DEPLOYMENT)).map(drop),
            H::PrimaryIsDeleted => cluster.delete(&primary(n)).map(drop),
            _ => return false,
        };
        true
    }

    fn to_the_world(&self, play: &mut Play, n: usize) {
        use Happening as H;
        match self {
            H::Trouble(trouble) => play.trouble(*trouble),
            H::CountersReset => {
                let mut world = play.cluster.world();
                for pod in world.workloads.pods.values_mut().flatten() {
                    pod.meter.reset();
                }
            }
            H::PrometheusForgets => {
                let mut world = play.cluster.world();
                let workloads = &mut world.workloads;
                for pod in workloads.pods.values_mut().flatten().chain(&mut workloads.gone) {
                    pod.meter.forget();
                }
            }
            H::PodIsKilled(which) => pods(play, n, *which, true, |pod, now| {
                pod.killed = Some(now);
                pod.ending = Some(now);
            }),
            H::PodHangs(which) => pods(play, n, *which, true, |pod, _| pod.hung = true),
            H::NodeDrains(which) => pods(play, n, *which, false, |pod, now| pod.ending = Some(now)),
            H::NoRoomForPods(none) => play.cluster.world().workloads.schedulable = !none,
            H::MeshStops(stops) => play.cluster.world().traffic.told = !stops,
            H::PrimaryIsBarred(barrier) => play.bar(n, Some(*barrier)),
            H::PrimaryIsOpen => play.bar(n, None),
            H::ReplicaRestarts(replica) => play.cluster.start_replica(*replica),
            H::ReplicaIsAskedToStop(replica) => play.cluster.stop_replica(*replica),
            H::ReplicaIsCutOff(replica) => {
                play.cut(true);
                let process = play.cluster.process_of(*replica);
                play.control().cut_off = process;
            }
            H::ApiServerIsDown => {
                play.cut(true);
                play.control().outage = true;
            }
            H::ApiServerIsBack => {
                play.cut(false);
                let mut control = play.control();
                control.outage = false;
                control.cut_off = None;
            }
            _ => play
                .cluster
                .server
                .write("etcd", |writer, _| writer.store.compact()),
        }
        // What pods do by themselves must be noticed.
        play.cluster.nudge();
    }
}

const API: &str = "bellwether.dev/v1beta1";

/// Somebody orders something about the present revision.
pub fn order(play: &mut Play, n: usize, verb: &str) -> Result<(), bellwether::sim::api_server::Refusal> {
    let Some(canary) = play.cluster.get(&key(n, Kind::CANARY)) else {
        return Ok(());
    };
    play.images += 1;
    let command = json!({"apiVersion": API, "kind": "Command", "metadata": {"name": format!("c-{}", play.images)},
        "spec": {"canaryRef": {"name": SHOP}, "verb": verb, "revision": canary["status"]["revision"]["current"],
            "requestedBy": "mia"}});
    play.cluster.apply(&namespace(n), command).map(drop)
}

/// Somebody says yes or no at a gate of the present revision.
pub fn settle(play: &mut Play, n: usize, yes: bool) -> Result<(), bellwether::sim::api_server::Refusal> {
    let Some(canary) = play.cluster.get(&key(n, Kind::CANARY)) else {
        return Ok(());
    };
    let known = canary["status"]["gates"].as_array().into_iter().flatten();
    let open: Vec<_> = known
        .filter(|gate| gate["state"] == "Open")
        .map(|gate| &gate["name"])
        .collect();
    let gates = canary["spec"]["analysis"]["gates"]
        .as_array()
        .into_iter()
        .flatten();
    let closed: Vec<_> = gates.filter(|gate| !open.contains(&&gate["name"])).collect();
    // Mostly the next one, sometimes a later one beforehand.
    let which = usize::from(play.images.is_multiple_of(4));
    if let Some(gate) = closed.get(which).or(closed.first()) {
        play.images += 1;
        let decision = if yes { "Approve" } else { "Reject" };
        let approval = json!({"apiVersion": API, "kind": "Approval",
            "metadata": {"name": format!("a-{}", play.images)},
            "spec": {"canaryRef": {"name": SHOP}, "gate": gate["name"], "decision": decision, "approvedBy": "mia",
                "revision": canary["status"]["revision"]["current"]}});
        play.cluster.apply(&namespace(n), approval)?;
    }
    Ok(())
}

/// The image of a Deployment.
pub fn image_of(cluster: &SimCluster, deployment: &bellwether::sim::api_server::Key) -> Option<String> {
    let object = cluster.get(deployment)?;
    object["spec"]["template"]["spec"]["containers"][0]["image"]
        .as_str()
        .map(str::to_owned)
}

fn edit_routes(
    cluster: &SimCluster,
    n: usize,
    edit: impl FnOnce(&mut serde_json::Value),
) -> Result<(), bellwether::sim::api_server::Refusal> {
    let routes = key(n, Kind::VIRTUAL_SERVICE);
    let Some(present) = cluster.get(&routes) else {
        return Ok(());
    };
    let mut http = present["spec"]["http"].clone();
    edit(&mut http);
    cluster.merge(&routes, json!({"spec": {"http": http}})).map(drop)
}

/// Does something to one pod of the namespace, or to half of them.
fn pods(
    play: &mut Play,
    n: usize,
    which: u64,
    one: bool,
    change: impl Fn(&mut bellwether::sim::workloads::pods::Pod, chrono::DateTime<chrono::Utc>),
) {
    let now = play.cluster.now();
    let mut world = play.cluster.world();
    let of_namespace = world
        .workloads
        .pods
        .iter_mut()
        .filter(|(key, _)| key.namespace == namespace(n));
    let mut pods: Vec<_> = of_namespace.flat_map(|(_, pods)| pods).collect();
    let count = pods.len();
    if count == 0 {
        return;
    }
    let first = usize::try_from(which % count as u64).unwrap_or(0);
    let affected = if one { 1 } else { count.div_ceil(2) };
    for i in 0..affected {
        change(pods[(first + i) % count], now);
    }
}

/// How long a second is.
pub const SECOND: TimeDelta = TimeDelta::seconds(1);
