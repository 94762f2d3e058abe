//! What Kubernetes' own controllers make of Deployments and Services.

use anyhow::{Context, Result, ensure};
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::{Ground, Probe, SOON, deployment, service};
use crate::objects::Kind;
use crate::wait;

const REVISION: &str = "deployment.kubernetes.io/revision";

pub(super) fn probes() -> Vec<Probe> {
    vec![
        Probe::new(
            "deployment-revisions",
            revisions,
            json!({
                "new": ["1", 1], "scaled": ["1", 1], "another template": ["2", 2], "labelled": ["2", 2],
                "the first again": ["3", 2],
            }),
        ),
        Probe::new(
            "deployment-status",
            status,
            json!({
                "rolled out": {"replicas": 2, "updated": 2, "ready": 2, "available": 2, "unavailable": 0},
                "scaled to zero": {"replicas": 0, "updated": 0, "ready": 0, "available": 0, "unavailable": 0},
                "paused": {"observed": true, "revision": "1"},
            }),
        ),
        Probe::new(
            "replica-sets",
            replica_sets,
            json!({
                "owner": {"apiVersion": "apps/v1", "kind": "Deployment", "controller": true, "blockOwnerDeletion": true, "name": "sets"},
                "owner is this one": true, "hash": true, "selector": true, "desired": 0, "with their Deployment": 0,
            }),
        ),
        Probe::new(
            "endpoint-slices",
            endpoint_slices,
            json!({
                "ready": 2, "addresses differ": true, "address type": "IPv4", "owner": "Service served",
                "managed by": "endpointslice-controller.k8s.io", "scaled to zero": 0, "with their Service": 0,
            }),
        ),
    ]
}

async fn patch(ground: &Ground, name: &str, change: Value) -> Result<DynamicObject> {
    let api = ground.api(Kind::Deployment);
    Ok(api
        .patch(name, &PatchParams::default(), &Patch::Merge(change))
        .await?)
}

/// Waits until the Deployment controller has seen the latest generation and has so many pods, all of them ready.
async fn settled(ground: &Ground, name: &str, pods: i64) -> Result<DynamicObject> {
    wait::until(&format!("{name} is settled"), SOON, async || {
        let object = ground.api(Kind::Deployment).get(name).await?;
        let status = &object.data["status"];
        let number = |field: &str| status[field].as_i64().unwrap_or_default();
        ensure!(
            status["observedGeneration"].as_i64() == object.metadata.generation,
            "not observed: {status}"
        );
        let revision = object
            .metadata
            .annotations
            .as_ref()
            .is_some_and(|a| a.contains_key(REVISION));
        ensure!(
            revision
                && number("replicas") == pods
                && number("updatedReplicas") == pods
                && number("availableReplicas") == pods,
            "not rolled out: {status}"
        );
        Ok(object)
    })
    .await
}

fn revision(object: &DynamicObject) -> Value {
    let annotations = object.metadata.annotations.as_ref();
    json!(annotations.and_then(|a| a.get(REVISION)))
}

async fn sets(ground: &Ground, name: &str) -> Result<Vec<DynamicObject>> {
    let by_app = ListParams::default().labels(&format!("app={name}"));
    Ok(ground.api(Kind::ReplicaSet).list(&by_app).await?.items)
}

async fn revisions(ground: Ground) -> Result<Value> {
    ground.create(Kind::Deployment, deployment("revised")).await?;
    let image = |image: &str| {
        let ports = json!([{"name": "http", "containerPort": 8080}]);
        json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image, "ports": ports}]}}}})
    };
    let look = async || {
        let object = settled(&ground, "revised", object_replicas(&ground).await?).await?;
        anyhow::Ok(json!([revision(&object), sets(&ground, "revised").await?.len()]))
    };
    let new = look().await?;
    patch(&ground, "revised", json!({"spec": {"replicas": 1}})).await?;
    let scaled = look().await?;
    patch(&ground, "revised", image("shop:good-2")).await?;
    let other = look().await?;
    patch(
        &ground,
        "revised",
        json!({"metadata": {"labels": {"changed": "yes"}}}),
    )
    .await?;
    let labelled = look().await?;
    patch(&ground, "revised", image("shop:good-1")).await?;
    Ok(json!({
        "new": new, "scaled": scaled, "another template": other, "labelled": labelled, "the first again": look().await?,
    }))
}

async fn object_replicas(ground: &Ground) -> Result<i64> {
    let object = ground.api(Kind::Deployment).get("revised").await?;
    object.data["spec"]["replicas"].as_i64().context("no replicas")
}

