//! The real controller and what it reads of others before a set-up: protocols of ports, who sees a Service, several
//! VirtualServices of one host, and other Services of the same pods.

use bellwether::sim::{
    api_server::{Key, Kind},
    cluster::SimCluster,
};
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::shared::shop::{NS, await_phase, canary, key, prepare, run};

fn named(kind: Kind, name: &str) -> Key {
    Key::new(kind, NS, name)
}

fn spec(cluster: &SimCluster, kind: Kind, name: &str) -> Value {
    cluster.get(&named(kind, name)).unwrap()["spec"].clone()
}

fn service(name: &str, selector: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {
        "selector": selector, "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
    }})
}

/// Istio's HTTP routes say nothing of a port that is TCP by its name, and ours nothing of one that is TLS.
#[test]
fn port_is_routed_as_its_name_says() {
    run(async {
        for (name, routed) in [("tcp-amqp", true), ("tls-amqp", false)] {
            let mut cluster = prepare(7).await;
            for kind in [Kind::SERVICE, Kind::VIRTUAL_SERVICE] {
                cluster.delete(&key(kind)).unwrap();
            }
            cluster.pass(TimeDelta::seconds(2)).await;
            cluster.start_controller();
            let mut canary = canary();
            canary["spec"]["service"] = json!({"port": 5672, "targetPort": "http", "portName": name});
            canary["spec"]["analysis"]
                .as_object_mut()
                .unwrap()
                .remove("metrics");
            cluster.apply(NS, canary).unwrap();
            if routed {
                let there = |vs: &Value| !vs.is_null();
                let routes = key(Kind::VIRTUAL_SERVICE);
                assert!(cluster.wait(&routes, TimeDelta::seconds(300), there).await);
                let spec = spec(&cluster, Kind::VIRTUAL_SERVICE, "shop");
                assert!(spec.get("http").is_none() && spec["tcp"].is_array(), "{spec:#}");
            } else {
                let held = |canary: &Value| canary["status"]["hold"]["reason"] == "RouteInvalid";
                let canary = key(Kind::CANARY);
                assert!(cluster.wait(&canary, TimeDelta::seconds(60), held).await);
                let status = cluster.get(&canary).unwrap()["status"].clone();
                let text = status["message"].as_str().unwrap();
                assert!(
                    text.contains("Canary shop: spec.service has portName: tls-amqp"),
                    "{text}"
                );
                assert!(cluster.get(&key(Kind::VIRTUAL_SERVICE)).is_none());
            }
        }
    });
}

/// Where Services are seen in their own namespace only, one that gateways call says so.
#[test]
fn services_of_both_sides_are_seen_where_the_adopted_one_is() {
    run(async {
        let annotation = "networking.istio.io/exportTo";
        let mut cluster = prepare(3).await;
        let exported = json!({"metadata": {"annotations": {annotation: "istio-system,."}}});
        cluster.merge(&key(Kind::SERVICE), exported).unwrap();
        cluster.start_controller();
        cluster.apply(NS, canary()).unwrap();
        await_phase(&cluster, "Initialized", 120).await;
        let says = |cluster: &SimCluster, expected: &str| {
            for name in ["shop-primary", "shop-canary"] {
                let service = cluster.get(&named(Kind::SERVICE, name)).unwrap();
                assert_eq!(service["metadata"]["annotations"][annotation], expected, "{name}");
            }
        };
        says(&cluster, "istio-system,.");
        let opened = json!({"metadata": {"annotations": {annotation: null}}});
        cluster.merge(&key(Kind::SERVICE), opened).unwrap();
        cluster.pass(TimeDelta::seconds(10)).await;
        says(&cluster, "");
    });
}

/// Teams put the paths of a common host into VirtualServices of their own, which Istio merges at a gateway.
#[test]
fn several_virtual_services_of_one_host_at_a_gateway_are_all_split() {
    run(async {
        let mut cluster = prepare(3).await;
        let admin = json!({"hosts": ["shop.example.com"], "gateways": ["gateway"], "http": [
            {"match": [{"uri": {"prefix": "/admin"}}], "route": [{"destination": {"host": "shop"}}]},
        ]});
        let admin = json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": {"name": "shop-admin"}, "spec": admin});
        cluster.apply(NS, admin).unwrap();
        cluster.start_controller();
        cluster.apply(NS, canary()).unwrap();
        await_phase(&cluster, "Initialized", 300).await;
        for name in ["shop", "shop-admin"] {
            let route = &spec(&cluster, Kind::VIRTUAL_SERVICE, name)["http"][0]["route"];
            assert_eq!(route.as_array().map(Vec::len), Some(2), "{name}: {route:#}");
        }
    });
}

/// A second Service of the same pods, called once a night, would lead nowhere after the set-up.
#[test]
fn other_service_of_the_same_pods_holds_the_set_up_until_it_is_accepted() {
    run(async {
        let mut cluster = prepare(3).await;
        let of_others = json!({"app": "bank"});
        for (name, selector) in [("shop-batch", &json!({"app": "shop"})), ("bank", &of_others)] {
            cluster.apply(NS, service(name, selector)).unwrap();
        }
        cluster.start_controller();
        cluster.apply(NS, canary()).unwrap();
        let held = |canary: &Value| canary["status"]["hold"]["reason"] == "PolicyNotCovering";
        assert!(
            cluster
                .wait(&key(Kind::CANARY), TimeDelta::seconds(60), held)
                .await
        );
        let status = cluster.get(&key(Kind::CANARY)).unwrap()["status"].clone();
        let text = status["message"].as_str().unwrap();
        assert!(text.contains(" by Service/shop-batch,"), "{text}");
        assert!(cluster.get(&named(Kind::DEPLOYMENT, "shop-primary")).is_none());
        let accepted =
            json!({"metadata": {"annotations": {"bellwether.dev/accept-policies": "Service/shop-batch"}}});
        cluster.merge(&key(Kind::CANARY), accepted).unwrap();
        await_phase(&cluster, "Initialized", 120).await;
    });
}
