//! Creates, updates and patches: conflicts, versions, generations, the status apart.

use anyhow::Result;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{Ground, Probe, canary, deployment, generation, in_words, lease, service, verdict, version};
use crate::objects::Kind;

pub(super) fn probes() -> Vec<Probe> {
    let mut probes = conflicts();
    probes.extend(versions());
    probes
}

fn conflicts() -> Vec<Probe> {
    vec![
        Probe::new(
            "create",
            create,
            json!({
                "first": "ok", "again": "409 AlreadyExists", "nameless": "422 Invalid",
                "missing": "404 NotFound: leases.coordination.k8s.io \"no-such\" not found",
            }),
        ),
        Probe::new(
            "stale-update",
            stale_update,
            json!({
                "fresh": "ok",
                "stale": "409 Conflict: Operation cannot be fulfilled on leases.coordination.k8s.io \"stale\": the object has \
                          been modified; please apply your changes to the latest version and try again",
                "missing Lease": "409 Conflict", "missing Canary": "404 NotFound",
            }),
        ),
        Probe::new(
            "update-without-version",
            update_without_version,
            json!({"Lease": "422 Invalid", "Canary": "422 Invalid", "Deployment": "ok", "Service": "ok"}),
        ),
        Probe::new(
            "json-patch",
            json_patch,
            json!({
                "fits": "ok",
                "test fails": "422 Invalid: the server rejected our request due to an error in our request",
                "path is missing": "422 Invalid: the server rejected our request due to an error in our request",
                "tested version is old": "422 Invalid: the server rejected our request due to an error in our request",
                "tested version is right": "ok",
                "written version is old": "409 Conflict",
                "outcome is invalid": "422 Invalid",
                "missing": "404 NotFound",
            }),
        ),
        Probe::new(
            "merge-patch",
            merge_patch,
            json!({
                "labels": {"kept": "yes", "new": "yes"}, "stale": "409 Conflict", "missing": "404 NotFound",
                "list replaced": [30, 40],
            }),
        ),
    ]
}

fn versions() -> Vec<Probe> {
    vec![
        Probe::new(
            "status-apart",
            status_apart,
            json!({
                "created with": null, "main write": [null, "2m"], "status write": ["told", "2m"],
                "main write keeps": "told", "generations": [1, 2, 2], "labels of a status write": null,
            }),
        ),
        Probe::new(
            "generation",
            generations,
            json!({
                "Canary": {"label": 1, "spec": 2}, "VirtualService": {"label": 1, "spec": 2},
                "Deployment": {"label": 1, "spec": 2}, "Lease": {"label": 0, "spec": 0},
                "Service": {"label": 0, "spec": 0},
            }),
        ),
        Probe::new(
            "no-op",
            no_op,
            json!({"merge": true, "json patch": true, "replace": true, "status": true}),
        ),
    ]
}

async fn create(ground: Ground) -> Result<Value> {
    let api = ground.api(Kind::Lease);
    let object: DynamicObject = serde_json::from_value(lease("made"))?;
    let mut nameless = object.clone();
    nameless.metadata.name = None;
    let params = PostParams::default();
    Ok(json!({
        "first": verdict(api.create(&params, &object).await),
        "again": verdict(api.create(&params, &object).await),
        "nameless": verdict(api.create(&params, &nameless).await),
        "missing": in_words(api.get("no-such").await),
    }))
}

async fn stale_update(ground: Ground) -> Result<Value> {
    let api = ground.api(Kind::Lease);
    let first = ground.create(Kind::Lease, lease("stale")).await?;
    let params = PostParams::default();
    let mut changed = first.clone();
    changed.data["spec"]["holderIdentity"] = json!("somebody");
    let fresh = verdict(api.replace("stale", &params, &changed).await);
    changed.data["spec"]["holderIdentity"] = json!("somebody else");
    let stale = in_words(api.replace("stale", &params, &changed).await);
    api.delete("stale", &Default::default()).await?;
    let missing_lease = verdict(api.replace("stale", &params, &changed).await);
    let made = ground.create(Kind::Canary, canary("stale")).await?;
    let canaries = ground.api(Kind::Canary);
    canaries.delete("stale", &Default::default()).await?;
    let missing_canary = verdict(canaries.replace("stale", &params, &made).await);
    Ok(json!({
        "fresh": fresh, "stale": stale, "missing Lease": missing_lease, "missing Canary": missing_canary,
    }))
}

