//! VirtualServices of our own: how they are built, and repaired where somebody changed them.

mod build; // the specification as it is built
mod properties; // what holds of any two

use super::{
    super::generated::{OwnedRoute, build},
    *,
};

fn wanted() -> OwnedRoute {
    OwnedRoute {
        names: ServiceNames {
            namespace: "shop".into(),
            apex: "cart".into(),
            primary: "cart-primary".into(),
            canary: "cart-canary".into(),
        },
        weight: Weight::ZERO,
        port: 8080,
        several_ports: false,
        port_discovery: false,
        hosts: vec![],
        gateways: vec![],
        delegation: false,
        tcp: false,
        r#match: None,
        rewrite: None,
        timeout: None,
        retries: None,
        headers: None,
        cors_policy: None,
    }
}

fn full() -> OwnedRoute {
    OwnedRoute {
        hosts: vec!["cart.example.com".into()],
        gateways: vec!["ingress/public".into(), "mesh".into()],
        port_discovery: true,
        r#match: Some(json!([{ "uri": { "prefix": "/" }, "port": 80 }])),
        rewrite: Some(json!({ "uri": "/v2", "type": "ReplacePrefixMatch" })),
        timeout: Some("15s".into()),
        retries: Some(json!({ "attempts": 3 })),
        headers: Some(json!({ "request": { "set": { "a": "1" } } })),
        cors_policy: Some(json!({ "maxAge": "24h" })),
        ..wanted()
    }
}

fn live(route: &OwnedRoute) -> Value {
    let spec = build(route);
    json!({
        "metadata": { "name": "cart", "resourceVersion": "1", "annotations": { APPLIED_ANNOTATION: applied(&spec) } },
        "spec": spec,
    })
}

fn repaired(vs: &Value, route: &OwnedRoute, weight: i64) -> Value {
    let patch = repair(vs, &build(route), &route.names, Weight::new(weight).unwrap()).unwrap();
    let mut vs = vs.clone();
    json_patch::patch(&mut vs, &patch).unwrap();
    vs
}

fn pair(primary: i64, canary: i64) -> Value {
    json!([
        { "destination": { "host": "cart-primary" }, "weight": primary },
        { "destination": { "host": "cart-canary" }, "weight": canary },
    ])
}

#[test]
fn second_port_splits_our_route_at_its_weight_and_back() {
    let one = OwnedRoute {
        gateways: vec!["public".into(), "mesh".into()],
        ..wanted()
    };
    let several = OwnedRoute {
        several_ports: true,
        ..one.clone()
    };
    let mut vs = repaired(&live(&one), &one, 30);
    let theirs = json!({ "name": "theirs", "redirect": {} });
    vs["spec"]["http"]
        .as_array_mut()
        .unwrap()
        .insert(0, theirs.clone());
    assert!(!in_shape(&vs, &build(&several)));
    let done = repaired(&vs, &several, 30);
    assert!(in_shape(&done, &build(&several)));
    let names: Vec<_> = done["spec"]["http"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["name"])
        .collect();
    assert_eq!(names, ["theirs", "bellwether", "bellwether.mesh"]);
    assert!(super::super::virtual_service::is_at(
        &done,
        &several.names,
        Weight::saturating(30)
    ));
    assert!(!in_shape(&done, &build(&one)), "a route too many");
    let back = repaired(&done, &one, 30);
    assert_eq!(back["spec"], vs["spec"]);
}

#[test]
fn an_object_in_shape_needs_no_patch_at_its_weight() {
    for route in [
        wanted(),
        full(),
        OwnedRoute { tcp: true, ..full() },
        OwnedRoute {
            delegation: true,
            ..full()
        },
    ] {
        let vs = live(&route);
        assert_eq!(
            repair(&vs, &build(&route), &route.names, Weight::ZERO).unwrap().0,
            vec![]
        );
        assert!(!owned_drift(&vs["spec"], &build(&route)));
        assert!(in_shape(&vs, &build(&route)));
        let moved = repaired(&vs, &route, 30);
        assert!(in_shape(&moved, &build(&route)));
        assert!(
            !owned_drift(&moved["spec"], &build(&route)),
            "a weight is no drift"
        );
        assert!(super::super::virtual_service::is_at(
            &moved,
            &route.names,
            Weight::saturating(30)
        ));
    }
}

#[test]
fn additions_by_hand_stay_and_are_no_drift() {
    let route = full();
    let mut vs = repaired(&live(&route), &route, 20);
    let added = json!({ "name": "theirs", "match": [{ "uri": { "exact": "/x" } }], "directResponse": { "status": 418 } });
    vs["spec"]["http"].as_array_mut().unwrap().insert(0, added);
    vs["spec"]["http"][1]["headers"]["request"]["set"]["b"] = json!("2");
    vs["spec"]["http"][1]["fault"] = json!({ "delay": { "fixedDelay": "1s" } });
    vs["spec"]["exportTo"] = json!(["."]);
    vs["metadata"]["labels"] = json!({ "team": "x" });
    assert!(!owned_drift(&vs["spec"], &build(&route)));
    assert_eq!(repaired(&vs, &route, 20), vs);
    // The same additions while our own part is broken.
    let good = vs.clone();
    vs["spec"]["http"][1]["timeout"] = json!("1s");
    vs["spec"]["http"][1]["route"][0]["weight"] = json!(3);
    vs["spec"]["http"][1]["route"][1]["destination"]["port"]["number"] = json!(1);
    vs["spec"]["gateways"] = json!(["mesh"]);
    vs["spec"]["hosts"].as_array_mut().unwrap().push(json!("stray"));
    assert!(owned_drift(&vs["spec"], &build(&route)));
    assert_eq!(repaired(&vs, &route, 20), good);
}

