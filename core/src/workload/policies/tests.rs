use serde_json::json;

use super::*;

fn found(kind_name: &str, object: Value) -> Policies {
    found_in(kind_name, &[object])
}

fn found_in(kind_name: &str, objects: &[Value]) -> Policies {
    let target = json!({"metadata": {"name": "shop"}, "spec": {"template": {"metadata": {
        "labels": {"app": "shop", "team": "a"},
    }}}});
    let selector = Selector {
        label: "app".to_owned(),
        value: "shop".to_owned(),
    };
    let kind = KINDS.iter().find(|kind| kind.kind == kind_name).unwrap();
    let mut all = Policies::default();
    all.add(
        kind,
        objects,
        (&target, &selector),
        &["shop", "shop-primary", "shop-canary"],
    );
    all
}

fn named(spec: &Value) -> Value {
    json!({"metadata": {"name": "p"}, "spec": spec})
}

#[test]
fn policy_that_names_the_label_of_the_target_covers_the_target_alone() {
    for (kind, spec) in [
        (
            "NetworkPolicy",
            json!({"podSelector": {"matchLabels": {"app": "shop"}}}),
        ),
        (
            "NetworkPolicy",
            json!({"podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["shop", "x"]}]}}),
        ),
        (
            "AuthorizationPolicy",
            json!({"selector": {"matchLabels": {"app": "shop"}}}),
        ),
        (
            "PeerAuthentication",
            json!({"selector": {"matchLabels": {"app": "shop", "team": "a"}}}),
        ),
        (
            "RequestAuthentication",
            json!({"selector": {"matchLabels": {"app": "shop"}}}),
        ),
    ] {
        let all = found(kind, named(&spec));
        assert_eq!(all.uncovered, [format!("{kind}/p")], "{spec}");
    }
}

#[test]
fn policy_of_all_pods_or_of_others_is_none_of_it() {
    for (kind, spec) in [
        ("NetworkPolicy", json!({"podSelector": {}})),
        (
            "NetworkPolicy",
            json!({"podSelector": {"matchLabels": {"team": "a"}}}),
        ),
        (
            "NetworkPolicy",
            json!({"podSelector": {"matchLabels": {"app": "bank"}}}),
        ),
        (
            "NetworkPolicy",
            json!({"podSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}}),
        ),
        ("AuthorizationPolicy", json!({})),
        (
            "AuthorizationPolicy",
            json!({"selector": {"matchLabels": {"app": "bank"}}}),
        ),
        ("EnvoyFilter", json!({})),
    ] {
        assert_eq!(found(kind, named(&spec)), Policies::default(), "{spec}");
    }
}

#[test]
fn policy_that_lets_the_target_through_elsewhere_does_not_let_the_primary_through() {
    let peer = json!({"podSelector": {"matchLabels": {"app": "shop"}}});
    let database = json!({"podSelector": {"matchLabels": {"app": "db"}}, "ingress": [{"from": [peer]}]});
    assert_eq!(
        found("NetworkPolicy", named(&database)).uncovered,
        ["NetworkPolicy/p"]
    );
    let other = json!({"matchLabels": {"kubernetes.io/metadata.name": "other"}});
    let abroad = json!({"podSelector": {"matchLabels": {"app": "shop"}}, "namespaceSelector": other});
    let database = json!({"podSelector": {"matchLabels": {"app": "db"}}, "ingress": [{"from": [abroad]}]});
    assert!(found("NetworkPolicy", named(&database)).uncovered.is_empty());
}

#[test]
fn policy_that_is_written_for_each_side_covers_both() {
    let of = |name: &str, label: &str, ports: &Value| {
        json!({"metadata": {"name": name}, "spec": {
            "podSelector": {"matchLabels": {"app": label}}, "ingress": [{"ports": ports}],
        }})
    };
    let (web, admin) = (json!([{"port": 80}]), json!([{"port": 90}]));
    let same = [of("a", "shop", &web), of("b", "shop-primary", &web)];
    assert_eq!(found_in("NetworkPolicy", &same), Policies::default());
    let others = [of("a", "shop", &web), of("b", "shop-primary", &admin)];
    assert_eq!(
        found_in("NetworkPolicy", &others).uncovered,
        ["NetworkPolicy/a", "NetworkPolicy/b"]
    );
}

#[test]
fn policy_of_all_pods_but_the_target_concerns_the_primary() {
    let selector = json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["shop"]}]});
    let denied = found("NetworkPolicy", named(&json!({"podSelector": selector})));
    assert_eq!(denied.uncovered, ["NetworkPolicy/p"]);
}

#[test]
fn policy_of_all_pods_that_lets_only_the_target_through_does_not_cover_the_primary() {
    let peer = json!({"podSelector": {"matchLabels": {"app": "shop"}}});
    let all = found(
        "NetworkPolicy",
        named(&json!({"podSelector": {}, "ingress": [{"from": [peer]}]})),
    );
    assert_eq!(all.uncovered, ["NetworkPolicy/p"]);
}

#[test]
fn companions_are_told_and_hold_nothing() {
    let budget = found(
        "PodDisruptionBudget",
        named(&json!({"selector": {"matchLabels": {"app": "shop"}}})),
    );
    assert_eq!(budget.companions, ["PodDisruptionBudget/p"]);
    let scaled = json!({"scaleTargetRef": {"kind": "Deployment", "name": "shop"}});
    let scaler = found("HorizontalPodAutoscaler", named(&scaled));
    assert_eq!(scaler.companions, ["HorizontalPodAutoscaler/p"]);
    assert!(scaler.uncovered.is_empty() && budget.uncovered.is_empty());
}

