//! Deletion: preconditions, finalizers, and what goes with its owner.

use anyhow::{Result, ensure};
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, PropagationPolicy};
use serde_json::{Value, json};

use super::{Ground, Probe, SOON, canary, generation, lease, verdict, version};
use crate::objects::Kind;
use crate::wait;

pub(super) fn probes() -> Vec<Probe> {
    vec![
        Probe::new(
            "delete-preconditions",
            preconditions,
            json!({"other uid": "409 Conflict", "other version": "409 Conflict", "right": "ok", "again": "404 NotFound"}),
        ),
        Probe::new(
            "finalizers",
            finalizers,
            json!({
                "is going": true, "generations": [1, 2, 2], "deleted again moves it": false,
                "spec can still change": "ok", "a new finalizer": "422 Invalid", "without finalizers": "ok",
                "then": "404 NotFound", "a new one of that name": "ok",
            }),
        ),
        Probe::new(
            "collected-in-the-background",
            background,
            json!({"owner at once": "404 NotFound", "dependent": "gone", "of two owners": "stays", "owned by nobody known": "gone"}),
        ),
        Probe::new(
            "collected-in-the-foreground",
            foreground,
            json!({
                "owner at once": {"finalizers": ["foregroundDeletion"], "is going": true},
                "while a dependent is held": "stays", "then": "gone",
            }),
        ),
        Probe::new(
            "orphaned",
            orphaned,
            json!({"owner": "gone", "dependent": "stays", "its owners": null}),
        ),
    ]
}

async fn preconditions(ground: Ground) -> Result<Value> {
    let api = ground.api(Kind::Lease);
    let made = ground.create(Kind::Lease, lease("guarded")).await?;
    let ask = async |uid: Option<&str>, version: Option<&str>| {
        let params = DeleteParams::default().preconditions(Preconditions {
            uid: uid.map(str::to_owned),
            resource_version: version.map(str::to_owned),
        });
        verdict(api.delete("guarded", &params).await)
    };
    let uid = made.metadata.uid.clone().unwrap_or_default();
    Ok(json!({
        "other uid": ask(Some("00000000-0000-4000-8000-ffffffffffff"), None).await,
        "other version": ask(None, Some("1")).await,
        "right": ask(Some(&uid), Some(&version(&made))).await,
        "again": ask(None, None).await,
    }))
}

async fn finalizers(ground: Ground) -> Result<Value> {
    let api = ground.api(Kind::Canary);
    let mut object = canary("held");
    object["metadata"]["finalizers"] = json!(["example.com/held"]);
    let made = ground.create(Kind::Canary, object).await?;
    api.delete("held", &DeleteParams::default()).await?;
    let going = api.get("held").await?;
    api.delete("held", &DeleteParams::default()).await?;
    let again = api.get("held").await?;
    let patch = async |change: Value| {
        verdict(
            api.patch("held", &PatchParams::default(), &Patch::Merge(change))
                .await,
        )
    };
    let more = json!(["example.com/held", "example.com/new"]);
    Ok(json!({
        "is going": going.metadata.deletion_timestamp.is_some(),
        "generations": [generation(&made), generation(&going), generation(&again)],
        "deleted again moves it": version(&going) != version(&again),
        "spec can still change": patch(json!({"spec": {"suspend": true}})).await,
        "a new finalizer": patch(json!({"metadata": {"finalizers": more}})).await,
        "without finalizers": patch(json!({"metadata": {"finalizers": null}})).await,
        "then": verdict(api.get("held").await),
        "a new one of that name": verdict(api.create(&Default::default(), &serde_json::from_value(canary("held"))?).await),
    }))
}

/// A Lease with these owners.
fn owned(name: &str, owners: &[&DynamicObject]) -> Value {
    let owners: Vec<Value> = owners
        .iter()
        .map(|owner| {
            json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "blockOwnerDeletion": true,
                "name": owner.metadata.name, "uid": owner.metadata.uid,
            })
        })
        .collect();
    let mut object = lease(name);
    object["metadata"]["ownerReferences"] = json!(owners);
    object
}

/// Waits until an object is gone.
async fn gone(ground: &Ground, name: &str) -> Result<&'static str> {
    wait::until(&format!("{name} is gone"), SOON, async || {
        ensure!(
            ground.api(Kind::Lease).get_opt(name).await?.is_none(),
            "it is there"
        );
        Ok("gone")
    })
    .await
}

async fn stays(ground: &Ground, name: &str) -> Result<&'static str> {
    let there = ground.api(Kind::Lease).get_opt(name).await?.is_some();
    Ok(if there { "stays" } else { "gone" })
}

async fn background(ground: Ground) -> Result<Value> {
    let owner = ground.create(Kind::Lease, lease("owner")).await?;
    let other = ground.create(Kind::Lease, lease("other-owner")).await?;
    ground.create(Kind::Lease, owned("dependent", &[&owner])).await?;
    ground
        .create(Kind::Lease, owned("of-two", &[&owner, &other]))
        .await?;
    ground
        .api(Kind::Lease)
        .delete("owner", &DeleteParams::background())
        .await?;
    let at_once = verdict(ground.api(Kind::Lease).get("owner").await);
    let dependent = gone(&ground, "dependent").await?;
    ground.create(Kind::Lease, owned("late", &[&owner])).await?;
    let late = gone(&ground, "late").await?;
    Ok(json!({
        "owner at once": at_once,
        "dependent": dependent,
        "of two owners": stays(&ground, "of-two").await?,
        "owned by nobody known": late,
    }))
}

async fn foreground(ground: Ground) -> Result<Value> {
    let api = ground.api(Kind::Lease);
    let owner = ground.create(Kind::Lease, lease("front")).await?;
    let mut held = owned("behind", &[&owner]);
    held["metadata"]["finalizers"] = json!(["example.com/held"]);
    ground.create(Kind::Lease, held).await?;
    // The collector must know of the dependent before its owner goes.
    let known = owned("probe-of-the-collector", &[]);
    ground.create(Kind::Lease, known).await?;
    api.delete("front", &DeleteParams::foreground()).await?;
    let front = api.get("front").await?;
    wait::until("the dependent is going", SOON, async || {
        let behind = api.get("behind").await?;
        ensure!(behind.metadata.deletion_timestamp.is_some(), "it is not going");
        Ok(())
    })
    .await?;
    let meanwhile = stays(&ground, "front").await?;
    let freed = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    api.patch("behind", &PatchParams::default(), &freed).await?;
    gone(&ground, "behind").await?;
    Ok(json!({
        "owner at once": {
            "finalizers": front.metadata.finalizers, "is going": front.metadata.deletion_timestamp.is_some(),
        },
        "while a dependent is held": meanwhile,
        "then": gone(&ground, "front").await?,
    }))
}

async fn orphaned(ground: Ground) -> Result<Value> {
    let api = ground.api(Kind::Lease);
    let owner = ground.create(Kind::Lease, lease("parent")).await?;
    ground.create(Kind::Lease, owned("orphan", &[&owner])).await?;
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    api.delete("parent", &params).await?;
    let parent = gone(&ground, "parent").await?;
    let orphan = api.get("orphan").await?;
    Ok(json!({
        "owner": parent, "dependent": stays(&ground, "orphan").await?,
        "its owners": orphan.metadata.owner_references.filter(|owners| !owners.is_empty()),
    }))
}
