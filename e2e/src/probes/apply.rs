//! Server-side apply: who owns which field.

use anyhow::Result;
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use super::{Ground, Probe, in_words, lease, verdict, version};
use crate::objects::Kind;

pub(super) fn probes() -> Vec<Probe> {
    vec![
        Probe::new(
            "apply-creates",
            creates,
            json!({
                "made": "ok", "same again moves the version": false, "another uid": "422 Invalid",
                "uid of an object that is gone": "409 Conflict",
            }),
        ),
        Probe::new(
            "apply-conflict",
            conflict,
            json!({
                "unforced": "409 Conflict: Apply failed with 1 conflict: conflict with \"one\": .spec.holderIdentity",
                "same value": "ok", "forced": "two", "the loser comes back": "409 Conflict",
                "the loser lets go": "two",
            }),
        ),
        Probe::new(
            "apply-removes",
            removes,
            json!({"alone": null, "shared": {"both": "yes", "second": "yes"}, "by nobody": {"second": "yes"}}),
        ),
        Probe::new(
            "apply-and-update-are-apart",
            apart,
            json!({"updated by the same name stays": "yes", "applied over an update": "409 Conflict", "forced": "applied"}),
        ),
        Probe::new(
            "apply-with-version",
            versions,
            json!({"stale": "409 Conflict", "right": "ok", "of a missing object": "ok"}),
        ),
        Probe::new(
            "apply-lists",
            lists,
            json!({"ports": [80, 81], "after the second lets go": [80], "set of the first": [["first"], ["first", "second"]]}),
        ),
    ]
}

async fn apply(ground: &Ground, manager: &str, force: bool, object: &Value) -> kube::Result<DynamicObject> {
    let mut params = PatchParams::apply(manager);
    params.force = force;
    let kind = match object["kind"].as_str() {
        Some("Service") => Kind::Service,
        Some("Canary") => Kind::Canary,
        _ => Kind::Lease,
    };
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    ground.api(kind).patch(name, &params, &Patch::Apply(object)).await
}

fn held_by(name: &str, holder: &str) -> Value {
    let mut lease = lease(name);
    lease["spec"] = json!({"holderIdentity": holder});
    lease
}

fn labelled(name: &str, labels: Value) -> Value {
    let mut lease = lease(name);
    if !labels.is_null() {
        lease["metadata"]["labels"] = labels;
    }
    lease["spec"] = json!({});
    lease
}

async fn creates(ground: Ground) -> Result<Value> {
    let made = apply(&ground, "one", false, &held_by("applied", "one")).await;
    let before = made.as_ref().map(version).unwrap_or_default();
    let again = apply(&ground, "one", false, &held_by("applied", "one")).await?;
    let mut other = held_by("applied", "one");
    other["metadata"]["uid"] = json!("00000000-0000-4000-8000-ffffffffffff");
    let mut gone = held_by("gone", "one");
    gone["metadata"]["uid"] = other["metadata"]["uid"].clone();
    Ok(json!({
        "made": verdict(made),
        "same again moves the version": version(&again) != before,
        "another uid": verdict(apply(&ground, "one", false, &other).await),
        "uid of an object that is gone": verdict(apply(&ground, "one", false, &gone).await),
    }))
}

async fn conflict(ground: Ground) -> Result<Value> {
    apply(&ground, "one", false, &held_by("contested", "one")).await?;
    let unforced = in_words(apply(&ground, "two", false, &held_by("contested", "two")).await);
    let same = verdict(apply(&ground, "three", false, &held_by("contested", "one")).await);
    apply(&ground, "three", false, &labelled("contested", Value::Null)).await?;
    let forced = apply(&ground, "two", true, &held_by("contested", "two")).await?;
    let back = verdict(apply(&ground, "one", false, &held_by("contested", "one")).await);
    let let_go = apply(&ground, "one", false, &labelled("contested", Value::Null)).await?;
    Ok(json!({
        "unforced": unforced,
        "same value": same,
        "forced": forced.data["spec"]["holderIdentity"],
        "the loser comes back": back,
        "the loser lets go": let_go.data["spec"]["holderIdentity"],
    }))
}

