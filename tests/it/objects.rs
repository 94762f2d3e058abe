//! The real controller and what adopted objects offer: ports, subsets, shares, and routes of any name.

use std::sync::Arc;

use bellwether::{
    api::Canary,
    reconcile::{index::Part, kinds, observe, snapshot},
    rollout::{self, Observed},
    sim::{
        api_server::{Key, Kind},
        cluster::SimCluster,
    },
};
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::shared::shop::{NS, await_phase, canary, key, run};

fn deployment() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"}, "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "shop"}},
        "template": {
            "metadata": {"labels": {"app": "shop", "version": "v1"}},
            "spec": {"containers": [{"name": "app", "image": "shop:good-1", "ports": [
                {"name": "http", "containerPort": 8080}, {"name": "grpc", "containerPort": 9000},
            ]}]},
        },
    }})
}

fn service() -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop"}, "spec": {
        "selector": {"app": "shop"}, "sessionAffinity": "ClientIP", "trafficDistribution": "PreferClose",
        "ports": [
            {"name": "http", "port": 80, "targetPort": "http"},
            {"name": "grpc", "port": 9000, "targetPort": 9000, "appProtocol": "grpc"},
        ],
    }})
}

#[expect(clippy::needless_pass_by_value, reason = "callers build it in place")]
fn route(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": name}, "spec": spec})
}

#[expect(clippy::needless_pass_by_value, reason = "callers build it in place")]
fn rule(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": {"name": name}, "spec": spec})
}

fn named(kind: Kind, name: &str) -> Key {
    Key::new(kind, NS, name)
}

/// The shop with these objects beside it, called at both ports, and a Canary with these fields of `spec.service`.
async fn shop(objects: Vec<Value>, asked: Value) -> SimCluster {
    let mut cluster = SimCluster::start(7, TimeDelta::seconds(2));
    for object in [deployment(), service()].into_iter().chain(objects) {
        cluster.apply(NS, object).unwrap();
    }
    cluster.pass(TimeDelta::seconds(2)).await;
    let now = cluster.now();
    for port in [80, 9000] {
        cluster
            .world()
            .traffic
            .call_port((NS, "shop"), Some(port), 60.0, now);
    }
    cluster.start_controller();
    let mut canary = canary();
    for (field, value) in asked.as_object().unwrap() {
        canary["spec"]["service"][field] = value.clone();
    }
    cluster.apply(NS, canary).unwrap();
    cluster
}

fn lost(cluster: &SimCluster) -> String {
    let world = cluster.world();
    let ledger = &world.traffic.ledgers[&(NS.to_owned(), "shop".to_owned())];
    assert!(ledger.sent > 1000, "{}", ledger.sent);
    format!("{:?}", ledger.failed)
}

fn spec(cluster: &SimCluster, kind: Kind, name: &str) -> Value {
    cluster
        .get(&named(kind, name))
        .unwrap_or_else(|| panic!("no {name}"))["spec"]
        .clone()
}

/// Set up, released, and deleted again: no request is lost at any time.
async fn whole_life(cluster: &SimCluster) {
    await_phase(cluster, "Initialized", 120).await;
    assert_eq!(lost(cluster), "{}", "until it is set up");
    cluster.ship(NS, "shop", "shop:good-2").unwrap();
    await_phase(cluster, "Succeeded", 400).await;
    handed_back(cluster).await;
}

/// Deleted after a release.
async fn handed_back(cluster: &SimCluster) {
    assert_eq!(lost(cluster), "{}", "in a release");
    cluster.delete(&key(Kind::CANARY)).unwrap();
    let gone = cluster
        .wait(&key(Kind::CANARY), TimeDelta::seconds(300), Value::is_null)
        .await;
    assert!(gone, "not handed back: {:#?}", cluster.get(&key(Kind::CANARY)));
    cluster.pass(TimeDelta::seconds(5)).await;
    assert_eq!(lost(cluster), "{}", "after its deletion");
}

/// What a decision would see.
async fn observed(cluster: &SimCluster) -> Observed {
    let ctx = cluster.context_of(0).unwrap();
    let part = Part {
        kind: kinds::Kind::Canary,
        namespace: NS.to_owned(),
        name: "shop".to_owned(),
    };
    let object = ctx.cache.get(&part).unwrap();
    let canary: Canary = serde_json::from_value(Value::clone(&object)).unwrap();
    let spec = rollout::validate(&canary, ctx.settings.drain).unwrap();
    let snap = snapshot::take(&ctx, &spec, object, Arc::new(canary))
        .await
        .unwrap();
    observe::observe(&ctx, &spec, &snap, cluster.now())
}

