//! What goes wrong around the platform: the mesh's control plane stops, kinds are missing or deleted, a newer version of Kubernetes.

use std::sync::Arc;

use anyhow::{Result, ensure};
use serde_json::json;
use tokio::time::Instant;

use super::shop::{self, RATE, SOON};
use crate::objects::Kind;
use crate::story::Stage;

/// The mesh's control plane is down while a release is rolled back: proxies go on sending to the canary, so it is not
/// scaled away before they follow.
pub async fn mesh_stops(stage: Arc<Stage>) -> Result<()> {
    shop::under_canary(&stage, &shop::canary()).await?;
    let traffic = stage.traffic(RATE);
    // Bad enough to be rolled back at the first weight, by two checks.
    shop::ship(&stage, "shop:errors20-2").await?;
    shop::wait_weight(&stage, 10).await?;
    // Envoy has the route when the canary answers.
    crate::wait::until("the canary answers", SOON, async || {
        ensure!(traffic.so_far().share("shop") > 0.0, "it got no request yet");
        Ok(())
    })
    .await?;
    stage.set_mesh(false).await?;
    let held = shop::wait_status(&stage, "it waits for the proxies", SOON, |s| {
        s["hold"]["reason"] == "TrafficNotShifting" && s["phase"] == "Failed"
    })
    .await?;
    ensure!(
        shop::weights(&stage).await? == (100, 0),
        "the routes were not set back"
    );
    ensure!(
        shop::replicas_of(&stage, "shop").await? == 2,
        "the canary was scaled away under traffic"
    );
    stage.note(held["status"]["message"].as_str().unwrap_or_default());
    stage.set_mesh(true).await?;
    shop::wait_phase(&stage, "Failed", SOON).await?;
    shop::ensure_on_primary(&stage, "shop:good-1").await?;
    let stats = traffic.stop().await;
    stage.note(format!("{stats}"));
    stats.ensure_failures_are("500")?;
    Ok(())
}

/// Somebody deletes the Canary kind itself, at rest and mid-rollout: every service is handed back first.
pub async fn kind_deleted(stage: Arc<Stage>) -> Result<()> {
    shop::under_canary(&stage, &shop::canary()).await?;
    let traffic = stage.traffic(RATE);
    for mid_rollout in [false, true] {
        if mid_rollout {
            shop::ship(&stage, "shop:good-2").await?;
            shop::wait_weight(&stage, 10).await?;
        }
        stage.set_canary_kind(false).await?;
        stage.wait_pods("shop", 2, SOON).await?;
        stage.wait_gone(Kind::Deployment, "shop-primary", SOON).await?;
        let from = tokio::time::Instant::now();
        traffic.requests(200).await?;
        traffic.since(from).ensure_answered_by("shop")?;
        stage.set_canary_kind(true).await?;
        stage.apply(&shop::canary()).await?;
        shop::wait_phase(&stage, "Initialized", SOON).await?;
    }
    shop::end_without_failure(&stage, traffic).await
}

/// Istio's kinds are not installed when the controller starts: a condition says so, and it goes on by itself when they
/// are.
pub async fn istio_missing(stage: Arc<Stage>) -> Result<()> {
    stage.set_istio_kinds(false).await?;
    shop::open_pods(&stage, |_| {}).await?;
    stage.start_controller().await?;
    stage.apply(&shop::canary()).await?;
    let held = shop::wait_status(&stage, "Istio is missed", SOON, |s| {
        s["hold"]["reason"] == "RoutesUnavailable"
    })
    .await?;
    stage.note(held["status"]["message"].as_str().unwrap_or_default());
    ensure!(
        shop::replicas_of(&stage, "shop").await? == 2,
        "the target was touched"
    );
    stage.set_istio_kinds(true).await?;
    shop::wait_phase(&stage, "Initialized", SOON).await?;
    shop::ensure_on_primary(&stage, "shop:good-1").await
}

/// A newer API server fills in a field that the older one left out: nothing is released, and nothing is written. No server here
/// has another version, so the field is written into the templates after a restart: the one that a server fills in for pods
/// and not for templates yet.
pub async fn defaults_change(stage: Arc<Stage>) -> Result<()> {
    shop::under_canary(&stage, &shop::canary()).await?;
    let traffic = stage.traffic(RATE);
    let from = Instant::now();
    stage.restart_api_server().await?;
    let filled_in = json!({"spec": {"template": {"spec": {"enableServiceLinks": true}}}});
    for name in ["shop", "shop-primary"] {
        stage.merge(Kind::Deployment, name, filled_in.clone()).await?;
    }
    // The controller is replaced as well, and remembers nothing.
    traffic.requests(10 * RATE as usize).await?;
    stage.kill_controller().await?;
    stage.start_controller().await?;
    traffic.requests(30 * RATE as usize).await?;
    let mut writes = stage.writes_since(from).await?;
    stage.note(format!("written: {writes:?}"));
    // Its own epoch in the status, and events that could not be told while the server was away.
    writes.retain(|kind, _| kind != "canaries" && kind != "events");
    ensure!(
        writes.is_empty(),
        "nobody changed anything, and it wrote {writes:?}"
    );
    let now = stage.api(Kind::Canary).get("shop").await?.data;
    let phase = &now["status"]["phase"];
    ensure!(*phase == "Initialized", "nobody released anything: {phase}");
    shop::ensure_on_primary(&stage, "shop:good-1").await?;
    shop::ship(&stage, "shop:good-2").await?;
    shop::wait_phase(&stage, "Succeeded", SOON).await?;
    shop::ensure_on_primary(&stage, "shop:good-2").await?;
    shop::end_without_failure(&stage, traffic).await
}
