//! The real controller and owners who change their own objects, delete them and apply them again.

use bellwether::sim::{
    api_server::{Key, Kind},
    cluster::SimCluster,
};
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::shared::shop::{NS, await_phase, canary, key, prepare, route, run, under_canary};

/// What `kubectl apply` leaves on what it applies.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// How long a deletion may take.
const DELETION: TimeDelta = TimeDelta::seconds(1200);

fn deployment(image: &str, track: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"}, "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "shop"}},
        "template": {
            "metadata": {"labels": {"app": "shop", "track": track}},
            "spec": {"containers": [{"name": "app", "image": image, "ports": [
                {"name": "http", "containerPort": 8080}, {"name": "grpc", "containerPort": 9000},
            ]}]},
        },
    }})
}

#[expect(clippy::needless_pass_by_value, reason = "callers build it in place")]
fn service(selector: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop"}, "spec": {
        "selector": selector,
        "ports": [
            {"name": "http", "port": 80, "targetPort": 8080},
            {"name": "grpc", "port": 9000, "targetPort": 9000, "appProtocol": "grpc"},
        ],
    }})
}

fn named(kind: Kind, name: &str) -> Key {
    Key::new(kind, NS, name)
}

/// A shop of two ports, called at both, under its Canary.
async fn two_ports(reverts: bool, selector: Value) -> SimCluster {
    let mut cluster = SimCluster::start(7, TimeDelta::seconds(2));
    cluster.apply(NS, deployment("shop:good-1", "v1")).unwrap();
    cluster.apply(NS, service(selector)).unwrap();
    cluster.pass(TimeDelta::seconds(2)).await;
    let now = cluster.now();
    for port in [80, 9000] {
        let mut world = cluster.world();
        world.traffic.call_port((NS, "shop"), Some(port), 60.0, now);
    }
    cluster.start_controller();
    let mut canary = canary();
    canary["spec"]["revertOnDeletion"] = json!(reverts);
    cluster.apply(NS, canary).unwrap();
    await_phase(&cluster, "Initialized", 120).await;
    cluster
}

fn failed(cluster: &SimCluster) -> u64 {
    let world = cluster.world();
    world.traffic.ledgers[&(NS.to_owned(), "shop".to_owned())]
        .failed
        .values()
        .sum()
}

fn ports(cluster: &SimCluster, name: &str) -> Vec<i64> {
    let service = cluster.get(&named(Kind::SERVICE, name));
    let service = service.unwrap_or_else(|| panic!("no {name}"));
    let ports = service["spec"]["ports"].as_array().unwrap();
    ports.iter().map(|port| port["port"].as_i64().unwrap()).collect()
}

fn status(cluster: &SimCluster) -> Value {
    cluster.get(&key(Kind::CANARY)).unwrap()["status"].clone()
}

/// Deletes the Canary; the shop is handed back in time.
async fn hand_back(cluster: &SimCluster) {
    cluster.delete(&key(Kind::CANARY)).unwrap();
    let gone = cluster.wait(&key(Kind::CANARY), DELETION, Value::is_null).await;
    let status = cluster
        .get(&key(Kind::CANARY))
        .map(|canary| canary["status"].clone());
    assert!(gone, "not handed back: {status:#?}");
}

#[test]
fn routes_that_kubectl_applied_are_handed_back() {
    for more in [json!({}), json!({"team": "a"})] {
        run(async {
            let mut cluster = prepare(3).await;
            let mut applied = route();
            let mut annotations = more.clone();
            annotations[LAST_APPLIED] = json!("{}");
            applied["metadata"]["annotations"] = annotations.clone();
            cluster.apply(NS, applied).unwrap();
            cluster.start_controller();
            cluster.apply(NS, canary()).unwrap();
            await_phase(&cluster, "Initialized", 120).await;
            hand_back(&cluster).await;
            let left = cluster.get(&key(Kind::VIRTUAL_SERVICE)).unwrap();
            assert_eq!(left["metadata"]["annotations"], annotations);
        });
    }
}

#[test]
fn selector_that_was_changed_with_the_pods_labels_is_handed_back() {
    run(async {
        let cluster = two_ports(false, json!({"app": "shop", "track": "v1"})).await;
        let changed = json!({"app": "shop", "track": "v2"});
        cluster.apply(NS, service(changed.clone())).unwrap();
        cluster.apply(NS, deployment("shop:good-2", "v2")).unwrap();
        await_phase(&cluster, "Succeeded", 400).await;
        let before = failed(&cluster);
        hand_back(&cluster).await;
        let left = cluster.get(&key(Kind::SERVICE)).unwrap();
        assert_eq!(
            (&left["spec"]["selector"], failed(&cluster) - before),
            (&changed, 0)
        );
    });
}

