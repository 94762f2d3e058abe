use serde_json::{Value, json};

use super::*;

fn selector() -> Selector {
    Selector {
        label: "app".to_owned(),
        value: "shop".to_owned(),
    }
}

/// The workload with pods of this track.
fn target(track: &str) -> Value {
    json!({"metadata": {"name": "shop"}, "spec": {
        "selector": {"matchLabels": {"app": "shop"}},
        "template": {"metadata": {"labels": {"app": "shop", "track": track}}},
    }})
}

fn live(selector: &Value) -> Value {
    json!({"metadata": {"name": "shop", "resourceVersion": "1"}, "spec": {"selector": selector}})
}

fn pointed(live: &Value, target: &Value, wanted: Serves) -> Value {
    let mut after = live.clone();
    let ops = point_adopted(live, target, &selector(), wanted);
    let ops: json_patch::Patch = serde_json::from_value(ops).unwrap();
    json_patch::patch(&mut after, &ops).unwrap();
    after
}

fn selects(service: &Value) -> &Value {
    &service["spec"]["selector"]
}

#[test]
fn selector_that_comes_back_is_the_one_that_its_owner_wrote_last() {
    let (old, new) = (
        json!({"app": "shop", "track": "v1"}),
        json!({"app": "shop", "track": "v2"}),
    );
    let mut service = pointed(&live(&old), &target("v1"), Serves::Primary);
    assert_eq!(selects(&service), &json!({"app": "shop-primary"}));
    assert_eq!(selects(&pointed(&service, &target("v1"), Serves::Target)), &old);
    // A chart changes it with the labels of the pods, and is applied again later: annotations of others stay.
    for _ in 0..2 {
        service["spec"]["selector"] = new.clone();
        service = pointed(&service, &target("v1"), Serves::Primary);
        assert_eq!(selects(&service), &json!({"app": "shop-primary"}));
    }
    assert_eq!(selects(&pointed(&service, &target("v2"), Serves::Target)), &new);
}

#[test]
fn selector_that_fits_no_pod_does_not_come_back() {
    let fits_all = json!({"app": "shop"});
    let service = pointed(
        &live(&json!({"app": "shop", "track": "v1"})),
        &target("v1"),
        Serves::Primary,
    );
    assert_eq!(
        selects(&pointed(&service, &target("v2"), Serves::Target)),
        &fits_all
    );
    let applied = live(&json!({"app": "shop", "track": "v2"}));
    assert_eq!(
        selects(&pointed(&applied, &target("v1"), Serves::Target)),
        &fits_all
    );
    let mut spoilt = service;
    spoilt["metadata"]["annotations"][SELECTOR_ANNOTATION] = json!("{}");
    assert_eq!(
        selects(&pointed(&spoilt, &target("v1"), Serves::Target)),
        &fits_all
    );
}
