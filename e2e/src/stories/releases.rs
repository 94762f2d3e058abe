//! Releases as they should go: the primary is set up, a good one is promoted, a bad one is rolled back.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::shop::{self, RATE, SOON};
use crate::objects::Kind;
use crate::story::Stage;
use crate::traffic::Traffic;
use crate::wait;

/// What a new revision may wait until its rollout begins.
const NOTICED_WITHIN: Duration = Duration::from_secs(1);

/// Not a request fails while the routes move to the primary.
pub async fn bootstrap_under_traffic(stage: Arc<Stage>) -> Result<()> {
    shop::open(&stage).await?;
    let traffic = stage.traffic(RATE);
    stage.start_controller().await?;
    stage.apply(&shop::canary()).await?;
    shop::wait_phase(&stage, "Initialized", SOON).await?;
    traffic.requests(400).await?;
    shop::end_without_failure(&stage, traffic).await?;
    shop::ensure_on_primary(&stage, "shop:good-1").await?;
    for name in ["shop", "shop-primary", "shop-canary"] {
        stage.api(Kind::Service).get(name).await?;
    }
    for name in ["shop-primary", "shop-canary"] {
        stage.api(Kind::DestinationRule).get(name).await?;
    }
    let route = stage.api(Kind::VirtualService).get("shop").await?;
    ensure!(
        route.data["spec"]["http"][0]["headers"]["response"]["set"]["x-shop"] == "yes",
        "a foreign field is lost"
    );
    ensure!(
        route
            .metadata
            .labels
            .is_some_and(|l| l.get("team").is_some_and(|t| t == "shopping")),
        "a label is lost"
    );
    Ok(())
}

/// What `kubectl get canaries` shows.
pub async fn table(stage: Arc<Stage>) -> Result<()> {
    shop::under_canary(&stage, &shop::canary()).await?;
    let table = stage.kubectl(&["get", "canaries"]).await?;
    ensure!(
        table.contains("Initialized"),
        "kubectl get canaries says: {table}"
    );
    Ok(())
}

/// Every weight in order, Envoy's share at each, promoted, nothing failed.
pub async fn good_release(stage: Arc<Stage>) -> Result<()> {
    shop::under_canary(&stage, &shop::canary()).await?;
    let traffic = stage.traffic(RATE);
    traffic.requests(600).await?;
    let before = traffic.so_far();
    let shipped = Instant::now();
    shop::ship(&stage, "shop:good-2").await?;
    let there = Instant::now();
    shop::wait_phase(&stage, "Progressing", SOON).await?;
    ensure!(
        there.elapsed() < NOTICED_WITHIN,
        "the new revision was noticed after {:?}",
        there.elapsed()
    );
    stage.note(format!(
        "noticed after {:.0} ms",
        shipped.elapsed().as_secs_f64() * 1e3
    ));
    let seen = every_step(&stage, &traffic).await?;
    shop::wait_phase(&stage, "Succeeded", SOON).await?;
    stage.note(format!("shares {}", seen.join(", ")));
    let during = traffic.since(shipped);
    stage.note(format!(
        "p99 before {:.1} ms, during {:.1} ms",
        before.p99.as_secs_f64() * 1e3,
        during.p99.as_secs_f64() * 1e3
    ));
    shop::end_without_failure(&stage, traffic).await?;
    shop::ensure_on_primary(&stage, "shop:good-2").await?;
    let template =
        |object: &kube::api::DynamicObject| -> Value { object.data["spec"]["template"]["spec"].clone() };
    let target = stage.api(Kind::Deployment).get("shop").await?;
    let primary = stage.api(Kind::Deployment).get("shop-primary").await?;
    ensure!(
        template(&target) == template(&primary),
        "the primary's pod template is not the analysed one"
    );
    Ok(())
}

/// Waits for every step and compares the share of the canary with its weight.
async fn every_step(stage: &Stage, traffic: &Traffic) -> Result<Vec<String>> {
    let mut seen = Vec::new();
    for weight in [10, 30, 50] {
        let canary = shop::wait_weight(stage, weight).await?;
        ensure!(
            canary["status"]["canaryWeight"] == weight,
            "weight {} instead of {weight}",
            canary["status"]["canaryWeight"]
        );
        wait::until("the routes follow", SOON, async || {
            let weights = shop::weights(stage).await?;
            ensure!(weights == (100 - weight, weight), "weights are {weights:?}");
            Ok(())
        })
        .await?;
        // istiod gathers changes for 100 ms; a hundred requests are more than that.
        traffic.requests(100).await?;
        let from = Instant::now();
        traffic.requests(400).await?;
        let stats = traffic.between(from, Instant::now());
        stats.ensure_share("shop", f64::from(u32::try_from(weight)?) / 100.0)?;
        seen.push(format!("{weight} %: {:.1} %", stats.share("shop") * 100.0));
    }
    Ok(seen)
}

