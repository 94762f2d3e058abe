use super::*;
use crate::workload::marks::Owner;

fn asked(service: Value) -> api::Service {
    serde_json::from_value(service).unwrap()
}

fn stock() -> Value {
    json!({"metadata": {"name": "stock", "namespace": "shop"}, "spec": {
        "type": "LoadBalancer", "clusterIP": "10.0.0.7", "clusterIPs": ["10.0.0.7"], "externalTrafficPolicy": "Local",
        "selector": {"app": "stock"},
        "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}},
        "internalTrafficPolicy": "Local", "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "PreferDualStack",
        "trafficDistribution": "PreferClose",
        "ports": [
            {"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080, "nodePort": 30080},
            {"name": "rpc", "port": 9000, "protocol": "TCP", "targetPort": "rpc", "appProtocol": "grpc", "nodePort": 30090},
        ],
    }})
}

fn target() -> Value {
    json!({"metadata": {"name": "stock"}, "spec": {
        "selector": {"matchLabels": {"app": "stock"}},
        "template": {"metadata": {"labels": {"app": "stock"}}},
    }})
}

fn selector() -> Selector {
    Selector {
        label: "app".to_owned(),
        value: "stock".to_owned(),
    }
}

#[test]
fn copies_are_seen_where_the_service_of_the_callers_is() {
    let exported = |to: &str| json!({"metadata": {"annotations": {EXPORT_TO: to}}});
    let said = |wanted: Value, of: &Value, live: Option<&Value>| {
        let mut wanted = wanted;
        export_alike(&mut wanted, of, live);
        wanted["metadata"]["annotations"].get(EXPORT_TO).cloned()
    };
    let plain = || json!({"metadata": {"annotations": {"a": "b"}}});
    assert_eq!(
        said(plain(), &exported("istio-system,."), None),
        Some(json!("istio-system,."))
    );
    assert_eq!(said(plain(), &stock(), None), None);
    assert_eq!(said(plain(), &exported(""), None), None);
    let canary_says = said(exported("*"), &exported("."), Some(&exported(".")));
    assert_eq!(canary_says, Some(json!("*")), "the Canary goes first");
    // Its owner took it away: whoever is left out until then may see it.
    assert_eq!(said(plain(), &stock(), Some(&exported("."))), Some(json!("")));
    assert_eq!(said(plain(), &stock(), Some(&exported(""))), Some(json!("")));
}

#[test]
fn every_port_of_an_adopted_service_is_there_behind_the_routes() {
    let owner = Owner {
        name: "stock".to_owned(),
        uid: "u".to_owned(),
    };
    let labels = json!({"app": "stock-primary"});
    let built = super::super::build(
        ("stock-primary", "shop"),
        &carried(&stock()),
        None,
        (&labels, &owner),
    );
    let expected = json!({
        "type": "ClusterIP", "selector": {"app": "stock-primary"},
        "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}},
        "internalTrafficPolicy": "Local", "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "PreferDualStack",
        "trafficDistribution": "PreferClose",
        "ports": [
            {"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080},
            {"name": "rpc", "port": 9000, "protocol": "TCP", "targetPort": "rpc", "appProtocol": "grpc"},
        ],
    });
    assert_eq!(built["spec"], expected);
}

#[test]
fn discovered_ports_have_the_names_that_flagger_gives_them() {
    let template = json!({"spec": {"containers": [
        {"name": "main", "ports": [
            {"name": "http", "containerPort": 8080}, {"name": "grpc", "containerPort": 9000}, {"containerPort": 9102},
            {"name": "dns", "containerPort": 53, "protocol": "UDP"}, {"name": "again", "containerPort": 9000},
        ]},
        {"name": "istio-proxy", "ports": [{"name": "http-envoy-prom", "containerPort": 15090}]},
    ]}});
    let ports = |service: Value| of_canary(&asked(service), &[&template])["ports"].clone();
    let found = ports(json!({"port": 80, "targetPort": "http", "portDiscovery": true}));
    let expected = json!([
        {"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http"},
        {"name": "grpc", "port": 9000, "protocol": "TCP", "targetPort": 9000},
        {"name": "tcp-main-2", "port": 9102, "protocol": "TCP", "targetPort": 9102},
        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
    ]);
    assert_eq!(found, expected);
    let by_number = ports(json!({"port": 80, "targetPort": 8080, "portDiscovery": true}));
    assert_eq!(
        by_number.as_array().map(Vec::len),
        Some(4),
        "8080 is behind port 80: {by_number}"
    );
    let undiscovered = ports(json!({"port": 80, "appProtocol": "grpc"}));
    let only =
        json!([{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 80, "appProtocol": "grpc"}]);
    assert_eq!(undiscovered, only);
}

#[test]
fn two_discovered_ports_never_have_one_name() {
    let template = json!({"spec": {"containers": [
        {"name": "a", "ports": [{"name": "http", "containerPort": 7000}]},
        {"name": "b", "ports": [{"name": "http", "containerPort": 7001}]},
    ]}});
    let service = asked(json!({"port": 80, "targetPort": 8080, "portDiscovery": true}));
    let offer = of_canary(&service, &[&template]);
    let names: Vec<_> = ports(offer.get("ports"))
        .map(|port| port["name"].clone())
        .collect();
    assert_eq!(names, ["http", "tcp-7000", "tcp-7001"]);
}

#[test]
fn service_that_leads_to_the_workload_has_nothing_to_complain_about() {
    let pair = (&target(), &selector());
    assert_eq!(
        uncarried(&stock(), &asked(json!({"port": 9000})), pair),
        Vec::<String>::new()
    );
    let mut pointed = stock();
    pointed["spec"]["selector"] = json!({"app": "stock-primary"});
    assert_eq!(
        uncarried(&pointed, &asked(json!({"port": 80})), pair),
        Vec::<String>::new()
    );
}

#[test]
fn service_that_cannot_be_taken_over_says_what_would_be_right() {
    let table = [
        ("/spec/type", json!("ExternalName"), "ExternalName"),
        ("/spec/clusterIP", json!("None"), "headless"),
        (
            "/spec/selector",
            json!({"app": "other"}),
            "app=other, which are not the pods of Deployment stock",
        ),
        ("/spec/selector", json!({}), "selects nothing"),
        (
            "/spec/ports/0/port",
            json!(81),
            "no port 80, which spec.service.port of the Canary names; its ports are 81, 9000",
        ),
    ];
    for (field, value, says) in table {
        let mut live = stock();
        *live.pointer_mut(field).unwrap() = value;
        let found = uncarried(&live, &asked(json!({"port": 80})), (&target(), &selector()));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("Service stock: ") && found[0].contains(says),
            "{found:?}"
        );
    }
}
