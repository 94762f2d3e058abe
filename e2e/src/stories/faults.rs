//! What goes wrong around a release: the controller, the metrics, the API server, the canary or the primary fails.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use tokio::time::Instant;

use super::shop::{self, RATE, SOON};
use crate::story::Stage;

/// kill -9 at ten moments of a promotion and of a rollback: same end, and no failed request because of it.
pub async fn killed_controller(stage: Arc<Stage>) -> Result<()> {
    shop::under_canary(&stage, &shop::canary()).await?;
    let traffic = stage.traffic(RATE);
    shop::ship(&stage, "shop:good-2").await?;
    for requests in [90, 210, 330, 480, 150, 620, 270, 410, 540, 120] {
        traffic.requests(requests).await?;
        stage.controller.kill().await?;
        stage.controller.start().await?;
    }
    shop::wait_phase(&stage, "Succeeded", SOON).await?;
    shop::ensure_on_primary(&stage, "shop:good-2").await?;
    traffic.so_far().ensure_none_failed()?;
    shop::ship(&stage, "shop:errors5-3").await?;
    for requests in [110, 350, 240, 470, 160, 590, 310, 420, 200, 530] {
        traffic.requests(requests).await?;
        stage.controller.kill().await?;
        stage.controller.start().await?;
    }
    shop::wait_phase(&stage, "Failed", SOON).await?;
    shop::ensure_on_primary(&stage, "shop:good-2").await?;
    let stats = traffic.stop().await;
    stage.note(format!("{stats}"));
    ensure!(
        stats.failures.keys().all(|kind| kind == "500"),
        "failures that no release answers: {:?}",
        stats.failures
    );
    Ok(())
}

/// The canary's ports close mid-step: weight 0 within seconds, held, then failed.
pub async fn dark_canary(stage: Arc<Stage>) -> Result<()> {
    let canary = shop::canary_with(|spec| {
        spec["progressDeadlineSeconds"] = json!(15);
        spec["analysis"]["interval"] = json!("25s");
    });
    shop::under_canary(&stage, &canary).await?;
    let traffic = stage.traffic(RATE);
    shop::ship(&stage, "shop:dark-2").await?;
    shop::wait_weight(&stage, 10).await?;
    let held = shop::wait_status(&stage, "it is held as dark", SOON, |s| {
        s["hold"]["reason"] == "Dark"
    })
    .await?;
    ensure!(held["status"]["canaryWeight"] == 0, "the weight stayed");
    ensure!(
        held["status"]["phase"] == "Progressing",
        "phase {}",
        held["status"]["phase"]
    );
    stage.note(held["status"]["message"].as_str().unwrap_or_default());
    shop::wait_phase(&stage, "Failed", SOON).await?;
    shop::ensure_on_primary(&stage, "shop:good-1").await?;
    let stats = traffic.stop().await;
    stage.note(format!("{stats}"));
    // Ten percent of 200 a second, and it must be over within ten seconds.
    ensure!(stats.failed() < 200, "{} requests failed", stats.failed());
    Ok(())
}

/// The primary never gets ready with the new template: traffic stays on the healthy side, then returns to the old
/// primary; a fix is released as usual.
pub async fn failed_promotion(stage: Arc<Stage>) -> Result<()> {
    let canary = shop::canary_with(|spec| spec["progressDeadlineSeconds"] = json!(12));
    shop::under_canary(&stage, &canary).await?;
    let traffic = stage.traffic(RATE);
    shop::ship(&stage, "shop:good-2").await?;
    shop::wait_weight(&stage, 50).await?;
    // No new pod finds a node: the primary's rolling update cannot begin.
    stage.kubectl(&["cordon", "node"]).await?;
    shop::wait_status(&stage, "it is being undone", SOON, |s| {
        s["retirement"]["kind"] == "UndoOnCanary"
    })
    .await?;
    let failed = shop::wait_phase(&stage, "Failed", SOON).await?;
    stage.note(failed["status"]["message"].as_str().unwrap_or_default());
    traffic.so_far().ensure_none_failed()?;
    shop::ensure_on_primary(&stage, "shop:good-1").await?;
    stage.kubectl(&["uncordon", "node"]).await?;
    shop::ship(&stage, "shop:good-3").await?;
    shop::wait_phase(&stage, "Succeeded", SOON).await?;
    shop::ensure_on_primary(&stage, "shop:good-3").await?;
    shop::end_without_failure(&stage, traffic).await
}