async fn status(ground: Ground) -> Result<Value> {
    let mut object = deployment("counted");
    object["spec"]["replicas"] = json!(2);
    ground.create(Kind::Deployment, object).await?;
    let numbers = |object: &DynamicObject| {
        let number = |field: &str| object.data["status"][field].as_i64().unwrap_or_default();
        json!({
            "replicas": number("replicas"), "updated": number("updatedReplicas"), "ready": number("readyReplicas"),
            "available": number("availableReplicas"), "unavailable": number("unavailableReplicas"),
        })
    };
    let up = numbers(&settled(&ground, "counted", 2).await?);
    patch(&ground, "counted", json!({"spec": {"replicas": 0}})).await?;
    let down = numbers(&settled(&ground, "counted", 0).await?);
    let label = json!({"metadata": {"labels": {"version": "2"}}});
    let paused = patch(
        &ground,
        "counted",
        json!({"spec": {"paused": true, "template": label}}),
    )
    .await?;
    let seen = wait::until("the pause is observed", SOON, async || {
        let object = ground.api(Kind::Deployment).get("counted").await?;
        let observed = object.data["status"]["observedGeneration"].as_i64();
        ensure!(observed == paused.metadata.generation, "{observed:?}");
        Ok(object)
    })
    .await?;
    Ok(json!({
        "rolled out": up, "scaled to zero": down, "paused": {"observed": true, "revision": revision(&seen)},
    }))
}

async fn replica_sets(ground: Ground) -> Result<Value> {
    let made = ground.create(Kind::Deployment, deployment("sets")).await?;
    settled(&ground, "sets", 0).await?;
    let set = sets(&ground, "sets").await?.pop().context("no ReplicaSet")?;
    let set = serde_json::to_value(&set)?;
    let mut owner = set["metadata"]["ownerReferences"][0].clone();
    let uid = owner.as_object_mut().and_then(|fields| fields.remove("uid"));
    let hash = set["metadata"]["labels"]["pod-template-hash"].clone();
    ground
        .api(Kind::Deployment)
        .delete("sets", &Default::default())
        .await?;
    let left = wait::until("they are gone", SOON, async || {
        let left = sets(&ground, "sets").await?.len();
        ensure!(left == 0, "{left} are there");
        Ok(left)
    })
    .await?;
    Ok(json!({
        "owner": owner,
        "owner is this one": uid == made.metadata.uid.map(Value::from),
        "hash": hash.is_string() && set["spec"]["template"]["metadata"]["labels"]["pod-template-hash"] == hash,
        "selector": set["spec"]["selector"]["matchLabels"]["pod-template-hash"] == hash,
        "desired": set["spec"]["replicas"],
        "with their Deployment": left,
    }))
}

async fn slices(ground: &Ground) -> Result<Vec<DynamicObject>> {
    let of_service = ListParams::default().labels("kubernetes.io/service-name=served");
    Ok(ground.api(Kind::EndpointSlice).list(&of_service).await?.items)
}

async fn ready(ground: &Ground, wanted: usize) -> Result<Vec<String>> {
    wait::until(&format!("{wanted} are ready"), SOON, async || {
        let slices = slices(ground).await?;
        let endpoints = slices
            .iter()
            .flat_map(|s| s.data["endpoints"].as_array().into_iter().flatten());
        let ready = endpoints.filter(|e| e["conditions"]["ready"] == true);
        let addresses: Vec<_> = ready
            .filter_map(|e| e["addresses"][0].as_str().map(str::to_owned))
            .collect();
        ensure!(!slices.is_empty() && addresses.len() == wanted, "{addresses:?}");
        Ok(addresses)
    })
    .await
}

async fn endpoint_slices(ground: Ground) -> Result<Value> {
    let mut object = deployment("served");
    object["spec"]["replicas"] = json!(2);
    ground.create(Kind::Deployment, object).await?;
    ground.create(Kind::Service, service("served")).await?;
    let addresses = ready(&ground, 2).await?;
    let slice = slices(&ground).await?.pop().context("no slice")?;
    let slice = serde_json::to_value(&slice)?;
    let owner = &slice["metadata"]["ownerReferences"][0];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    patch(&ground, "served", json!({"spec": {"replicas": 0}})).await?;
    let none = ready(&ground, 0).await?.len();
    ground
        .api(Kind::Service)
        .delete("served", &Default::default())
        .await?;
    let left = wait::until("they are gone", SOON, async || {
        let left = slices(&ground).await?.len();
        ensure!(left == 0, "{left} are there");
        Ok(left)
    })
    .await?;
    Ok(json!({
        "ready": addresses.len(),
        "addresses differ": addresses.first() != addresses.last(),
        "address type": slice["addressType"],
        "owner": format!("{} {}", text(&owner["kind"]), text(&owner["name"])),
        "managed by": slice["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"],
        "scaled to zero": none,
        "with their Service": left,
    }))
}