/// A release with 5 % errors.
pub async fn bad_errors(stage: Arc<Stage>) -> Result<()> {
    bad_release(&stage, "shop:errors5-2", "request-success-rate").await
}

/// A release with a slow p99.
pub async fn bad_latency(stage: Arc<Stage>) -> Result<()> {
    bad_release(&stage, "shop:slow-2", "request-duration").await
}

async fn bad_release(stage: &Stage, image: &str, metric: &str) -> Result<()> {
    shop::under_canary(stage, &shop::canary()).await?;
    let traffic = stage.traffic(RATE);
    traffic.requests(400).await?;
    shop::ship(stage, image).await?;
    shop::wait_phase(stage, "Progressing", SOON).await?;
    let canary = shop::wait_phase(stage, "Failed", SOON).await?;
    shop::ensure_on_primary(stage, "shop:good-1").await?;
    let checks = canary["status"]["checks"].as_array().cloned().unwrap_or_default();
    let bad = checks.iter().find(|c| c["name"] == metric);
    ensure!(
        bad.is_some_and(|c| c["outcome"] == "Bad" && c["value"].is_number()),
        "status.checks: {checks:?}"
    );
    let message = canary["status"]["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    ensure!(message.contains(metric), "status.message: {message}");
    wait::until("the event is there", SOON, async || {
        let reasons = shop::event_reasons(stage).await?;
        ensure!(reasons.iter().any(|r| r == "RolledBack"), "events: {reasons:?}");
        Ok(())
    })
    .await?;
    let stats = traffic.stop().await;
    stage.note(message);
    stage.note(format!("{stats}"));
    Ok(())
}

/// A release whose pods never become ready.
pub async fn never_ready(stage: Arc<Stage>) -> Result<()> {
    let canary = shop::canary_with(|spec| spec["progressDeadlineSeconds"] = 8.into());
    shop::under_canary(&stage, &canary).await?;
    let traffic = stage.traffic(RATE);
    shop::ship(&stage, "shop:neverready-2").await?;
    shop::wait_phase(&stage, "Progressing", SOON).await?;
    let canary = shop::wait_phase(&stage, "Failed", SOON).await?;
    let stats = traffic.so_far();
    ensure!(stats.share("shop") == 0.0, "the canary got traffic");
    shop::end_without_failure(&stage, traffic).await?;
    stage.note(canary["status"]["message"].as_str().unwrap_or_default());
    shop::ensure_on_primary(&stage, "shop:good-1").await
}

/// A newer revision during the analysis restarts it; a revert is an abort, at once.
pub async fn newer_and_revert(stage: Arc<Stage>) -> Result<()> {
    shop::under_canary(&stage, &shop::canary()).await?;
    let traffic = stage.traffic(RATE);
    traffic.requests(400).await?;
    shop::ship(&stage, "shop:good-2").await?;
    let first = shop::wait_weight(&stage, 30).await?;
    shop::ship(&stage, "shop:good-3").await?;
    let old = first["status"]["revision"]["current"].clone();
    let newer = shop::wait_status(&stage, "the newer revision is current", SOON, |s| {
        s["revision"]["current"] != old
    })
    .await?;
    ensure!(
        newer["status"]["canaryWeight"] == 0,
        "the weight stayed for the newer revision"
    );
    ensure!(
        newer["status"]["history"][0]["outcome"] == "Superseded",
        "history: {}",
        newer["status"]["history"]
    );
    shop::wait_weight(&stage, 10).await?;
    let reverted = Instant::now();
    shop::ship(&stage, "shop:good-1").await?;
    shop::wait_status(&stage, "the weight is 0", SOON, |s| s["canaryWeight"] == 0).await?;
    stage.note(format!(
        "revert to weight 0 in {:.0} ms",
        reverted.elapsed().as_secs_f64() * 1e3
    ));
    let end = shop::wait_phase(&stage, "Initialized", SOON).await?;
    ensure!(
        end["status"]["history"][0]["outcome"] == "Aborted",
        "history: {}",
        end["status"]["history"]
    );
    shop::end_without_failure(&stage, traffic).await?;
    shop::ensure_on_primary(&stage, "shop:good-1").await
}