#[test]
fn a_part_taken_out_of_the_canary_goes_and_one_added_by_hand_stays() {
    let before = full();
    let mut vs = repaired(&live(&before), &before, 40);
    vs["spec"]["http"][0]["headers"]["request"]["set"]["mine"] = json!("m");
    let after = OwnedRoute {
        timeout: None,
        headers: None,
        port_discovery: false,
        rewrite: None,
        ..full()
    };
    assert!(!in_shape(&vs, &build(&after)));
    let done = repaired(&vs, &after, 40);
    assert!(in_shape(&done, &build(&after)));
    let route = &done["spec"]["http"][0];
    assert_eq!(route["headers"], json!({ "request": { "set": { "mine": "m" } } }));
    assert!(route.get("timeout").is_none() && route.get("rewrite").is_none());
    assert_eq!(route["route"], pair(60, 40), "ports are gone, weights are kept");
    assert_eq!(repaired(&done, &after, 40), done);
}

#[test]
fn delegation_takes_hosts_and_gateways_away_and_gives_them_back() {
    let plain = wanted();
    let delegated = OwnedRoute {
        delegation: true,
        ..wanted()
    };
    let vs = live(&plain);
    assert!(owned_drift(&vs["spec"], &build(&delegated)));
    let done = repaired(&vs, &delegated, 0);
    assert_eq!(done["spec"], build(&delegated));
    assert!(owned_drift(&done["spec"], &build(&plain)));
    assert_eq!(repaired(&done, &plain, 0)["spec"], build(&plain));
}

#[test]
fn a_change_of_protocol_moves_our_route_and_no_other() {
    let http = wanted();
    let tcp = OwnedRoute {
        tcp: true,
        ..wanted()
    };
    let mut vs = live(&http);
    vs["spec"]["http"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "theirs", "redirect": {} }));
    assert!(owned_drift(&vs["spec"], &build(&tcp)));
    let done = repaired(&vs, &tcp, 10);
    assert_eq!(
        done["spec"]["http"],
        json!([{ "name": "theirs", "redirect": {} }])
    );
    assert_eq!(done["spec"]["tcp"], json!([{ "route": pair(90, 10) }]));
    let back = repaired(&done, &http, 10);
    assert!(back["spec"].get("tcp").is_none());
    assert_eq!(back["spec"]["http"][1]["name"], json!("bellwether"));
}

#[test]
fn a_removed_route_or_destination_comes_back() {
    let route = wanted();
    for spoil in [
        "/spec/http",
        "/spec/http/0",
        "/spec/http/0/route",
        "/spec/http/0/route/1",
        "/spec/http/0/route/0",
    ] {
        let mut vs = live(&route);
        let (parent, last) = spoil.rsplit_once('/').unwrap();
        match vs.pointer_mut(parent).unwrap() {
            Value::Array(items) => drop(items.remove(last.parse().unwrap())),
            Value::Object(fields) => drop(fields.remove(last)),
            _ => unreachable!(),
        }
        assert!(owned_drift(&vs["spec"], &build(&route)), "{spoil}");
        assert_eq!(
            repaired(&vs, &route, 10)["spec"]["http"][0]["route"],
            pair(90, 10),
            "{spoil}"
        );
    }
    let mut elsewhere = live(&route);
    elsewhere["spec"]["http"][0]["route"] = json!([{ "destination": { "host": "other" } }]);
    assert_eq!(
        repaired(&elsewhere, &route, 10)["spec"]["http"][0]["route"],
        pair(90, 10)
    );
}

#[test]
fn a_foreign_destination_in_our_route_keeps_its_share() {
    let route = wanted();
    let mut vs = live(&route);
    vs["spec"]["http"][0]["route"] = json!([
        { "destination": { "host": "cart-primary" }, "weight": 80 },
        { "destination": { "host": "cart-canary" }, "weight": 0 },
        { "destination": { "host": "old-cart" }, "weight": 20 },
    ]);
    assert!(!owned_drift(&vs["spec"], &build(&route)));
    let weights = |vs: &Value| -> Vec<i64> {
        let entries = vs["spec"]["http"][0]["route"].as_array().unwrap().iter();
        entries.map(|e| e["weight"].as_i64().unwrap()).collect()
    };
    assert_eq!(weights(&repaired(&vs, &route, 50)), [200, 200, 100], "80 to 20");
}

#[test]
fn deletion_leaves_a_created_object_that_points_at_the_service() {
    let route = full();
    let vs = repaired(&live(&route), &route, 30);
    let patch = super::super::virtual_service::merge(&vs, &route.names).unwrap();
    let mut merged = vs.clone();
    json_patch::patch(&mut merged, &patch).unwrap();
    let only = json!([{ "destination": { "host": "cart", "port": { "number": 8080 } }, "weight": 100 }]);
    assert_eq!(merged["spec"]["http"][0]["route"], only);
    assert_eq!(
        merged["metadata"]["annotations"],
        json!({}),
        "the API server drops an empty map"
    );
}