/// Prometheus stops and comes back: held, goes on. Stops for long: retreat, still held, goes on.
pub async fn metrics_lost(stage: Arc<Stage>) -> Result<()> {
    let canary = shop::canary_with(|spec| spec["analysis"]["maxBlind"] = json!("10s"));
    shop::under_canary(&stage, &canary).await?;
    let traffic = stage.traffic(RATE);
    let prometheus = &stage.cluster.prometheus;
    shop::ship(&stage, "shop:good-2").await?;
    shop::wait_weight(&stage, 10).await?;
    prometheus.process.kill().await?;
    let held = shop::wait_status(&stage, "it is held", SOON, |s| {
        s["hold"]["reason"] == "MetricsUnavailable"
    })
    .await?;
    ensure!(
        held["status"]["failedChecks"] == 0,
        "blindness was counted as a failed check"
    );
    prometheus.start().await?;
    shop::wait_phase(&stage, "Succeeded", SOON).await?;
    shop::ship(&stage, "shop:good-3").await?;
    shop::wait_weight(&stage, 10).await?;
    prometheus.process.kill().await?;
    let retreated =
        shop::wait_status(&stage, "it retreated", SOON, |s| s["hold"]["retreated"] == true).await?;
    ensure!(retreated["status"]["canaryWeight"] == 0, "the weight stayed");
    ensure!(
        retreated["status"]["phase"] == "Progressing",
        "phase {}",
        retreated["status"]["phase"]
    );
    prometheus.start().await?;
    shop::wait_phase(&stage, "Succeeded", SOON).await?;
    shop::end_without_failure(&stage, traffic).await
}

/// The API server restarts mid-rollout.
pub async fn api_server_restarts(stage: Arc<Stage>) -> Result<()> {
    shop::under_canary(&stage, &shop::canary()).await?;
    let traffic = stage.traffic(RATE);
    shop::ship(&stage, "shop:good-2").await?;
    shop::wait_weight(&stage, 10).await?;
    stage.cluster.restart_api_server().await?;
    shop::wait_phase(&stage, "Succeeded", Duration::from_secs(90)).await?;
    shop::end_without_failure(&stage, traffic).await?;
    shop::ensure_on_primary(&stage, "shop:good-2").await
}

/// What an idle Canary and a weight step cost the API server and Prometheus.
pub async fn cost(stage: Arc<Stage>) -> Result<()> {
    let audit = &stage.cluster.audit;
    shop::under_canary(&stage, &shop::canary()).await?;
    let traffic = stage.traffic(RATE);
    // The facts of the bootstrap are told and acknowledged first.
    shop::wait_status(&stage, "everything is told", SOON, |s| {
        s["outbox"]["pending"].as_array().is_none_or(Vec::is_empty)
    })
    .await?;
    traffic.requests(400).await?;
    let (from, queries) = (
        chrono::Utc::now(),
        stage.cluster.prometheus.queries_answered().await?,
    );
    traffic.requests(12_000).await?;
    let idle = audit.count(&stage.namespace, from, chrono::Utc::now()).await?;
    let asked = stage.cluster.prometheus.queries_answered().await? - queries;
    stage.note(format!(
        "idle for a minute: {} reads, {} writes",
        idle.total_reads(),
        idle.total_writes()
    ));
    ensure!(
        idle.total_reads() == 0 && idle.total_writes() == 0,
        "idle: {idle:?}"
    );
    stage.note(format!("idle: {asked} questions to Prometheus"));
    shop::ship(&stage, "shop:good-2").await?;
    shop::wait_weight(&stage, 10).await?;
    traffic.requests(100).await?;
    let from = chrono::Utc::now();
    shop::wait_weight(&stage, 30).await?;
    traffic.requests(100).await?;
    let step = audit.count(&stage.namespace, from, chrono::Utc::now()).await?;
    stage.note(format!(
        "one step: {} reads, {} writes {:?}",
        step.total_reads(),
        step.total_writes(),
        step.writes
    ));
    ensure!(
        step.total_reads() == 0 && step.total_writes() <= 3,
        "one step: {step:?}"
    );
    let started = Instant::now();
    shop::wait_phase(&stage, "Succeeded", SOON).await?;
    stage.note(format!(
        "promotion after that: {:.0} s",
        started.elapsed().as_secs_f64()
    ));
    ensure!(
        stage.controller.terminate().await?.success(),
        "SIGTERM did not end the controller cleanly"
    );
    shop::end_without_failure(&stage, traffic).await
}
