//! What holds of any VirtualService and any weight.

use json_patch::PatchOperation;
use proptest::prelude::*;

use super::*;

fn unknown() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({})),
        Just(json!({ "retries": { "attempts": 3, "retryOn": "5xx" } })),
        (0..3i64).prop_map(|n| json!({ "future": [{ "nested": n }], "a/b~c": null })),
    ]
}

fn destination() -> impl Strategy<Value = Value> {
    let host = prop_oneof![
        3 => Just("cart"), 1 => Just("cart.shop"), 1 => Just("cart.shop.svc.cluster.local"),
        2 => Just("other"), 1 => Just("cart.elsewhere"),
    ];
    let weight = prop_oneof![Just(None), (0..=100i64).prop_map(Some), Just(Some(100))];
    (host, weight, unknown(), unknown()).prop_map(|(host, weight, inner, mut entry)| {
        entry["destination"] = inner;
        entry["destination"]["host"] = json!(host);
        if let Some(weight) = weight {
            entry["weight"] = json!(weight);
        }
        entry
    })
}

fn route() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        Just(None),
        Just(Some("main")),
        Just(Some("12")),
        Just(Some("odd, name=1"))
    ];
    (prop::collection::vec(destination(), 0..4), unknown(), name).prop_map(|(entries, mut route, name)| {
        if let Some(name) = name {
            route["name"] = json!(name);
        }
        if !entries.is_empty() {
            route["route"] = json!(entries);
        }
        route
    })
}

/// Two routes of one name are refused by Istio's validation; here the first keeps it.
fn unique_names(mut routes: Vec<Value>) -> Vec<Value> {
    let mut seen = std::collections::BTreeSet::new();
    for route in &mut routes {
        if route
            .get("name")
            .is_some_and(|name| !seen.insert(name.to_string()))
        {
            route.as_object_mut().unwrap().remove("name");
        }
    }
    routes
}

prop_compose! {
    fn virtual_service()(
        http in prop::collection::vec(route(), 0..4),
        tcp in prop::collection::vec(route(), 0..3),
        extra in unknown(),
        note in any::<bool>(),
    ) -> Value {
        let mut spec = extra;
        spec["http"] = json!(unique_names(http));
        if !tcp.is_empty() {
            spec["tcp"] = json!(unique_names(tcp));
        }
        let mut vs = service(&spec);
        if note {
            vs["metadata"]["annotations"] = json!({ "note": "kept", "x/y": "z" });
        }
        vs
    }
}

fn has_managed(vs: &Value) -> bool {
    ["http", "tcp"]
        .into_iter()
        .flat_map(|p| vs["spec"][p].as_array().into_iter().flatten())
        .any(|route| {
            let mut entries = route["route"].as_array().into_iter().flatten();
            entries.any(|e| {
                names()
                    .matches(e["destination"]["host"].as_str().unwrap())
                    .is_some()
            })
        })
}

proptest! {
    #[test]
    fn merge_undoes_any_number_of_splits(vs in virtual_service(), ws in prop::collection::vec(0..=100i64, 1..4)) {
        prop_assume!(has_managed(&vs));
        let split = ws.iter().fold(vs.clone(), |vs, w| after_split(&vs, *w));
        prop_assert_eq!(after_merge(&split), vs);
    }

    #[test]
    fn what_split_wrote_is_what_is_read(vs in virtual_service(), w in 0..=100i64) {
        prop_assume!(has_managed(&vs));
        let done = after_split(&vs, w);
        prop_assert!(is_at(&done, &names(), percent(w)));
        let state = read(&done, &names()).unwrap();
        prop_assert!(state.split && state.touched);
        let routes = managed_routes(&done, &names()).unwrap();
        let shares: Vec<i64> = routes.iter().flat_map(|r| r.units.iter().map(|u| r.share(*u))).collect();
        let expected = shares.iter().any(|s| *s > 0).then(|| percent(w));
        prop_assert_eq!(state.weight, expected);
        if let Some(weight) = state.weight {
            prop_assert!(is_at(&done, &names(), weight));
        }
    }

    #[test]
    fn foreign_destinations_keep_their_ratio_to_ours_and_everything_else(vs in virtual_service(), w in 0..=100i64) {
        prop_assume!(has_managed(&vs));
        let done = after_split(&vs, w);
        for protocol in ["http", "tcp"] {
            for (index, before) in vs["spec"][protocol].as_array().into_iter().flatten().enumerate() {
                let after = &done["spec"][protocol][index];
                let entries = |route: &Value| route["route"].as_array().cloned().unwrap_or_default();
                let weight = |e: &Value| e["weight"].as_i64().unwrap_or(0);
                let sum = |route: &Value| entries(route).iter().map(weight).sum::<i64>();
                let foreign = |route: &Value| -> Vec<Value> {
                    let host = |e: &Value| e["destination"]["host"].as_str().unwrap().to_owned();
                    entries(route).into_iter().filter(|e| names().matches(&host(e)).is_none()).collect()
                };
                let rest = |mut e: Value| {
                    let weight = e.as_object_mut().unwrap().remove("weight");
                    (e, weight.is_some())
                };
                let (old, new) = (foreign(before), foreign(after));
                for (old, new) in old.iter().zip(&new) {
                    prop_assert_eq!(weight(old) * sum(after), weight(new) * sum(before));
                    prop_assert_eq!(rest(old.clone()), rest(new.clone()));
                }
                prop_assert_eq!(old.len(), new.len());
                if !old.is_empty() {
                    prop_assert_eq!(sum(after) % sum(before).max(1), 0, "one factor");
                }
            }
        }
    }

    #[test]
    fn every_patch_begins_with_the_version(vs in virtual_service(), w in 0..=100i64) {
        prop_assume!(has_managed(&vs));
        let patch = split(&vs, &names(), percent(w)).unwrap();
        let first = patch.0.first().cloned();
        prop_assert!(matches!(first, Some(PatchOperation::Test(t)) if t.path.as_str() == "/metadata/resourceVersion"));
    }
}
