//! VirtualServices that are split, read and merged.

mod properties; // what holds of any of them
mod weights; // which weights are written

use super::*;

fn names() -> ServiceNames {
    ServiceNames {
        namespace: "shop".into(),
        apex: "cart".into(),
        primary: "cart-primary".into(),
        canary: "cart-canary".into(),
    }
}

fn percent(w: i64) -> Weight {
    Weight::new(w).unwrap()
}

fn service(spec: &Value) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": { "name": "cart", "namespace": "shop", "resourceVersion": "7" },
        "spec": spec,
    })
}

fn patched(vs: &Value, patch: &Patch) -> Value {
    let mut vs = vs.clone();
    json_patch::patch(&mut vs, patch).unwrap();
    // The API server keeps no empty map of metadata.
    for section in ["labels", "annotations"] {
        if vs["metadata"][section] == json!({}) {
            vs["metadata"].as_object_mut().unwrap().remove(section);
        }
    }
    vs
}

fn after_split(vs: &Value, w: i64) -> Value {
    patched(vs, &split(vs, &names(), percent(w)).unwrap())
}

fn after_merge(vs: &Value) -> Value {
    patched(vs, &merge(vs, &names()).unwrap())
}

fn to(host: &str, weight: i64) -> Value {
    json!({ "destination": { "host": host }, "weight": weight })
}

#[test]
fn a_lone_destination_becomes_primary_and_canary_with_all_its_fields() {
    let vs = service(
        &json!({ "hosts": ["cart"], "tls": [], "http": [{ "retries": { "attempts": 3 }, "route": [{
        "destination": { "host": "cart.shop.svc.cluster.local", "port": { "number": 80 }, "new": 1 },
        "headers": { "request": { "set": { "a": "b" } } },
    }] }] }),
    );
    let split = after_split(&vs, 5);
    let half = |host: &str, weight: i64| {
        json!({
            "destination": { "host": format!("{host}.shop.svc.cluster.local"), "port": { "number": 80 }, "new": 1 },
            "headers": { "request": { "set": { "a": "b" } } },
            "weight": weight,
        })
    };
    assert_eq!(
        split.pointer("/spec/http/0/route"),
        Some(&json!([half("cart-primary", 95), half("cart-canary", 5)]))
    );
    assert_eq!(
        split.pointer("/spec/http/0/retries"),
        Some(&json!({ "attempts": 3 }))
    );
    assert_eq!(
        split["metadata"]["annotations"][IMPLICIT_WEIGHT_ANNOTATION],
        json!("http/0")
    );
    assert_eq!(after_merge(&split), vs);
}

#[test]
fn a_concurrent_edit_makes_the_patch_fail() {
    let vs = service(&json!({ "http": [{ "route": [to("cart", 100)] }] }));
    let patch = split(&vs, &names(), percent(10)).unwrap();
    let mut newer = vs.clone();
    newer["metadata"]["resourceVersion"] = json!("8");
    assert!(json_patch::patch(&mut newer, &patch).is_err());
    // Also without the version, as after a restore from a backup.
    let mut shifted =
        service(&json!({ "http": [{ "route": [to("other", 100)] }, { "route": [to("cart", 100)] }] }));
    assert!(json_patch::patch(&mut shifted, &patch).is_err());
}

/// The cache leaves out an annotation that may be long. What it keeps is never taken for all that there is.
#[test]
fn patches_of_an_object_as_the_cache_keeps_it_fit_the_object_as_it_is() {
    const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let kept = |object: &Value| {
        let mut kept = object.clone();
        let annotations = kept["metadata"]["annotations"].as_object_mut().unwrap();
        annotations.remove(LAST_APPLIED);
        kept
    };
    let mut vs =
        service(&json!({ "http": [{ "name": "all", "route": [{ "destination": { "host": "cart" } }] }] }));
    vs["metadata"]["annotations"] = json!({ LAST_APPLIED: "{}" });
    let live = patched(&vs, &split(&kept(&vs), &names(), Weight::ZERO).unwrap());
    assert_eq!(patched(&live, &merge(&kept(&live), &names()).unwrap()), vs);
}