async fn update_without_version(ground: Ground) -> Result<Value> {
    let mut answers = json!({});
    for (kind, object) in [
        (Kind::Lease, lease("unversioned")),
        (Kind::Canary, canary("unversioned")),
        (Kind::Deployment, deployment("unversioned")),
        (Kind::Service, service("unversioned")),
    ] {
        let mut made = ground.create(kind, object).await?;
        made.metadata.resource_version = None;
        made.metadata.labels = Some([("changed".to_owned(), "yes".to_owned())].into());
        let replaced = ground
            .api(kind)
            .replace("unversioned", &PostParams::default(), &made)
            .await;
        answers[format!("{kind:?}")] = verdict(replaced);
    }
    Ok(answers)
}

async fn json_patch(ground: Ground) -> Result<Value> {
    let made = ground.create(Kind::Canary, canary("patched")).await?;
    let api = ground.api(Kind::Canary);
    let ask = async |name: &str, operations: Value| {
        let patch: Patch<Value> = Patch::Json(serde_json::from_value(operations)?);
        let answer = api.patch(name, &PatchParams::default(), &patch).await;
        anyhow::Ok(answer)
    };
    let interval = |text: &str| json!({"op": "add", "path": "/spec/analysis/interval", "value": text});
    let test = |path: &str, value: &str| json!({"op": "test", "path": path, "value": value});
    let old = version(&made);
    let fits = ask(
        "patched",
        json!([test("/spec/targetRef/name", "patched"), interval("1m")]),
    )
    .await?;
    let now = fits.as_ref().map(version).unwrap_or_default();
    Ok(json!({
        "fits": verdict(fits),
        "test fails": in_words(ask("patched", json!([test("/spec/targetRef/name", "other"), interval("2m")])).await?),
        "path is missing": in_words(ask("patched", json!([{"op": "remove", "path": "/spec/nothing"}])).await?),
        "tested version is old": in_words(
            ask("patched", json!([test("/metadata/resourceVersion", &old), interval("2m")])).await?,
        ),
        "tested version is right": verdict(
            ask("patched", json!([test("/metadata/resourceVersion", &now), interval("3m")])).await?,
        ),
        "written version is old": verdict(
            ask("patched", json!([
                {"op": "replace", "path": "/metadata/resourceVersion", "value": old}, interval("4m"),
            ])).await?,
        ),
        "outcome is invalid": verdict(ask("patched", json!([interval("soon")])).await?),
        "missing": verdict(ask("no-such", json!([interval("1m")])).await?),
    }))
}

async fn merge_patch(ground: Ground) -> Result<Value> {
    let mut object = canary("merged");
    object["metadata"]["labels"] = json!({"kept": "yes", "dropped": "yes"});
    object["spec"]["analysis"]["stepWeights"] = json!([10, 20]);
    let made = ground.create(Kind::Canary, object).await?;
    let api = ground.api(Kind::Canary);
    let ask = async |name: &str, change: Value| {
        let patch = Patch::Merge(change);
        api.patch(name, &PatchParams::default(), &patch).await
    };
    let labels = json!({"metadata": {"labels": {"dropped": null, "new": "yes"}}});
    let patched = ask("merged", labels.clone()).await?;
    let mut stale = labels.clone();
    stale["metadata"]["resourceVersion"] = json!(version(&made));
    let list = ask("merged", json!({"spec": {"analysis": {"stepWeights": [30, 40]}}})).await?;
    Ok(json!({
        "labels": patched.metadata.labels,
        "stale": verdict(ask("merged", stale).await),
        "missing": verdict(ask("no-such", labels).await),
        "list replaced": list.data["spec"]["analysis"]["stepWeights"],
    }))
}

