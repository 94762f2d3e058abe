//! What Prometheus knows of a release, and how soon: calls of gRPC, and scrapes that are rare.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::shop::{self, RATE, SOON};
use crate::story::Stage;

/// Long enough for a few windows of rare scrapes.
const MINUTES: Duration = Duration::from_mins(8);

/// One in five calls of the release ends with gRPC's status 14, in an answer that is HTTP 200: it is rolled back for its
/// errors. In the simulated cluster a call that fails is one, whatever it ends with.
pub async fn grpc_errors(stage: Arc<Stage>) -> Result<()> {
    shop::open_with(&stage, |deployment| set_image(deployment, "shop:grpc0-1")).await?;
    shop::release_under(&stage, &shop::canary()).await?;
    let traffic = stage.traffic(RATE);
    shop::ship(&stage, "shop:grpc0-2").await?;
    shop::wait_phase(&stage, "Succeeded", SOON).await?;
    shop::ensure_on_primary(&stage, "shop:grpc0-2").await?;
    traffic.so_far().ensure_none_failed()?;
    let from = tokio::time::Instant::now();
    shop::ship(&stage, "shop:grpc20-3").await?;
    rolled_back(&stage, SOON).await?;
    shop::ensure_on_primary(&stage, "shop:grpc0-2").await?;
    let now = tokio::time::Instant::now();
    let (good, bad) = (
        traffic.answered_by("shop-primary", from, now),
        traffic.answered_by("shop", from, now),
    );
    stage.note(format!("of the release: {bad}"));
    // The mesh tries a call that ends so twice again by itself, so callers see few of these.
    good.ensure_none_failed()?;
    let stats = traffic.stop().await;
    ensure!(stats.failed() == bad.failed(), "others failed as well: {stats}");
    Ok(())
}

/// Pods are scraped every 30 seconds, and the controller is told nothing of it: a good release is promoted, a bad one is rolled
/// back for its errors.
pub async fn rare_scrapes(stage: Arc<Stage>) -> Result<()> {
    let canary = shop::canary_with(|spec| {
        spec["progressDeadlineSeconds"] = json!(600);
        spec["analysis"] = json!({"interval": "30s", "threshold": 1, "stepWeights": [50], "metrics": [
            {"name": "request-success-rate", "thresholdRange": {"min": 99}},
            {"name": "request-duration", "thresholdRange": {"max": 500}},
        ]});
    });
    // To know that requests arrive would take four minutes, and is not what the story is about.
    let mut at_first = canary.clone();
    at_first["spec"]["analysis"]["reach"] = json!("assumed");
    shop::open(&stage).await?;
    stage.start_controller().await?;
    let traffic = stage.traffic(RATE);
    let from = tokio::time::Instant::now();
    stage.apply(&at_first).await?;
    let mut since = from;
    let mut took = |what: &str| {
        stage.note(format!("{what} after {:.0?}", since.elapsed()));
        since = tokio::time::Instant::now();
    };
    shop::wait_phase(&stage, "Initialized", MINUTES).await?;
    took("initialized");
    stage.apply(&canary).await?;
    shop::ship(&stage, "shop:good-2").await?;
    shop::wait_phase(&stage, "Succeeded", MINUTES).await?;
    took("promoted");
    shop::ensure_on_primary(&stage, "shop:good-2").await?;
    traffic.so_far().ensure_none_failed()?;
    shop::ship(&stage, "shop:errors20-3").await?;
    rolled_back(&stage, MINUTES).await?;
    took("rolled back");
    // Its pods go when two minutes more have shown that no request reaches them.
    let weights = shop::weights(&stage).await?;
    ensure!(weights == (100, 0), "weights are {weights:?}");
    let primary = shop::image_of(&stage, "shop-primary").await?;
    ensure!(primary == "shop:good-2", "the primary runs {primary}");
    let stats = traffic.stop().await;
    stage.note(format!("{stats}"));
    stats.ensure_failures_are("500")
}

/// Waits until the release failed because of its errors.
async fn rolled_back(stage: &Stage, within: Duration) -> Result<()> {
    let failed = shop::wait_phase(stage, "Failed", within).await?;
    let latest = &failed["status"]["history"][0];
    ensure!(latest["outcome"] == "RolledBack", "the outcome is {latest}");
    let message = failed["status"]["message"].as_str().unwrap_or_default();
    stage.note(message);
    ensure!(
        message.contains("request-success-rate"),
        "it is not for its errors: {message}"
    );
    Ok(())
}

fn set_image(deployment: &mut Value, image: &str) {
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
}
