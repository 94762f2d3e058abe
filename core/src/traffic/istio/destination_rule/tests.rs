use super::*;

fn names() -> ServiceNames {
    ServiceNames {
        namespace: "shop".into(),
        apex: "cart".into(),
        primary: "cart-primary".into(),
        canary: "cart-canary".into(),
    }
}

fn selector() -> Selector {
    Selector {
        label: "app".to_owned(),
        value: "cart".to_owned(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "callers build it in place")]
fn rule(namespace: &str, name: &str, spec: Value) -> Value {
    json!({ "metadata": { "name": name, "namespace": namespace }, "spec": spec })
}

fn policy(traffic_policy: &Value) -> Policies {
    Policies {
        traffic_policy: Some(traffic_policy.clone()),
        ..Policies::default()
    }
}

/// The policy's one number, as applied from `rules`.
fn pending(rules: &[Value]) -> Option<i64> {
    applying(rules, &names()).traffic_policy?.get("n")?.as_i64()
}

#[test]
fn traffic_policy_is_kept_with_all_its_fields() {
    let given = json!({ "tls": { "mode": "ISTIO_MUTUAL" }, "portLevelSettings": [{ "unknown": 1 }] });
    let spec = build(&names(), Role::Canary, &policy(&given), None);
    assert_eq!(spec, json!({ "host": "cart-canary", "trafficPolicy": given }));
    assert_eq!(
        build(&names(), Role::Primary, &Policies::default(), None),
        json!({ "host": "cart-primary" })
    );
}

#[test]
fn what_a_user_added_is_no_drift_and_what_is_desired_is() {
    let desired = build(
        &names(),
        Role::Primary,
        &policy(&json!({ "tls": { "mode": "DISABLE" } })),
        None,
    );
    assert!(!drift(&desired, &desired));
    let mut live = desired.clone();
    live["subsets"] = json!([{ "name": "v1" }]);
    assert!(!drift(&live, &desired));
    live["trafficPolicy"]["tls"]["mode"] = json!("SIMPLE");
    assert!(drift(&live, &desired));
    live = desired.clone();
    live["host"] = json!("else");
    assert!(drift(&live, &desired));
    assert!(
        drift(
            &desired,
            &build(&names(), Role::Primary, &Policies::default(), None)
        ),
        "a policy that was taken back must go"
    );
    let mut wanted = desired.clone();
    wanted["subsets"] = json!([{ "name": "v2" }]);
    assert!(drift(&desired, &wanted), "a subset that a route needs must come");
}

#[test]
fn closest_rule_applies() {
    let n = |host: &str, n: i64| json!({ "host": host, "trafficPolicy": { "n": n } });
    let everything = rule("istio-system", "all", n("*", 1));
    let root = rule("istio-system", "exact", n("cart.shop.svc.cluster.local", 2));
    let wildcard = rule("shop", "wild", n("*.shop.svc.cluster.local", 3));
    let exact = rule("shop", "exact", n("cart", 4));
    assert_eq!(pending(std::slice::from_ref(&everything)), Some(1));
    assert_eq!(
        pending(&[everything.clone(), root.clone()]),
        Some(2),
        "exact before wildcard"
    );
    assert_eq!(
        pending(&[root.clone(), wildcard.clone()]),
        Some(3),
        "its own namespace before the root"
    );
    assert_eq!(pending(&[wildcard, exact.clone(), root, everything]), Some(4));
    let foreign = [
        rule("istio-system", "short", n("cart", 5)),
        rule("shop", "other", n("cart-canary", 6)),
        rule(
            "shop",
            "hidden",
            json!({ "host": "cart", "exportTo": ["elsewhere"], "trafficPolicy": { "n": 7 } }),
        ),
        rule(
            "istio-system",
            "private",
            json!({ "host": "*", "exportTo": ["."], "trafficPolicy": { "n": 8 } }),
        ),
        rule(
            "shop",
            "some",
            json!({ "host": "cart", "workloadSelector": {}, "trafficPolicy": { "n": 9 } }),
        ),
    ];
    assert_eq!(pending(&foreign), Some(7), "for whom it is exported to");
    let unheard: Vec<Value> = foreign
        .iter()
        .filter(|rule| rule["metadata"]["name"] != "hidden")
        .cloned()
        .collect();
    assert_eq!(pending(&unheard), None, "none of them applies");
    let mut mixed = foreign.to_vec();
    mixed.push(exact);
    assert_eq!(pending(&mixed), Some(4));
}

#[test]
fn several_rules_for_one_host_count_as_one() {
    let dated = |name: &str, created: &str, spec: Value| {
        let mut rule = rule("shop", name, spec);
        rule["metadata"]["creationTimestamp"] = json!(created);
        rule
    };
    let rules = [
        dated(
            "b",
            "2026-02-01T00:00:00Z",
            json!({ "host": "cart", "trafficPolicy": { "n": 2 },
            "subsets": [{ "name": "v1", "labels": { "x": "late" } }, { "name": "v2" }] }),
        ),
        dated(
            "a",
            "2026-01-01T00:00:00Z",
            json!({ "host": "cart.shop",
            "subsets": [{ "name": "v1", "labels": { "x": "early" } }] }),
        ),
    ];
    let found = applying(&rules, &names());
    assert_eq!(found.traffic_policy, Some(json!({ "n": 2 })));
    let subsets: Vec<_> = found
        .subsets
        .iter()
        .map(|s| (s.rule.as_str(), s.body.clone()))
        .collect();
    let expected = [
        ("a", json!({ "name": "v1", "labels": { "x": "early" } })),
        ("b", json!({ "name": "v2" })),
    ];
    assert_eq!(subsets, expected);
}

#[test]
fn subset_selects_the_pods_of_each_side() {
    let steady =
        json!({ "name": "steady", "labels": { "app": "cart", "tier": "web" }, "trafficPolicy": { "n": 1 } });
    let other = json!({ "name": "other", "labels": { "app": "else" } });
    let rules = [rule(
        "shop",
        "cart",
        json!({ "host": "cart", "exportTo": ["*"], "subsets": [steady, other] }),
    )];
    let policies = applying(&rules, &names());
    let canary = build(&names(), Role::Canary, &policies, Some(&selector()));
    assert_eq!(canary["subsets"], json!([steady, other]));
    assert_eq!(canary["exportTo"], json!(["*"]));
    let primary = build(&names(), Role::Primary, &policies, Some(&selector()));
    let mut wanted = steady.clone();
    wanted["labels"]["app"] = json!("cart-primary");
    assert_eq!(primary["subsets"], json!([wanted, other]));
}

#[test]
fn subset_that_cannot_be_served_is_named_with_what_would_be_right() {
    let subsets = json!([
        { "name": "steady", "labels": { "app": "cart" } }, { "name": "v1", "labels": { "version": "v1" } },
        { "name": "zone", "labels": { "zone": "a" } }, { "name": "all" },
    ]);
    let rules = [rule(
        "shop",
        "cart-rule",
        json!({ "host": "cart", "subsets": subsets }),
    )];
    let policies = applying(&rules, &names());
    let template = json!({ "metadata": { "labels": { "app": "cart", "version": "v2" } } });
    let says = |used: &[&str]| {
        let used = used.iter().map(ToString::to_string).collect();
        unfit_subsets(&used, &policies, &names(), Some(&template)).join("; ")
    };
    assert_eq!(says(&["steady", "all"]), "");
    let found = says(&["v1"]);
    assert!(
        found.starts_with("DestinationRule cart-rule: subset v1,"),
        "{found}"
    );
    assert!(
        found.contains("selects version=v1, and the new pods have version=v2"),
        "{found}"
    );
    assert!(says(&["zone"]).contains("have no such label"));
    let found = says(&["gone"]);
    assert!(
        found.contains("subset gone of Service cart, which no DestinationRule for cart defines"),
        "{found}"
    );
}

/// A rule was for its own namespace alone; its owner opens it to the gateway's by taking `exportTo` away.
#[test]
fn rule_that_is_opened_to_all_namespaces_opens_ours() {
    let built = |spec: Value| {
        let policies = applying([&rule("shop", "r", spec)], &names());
        build(&names(), Role::Primary, &policies, Some(&selector()))
    };
    let policy = json!({ "n": 1 });
    let closed = built(json!({ "host": "cart", "exportTo": ["."], "trafficPolicy": policy }));
    let open = built(json!({ "host": "cart", "trafficPolicy": policy }));
    assert_eq!(closed["exportTo"], json!(["."]));
    assert!(drift(&closed, &open) && drift(&open, &closed) && !drift(&open, &open));
}

/// Only gateways are to heed it, and go on to.
#[test]
fn rule_that_is_for_other_namespaces_alone_is_carried_over_for_them() {
    let own = rule(
        "shop",
        "cart-for-gateways",
        json!({ "host": "cart", "exportTo": ["istio-system"], "trafficPolicy": { "tls": { "mode": "SIMPLE" } } }),
    );
    let mut policies = applying([&own], &names());
    assert_eq!(
        policies.traffic_policy,
        Some(json!({ "tls": { "mode": "SIMPLE" } }))
    );
    assert_eq!(policies.export_to, Some(json!(["istio-system"])));
    policies.overrule(&json!({ "n": 1 }), &names());
    assert_eq!(policies.traffic_policy, Some(json!({ "n": 1 })));
    assert_eq!(policies.export_to, None, "what the Canary says is for everybody");
    let nobody = rule(
        "shop",
        "cart",
        json!({ "host": "cart", "exportTo": ["~"], "trafficPolicy": { "n": 1 } }),
    );
    assert_eq!(applying([&nobody], &names()), Policies::default());
}

#[test]
fn rules_for_callers_of_different_namespaces_are_named() {
    const EXACT: &str = "cart.shop.svc.cluster.local";
    let of = |namespace: &str, name: &str, host: &str, to: &[&str]| {
        rule(
            namespace,
            name,
            json!({ "host": host, "exportTo": to, "trafficPolicy": { "n": 1 } }),
        )
    };
    let own = |name: &str, to: &[&str]| of("shop", name, "cart", to);
    let wild = |name: &str, to: &[&str]| of("shop", name, "*.shop.svc.cluster.local", to);
    let lost = |rules: &[Value]| unheard(rules, &names());
    let gateways = own("gateways", &["istio-system"]);
    let found = lost(&[own("here", &["."]), gateways.clone()]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("DestinationRule gateways: it and DestinationRule here"),
        "{found:?}"
    );
    for (rules, expected) in [
        (vec![gateways.clone()], 0),
        (vec![gateways.clone(), own("same", &["istio-system"])], 0),
        (vec![gateways.clone(), own("other", &["edge"])], 1),
        (vec![own("all", &[]), gateways.clone()], 1),
        // Where the copy is heeded too, it is closer than a wildcard.
        (vec![own("all", &["*"]), wild("w", &["istio-system"])], 0),
        (vec![wild("all", &[]), wild("w", &["istio-system"])], 1),
        (vec![wild("here", &["."]), wild("w", &["istio-system"])], 0),
        (vec![wild("here", &["."]), gateways.clone()], 1),
        // Callers here heed the rule of the root namespace, which is about the two sides as well if it is a wildcard.
        (
            vec![gateways.clone(), of("istio-system", "root", "*.local", &[])],
            0,
        ),
        (vec![gateways.clone(), of("istio-system", "root", EXACT, &[])], 1),
        (
            vec![own("here", &["."]), of("istio-system", "root", EXACT, &[])],
            0,
        ),
    ] {
        let found = lost(&rules);
        assert_eq!(found.len(), expected, "{rules:#?}: {found:?}");
    }
}
