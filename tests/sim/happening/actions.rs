//! How each thing is done to the objects and the world of a play.

use bellwether::sim::{
    api_server::{Key, Kind, store::Store},
    cluster::SimCluster,
};
use chrono::TimeDelta;
use serde_json::json;

use super::{
    super::{
        play::Play,
        robot::Robot,
        setup::{SHOP, Setup, key, namespace, primary},
    },
    Happening, Refused,
};

impl Refused {
    fn kind(self) -> Kind {
        match self {
            Refused::Routes => Kind::VIRTUAL_SERVICE,
            Refused::Services => Kind::SERVICE,
            Refused::Deployments => Kind::DEPLOYMENT,
            Refused::Statuses => Kind::CANARY,
            Refused::DestinationRules => Kind::DESTINATION_RULE,
        }
    }
}

impl Happening {
    pub(super) fn to_objects(&self, play: &mut Play, n: usize) -> bool {
        use Happening as H;
        let setup = play.setups()[n].clone();
        let ns = namespace(n);
        let canary = key(n, Kind::CANARY);
        if *self == H::CanaryIsApplied {
            // With all of its manifests.
            play.apply_again(|_, of| of == n);
        }
        // Whose objects the controller has taken over: without its notes those of others are taken for missing.
        let known = play
            .phase(n)
            .is_some_and(|phase| phase != "Initializing" && phase != "Terminating")
            && play.away.iter().all(|(_, of, _)| *of != n);
        let again = play.cluster.now() + TimeDelta::seconds(1 + i64::from(play.images % 9));
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
            H::RoutesAreDeleted if known => {
                play.away.push((again, n, Setup::routes()));
                play.disturbed = true;
                cluster.delete(&key(n, Kind::VIRTUAL_SERVICE)).map(drop)
            }
            H::RoutesAreDeleted => Ok(()),
            H::ServiceIsDeleted if known && play.images.is_multiple_of(2) => {
                play.away.push((again, n, Setup::service()));
                cluster.delete(&key(n, Kind::SERVICE)).map(drop)
            }
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
                let mut promotion = json!({"apiVersion": API, "kind": "Promotion",
                    "metadata": {"name": format!("p-{}", play.images)},
                    "spec": {"canaryRef": {"name": SHOP}, "image": image,
                        "requester": {"user": somebody(play.images)},
                        "policy": {"conflict": conflict, "deadlineSeconds": 60 + play.images * 10}}});
                if play.images.is_multiple_of(3) {
                    promotion["spec"]["policy"]["ttlSeconds"] = json!(0);
                }
                cluster.apply(&ns, promotion).map(drop)
            }
            H::CalledOff => order(play, n, "Abort"),
            H::Retried => order(play, n, "Retry"),
            H::PromotionsAreDeleted => {
                let of_namespace = |key: &&Key| key.kind == Kind::PROMOTION && key.namespace == ns;
                let all = |store: &Store| {
                    store
                        .all()
                        .map(|(key, _)| key)
                        .filter(of_namespace)
                        .cloned()
                        .collect()
                };
                let promotions: Vec<Key> = cluster.server.read(all);
                promotions
                    .iter()
                    .try_for_each(|key| cluster.delete(key).map(drop))
            }
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

    pub(super) fn to_the_world(&self, play: &mut Play, n: usize) {
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
            H::Robot(insists, every) => {
                let robot = Robot::new(n, *insists, *every, play.cluster.now());
                play.robots.push(robot);
            }
            H::RobotsRest => play.robots.clear(),
            H::WritesAreRefused(what, code) => play.control().refused = Some((what.kind(), *code)),
            H::WritesAreAccepted => play.control().refused = None,
            H::Night(on) => play.set_night(n, *on),
            H::ScrapesAreLost(percent) => play.cluster.world().traffic.scrapes_lost = *percent,
            H::ClockIsSetBack(replica, seconds) => {
                play.set_clock(*replica, -TimeDelta::seconds(*seconds));
            }
            H::ReplicaRestarts(replica) => {
                play.restarts += 1;
                play.cluster.start_replica(*replica);
            }
            H::ReplicaIsAskedToStop(replica) => {
                play.restarts += 1;
                play.cluster.stop_replica(*replica);
            }
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
            "requestedBy": somebody(play.images)}});
    play.cluster.apply(&namespace(n), command).map(drop)
}

/// One of those who ask for releases and decide on them.
fn somebody(images: u32) -> &'static str {
    ["mia", "bob"][images as usize % 2]
}

/// Somebody says yes or no at a gate of the present revision.
fn settle(play: &mut Play, n: usize, yes: bool) -> Result<(), bellwether::sim::api_server::Refusal> {
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
            "spec": {"canaryRef": {"name": SHOP}, "gate": gate["name"], "decision": decision,
                "approvedBy": somebody(play.images / 2), "revision": canary["status"]["revision"]["current"]}});
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