#[test]
fn policies_are_accepted_by_name_or_all_at_once() {
    let all = Policies {
        uncovered: vec!["NetworkPolicy/a".to_owned(), "AuthorizationPolicy/b".to_owned()],
        ..Policies::default()
    };
    assert_eq!(all.unaccepted(""), ["NetworkPolicy/a", "AuthorizationPolicy/b"]);
    assert_eq!(all.unaccepted("NetworkPolicy/a"), ["AuthorizationPolicy/b"]);
    assert_eq!(
        all.unaccepted("NetworkPolicy/a, AuthorizationPolicy/b"),
        Vec::<&str>::new()
    );
    assert_eq!(all.unaccepted("all"), Vec::<&str>::new());
    let failed = Policies {
        failed: vec!["networkpolicies: timed out".to_owned()],
        ..Policies::default()
    };
    assert_eq!(failed.unknown("NetworkPolicy/a"), ["networkpolicies: timed out"]);
    assert_eq!(failed.unknown("all"), Vec::<String>::new());
}

#[test]
fn peer_in_a_namespace_that_may_be_this_one_is_a_peer_here() {
    const NAME: &str = "kubernetes.io/metadata.name";
    let named = |name: &str| json!({"matchLabels": {NAME: name}});
    let among = |operator: &str| json!({"matchExpressions": [{"key": NAME, "operator": operator, "values": ["n", "m"]}]});
    let cases = [
        (json!({}), true),
        (named("n"), true),
        (named("other"), false),
        (among("In"), true),
        (among("NotIn"), false),
        (json!({"matchLabels": {"team": "a"}}), true),
        (json!({"matchLabels": {"team": "a", NAME: "other"}}), false),
    ];
    for (namespaces, concerns) in cases {
        let policy = json!({"metadata": {"name": "db", "namespace": "n"}, "spec": {
            "podSelector": {"matchLabels": {"app": "db"}},
            "ingress": [{"from": [{
                "namespaceSelector": namespaces, "podSelector": {"matchLabels": {"app": "shop"}},
            }]}],
        }});
        let uncovered = found("NetworkPolicy", policy).uncovered;
        assert_eq!(!uncovered.is_empty(), concerns, "{namespaces}");
    }
}

#[test]
fn primary_that_one_rule_leaves_out_is_not_covered_by_another_rule() {
    let of_target = json!({"podSelector": {"matchLabels": {"app": "shop"}}});
    let of_primary = json!({"podSelector": {"matchLabels": {"app": "shop-primary"}}});
    let database = |rules: Value| {
        let mut spec = json!({"podSelector": {"matchLabels": {"app": "db"}}});
        spec.as_object_mut()
            .unwrap()
            .extend(rules.as_object().unwrap().clone());
        named(&spec)
    };
    let connects = json!({"from": [of_target], "ports": [{"port": 5432}]});
    for rules in [
        // Everybody may scrape, and the target alone connect.
        json!({"ingress": [connects, {"from": [{"podSelector": {}}], "ports": [{"port": 9187}]}]}),
        json!({"ingress": [connects, {"ports": [{"port": 9187}]}]}),
        // It may call everybody, and is called by the target alone.
        json!({"policyTypes": ["Ingress", "Egress"], "ingress": [{"from": [of_target]}], "egress": [{"to": [{"podSelector": {}}]}]}),
    ] {
        let all = found("NetworkPolicy", database(rules.clone()));
        assert_eq!(all.uncovered, ["NetworkPolicy/p"], "{rules}");
    }
    for rules in [
        json!({"ingress": [connects, {"from": [of_primary], "ports": [{"port": 5432}]}]}),
        json!({"ingress": [connects, {"from": [{"podSelector": {}}]}]}),
        json!({"ingress": [connects, {}]}),
        json!({"egress": [{"to": [of_target, of_primary]}]}),
    ] {
        let all = found("NetworkPolicy", database(rules.clone()));
        assert_eq!(all, Policies::default(), "{rules}");
    }
    let of = |peer: &Value| database(json!({"ingress": [{"from": [peer], "ports": [{"port": 5432}]}]}));
    let two = [of(&of_target), of(&of_primary)];
    assert_eq!(
        found_in("NetworkPolicy", &two),
        Policies::default(),
        "policies of the same pods add up"
    );
}

#[test]
fn other_service_of_the_target_would_lead_nowhere() {
    let service = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
    let of_target = json!({"selector": {"app": "shop"}});
    let found_for = |name: &str, spec: &Value| found("Service", service(name, spec.clone()));
    for spec in [
        &of_target,
        &json!({"selector": {"app": "shop", "team": "a"}, "clusterIP": "None"}),
    ] {
        let all = found_for("batch", spec);
        assert_eq!(all.uncovered, ["Service/batch"], "{spec}");
        assert_eq!(all.unaccepted("Service/batch"), Vec::<&str>::new());
    }
    for spec in [
        json!({}),
        json!({"selector": {}}),
        json!({"selector": {"team": "a"}}),
        json!({"selector": {"app": "shop", "team": "b"}}),
        json!({"selector": {"app": "shop-primary"}}),
        json!({"selector": {"app": "shop"}, "type": "ExternalName", "externalName": "shop.example.com"}),
    ] {
        assert_eq!(found_for("batch", &spec), Policies::default(), "{spec}");
    }
    // Those of the Canary follow it; one of the primary alone has no callers of the target.
    assert_eq!(found_for("shop", &of_target), Policies::default());
    assert_eq!(found_for("shop-canary", &of_target), Policies::default());
    let both = [
        service("batch", of_target),
        service("other", json!({"selector": {"app": "shop-primary"}})),
    ];
    assert_eq!(found_in("Service", &both).uncovered, ["Service/batch"]);
}