#[test]
fn half_a_pair_that_we_made_is_completed() {
    let named = json!({ "name": "main", "route": [to("cart", 100)] });
    let created = json!({ "name": "bellwether", "route": [to("cart", 100)] });
    for before in [named, created, json!({ "route": [to("cart", 100)] })] {
        for removed in [0, 1] {
            let vs = service(&json!({ "http": [before] }));
            let mut split = after_split(&vs, 20);
            split["spec"]["http"][0]["route"]
                .as_array_mut()
                .unwrap()
                .remove(removed);
            let route = after_split(&split, 20)["spec"]["http"][0]["route"].clone();
            let pair = json!([to("cart-primary", 80), to("cart-canary", 20)]);
            assert_eq!(route, pair, "{before} without {removed}");
            assert_eq!(
                after_merge(&split)["spec"]["http"][0]["route"][0]["destination"]["host"],
                json!("cart")
            );
        }
    }
}

#[test]
fn route_of_the_user_to_one_side_stays() {
    for host in ["cart-canary", "cart-primary.shop.svc.cluster.local"] {
        for name in [None, Some("testers")] {
            let mut tester = json!({ "match": [{ "headers": { "x-tester": { "exact": "1" } } }],
                "route": [{ "destination": { "host": host } }] });
            if let Some(name) = name {
                tester["name"] = json!(name);
            }
            let main = json!({ "route": [{ "destination": { "host": "cart" } }] });
            let vs = service(&json!({ "hosts": ["cart"], "http": [tester, main] }));
            let split = after_split(&vs, 10);
            assert_eq!(split["spec"]["http"][0], tester);
            assert_eq!(read(&split, &names()).unwrap().weight, Some(percent(10)));
            assert_eq!(after_merge(&split), vs);
            // Added while the traffic is split, before what is known by its position.
            let mut later = after_split(&service(&json!({ "http": [main] })), 10);
            later["spec"]["http"]
                .as_array_mut()
                .unwrap()
                .insert(0, tester.clone());
            assert_eq!(after_split(&later, 30)["spec"]["http"][0], tester);
            assert_eq!(after_merge(&later)["spec"]["http"][0], tester);
        }
    }
    let only = service(&json!({ "http": [{ "route": [to("cart-canary", 100)] }] }));
    assert_eq!(
        split(&only, &names(), percent(10)).unwrap_err(),
        RouteError::NoManagedRoute
    );
}

#[test]
fn two_canaries_share_a_virtual_service_and_each_undoes_its_own_part() {
    let other = ServiceNames {
        namespace: "shop".into(),
        apex: "pay".into(),
        primary: "pay-primary".into(),
        canary: "pay-canary".into(),
    };
    let vs = service(&json!({ "hosts": ["shop.example"], "http": [
        { "name": "cart", "route": [{ "destination": { "host": "cart" } }] },
        { "name": "pay", "route": [to("pay", 3), to("legacy", 1)] },
    ] }));
    let both = patched(
        &after_split(&vs, 10),
        &split(&after_split(&vs, 10), &other, percent(30)).unwrap(),
    );
    assert_eq!(read(&both, &names()).unwrap().weight, Some(percent(10)));
    assert_eq!(read(&both, &other).unwrap().weight, Some(percent(30)));
    let theirs = after_merge(&both);
    assert_eq!(read(&theirs, &other).unwrap().weight, Some(percent(30)));
    assert_eq!(theirs["spec"]["http"][0], vs["spec"]["http"][0]);
    assert_eq!(patched(&theirs, &merge(&theirs, &other).unwrap()), vs);
}