#[test]
fn both_ports_of_an_adopted_service_answer_all_its_life() {
    run(async {
        let by_port = json!({"hosts": ["shop"], "http": [
            {"name": "rpc", "match": [{"port": 9000}],
                "route": [{"destination": {"host": "shop", "port": {"number": 9000}}}]},
            {"name": "web", "route": [{"destination": {"host": "shop", "port": {"number": 80}}}]},
        ]});
        let cluster = shop(vec![route("shop", by_port.clone())], json!({})).await;
        await_phase(&cluster, "Initialized", 120).await;
        let offered = spec(&cluster, Kind::SERVICE, "shop");
        for name in ["shop-primary", "shop-canary"] {
            let child = spec(&cluster, Kind::SERVICE, name);
            for field in ["ports", "sessionAffinity", "trafficDistribution", "ipFamilies"] {
                assert_eq!(child[field], offered[field], "{name}: {field}");
            }
        }
        whole_life(&cluster).await;
        assert_eq!(spec(&cluster, Kind::VIRTUAL_SERVICE, "shop"), by_port);
    });
}

#[test]
fn generated_routes_lead_to_the_port_that_callers_in_the_mesh_mean() {
    run(async {
        let cluster = shop(
            vec![],
            json!({"gateways": ["edge/public", "mesh"], "hosts": ["shop.example"]}),
        )
        .await;
        await_phase(&cluster, "Initialized", 120).await;
        let http = spec(&cluster, Kind::VIRTUAL_SERVICE, "shop")["http"].clone();
        let port = |at: usize| http[at]["route"][0]["destination"]["port"]["number"].clone();
        assert_eq!((port(0), port(1)), (json!(80), Value::Null), "{http:#}");
        whole_life(&cluster).await;
    });
}

#[test]
fn second_port_that_comes_later_is_behind_the_routes_when_these_tell_gateways_from_the_mesh() {
    run(async {
        let mut one_port = service();
        one_port["spec"]["ports"].as_array_mut().unwrap().pop();
        let cluster = shop(vec![one_port], json!({"gateways": ["edge/public", "mesh"]})).await;
        let now = cluster.now();
        cluster
            .world()
            .traffic
            .call_port((NS, "shop"), Some(9000), 0.0, now);
        await_phase(&cluster, "Initialized", 120).await;
        let routes = |cluster: &SimCluster| {
            let http = spec(cluster, Kind::VIRTUAL_SERVICE, "shop")["http"].clone();
            http.as_array().map_or(0, Vec::len)
        };
        assert_eq!(routes(&cluster), 1);
        cluster.apply(NS, service()).unwrap();
        for name in ["shop-primary", "shop-canary"] {
            let two = |service: &Value| {
                service["spec"]["ports"]
                    .as_array()
                    .is_some_and(|ports| ports.len() == 2)
            };
            let child = named(Kind::SERVICE, name);
            assert!(
                cluster.wait(&child, TimeDelta::seconds(30), two).await,
                "{:#?}",
                cluster.get(&child)
            );
            assert_eq!(routes(&cluster), 2, "before {name} has two ports");
        }
        let now = cluster.now();
        cluster
            .world()
            .traffic
            .call_port((NS, "shop"), Some(9000), 60.0, now + TimeDelta::seconds(2));
        cluster.pass(TimeDelta::seconds(20)).await;
        assert_eq!(lost(&cluster), "{}");
    });
}

#[test]
fn discovered_ports_are_on_all_services() {
    run(async {
        let mut cluster = SimCluster::start(8, TimeDelta::seconds(2));
        cluster.apply(NS, deployment()).unwrap();
        cluster.start_controller();
        let mut canary = canary();
        canary["spec"]["service"]["portDiscovery"] = json!(true);
        cluster.apply(NS, canary).unwrap();
        let there = |service: &Value| {
            service["spec"]["ports"]
                .as_array()
                .is_some_and(|ports| ports.len() == 2)
        };
        for name in ["shop", "shop-primary", "shop-canary"] {
            let key = named(Kind::SERVICE, name);
            assert!(
                cluster.wait(&key, TimeDelta::seconds(120), there).await,
                "{name}: {:#?}",
                cluster.get(&key)
            );
        }
    });
}

