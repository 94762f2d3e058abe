//! The real controller on the simulated cluster.

use std::fmt::Write as _;

use bellwether::sim::{
    api_server::{Key, Kind, Witness, store::Change, store::Store},
    cluster::SimCluster,
};
use chrono::TimeDelta;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

use crate::shared::shop::{NS, await_phase, key, route, run, under_canary};

/// Writes down every change.
struct Journal(Arc<Mutex<String>>);

impl Witness for Journal {
    fn saw(&mut self, change: &Change, _: &Store) {
        let mut text = self.0.lock().unwrap();
        writeln!(
            text,
            "{} {} {:?} {} {}",
            change.version, change.actor, change.happened, change.key.name, change.object
        )
        .unwrap();
    }
}

fn lost(cluster: &SimCluster) -> (u64, Value) {
    let world = cluster.world();
    let ledger = &world.traffic.ledgers[&(NS.to_owned(), "shop".to_owned())];
    (ledger.sent, json!(format!("{:?}", ledger.failed)))
}

#[test]
fn good_release_is_promoted_without_a_failed_request() {
    run(async {
        let cluster = under_canary(1).await;
        cluster.ship(NS, "shop", "shop:good-2").unwrap();
        await_phase(&cluster, "Succeeded", 300).await;
        let primary = cluster
            .get(&Key::new(Kind::DEPLOYMENT, NS, "shop-primary"))
            .unwrap();
        assert_eq!(
            primary["spec"]["template"]["spec"]["containers"][0]["image"],
            "shop:good-2"
        );
        let target = cluster.get(&key(Kind::DEPLOYMENT)).unwrap();
        assert_eq!(target["spec"]["replicas"], 0);
        let (sent, failed) = lost(&cluster);
        assert!(sent > 1000, "{sent}");
        assert_eq!(failed, "{}");
    });
}

#[test]
fn bad_release_is_rolled_back() {
    for image in [
        "shop:errors5-2",
        "shop:slow-2",
        "shop:neverready-2",
        "shop:crash-2",
        "shop:dark-2",
    ] {
        run(async {
            let cluster = under_canary(2).await;
            cluster.ship(NS, "shop", image).unwrap();
            await_phase(&cluster, "Progressing", 60).await;
            await_phase(&cluster, "Failed", 600).await;
            let away = |target: &Value| target["spec"]["replicas"] == 0;
            let deployment = key(Kind::DEPLOYMENT);
            assert!(
                cluster.wait(&deployment, TimeDelta::seconds(60), away).await,
                "{image}"
            );
            let primary = cluster
                .get(&Key::new(Kind::DEPLOYMENT, NS, "shop-primary"))
                .unwrap();
            let running = &primary["spec"]["template"]["spec"]["containers"][0]["image"];
            assert_eq!(running, "shop:good-1", "{image}");
        });
    }
}

#[test]
fn killed_controller_goes_on_where_it_was() {
    run(async {
        let mut cluster = under_canary(3).await;
        cluster.ship(NS, "shop", "shop:good-2").unwrap();
        for millis in [300, 4_000, 7_100, 9_900, 10_050, 3_333] {
            cluster.pass(TimeDelta::milliseconds(millis)).await;
            cluster.start_controller();
        }
        await_phase(&cluster, "Succeeded", 300).await;
        assert_eq!(lost(&cluster).1, "{}");
    });
}

#[test]
fn deleted_canary_hands_the_service_back() {
    run(async {
        let cluster = under_canary(4).await;
        cluster.ship(NS, "shop", "shop:good-2").unwrap();
        let weight = |c: &Value| c["status"]["canaryWeight"] == 10;
        assert!(
            cluster
                .wait(&key(Kind::CANARY), TimeDelta::seconds(60), weight)
                .await
        );
        cluster.delete(&key(Kind::CANARY)).unwrap();
        assert!(
            cluster
                .wait(&key(Kind::CANARY), TimeDelta::seconds(300), Value::is_null)
                .await
        );
        let routes = cluster.get(&key(Kind::VIRTUAL_SERVICE)).unwrap();
        assert_eq!(routes["spec"], route()["spec"]);
        assert!(
            cluster
                .get(&Key::new(Kind::DEPLOYMENT, NS, "shop-primary"))
                .is_none()
        );
        cluster.pass(TimeDelta::seconds(20)).await;
        assert_eq!(lost(&cluster).1, "{}");
    });
}

