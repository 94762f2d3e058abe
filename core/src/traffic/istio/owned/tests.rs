use proptest::prelude::*;

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
fn a_plain_service_gets_one_route_in_the_mesh() {
    let expected = json!({
        "hosts": ["cart"],
        "gateways": ["mesh"],
        "http": [{ "name": "bellwether", "route": pair(100, 0) }],
    });
    assert_eq!(build(&wanted()), expected);
}

#[test]
fn every_field_of_the_service_reaches_the_route() {
    let destination = |host: &str, weight: i64| json!({ "destination": { "host": host, "port": { "number": 8080 } }, "weight": weight });
    let expected = json!({
        "hosts": ["cart.example.com", "cart"],
        "gateways": ["ingress/public", "mesh"],
        "http": [{
            "name": "bellwether",
            "match": [{ "uri": { "prefix": "/" }, "port": 80 }],
            "rewrite": { "uri": "/v2" },
            "timeout": "15s",
            "retries": { "attempts": 3 },
            "headers": { "request": { "set": { "a": "1" } } },
            "corsPolicy": { "maxAge": "24h" },
            "route": [destination("cart-primary", 100), destination("cart-canary", 0)],
        }],
    });
    assert_eq!(build(&full()), expected);
}

#[test]
fn apex_is_added_to_hosts_unless_they_cover_it() {
    let table: [(&[&str], &[&str]); 5] = [
        (&[], &["cart"]),
        (&["*"], &["*"]),
        (&["cart", "x"], &["cart", "x"]),
        (&["cart.shop.svc.cluster.local"], &["cart.shop.svc.cluster.local"]),
        (&["cart-canary"], &["cart-canary", "cart"]),
    ];
    for (given, hosts) in table {
        let route = OwnedRoute {
            hosts: given.iter().map(ToString::to_string).collect(),
            ..wanted()
        };
        assert_eq!(build(&route)["hosts"], json!(hosts), "{given:?}");
    }
}

#[test]
fn destinations_have_a_port_only_beyond_the_mesh() {
    let port = |discovery: bool, gateways: &[&str], delegation: bool| {
        let gateways = gateways.iter().map(ToString::to_string).collect();
        let spec = build(&OwnedRoute {
            port_discovery: discovery,
            gateways,
            delegation,
            ..wanted()
        });
        spec.pointer("/http/0/route/0/destination/port").is_some()
    };
    assert!(port(true, &["public"], false));
    assert!(port(true, &[], true));
    assert!(!port(true, &["mesh", "public"], false));
    assert!(!port(true, &[], false));
    assert!(!port(false, &["public"], true));
}

#[test]
fn gateways_and_the_mesh_have_routes_of_their_own_where_there_are_several_ports() {
    let pair = |port: Option<u16>| {
        let destination = |host: &str, weight: i64| {
            let mut destination = json!({ "host": host });
            if let Some(port) = port {
                destination["port"] = json!({ "number": port });
            }
            json!({ "destination": destination, "weight": weight })
        };
        json!([destination("cart-primary", 100), destination("cart-canary", 0)])
    };
    let at = |gateways: &[&str], matches: Option<Value>| {
        let route = OwnedRoute {
            several_ports: true,
            gateways: gateways.iter().map(ToString::to_string).collect(),
            r#match: matches,
            ..wanted()
        };
        build(&route)["http"].clone()
    };
    let only = |port| json!([{ "name": "bellwether", "route": pair(port) }]);
    assert_eq!(at(&[], None), only(None), "the mesh's callers mean a port");
    assert_eq!(
        at(&["a", "b"], None),
        only(Some(8080)),
        "the port of a gateway is another"
    );
    let both = json!([
        { "name": "bellwether", "match": [{ "gateways": ["a", "b"] }], "route": pair(Some(8080)) },
        { "name": "bellwether.mesh", "match": [{ "gateways": ["mesh"] }], "route": pair(None) },
    ]);
    assert_eq!(at(&["a", "mesh", "b"], None), both);
    let matches = json!([
        { "uri": { "prefix": "/x" }, "gateways": ["b"] }, { "uri": { "prefix": "/y" } },
        { "uri": { "prefix": "/z" }, "gateways": ["mesh"] },
    ]);
    let narrowed = json!([
        { "name": "bellwether", "route": pair(Some(8080)), "match": [
            { "uri": { "prefix": "/x" }, "gateways": ["b"] }, { "uri": { "prefix": "/y" }, "gateways": ["a", "b"] },
        ] },
        { "name": "bellwether.mesh", "route": pair(None), "match": [
            { "uri": { "prefix": "/y" }, "gateways": ["mesh"] }, { "uri": { "prefix": "/z" }, "gateways": ["mesh"] },
        ] },
    ]);
    assert_eq!(at(&["a", "mesh", "b"], Some(matches)), narrowed);
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
fn tcp_matches_by_port_only_and_delegates_have_no_hosts() {
    let spec = build(&OwnedRoute {
        tcp: true,
        delegation: true,
        ..full()
    });
    assert_eq!(spec["tcp"][0]["match"], json!([{ "port": 80 }]));
    assert_eq!(spec["tcp"][0]["route"].as_array().unwrap().len(), 2);
    for key in ["http", "hosts", "gateways"] {
        assert!(spec.get(key).is_none(), "{key}");
    }
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
    assert!(merged["metadata"].get("annotations").is_none());
}

fn part() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        Just(None),
        Just(Some(json!({ "a": { "b": 1 } }))),
        Just(Some(json!({ "a": { "c": [1, 2] }, "d": 2 }))),
        Just(Some(json!({ "a": 3 }))),
    ]
}

prop_compose! {
    fn any_route()(
        (hosts, gateways) in (0..3usize, 0..3usize),
        (delegation, tcp, port_discovery, several_ports) in (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()),
        (headers, retries, rewrite) in (part(), part(), part()),
        timeout in prop_oneof![Just(None), Just(Some("1s".to_owned())), Just(Some("2s".to_owned()))],
    ) -> OwnedRoute {
        OwnedRoute {
            hosts: ["a", "b"].iter().take(hosts).map(ToString::to_string).collect(),
            gateways: ["g", "mesh"].iter().take(gateways).map(ToString::to_string).collect(),
            delegation, tcp, port_discovery, several_ports, headers, retries, rewrite, timeout,
            ..wanted()
        }
    }
}

proptest! {
    #[test]
    fn repair_leads_from_any_spec_to_any_other(from in any_route(), to in any_route(), w in 0..=100i64) {
        let done = repaired(&live(&from), &to, w);
        let exact = OwnedRoute { weight: Weight::saturating(w), ..to.clone() };
        prop_assert_eq!(&done["spec"], &build(&exact));
        prop_assert!(!owned_drift(&done["spec"], &build(&to)));
        prop_assert_eq!(repaired(&done, &to, w), done);
    }

    #[test]
    fn drift_is_seen_whenever_our_part_would_be_changed(from in any_route(), to in any_route()) {
        let vs = live(&from);
        let mut unmarked = vs.clone();
        unmarked["metadata"].as_object_mut().unwrap().remove("annotations");
        let patch = repair(&unmarked, &build(&to), &to.names, Weight::ZERO).unwrap();
        if !patch.0.is_empty() {
            prop_assert!(owned_drift(&vs["spec"], &build(&to)));
        }
    }
}