async fn removes(ground: Ground) -> Result<Value> {
    let both = json!({"both": "yes", "first": "yes"});
    apply(
        &ground,
        "one",
        false,
        &labelled("removed", json!({"gone": "yes"})),
    )
    .await?;
    let alone = apply(&ground, "one", false, &labelled("removed", both)).await?;
    let second = json!({"both": "yes", "second": "yes"});
    apply(&ground, "two", false, &labelled("removed", second)).await?;
    let shared = apply(&ground, "one", false, &labelled("removed", json!({}))).await?;
    let nobody = apply(
        &ground,
        "two",
        false,
        &labelled("removed", json!({"second": "yes"})),
    )
    .await?;
    Ok(json!({
        "alone": alone.metadata.labels.and_then(|labels| labels.get("gone").cloned()),
        "shared": shared.metadata.labels,
        "by nobody": nobody.metadata.labels,
    }))
}

async fn apart(ground: Ground) -> Result<Value> {
    let api = ground.api(Kind::Lease);
    apply(
        &ground,
        "one",
        false,
        &labelled("apart", json!({"applied": "yes"})),
    )
    .await?;
    let params = PatchParams {
        field_manager: Some("one".to_owned()),
        ..PatchParams::default()
    };
    let update = Patch::Merge(json!({"metadata": {"labels": {"updated": "yes"}}}));
    api.patch("apart", &params, &update).await?;
    let again = apply(
        &ground,
        "one",
        false,
        &labelled("apart", json!({"applied": "yes"})),
    )
    .await?;
    let over = Patch::Merge(json!({"metadata": {"labels": {"applied": "updated"}}}));
    api.patch("apart", &params, &over).await?;
    let contested = labelled("apart", json!({"applied": "applied"}));
    let unforced = verdict(apply(&ground, "one", false, &contested).await);
    let forced = apply(&ground, "one", true, &contested).await?;
    let label = |object: &DynamicObject, name: &str| {
        object
            .metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(name).cloned())
    };
    Ok(json!({
        "updated by the same name stays": label(&again, "updated"),
        "applied over an update": unforced,
        "forced": label(&forced, "applied"),
    }))
}

async fn versions(ground: Ground) -> Result<Value> {
    let first = apply(&ground, "one", false, &held_by("versioned", "one")).await?;
    let second = apply(&ground, "one", false, &held_by("versioned", "two")).await?;
    let with = |version: String, name: &str| {
        let mut object = held_by(name, "three");
        object["metadata"]["resourceVersion"] = json!(version);
        object
    };
    Ok(json!({
        "stale": verdict(apply(&ground, "one", true, &with(version(&first), "versioned")).await),
        "right": verdict(apply(&ground, "one", true, &with(version(&second), "versioned")).await),
        "of a missing object": verdict(apply(&ground, "one", true, &with(version(&first), "no-such")).await),
    }))
}

/// Lists with keys are merged item by item, sets by their items.
async fn lists(ground: Ground) -> Result<Value> {
    let with_port = |port: u16| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "listed"}, "spec": {
            "ports": [{"name": format!("p{port}"), "port": port}],
        }})
    };
    let ports = |object: &DynamicObject| -> Vec<Value> {
        let ports = object.data["spec"]["ports"].as_array().into_iter().flatten();
        ports.map(|port| port["port"].clone()).collect()
    };
    apply(&ground, "one", false, &with_port(80)).await?;
    let both = apply(&ground, "two", false, &with_port(81)).await?;
    let mut none = with_port(81);
    none["spec"] = json!({});
    let one_left = apply(&ground, "two", false, &none).await?;
    let held = |names: &[&str]| {
        let mut object = super::canary("listed");
        let names = names.iter().map(|name| format!("example.com/{name}"));
        object["metadata"]["finalizers"] = names.collect();
        object
    };
    let short = |object: &DynamicObject| -> Vec<String> {
        let all = object.metadata.finalizers.iter().flatten();
        all.map(|name| name.trim_start_matches("example.com/").to_owned())
            .collect()
    };
    let first = apply(&ground, "one", false, &held(&["first"])).await?;
    let second = apply(&ground, "two", false, &held(&["second"])).await?;
    apply(&ground, "one", false, &held(&[])).await?;
    apply(&ground, "two", false, &held(&[])).await?;
    Ok(json!({
        "ports": ports(&both),
        "after the second lets go": ports(&one_left),
        "set of the first": [short(&first), short(&second)],
    }))
}