#[test]
fn one_seed_is_one_run() {
    let journal = |seed: u64| {
        let text = Arc::new(Mutex::new(String::new()));
        run(async {
            let cluster = under_canary(seed).await;
            cluster.server.add_witness(Box::new(Journal(text.clone())));
            cluster.ship(NS, "shop", "shop:errors5-2").unwrap();
            await_phase(&cluster, "Progressing", 60).await;
            await_phase(&cluster, "Failed", 600).await;
        });
        let text = text.lock().unwrap();
        text.clone()
    };
    let first = journal(5);
    assert!(first.lines().count() > 20, "{first}");
    assert_eq!(first, journal(5));
    assert_ne!(first, journal(6));
}

/// Whether Service and routes, which were there before the Canary, are there after it as they were.
fn are_as_before(cluster: &SimCluster) {
    let service = cluster.get(&key(Kind::SERVICE)).unwrap();
    assert_eq!(service["spec"]["selector"], json!({"app": "shop"}));
    let routes = cluster.get(&key(Kind::VIRTUAL_SERVICE)).unwrap();
    assert_eq!(
        routes["spec"]["http"][0]["route"],
        route()["spec"]["http"][0]["route"]
    );
    for object in [service, routes] {
        assert!(
            !object["metadata"].to_string().contains("bellwether.dev/"),
            "{object}"
        );
    }
}

async fn await_its_end(cluster: &SimCluster) {
    let gone = cluster
        .wait(&key(Kind::CANARY), TimeDelta::seconds(300), Value::is_null)
        .await;
    assert!(gone, "{:#?}", cluster.get(&key(Kind::CANARY)));
}

#[test]
fn what_was_there_before_the_canary_is_there_after_it() {
    for reverts in [false, true] {
        run(async {
            let cluster = under_canary(3).await;
            let change = json!({"spec": {"revertOnDeletion": reverts}});
            cluster.merge(&key(Kind::CANARY), change).unwrap();
            cluster.ship(NS, "shop", "shop:good-2").unwrap();
            await_phase(&cluster, "Succeeded", 300).await;
            cluster.delete(&key(Kind::CANARY)).unwrap();
            await_its_end(&cluster).await;
            are_as_before(&cluster);
        });
    }
}

#[test]
fn another_controller_that_goes_on_with_a_hand_back_deletes_nothing_of_others() {
    run(async {
        let mut cluster = under_canary(4).await;
        cluster.delete(&key(Kind::CANARY)).unwrap();
        let merged = |routes: &Value| !routes["spec"].to_string().contains("-primary");
        let routes = key(Kind::VIRTUAL_SERVICE);
        assert!(cluster.wait(&routes, TimeDelta::seconds(120), merged).await);
        assert!(
            cluster
                .get(&Key::new(Kind::DEPLOYMENT, NS, "shop-primary"))
                .is_some()
        );
        cluster.kill_controller();
        cluster.start_controller();
        await_its_end(&cluster).await;
        are_as_before(&cluster);
        assert_eq!(lost(&cluster).1, "{}");
    });
}

