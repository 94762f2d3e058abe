//! The specification that is built of a Canary's Service.

use super::*;

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