#[test]
fn subset_of_the_users_rule_serves_all_its_life() {
    run(async {
        let to_subset = json!({"hosts": ["shop"], "http": [{"name": "all", "route": [
            {"destination": {"host": "shop", "subset": "steady", "port": {"number": 80}}},
        ]}]});
        let policy = json!({"connectionPool": {"http": {"http1MaxPendingRequests": 64}}});
        let users = rule(
            "of-the-shop",
            json!({"host": "shop.shop.svc.cluster.local", "trafficPolicy": policy,
            "subsets": [{"name": "steady", "labels": {"app": "shop"}}]}),
        );
        let mut one_port = service();
        one_port["spec"]["ports"].as_array_mut().unwrap().pop();
        let cluster = shop(vec![users, one_port, route("shop", to_subset.clone())], json!({})).await;
        let now = cluster.now();
        cluster
            .world()
            .traffic
            .call_port((NS, "shop"), Some(9000), 0.0, now);
        await_phase(&cluster, "Initialized", 120).await;
        let primary = spec(&cluster, Kind::DESTINATION_RULE, "shop-primary");
        assert_eq!(primary["trafficPolicy"], policy);
        let subsets = json!([{"name": "steady", "labels": {"app": "shop-primary"}}]);
        assert_eq!(primary["subsets"], subsets);
        // A rule that is deleted to be created anew takes nothing away meanwhile.
        cluster
            .delete(&named(Kind::DESTINATION_RULE, "of-the-shop"))
            .unwrap();
        cluster.pass(TimeDelta::seconds(10)).await;
        assert_eq!(
            spec(&cluster, Kind::DESTINATION_RULE, "shop-primary")["subsets"],
            subsets
        );
        let seen = observed(&cluster).await;
        assert!(
            seen.uncarried
                .iter()
                .any(|text| text.contains("subset steady of Service shop")),
            "{:?}",
            seen.uncarried
        );
        let changed = rule(
            "anew",
            json!({"host": "shop", "subsets": [
                {"name": "steady", "labels": {"app": "shop"}}, {"name": "more", "labels": {"version": "v1"}},
            ]}),
        );
        cluster.apply(NS, changed).unwrap();
        cluster.pass(TimeDelta::seconds(10)).await;
        assert_eq!(observed(&cluster).await.uncarried, Vec::<String>::new());
        let canary = spec(&cluster, Kind::DESTINATION_RULE, "shop-canary");
        assert_eq!(canary["subsets"].as_array().map(Vec::len), Some(2), "{canary}");
        assert!(canary.get("trafficPolicy").is_none(), "{canary}");
        whole_life(&cluster).await;
        assert_eq!(spec(&cluster, Kind::VIRTUAL_SERVICE, "shop"), to_subset);
    });
}

#[test]
fn share_of_a_foreign_destination_is_kept_and_its_numbers_come_back() {
    run(async {
        let shares = json!({"hosts": ["shop"], "http": [{"route": [
            {"destination": {"host": "shop"}, "weight": 3}, {"destination": {"host": "legacy"}, "weight": 1},
        ]}]});
        let mut legacy = deployment();
        legacy["metadata"]["name"] = json!("legacy");
        legacy["spec"]["selector"]["matchLabels"]["app"] = json!("legacy");
        legacy["spec"]["template"]["metadata"]["labels"]["app"] = json!("legacy");
        let mut behind = service();
        behind["metadata"]["name"] = json!("legacy");
        behind["spec"]["selector"]["app"] = json!("legacy");
        let cluster = shop(vec![legacy, behind, route("shop", shares.clone())], json!({})).await;
        await_phase(&cluster, "Initialized", 120).await;
        cluster.ship(NS, "shop", "shop:good-2").unwrap();
        let split = |vs: &Value| {
            let weights = vs["spec"]["http"][0]["route"].as_array().into_iter().flatten();
            weights
                .map(|entry| entry["weight"].as_i64().unwrap())
                .eq([270, 30, 100])
        };
        let vs = named(Kind::VIRTUAL_SERVICE, "shop");
        assert!(
            cluster.wait(&vs, TimeDelta::seconds(120), split).await,
            "{:#?}",
            cluster.get(&vs)
        );
        await_phase(&cluster, "Succeeded", 400).await;
        handed_back(&cluster).await;
        assert_eq!(spec(&cluster, Kind::VIRTUAL_SERVICE, "shop"), shares);
    });
}