#[test]
fn primary_that_somebody_labelled_otherwise_serves_until_the_target_does() {
    run(async {
        let cluster = under_canary(5).await;
        let primary = Key::new(Kind::DEPLOYMENT, NS, "shop-primary");
        let labels = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}});
        cluster.merge(&primary, labels).unwrap();
        let held = |canary: &Value| canary["status"]["hold"]["reason"] == "TargetConflict";
        assert!(
            cluster
                .wait(&key(Kind::CANARY), TimeDelta::seconds(60), held)
                .await
        );
        cluster.delete(&key(Kind::CANARY)).unwrap();
        await_its_end(&cluster).await;
        are_as_before(&cluster);
        assert!(cluster.get(&primary).is_none(), "it was made for the Canary");
        assert_eq!(lost(&cluster).1, "{}");
    });
}

#[test]
fn target_gets_the_pods_of_the_primary_when_a_release_under_way_is_deleted() {
    run(async {
        let cluster = under_canary(6).await;
        let primary = Key::new(Kind::DEPLOYMENT, NS, "shop-primary");
        cluster.merge(&primary, json!({"spec": {"replicas": 3}})).unwrap();
        cluster
            .merge(&key(Kind::DEPLOYMENT), json!({"spec": {"replicas": 2}}))
            .unwrap();
        cluster.ship(NS, "shop", "shop:good-2").unwrap();
        let weight = |canary: &Value| canary["status"]["canaryWeight"] == 10;
        assert!(
            cluster
                .wait(&key(Kind::CANARY), TimeDelta::seconds(120), weight)
                .await
        );
        assert_eq!(
            cluster.get(&key(Kind::DEPLOYMENT)).unwrap()["spec"]["replicas"],
            2,
            "enough for half of the traffic, the last step"
        );
        cluster.delete(&key(Kind::CANARY)).unwrap();
        await_its_end(&cluster).await;
        assert_eq!(
            cluster.get(&key(Kind::DEPLOYMENT)).unwrap()["spec"]["replicas"],
            3
        );
    });
}

#[test]
fn metrics_are_not_asked_for_a_canary_that_cannot_be_used() {
    run(async {
        let cluster = under_canary(7).await;
        cluster.ship(NS, "shop", "shop:good-2").unwrap();
        let weight = |canary: &Value| canary["status"]["canaryWeight"] == 10;
        let canary = key(Kind::CANARY);
        assert!(cluster.wait(&canary, TimeDelta::seconds(120), weight).await);
        let id = bellwether::rollout::CanaryId {
            namespace: NS.to_owned(),
            name: "shop".to_owned(),
        };
        let sampled = || {
            let context = cluster.context_of(0).unwrap();
            context.sampler.watched_since(&id).is_some()
        };
        assert!(sampled());
        let metric = json!({"name": "request-duration", "thresholdRange": {"max": 500}});
        let metrics = |all: &[&Value]| json!({"spec": {"analysis": {"metrics": all}}});
        cluster.merge(&canary, metrics(&[&metric, &metric])).unwrap();
        cluster.pass(TimeDelta::seconds(2)).await;
        assert!(!sampled(), "it has one metric twice");
        cluster.merge(&canary, metrics(&[&metric])).unwrap();
        await_phase(&cluster, "Succeeded", 400).await;
    });
}

#[test]
fn status_that_cannot_be_read_is_not_written_over() {
    run(async {
        let cluster = under_canary(7).await;
        let mut status = cluster.get(&key(Kind::CANARY)).unwrap()["status"].clone();
        status["phase"] = json!("OfALaterVersion");
        let known = status.clone();
        cluster.server.write("user", |writer, by| {
            let mut object = (*writer.store.get(&key(Kind::CANARY)).unwrap().clone()).clone();
            object["status"] = status;
            writer.store.put(key(Kind::CANARY), object, by.actor);
        });
        cluster.ship(NS, "shop", "shop:good-2").unwrap();
        cluster.pass(TimeDelta::seconds(120)).await;
        assert_eq!(cluster.get(&key(Kind::CANARY)).unwrap()["status"], known);
        assert_eq!(
            cluster.get(&key(Kind::DEPLOYMENT)).unwrap()["spec"]["replicas"],
            0
        );
    });
}
