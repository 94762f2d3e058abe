//! Argo CD and Flux, set up as the documentation has it: neither quarrels with a release, and neither prunes what is ours.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::shop::{self, RATE, SOON};
use crate::objects::Kind;
use crate::story::Stage;
use crate::traffic::Traffic;

/// How often they look, much more often than they do.
const PACE: Duration = Duration::from_secs(3);
/// In whose name Flux applies.
const FLUX: &str = "kustomize-controller";
/// In whose name Argo CD does.
const ARGO: &str = "argocd-controller";
/// By which label and annotation it knows what is of an application.
const MARKS: [&str; 2] = ["app.kubernetes.io/instance", "argocd.argoproj.io/tracking-id"];
/// Three steps, everything to the canary, and back.
const ROUTES: usize = 5;

/// Flux applies every field that it has by force, and there is nothing of ours among them: a release takes as many writes of the
/// routes as without it, and no quarrel begins.
pub async fn flux(stage: Arc<Stage>) -> Result<()> {
    let git = |image: &str| -> [Value; 2] {
        let mut deployment = stage.deployment("shop", image, 2);
        if let Some(spec) = deployment["spec"].as_object_mut() {
            spec.remove("replicas");
        }
        let canary = shop::canary_with(|spec| {
            spec["service"]["hosts"] = json!([stage.host]);
            spec["service"]["gateways"] = json!(["gateway"]);
        });
        [deployment, canary]
    };
    for object in git("shop:good-1") {
        stage.apply_as(FLUX, &object).await?;
    }
    stage.start_controller().await?;
    shop::wait_phase(&stage, "Initialized", SOON).await?;
    shop::answers(&stage).await?;
    let traffic = stage.traffic(RATE);
    let truth = git("shop:good-2");
    let sync = async || {
        for object in &truth {
            stage.apply_as(FLUX, object).await?;
        }
        Ok(())
    };
    released(&stage, &traffic, sync).await?;
    shop::end_without_failure(&stage, traffic).await
}

/// Argo CD writes what the cluster has into the fields that it is to ignore. Nothing that we make has its marks, so that it
/// prunes nothing of ours.
pub async fn argocd(stage: Arc<Stage>) -> Result<()> {
    shop::open(&stage).await?;
    let mut route = shop::route(&stage.host);
    let mut deployment = stage.deployment("shop", "shop:good-1", 2);
    let mut service = stage.service("shop");
    for object in [&mut route, &mut deployment, &mut service] {
        track(object);
        stage.apply_as(ARGO, object).await?;
    }
    shop::release_under(&stage, &shop::canary()).await?;
    for (kind, name) in shop::CHILDREN {
        let ours = stage.api(kind).get(name).await?.metadata;
        let marked = |marks: Option<&std::collections::BTreeMap<String, String>>| {
            marks.is_some_and(|marks| MARKS.iter().any(|mark| marks.contains_key(*mark)))
        };
        ensure!(
            !marked(ours.labels.as_ref()) && !marked(ours.annotations.as_ref()),
            "{kind:?} {name} would be pruned: {ours:?}"
        );
    }
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!("shop:good-2");
    route["spec"]["http"][0]["route"] = json!([
        {"destination": {"host": "shop-primary"}},
        {"destination": {"host": "shop-canary"}},
    ]);
    let truth = [
        (
            Kind::VirtualService,
            route,
            &["/spec/http/0/route/0/weight", "/spec/http/0/route/1/weight"][..],
        ),
        (Kind::Service, service, &["/spec/selector"][..]),
        (Kind::Deployment, deployment, &["/spec/replicas"][..]),
    ];
    let traffic = stage.traffic(RATE);
    let sync = async || {
        for (kind, object, ignored) in &truth {
            let live = stage.api(*kind).get("shop").await?.data;
            let mut object = object.clone();
            for field in *ignored {
                take_over(&mut object, &live, field)?;
            }
            stage.apply_as(ARGO, &object).await?;
        }
        Ok(())
    };
    released(&stage, &traffic, sync).await?;
    shop::end_without_failure(&stage, traffic).await
}

/// Under a tool that syncs all the while, the release that it ships is promoted, and nobody quarrels.
async fn released(stage: &Stage, traffic: &Traffic, sync: impl AsyncFn() -> Result<()>) -> Result<()> {
    let from = Instant::now();
    let mut quarrels = 0;
    let release = async {
        shop::wait_status(stage, "phase is Succeeded", SOON, |status| {
            quarrels += usize::from(status["hold"]["reason"] == "TargetConflict");
            status["phase"] == "Succeeded"
        })
        .await?;
        // A few more rounds at rest.
        traffic.requests(15 * RATE as usize).await
    };
    let syncing = async {
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            sync().await?;
        }
    };
    tokio::select! {
        biased;
        done = release => done,
        failed = syncing => failed,
    }?;
    let writes = stage.writes_since(from).await?;
    stage.note(format!("written: {writes:?}"));
    ensure!(quarrels == 0, "it quarrelled");
    let routes = writes.get("virtualservices").copied().unwrap_or_default();
    ensure!(routes <= ROUTES, "routes were written {routes} times: {writes:?}");
    shop::ensure_on_primary(stage, "shop:good-2").await
}

/// Puts the marks of an application on an object.
fn track(object: &mut Value) {
    let [label, annotation] = MARKS;
    object["metadata"]["labels"][label] = json!("shop");
    object["metadata"]["annotations"][annotation] = json!("shop:apps/Deployment:shop/shop");
}

/// Sets a field as it is in the cluster.
fn take_over(object: &mut Value, live: &Value, pointer: &str) -> Result<()> {
    let value = live.pointer(pointer).cloned().unwrap_or_default();
    let (parent, field) = pointer.rsplit_once('/').context("no pointer")?;
    let parent = object
        .pointer_mut(parent)
        .context("the object lacks the field's parent")?;
    parent[field] = value;
    Ok(())
}