#[test]
fn subset_and_port_of_a_destination_are_on_both_sides() {
    let vs = service(&json!({ "http": [
        { "route": [{ "destination": { "host": "cart", "subset": "steady", "port": { "number": 9000 } } }] },
        { "route": [{ "destination": { "host": "other", "subset": "foreign" } }] },
    ] }));
    let used = |vs: &Value| subsets(vs, &names()).unwrap().into_iter().collect::<Vec<_>>();
    assert_eq!(used(&vs), ["steady"]);
    let split = after_split(&vs, 10);
    assert_eq!(used(&split), ["steady"]);
    for side in 0..2 {
        let destination = &split["spec"]["http"][0]["route"][side]["destination"];
        assert_eq!(
            (&destination["subset"], &destination["port"]["number"]),
            (&json!("steady"), &json!(9000))
        );
    }
}

#[test]
fn every_kind_of_route_is_split_whatever_it_is_called() {
    let vs = service(&json!({
        "http": [
            { "name": "bellwether-hook", "route": [to("bellwether-hook.bellwether", 100)] },
            { "redirect": { "uri": "/" } },
            { "name": "bellwether", "route": [to("cart", 100)] },
            { "route": [to("other", 100)] },
            { "name": "bellwether-cart", "route": [to("cart", 100)] },
        ],
        "tcp": [{ "route": [to("cart", 100)] }],
        "tls": [{ "match": [{ "sniHosts": ["cart"] }], "route": [to("cart", 100)] }],
    }));
    let split = after_split(&vs, 20);
    let pair = json!([to("cart-primary", 80), to("cart-canary", 20)]);
    for path in [
        "/spec/http/2/route",
        "/spec/http/4/route",
        "/spec/tcp/0/route",
        "/spec/tls/0/route",
    ] {
        assert_eq!(split.pointer(path), Some(&pair), "{path}");
    }
    for index in [0, 1, 3] {
        assert_eq!(split["spec"]["http"][index], vs["spec"]["http"][index]);
    }
    assert_eq!(
        after_merge(&split),
        vs,
        "what its owner wrote outlives the Canary"
    );
}

#[test]
fn read_tells_what_is_there() {
    let state = |split, touched, weight: Option<i64>| RouteState {
        split,
        touched,
        weight: weight.map(percent),
    };
    let pair = |w: i64| json!({ "route": [to("cart-primary", 100 - w), to("cart-canary", w)] });
    let table = [
        (json!([{ "route": [to("cart", 100)] }]), state(false, false, None)),
        (json!([pair(10)]), state(true, true, Some(10))),
        (json!([pair(10), pair(10)]), state(true, true, Some(10))),
        (json!([pair(10), pair(11)]), state(true, true, None)),
        (
            json!([pair(10), { "route": [to("cart", 100)] }]),
            state(false, true, None),
        ),
        (
            json!([{ "route": [to("cart-primary", 60), to("cart-canary", 60)] }]),
            state(true, true, None),
        ),
        // A share of 30 at 5 % is 1.5, rounded to 2: still the 5 % of the other route.
        (
            json!([pair(5), { "route": [to("cart-primary", 28), to("cart-canary", 2), to("other", 70)] }]),
            state(true, true, Some(5)),
        ),
        (
            json!([{ "route": [to("cart-primary", 15), to("cart-canary", 5), to("other", 80)] }]),
            state(true, true, Some(25)),
        ),
    ];
    for (http, expected) in table {
        assert_eq!(
            read(&service(&json!({ "http": http })), &names()),
            Ok(expected),
            "{http}"
        );
    }
}

