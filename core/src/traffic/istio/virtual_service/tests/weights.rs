//! Which weights a split writes, and which come back when it is undone.

use super::*;

#[test]
fn weights_follow_the_share_of_the_destination() {
    // Weights of (primary, canary) for destinations with these weights, of which the first is ours.
    let table = [
        (vec![Some(100)], 30, (70, 30)),
        (vec![None], 1, (99, 1)),
        (vec![None], 0, (100, 0)),
        (vec![Some(30)], 50, (50, 50)),
        (vec![Some(0)], 50, (50, 50)),
        // All weights of a route are multiplied so that every percentage is exact.
        (vec![Some(40), Some(60)], 25, (150, 50)),
        (vec![Some(40), Some(60)], 1, (198, 2)),
        (vec![Some(40), Some(60)], 99, (2, 198)),
        (vec![Some(40), Some(60)], 100, (0, 200)),
        (vec![Some(1), Some(99)], 99, (1, 99)),
        (vec![Some(1), Some(99)], 100, (0, 100)),
        (vec![Some(3), Some(1)], 10, (270, 30)),
        (vec![Some(200), Some(7)], 10, (180, 20)),
    ];
    for (weights, w, expected) in table {
        let mut hosts = ["cart", "other"].into_iter();
        let route: Vec<Value> = weights
            .iter()
            .map(|weight| {
                let mut entry = json!({ "destination": { "host": hosts.next() } });
                if let Some(weight) = weight {
                    entry["weight"] = json!(weight);
                }
                entry
            })
            .collect();
        let vs = service(&json!({ "http": [{ "route": route }] }));
        let split = after_split(&vs, w);
        assert_eq!(
            split["spec"]["http"][0]["route"][0],
            to("cart-primary", expected.0),
            "{weights:?} at {w}"
        );
        assert_eq!(
            split["spec"]["http"][0]["route"][1],
            to("cart-canary", expected.1),
            "{weights:?} at {w}"
        );
        let foreign = split
            .pointer("/spec/http/0/route/2/weight")
            .and_then(Value::as_i64);
        let ours = expected.0 + expected.1;
        let ratio = |foreign: Option<i64>, ours: i64| foreign.map(|w| w as f64 / ours as f64);
        let first = weights[0].filter(|_| weights.len() > 1).unwrap_or(100);
        assert_eq!(
            ratio(foreign, ours),
            ratio(weights.get(1).copied().flatten(), first),
            "{weights:?} at {w}"
        );
        assert_eq!(after_merge(&split), vs, "{weights:?} at {w}");
    }
}

#[test]
fn an_already_split_route_gets_only_new_weights_guarded_by_what_was_seen() {
    let vs = service(&json!({ "http": [{ "route": [to("cart-primary", 95), to("cart-canary", 5)] }] }));
    let patch = split(&vs, &names(), percent(10)).unwrap();
    assert_eq!(
        serde_json::to_value(&patch).unwrap(),
        json!([
            { "op": "test", "path": "/metadata/resourceVersion", "value": "7" },
            { "op": "test", "path": "/spec/http/0/route/0/destination/host", "value": "cart-primary" },
            { "op": "test", "path": "/spec/http/0/route/0/weight", "value": 95 },
            { "op": "replace", "path": "/spec/http/0/route/0/weight", "value": 90 },
            { "op": "test", "path": "/spec/http/0/route/1/destination/host", "value": "cart-canary" },
            { "op": "test", "path": "/spec/http/0/route/1/weight", "value": 5 },
            { "op": "replace", "path": "/spec/http/0/route/1/weight", "value": 10 },
        ])
    );
    assert!(split(&vs, &names(), percent(5)).unwrap().0.is_empty());
    assert!(is_at(&vs, &names(), percent(5)));
    assert!(!is_at(&vs, &names(), percent(6)));
}

#[test]
fn weights_broken_by_hand_are_restored() {
    for (primary, canary) in [(50, 50), (0, 0), (100, 50), (7, 0)] {
        let vs = service(
            &json!({ "http": [{ "route": [to("cart-primary", primary), to("cart-canary", canary)] }] }),
        );
        let route = after_split(&vs, 20)["spec"]["http"][0]["route"].clone();
        assert_eq!(
            route,
            json!([to("cart-primary", 80), to("cart-canary", 20)]),
            "from {primary}/{canary}"
        );
    }
}

#[test]
fn weights_of_a_split_route_move_without_touching_the_foreign_one() {
    let vs = service(&json!({ "http": [{ "route": [to("cart", 3), to("legacy", 1)] }] }));
    let weights = |vs: &Value| -> Vec<i64> {
        let route = vs["spec"]["http"][0]["route"].as_array().unwrap();
        route
            .iter()
            .map(|entry| entry["weight"].as_i64().unwrap())
            .collect()
    };
    let ten = after_split(&vs, 10);
    assert_eq!(weights(&ten), [270, 30, 100]);
    assert!(is_at(&ten, &names(), percent(10)));
    assert_eq!(read(&ten, &names()).unwrap().weight, Some(percent(10)));
    let patch = serde_json::to_value(split(&ten, &names(), percent(50)).unwrap()).unwrap();
    let written = patch.as_array().unwrap().iter().filter(|op| op["op"] != "test");
    let paths: Vec<_> = written.map(|op| op["path"].as_str().unwrap()).collect();
    assert_eq!(
        paths,
        ["/spec/http/0/route/0/weight", "/spec/http/0/route/1/weight"]
    );
}

#[test]
fn weights_that_a_user_changed_in_a_split_route_are_what_comes_back() {
    let vs = service(&json!({ "http": [{ "route": [to("cart", 3), to("legacy", 1)] }] }));
    // As far as it is still a multiple, it is divided again; else it stays as written. The ratio is the user's always.
    for (foreign, ours, theirs) in [(200, 3, 2), (150, 300, 150)] {
        let mut split = after_split(&vs, 10);
        split["spec"]["http"][0]["route"][2]["weight"] = json!(foreign);
        for w in [10, 60] {
            let merged = after_merge(&after_split(&split, w));
            let expected = json!([to("cart", ours), to("legacy", theirs)]);
            assert_eq!(merged["spec"]["http"][0]["route"], expected, "{foreign} at {w}");
        }
    }
}

#[test]
fn route_that_an_earlier_version_split_is_scaled_with_the_next_weight() {
    let vs = service(
        &json!({ "http": [{ "route": [to("cart-primary", 36), to("cart-canary", 4), to("other", 60)] }] }),
    );
    assert_eq!(read(&vs, &names()).unwrap().weight, Some(percent(10)));
    let split = after_split(&vs, 1);
    let expected = json!([to("cart-primary", 198), to("cart-canary", 2), to("other", 300)]);
    assert_eq!(split["spec"]["http"][0]["route"], expected);
    let merged = json!([to("cart", 40), to("other", 60)]);
    assert_eq!(after_merge(&split)["spec"]["http"][0]["route"], merged);
}