#[test]
fn service_that_its_owner_deletes_is_there_at_once_with_every_port() {
    run(async {
        let cluster = two_ports(false, json!({"app": "shop"})).await;
        cluster.delete(&key(Kind::SERVICE)).unwrap();
        cluster.pass(TimeDelta::seconds(2)).await;
        let made = cluster.get(&key(Kind::SERVICE)).unwrap();
        assert_eq!(made["spec"]["selector"], json!({"app": "shop-primary"}));
        assert!(
            made["metadata"]["labels"].is_null(),
            "it is its owner's: {made:#}"
        );
        let before = failed(&cluster);
        cluster.pass(TimeDelta::seconds(30)).await;
        assert_eq!(
            (ports(&cluster, "shop"), failed(&cluster) - before),
            (vec![80, 9000], 0)
        );
        cluster.ship(NS, "shop", "shop:good-2").unwrap();
        await_phase(&cluster, "Succeeded", 400).await;
        hand_back(&cluster).await;
        let left = cluster.get(&key(Kind::SERVICE)).unwrap();
        assert_eq!(left["spec"]["selector"], json!({"app": "shop"}));
        let annotations = left["metadata"]["annotations"].as_object();
        assert!(annotations.is_none_or(serde_json::Map::is_empty), "{left:#}");
    });
}

#[test]
fn service_that_is_deleted_and_applied_again_keeps_its_ports_and_stays_its_owners() {
    for reverts in [false, true] {
        run(async {
            let mut cluster = two_ports(reverts, json!({"app": "shop"})).await;
            cluster.delete(&key(Kind::SERVICE)).unwrap();
            // Whoever decides then knows it from what is there.
            cluster.start_replica(0);
            cluster.pass(TimeDelta::seconds(2)).await;
            cluster.apply(NS, service(json!({"app": "shop"}))).unwrap();
            cluster.pass(TimeDelta::seconds(60)).await;
            let before = failed(&cluster);
            cluster.pass(TimeDelta::seconds(60)).await;
            assert_eq!(
                (ports(&cluster, "shop-primary"), failed(&cluster) - before),
                (vec![80, 9000], 0),
                "{:#}",
                status(&cluster)
            );
            hand_back(&cluster).await;
            cluster.pass(TimeDelta::seconds(5)).await;
            assert_eq!(ports(&cluster, "shop"), [80, 9000], "revertOnDeletion: {reverts}");
        });
    }
}

#[test]
fn routes_that_are_deleted_and_applied_again_keep_their_hosts_and_gateways() {
    run(async {
        let cluster = under_canary(5).await;
        cluster.delete(&key(Kind::VIRTUAL_SERVICE)).unwrap();
        cluster.pass(TimeDelta::seconds(2)).await;
        assert!(cluster.get(&key(Kind::VIRTUAL_SERVICE)).is_none());
        let hold = status(&cluster)["hold"].clone();
        let message = hold["message"].as_str().unwrap();
        assert_eq!(hold["reason"], "RoutesUnavailable");
        assert!(
            message.contains("apply it again") && message.contains("the pods of shop-primary"),
            "{message}"
        );
        // Both may go; callers come by the Service meanwhile.
        cluster.delete(&key(Kind::SERVICE)).unwrap();
        cluster.pass(TimeDelta::seconds(2)).await;
        assert!(
            cluster.get(&key(Kind::SERVICE)).is_some(),
            "{:#}",
            status(&cluster)
        );
        cluster.apply(NS, route()).unwrap();
        cluster.ship(NS, "shop", "shop:good-2").unwrap();
        await_phase(&cluster, "Succeeded", 400).await;
        let spec = cluster.get(&key(Kind::VIRTUAL_SERVICE)).unwrap()["spec"].clone();
        assert_eq!(
            (&spec["hosts"], &spec["gateways"]),
            (&json!(["shop.example.com"]), &json!(["gateway"])),
            "{spec:#}"
        );
        assert!(status(&cluster)["hold"].is_null());
    });
}

#[test]
fn routes_that_are_given_up_are_made_by_the_controller_and_a_deletion_awaits_none() {
    const NOTE: &str = "bellwether.dev/adopted";
    run(async {
        let cluster = under_canary(5).await;
        cluster.delete(&key(Kind::VIRTUAL_SERVICE)).unwrap();
        cluster.pass(TimeDelta::seconds(30)).await;
        let held = status(&cluster)["hold"]["message"].to_string();
        let command = "annotate service/shop-primary service/shop-canary destinationrule/shop-primary \
                       destinationrule/shop-canary bellwether.dev/adopted-";
        assert!(held.contains(command), "{held}");
        for kind in [Kind::SERVICE, Kind::DESTINATION_RULE] {
            for name in ["shop-primary", "shop-canary"] {
                assert!(cluster.get(&key(Kind::VIRTUAL_SERVICE)).is_none());
                let off = json!({"metadata": {"annotations": {NOTE: null}}});
                cluster.merge(&named(kind, name), off).unwrap();
                cluster.pass(TimeDelta::seconds(5)).await;
            }
        }
        let made = cluster.get(&key(Kind::VIRTUAL_SERVICE));
        assert!(made.is_some(), "{:#}", status(&cluster));
    });
    run(async {
        let cluster = under_canary(5).await;
        cluster.delete(&key(Kind::VIRTUAL_SERVICE)).unwrap();
        cluster.pass(TimeDelta::seconds(5)).await;
        hand_back(&cluster).await;
        assert!(cluster.get(&key(Kind::VIRTUAL_SERVICE)).is_none());
    });
}