#[test]
fn what_cannot_be_used_is_named() {
    let none = service(&json!({ "http": [{ "route": [to("other", 100)] }] }));
    assert_eq!(
        split(&none, &names(), Weight::ZERO).unwrap_err(),
        RouteError::NoManagedRoute
    );
    assert_eq!(read(&none, &names()).unwrap_err(), RouteError::NoManagedRoute);
    assert_eq!(merge(&none, &names()).unwrap(), Patch(vec![]));
    let table = [
        (json!({ "http": {} }), "/spec/http"),
        (
            json!({ "http": [{ "route": [{ "weight": 1 }] }] }),
            "/spec/http/0/route/0/destination/host",
        ),
        (json!({ "tcp": [{ "route": 3 }] }), "/spec/tcp/0/route"),
        (
            json!({ "http": [{ "route": [{ "destination": { "host": "cart" }, "weight": "9" }] }] }),
            "/spec/http/0/route/0/weight",
        ),
        (
            json!({ "http": [{ "route": [{ "destination": { "host": "cart" }, "weight": -1 }] }] }),
            "/spec/http/0/route/0/weight",
        ),
    ];
    for (spec, path) in table {
        let error = split(&service(&spec), &names(), Weight::ZERO).unwrap_err();
        assert_eq!(error, RouteError::Malformed { path: path.into() });
        assert_eq!(error.reason(), "RouteMalformed");
    }
    let mut unversioned = service(&json!({ "http": [{ "route": [to("cart", 100)] }] }));
    unversioned["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("resourceVersion");
    let error = split(&unversioned, &names(), Weight::ZERO).unwrap_err();
    assert_eq!(
        error,
        RouteError::Malformed {
            path: "/metadata/resourceVersion".into()
        }
    );
}

#[test]
fn edits_made_since_stay_when_the_split_is_undone() {
    let vs =
        service(&json!({ "http": [{ "name": "main", "route": [{ "destination": { "host": "cart" } }] }] }));
    let mut split = after_split(&vs, 30);
    split["metadata"]["labels"] = json!({ "team": "a", "bellwether.dev/owner": "b" });
    split["metadata"]["annotations"]["note"] = json!("x");
    split["spec"]["http"][0]["timeout"] = json!("3s");
    let new = json!({ "name": "new", "route": [to("other", 100)] });
    split["spec"]["http"]
        .as_array_mut()
        .unwrap()
        .insert(0, new.clone());
    let mut expected = vs.clone();
    expected["metadata"]["labels"] = json!({ "team": "a" });
    expected["metadata"]["annotations"] = json!({ "note": "x" });
    expected["spec"]["http"] =
        json!([new, { "name": "main", "timeout": "3s", "route": [{ "destination": { "host": "cart" } }] }]);
    assert_eq!(after_merge(&split), expected);
}

#[test]
fn a_cookie_on_one_half_does_not_break_the_pair() {
    let mut canary = to("cart-canary", 10);
    canary["headers"] = json!({ "response": { "add": { "Set-Cookie": "x=y" } } });
    let vs = service(&json!({ "http": [{ "route": [to("cart-primary", 90), canary.clone()] }] }));
    let split = after_split(&vs, 40);
    canary["weight"] = json!(40);
    assert_eq!(
        split["spec"]["http"][0]["route"],
        json!([to("cart-primary", 60), canary])
    );
    assert_eq!(read(&split, &names()).unwrap().weight, Some(percent(40)));
}

#[test]
fn halves_are_matched_by_their_other_fields_when_a_user_reorders_them() {
    let with_port = |host: &str, port: i64, weight: i64| json!({ "destination": { "host": host, "port": { "number": port } }, "weight": weight });
    let vs =
        service(&json!({ "http": [{ "route": [with_port("cart", 80, 60), with_port("cart", 90, 40)] }] }));
    let mut split = after_split(&vs, 50);
    split["spec"]["http"][0]["route"]
        .as_array_mut()
        .unwrap()
        .swap(1, 3);
    let hosts: Vec<_> = (0..4)
        .map(|i| split["spec"]["http"][0]["route"][i]["destination"].to_string())
        .collect();
    assert!(is_at(&split, &names(), percent(50)), "{hosts:?}");
    assert_eq!(after_merge(&split), vs);
}