#[test]
fn route_of_another_name_is_split_beside_ours_and_comes_back() {
    run(async {
        let public = json!({"hosts": ["front.example"], "gateways": ["edge/public"], "http": [
            {"route": [{"destination": {"host": "shop.shop", "port": {"number": 80}}}]},
            {"match": [{"headers": {"x-tester": {"exact": "1"}}}], "route": [{"destination": {"host": "shop-canary"}}]},
        ]});
        let unrelated =
            json!({"hosts": ["other.example"], "http": [{"route": [{"destination": {"host": "other"}}]}]});
        let objects = vec![
            route("front-public", public.clone()),
            route("unrelated", unrelated.clone()),
        ];
        let cluster = shop(objects, json!({})).await;
        await_phase(&cluster, "Initialized", 120).await;
        let ours = spec(&cluster, Kind::VIRTUAL_SERVICE, "shop");
        assert_eq!(
            ours["hosts"],
            json!(["shop"]),
            "for those in the mesh, for whom none speaks"
        );
        let hosts = |vs: &Value, at: usize| vs["http"][at]["route"][0]["destination"]["host"].clone();
        let split = spec(&cluster, Kind::VIRTUAL_SERVICE, "front-public");
        assert_eq!(
            (hosts(&split, 0), hosts(&split, 1)),
            (json!("shop-primary.shop"), json!("shop-canary"))
        );
        whole_life(&cluster).await;
        assert_eq!(spec(&cluster, Kind::VIRTUAL_SERVICE, "front-public"), public);
        assert_eq!(spec(&cluster, Kind::VIRTUAL_SERVICE, "unrelated"), unrelated);
        let left = cluster
            .get(&named(Kind::VIRTUAL_SERVICE, "front-public"))
            .unwrap();
        assert!(
            !left["metadata"].to_string().contains("bellwether.dev"),
            "{:#}",
            left["metadata"]
        );
    });
}

#[test]
fn route_that_speaks_for_all_callers_leaves_none_for_ours() {
    run(async {
        let all = json!({"hosts": ["shop.shop.svc.cluster.local"], "http": [{"route": [{"destination": {"host": "shop"}}]}]});
        let cluster = shop(vec![route("mine", all.clone())], json!({})).await;
        await_phase(&cluster, "Initialized", 120).await;
        assert!(cluster.get(&named(Kind::VIRTUAL_SERVICE, "shop")).is_none());
        whole_life(&cluster).await;
        assert_eq!(spec(&cluster, Kind::VIRTUAL_SERVICE, "mine"), all);
    });
}

#[test]
fn route_that_comes_later_is_split_at_the_present_weight() {
    run(async {
        let cluster = shop(vec![], json!({})).await;
        await_phase(&cluster, "Initialized", 120).await;
        let late = json!({"hosts": ["late.example"], "gateways": ["edge/public"],
            "http": [{"route": [{"destination": {"host": "shop", "port": {"number": 80}}}]}]});
        cluster.apply(NS, route("late", late)).unwrap();
        let split = |vs: &Value| vs["spec"]["http"][0]["route"][1]["weight"] == 0;
        let vs = named(Kind::VIRTUAL_SERVICE, "late");
        assert!(
            cluster.wait(&vs, TimeDelta::seconds(60), split).await,
            "{:#?}",
            cluster.get(&vs)
        );
    });
}

#[test]
fn what_cannot_be_carried_over_is_named() {
    run(async {
        let twice = json!({"hosts": ["shop"], "http": [{"route": [{"destination": {"host": "shop", "subset": "none"}}]}]});
        let objects = vec![route("one", twice.clone()), route("two", twice)];
        let cluster = shop(objects, json!({"port": 81})).await;
        let elsewhere = json!({"hosts": ["far.example"], "http": [{"route": [
            {"destination": {"host": "shop.shop.svc.cluster.local"}},
        ]}]});
        cluster.apply("edge", route("far", elsewhere.clone())).unwrap();
        let mut short = elsewhere;
        short["http"][0]["route"][0]["destination"]["host"] = json!("shop");
        cluster.apply("edge", route("theirs", short)).unwrap();
        cluster.pass(TimeDelta::seconds(3)).await;
        let seen = observed(&cluster).await;
        assert_eq!(seen.routes_elsewhere, ["edge/far"]);
        let says = |part: &str| {
            assert!(
                seen.uncarried.iter().any(|text| text.contains(part)),
                "{part}: {:?}",
                seen.uncarried
            );
        };
        says(
            "Service shop: it has no port 81, which spec.service.port of the Canary names; its ports are 80, 9000",
        );
        says("VirtualServices one and two: both route host shop in the mesh");
        says("subset none of Service shop, which no DestinationRule for shop defines");
    });
}
