//! Writes that the API server refuses, by a quota or a policy: the refusal has a name, and no traffic stays where it must not.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::Instant;

use super::shop::{self, RATE, SOON};
use crate::objects::Kind;
use crate::story::Stage;

/// Longer than any pause after which a refused write is tried again, and what follows.
const MINUTES: Duration = Duration::from_mins(3);

/// No more Deployments fit into a quota: the set-up is held with the words of the API server, and goes on when it is lifted.
pub async fn quota(stage: Arc<Stage>) -> Result<()> {
    shop::open(&stage).await?;
    stage.set_quota(Kind::Deployment, true).await?;
    let traffic = stage.traffic(RATE);
    stage.start_controller().await?;
    let from = Instant::now();
    stage.apply(&shop::canary()).await?;
    named(&stage, "exceeded quota: full").await?;
    // Longer than the first pauses between two attempts.
    traffic.requests(20 * RATE as usize).await?;
    let stats = traffic.since(from);
    stats.ensure_answered_by("shop")?;
    let writes = stage.writes_since(from).await?;
    stage.note(format!("written under the quota: {writes:?}"));
    stage.set_quota(Kind::Deployment, false).await?;
    shop::wait_phase(&stage, "Initialized", MINUTES).await?;
    shop::ensure_on_primary(&stage, "shop:good-1").await?;
    shop::end_without_failure(&stage, traffic).await
}

/// Nobody may change the workload under a bad release: the traffic is off it at once, the refusal has a name, and the pods go as
/// soon as they may.
pub async fn refused_workload(stage: Arc<Stage>) -> Result<()> {
    shop::under_canary(&stage, &shop::canary()).await?;
    let traffic = stage.traffic(RATE);
    shop::ship(&stage, "shop:errors20-2").await?;
    shop::wait_weight(&stage, 10).await?;
    stage.deny_changes(Kind::Deployment, "shop", true).await?;
    named(&stage, "Deployment/shop").await?;
    let weights = shop::weights(&stage).await?;
    ensure!(
        weights == (100, 0),
        "the release is bad, and weights are {weights:?}"
    );
    let from = Instant::now();
    traffic.requests(10 * RATE as usize).await?;
    let stats = traffic.since(from);
    stats.ensure_none_failed()?;
    stats.ensure_answered_by("shop-primary")?;
    let pods = shop::replicas_of(&stage, "shop").await?;
    ensure!(pods == 2, "nobody may change it, and it asks for {pods} pods");
    stage.deny_changes(Kind::Deployment, "shop", false).await?;
    shop::wait_phase(&stage, "Failed", MINUTES).await?;
    shop::ensure_on_primary(&stage, "shop:good-1").await?;
    let stats = traffic.stop().await;
    stage.note(format!("{stats}"));
    stats.ensure_failures_are("500")
}

/// Waits until the hold names the refusal.
async fn named(stage: &Stage, words: &str) -> Result<()> {
    let held = shop::wait_status(stage, &format!("the refusal is named: {words}"), SOON, |s| {
        let message = s["hold"]["message"].as_str().unwrap_or_default();
        s["hold"]["reason"] == "WriteRefused" && message.contains(words)
    })
    .await?;
    stage.note(held["status"]["hold"]["message"].as_str().unwrap_or_default());
    Ok(())
}
