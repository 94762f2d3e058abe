//! Requests that do not reach the primary while it is set up, and what keeps it from being set up.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use bellwether::sim::traffic::Barrier;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::shop::{self, RATE, SOON};
use crate::objects::Kind;
use crate::story::Stage;

/// Of the requests of an adoption that nobody can reach, at most so many fail, in a hundred.
const FAIL: f64 = 6.0;
/// Longer than the minute after which it is tried again, and what follows.
const MINUTES: Duration = Duration::from_mins(3);

/// The primary's pods are ready, and no connection to them comes about.
pub async fn unreachable(stage: Arc<Stage>) -> Result<()> {
    not_reached(&stage, Barrier::Drops, "no request reaches shop-primary").await
}

/// The proxies of the primary's pods answer every request with 403, as an AuthorizationPolicy makes them.
pub async fn only_403(stage: Arc<Stage>) -> Result<()> {
    not_reached(
        &stage,
        Barrier::Denies,
        "100 % of the requests that reach shop-primary are refused",
    )
    .await
}

/// The traffic goes back to the target, which serves alone while the hold has a name; when nothing is in the way any more, the
/// next attempt succeeds.
async fn not_reached(stage: &Stage, barrier: Barrier, message: &str) -> Result<()> {
    shop::open(stage).await?;
    stage.bar("shop-primary", Some(barrier)).await?;
    stage.start_controller().await?;
    let traffic = stage.traffic(RATE);
    let from = Instant::now();
    stage.apply(&shop::canary()).await?;
    let held = shop::wait_status(stage, "the hold has a name", SOON, |s| {
        s["hold"]["reason"] == "NotReached"
    })
    .await?;
    let said = held["status"]["hold"]["message"].as_str().unwrap_or_default();
    ensure!(said.contains(message), "the hold says {said}");
    let routed = |route: &Value| route["spec"]["http"][0]["route"][0]["weight"] == 0;
    stage
        .wait_for(Kind::VirtualService, "shop", "the traffic is back", SOON, routed)
        .await?;
    // Proxies hear of it a moment later, and callers of what they sent.
    traffic.requests(200).await?;
    let back = Instant::now();
    let stats = traffic.between(from, back);
    let failed = stats.failed() as f64 / stats.requests as f64 * 100.0;
    stage.note(format!("of the attempt: {stats}: {failed:.1} %"));
    ensure!(stats.failed() > 0, "the primary got no request");
    ensure!(failed <= FAIL, "{failed:.1} % of the requests failed");
    // Not as long as the pause before it is tried again.
    traffic.requests(30 * RATE as usize).await?;
    let stats = traffic.since(back);
    stats.ensure_none_failed()?;
    stats.ensure_answered_by("shop")?;
    let replicas = shop::replicas_of(stage, "shop").await?;
    ensure!(replicas == 2, "the target has {replicas} replicas");
    stage.bar("shop-primary", None).await?;
    shop::wait_phase(stage, "Initialized", MINUTES).await?;
    shop::ensure_on_primary(stage, "shop:good-1").await?;
    traffic.since(back).ensure_none_failed()?;
    drop(traffic);
    Ok(())
}

/// Policies that select the target's pods alone keep the primary from being set up, before anything is written: one is widened,
/// and the other accepted.
pub async fn policy_not_covering(stage: Arc<Stage>) -> Result<()> {
    shop::open(&stage).await?;
    stage
        .apply(&json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "callers"},
            "spec": {"podSelector": {"matchLabels": {"app": "shop"}}, "ingress": [{}]}}))
        .await?;
    stage
        .apply(&json!({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "guests"},
            "spec": {"selector": {"matchLabels": {"app": "shop"}}, "rules": [{}]}}))
        .await?;
    let traffic = stage.traffic(RATE);
    stage.start_controller().await?;
    let from = Instant::now();
    stage.apply(&shop::canary()).await?;
    let message = not_covered(&stage, "NetworkPolicy/callers, AuthorizationPolicy/guests").await?;
    stage.note(message);
    traffic.requests(1000).await?;
    let mut writes = stage.writes_since(from).await?;
    // The Canary's own finalizer and status, and the events that tell of it.
    writes.retain(|kind, _| kind != "canaries" && kind != "events");
    ensure!(writes.is_empty(), "it was held, and wrote {writes:?}");
    let both =
        json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["shop", "shop-primary"]}]});
    stage
        .merge(
            Kind::NetworkPolicy,
            "callers",
            json!({"spec": {"podSelector": {"matchLabels": null,
            "matchExpressions": both["matchExpressions"]}}}),
        )
        .await?;
    let message = not_covered(&stage, "by AuthorizationPolicy/guests").await?;
    ensure!(
        !message.contains("callers"),
        "what was widened is named: {message}"
    );
    let accepted = json!({"metadata": {"annotations": {"bellwether.dev/accept-policies": "AuthorizationPolicy/guests"}}});
    stage.merge(Kind::Canary, "shop", accepted).await?;
    shop::wait_phase(&stage, "Initialized", SOON).await?;
    shop::ensure_on_primary(&stage, "shop:good-1").await?;
    shop::end_without_failure(&stage, traffic).await
}

/// Waits until the hold names these policies, and no others that would be named before them; returns its message.
async fn not_covered(stage: &Stage, policies: &str) -> Result<String> {
    let held = shop::wait_status(stage, &format!("it is held: {policies}"), SOON, |s| {
        let message = s["hold"]["message"].as_str().unwrap_or_default();
        s["hold"]["reason"] == "PolicyNotCovering" && message.contains(policies)
    })
    .await?;
    Ok(held["status"]["hold"]["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}