/// Istio applies the rules of its root namespace everywhere.
#[test]
fn rule_of_the_whole_mesh_counts_for_whoever_works_in_one_namespace() {
    run(async {
        let mut cluster = prepare(3).await;
        let policy = json!({"tls": {"mode": "ISTIO_MUTUAL"}});
        let mut rule = json!({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
            "metadata": {"name": "all"}, "spec": {"host": "*.local", "trafficPolicy": policy}});
        cluster.apply("istio-system", rule.clone()).unwrap();
        cluster.namespace = Some(NS.to_owned());
        cluster.start_controller();
        cluster.apply(NS, canary()).unwrap();
        await_phase(&cluster, "Initialized", 120).await;
        let carried = |cluster: &SimCluster| {
            let ours = cluster
                .get(&named(Kind::DESTINATION_RULE, "shop-primary"))
                .unwrap();
            ours["spec"]["trafficPolicy"].clone()
        };
        assert_eq!(carried(&cluster), policy);
        let changed = json!({"tls": {"mode": "DISABLE"}});
        rule["spec"]["trafficPolicy"] = changed.clone();
        cluster.apply("istio-system", rule).unwrap();
        cluster.pass(TimeDelta::seconds(5)).await;
        assert_eq!(carried(&cluster), changed);
    });
}

/// The routes of two services are in one VirtualService, which is called like one of them.
#[test]
fn weights_of_one_service_outlive_the_canary_of_another() {
    run(async {
        let pay = |object: Value| serde_json::from_str(&object.to_string().replace("shop", "pay")).unwrap();
        let weighed = json!([
            {"destination": {"host": "pay"}, "weight": 3}, {"destination": {"host": "legacy"}, "weight": 1},
        ]);
        let routes = json!([
            {"name": "shop", "match": [{"uri": {"prefix": "/shop"}}], "route": [{"destination": {"host": "shop"}}]},
            {"name": "pay", "route": weighed},
        ]);
        let mut cluster = prepare(3).await;
        let mut both = route();
        both["spec"]["http"] = routes.clone();
        let mut workload: Value = pay(deployment("shop:good-1", "v1"));
        workload["spec"]["template"]["spec"]["containers"][0]["image"] = json!("shop:good-1");
        for object in [both, workload, pay(service(json!({"app": "shop"})))] {
            cluster.apply(NS, object).unwrap();
        }
        let now = cluster.now();
        cluster.world().traffic.call(NS, "pay", 100.0, now);
        cluster.start_controller();
        let asked: Value = pay(canary());
        for canary in [canary(), asked] {
            cluster.apply(NS, canary).unwrap();
        }
        await_phase(&cluster, "Initialized", 120).await;
        let other = named(Kind::CANARY, "pay");
        let set_up = |canary: &Value| canary["status"]["phase"] == "Initialized";
        assert!(cluster.wait(&other, TimeDelta::seconds(300), set_up).await);
        hand_back(&cluster).await;
        let routes_now =
            |cluster: &SimCluster| cluster.get(&key(Kind::VIRTUAL_SERVICE)).unwrap()["spec"]["http"].clone();
        assert_eq!(
            routes_now(&cluster)[1]["route"][0]["destination"]["host"],
            "pay-primary"
        );
        cluster.delete(&other).unwrap();
        assert!(cluster.wait(&other, DELETION, Value::is_null).await);
        assert_eq!(routes_now(&cluster), routes);
    });
}

/// Somebody deletes the workload, and applies the Service again, or deletes one of ours, before it is back.
#[test]
fn services_lead_to_the_primary_while_the_workload_is_away() {
    run(async {
        let cluster = under_canary(5).await;
        let before = cluster.get(&key(Kind::DEPLOYMENT)).unwrap();
        let manifest = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"},
            "spec": before["spec"]});
        cluster.delete(&key(Kind::DEPLOYMENT)).unwrap();
        cluster.pass(TimeDelta::seconds(30)).await;
        let selects = json!({"spec": {"selector": {"app": "shop"}}});
        cluster.merge(&key(Kind::SERVICE), selects).unwrap();
        cluster.delete(&named(Kind::SERVICE, "shop-primary")).unwrap();
        cluster.pass(TimeDelta::seconds(5)).await;
        for name in ["shop", "shop-primary"] {
            let service = cluster.get(&named(Kind::SERVICE, name)).unwrap();
            assert_eq!(service["spec"]["selector"]["app"], "shop-primary", "{name}");
        }
        cluster.delete(&key(Kind::SERVICE)).unwrap();
        cluster.pass(TimeDelta::seconds(5)).await;
        let again = cluster.get(&key(Kind::SERVICE)).unwrap();
        assert_eq!(again["spec"]["selector"]["app"], "shop-primary");
        cluster.apply(NS, manifest).unwrap();
        cluster.pass(TimeDelta::seconds(60)).await;
        assert_eq!(status(&cluster)["phase"], "Initialized");
        assert!(status(&cluster)["hold"].is_null(), "{:#}", status(&cluster));
    });
}