async fn status_apart(ground: Ground) -> Result<Value> {
    let api = ground.api(Kind::Canary);
    let mut object = canary("status");
    object["status"] = json!({"message": "born with"});
    let made = ground.create(Kind::Canary, object).await?;
    let params = PatchParams::default();
    let both = |text: &str, interval: &str| {
        Patch::Merge(json!({
            "metadata": {"labels": {"by": text}},
            "spec": {"analysis": {"interval": interval}}, "status": {"message": text},
        }))
    };
    let pair = |object: &DynamicObject| {
        json!([
            object.data["status"]["message"],
            object.data["spec"]["analysis"]["interval"]
        ])
    };
    let main = api.patch("status", &params, &both("smuggled", "2m")).await?;
    let unlabelled = Patch::Merge(json!({"metadata": {"labels": null}}));
    api.patch("status", &params, &unlabelled).await?;
    let status = api.patch_status("status", &params, &both("told", "3m")).await?;
    let mut replaced = status.clone();
    replaced.data["status"] = Value::Null;
    let kept = api.replace("status", &PostParams::default(), &replaced).await?;
    Ok(json!({
        "created with": made.data["status"]["message"],
        "main write": pair(&main),
        "status write": pair(&status),
        "main write keeps": kept.data["status"]["message"],
        "generations": [generation(&made), generation(&main), generation(&status)],
        "labels of a status write": status.metadata.labels,
    }))
}

async fn generations(ground: Ground) -> Result<Value> {
    let route = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "generation"},
        "spec": {"hosts": ["generation"], "http": [{"route": [{"destination": {"host": "generation"}}]}]},
    });
    let mut answers = json!({});
    for (kind, object, spec) in [
        (
            Kind::Canary,
            canary("generation"),
            json!({"analysis": {"interval": "2m"}}),
        ),
        (Kind::VirtualService, route, json!({"hosts": ["other"]})),
        (
            Kind::Deployment,
            deployment("generation"),
            json!({"minReadySeconds": 1}),
        ),
        (
            Kind::Lease,
            lease("generation"),
            json!({"holderIdentity": "other"}),
        ),
        (
            Kind::Service,
            service("generation"),
            json!({"sessionAffinity": "ClientIP"}),
        ),
    ] {
        ground.create(kind, object).await?;
        let patch = async |change: Value| {
            let change = Patch::Merge(change);
            ground
                .api(kind)
                .patch("generation", &PatchParams::default(), &change)
                .await
        };
        let label = patch(json!({"metadata": {"labels": {"changed": "yes"}}})).await?;
        let spec = patch(json!({"spec": spec})).await?;
        answers[format!("{kind:?}")] = json!({"label": generation(&label), "spec": generation(&spec)});
    }
    Ok(answers)
}

/// A write that changes nothing does not move the version.
async fn no_op(ground: Ground) -> Result<Value> {
    let api = ground.api(Kind::Canary);
    let mut object = canary("no-op");
    object["metadata"]["labels"] = json!({"is": "there"});
    ground.create(Kind::Canary, object).await?;
    let params = PatchParams::default();
    let status = Patch::Merge(json!({"status": {"message": "told"}}));
    let before = api.patch_status("no-op", &params, &status).await?;
    let merge = Patch::Merge(json!({"metadata": {"labels": {"is": "there"}}}));
    let replace = json!([{"op": "replace", "path": "/metadata/labels/is", "value": "there"}]);
    let json_patch: Patch<Value> = Patch::Json(serde_json::from_value(replace)?);
    let same = |object: &DynamicObject| json!(version(object) == version(&before));
    Ok(json!({
        "merge": same(&api.patch("no-op", &params, &merge).await?),
        "json patch": same(&api.patch("no-op", &params, &json_patch).await?),
        "replace": same(&api.replace("no-op", &PostParams::default(), &before).await?),
        "status": same(&api.patch_status("no-op", &params, &status).await?),
    }))
}
