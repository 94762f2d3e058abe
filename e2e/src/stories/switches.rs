//! What a Canary's switches change: no analysis, hands off, traffic returned in steps, pods that all go before new ones
//! come, routes of our own.

use std::sync::Arc;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::shop::{self, RATE, SOON};
use crate::objects::Kind;
use crate::story::Stage;
use crate::wait;

/// `skipAnalysis`: promoted as soon as the pods are ready, and the canary gets no traffic.
pub async fn skip_analysis(stage: Arc<Stage>) -> Result<()> {
    let canary = shop::canary_with(|spec| spec["skipAnalysis"] = json!(true));
    shop::under_canary(&stage, &canary).await?;
    let traffic = stage.traffic(RATE);
    shop::ship(&stage, "shop:good-2").await?;
    let done = shop::wait_phase(&stage, "Succeeded", SOON).await?;
    let outcome = &done["status"]["history"][0]["outcome"];
    ensure!(outcome == "FastPromoted", "the outcome is {outcome}");
    ensure!(
        traffic.so_far().share("shop") == 0.0,
        "the canary got traffic without analysis"
    );
    shop::end_without_failure(&stage, traffic).await?;
    shop::ensure_on_primary(&stage, "shop:good-2").await
}

/// `suspend` mid-rollout: nothing is touched, not even what somebody edits; afterwards it goes on.
pub async fn suspend(stage: Arc<Stage>) -> Result<()> {
    shop::under_canary(&stage, &shop::canary()).await?;
    let traffic = stage.traffic(RATE);
    shop::ship(&stage, "shop:good-2").await?;
    shop::wait_weight(&stage, 10).await?;
    set_suspend(&stage, true).await?;
    let held = shop::wait_status(&stage, "it is suspended", SOON, |s| {
        s["hold"]["reason"] == "Suspended"
    })
    .await?;
    let weight = held["status"]["canaryWeight"].as_i64().unwrap_or_default();
    let replaced = json!([
        {"op": "replace", "path": "/spec/http/0/route/0/weight", "value": 95},
        {"op": "replace", "path": "/spec/http/0/route/1/weight", "value": 5},
    ]);
    stage.json_patch(Kind::VirtualService, "shop", replaced).await?;
    // Longer than a step, an interval and any pause of ours.
    traffic.requests(2000).await?;
    let weights = shop::weights(&stage).await?;
    ensure!(weights == (95, 5), "somebody else's weights became {weights:?}");
    let now = stage.api(Kind::Canary).get("shop").await?.data;
    ensure!(
        now["status"]["canaryWeight"] == weight,
        "the weight moved to {}",
        now["status"]["canaryWeight"]
    );
    set_suspend(&stage, false).await?;
    shop::wait_phase(&stage, "Succeeded", SOON).await?;
    shop::end_without_failure(&stage, traffic).await
}

async fn set_suspend(stage: &Stage, on: bool) -> Result<()> {
    let change = json!({"spec": {"suspend": on}});
    stage.merge(Kind::Canary, "shop", change).await
}

/// `stepWeightPromotion`: the traffic returns to the primary in steps.
pub async fn promotion_in_steps(stage: Arc<Stage>) -> Result<()> {
    let canary = shop::canary_with(|spec| {
        spec["analysis"]["stepWeights"] = json!([60]);
        spec["analysis"]["stepWeightPromotion"] = json!(25);
    });
    shop::under_canary(&stage, &canary).await?;
    let traffic = stage.traffic(RATE);
    shop::ship(&stage, "shop:good-2").await?;
    let mut seen: Vec<i64> = Vec::new();
    shop::wait_status(&stage, "phase is Succeeded", SOON, |status| {
        let weight = status["canaryWeight"].as_i64().unwrap_or_default();
        if seen.last() != Some(&weight) {
            seen.push(weight);
        }
        status["phase"] == "Succeeded"
    })
    .await?;
    stage.note(format!("weights {seen:?}"));
    ensure!(seen == [0, 60, 35, 10, 0], "the weights were {seen:?}");
    shop::end_without_failure(&stage, traffic).await?;
    shop::ensure_on_primary(&stage, "shop:good-2").await
}

/// A workload with `strategy: Recreate`: the canary serves alone while the primary's pods are replaced.
pub async fn recreate(stage: Arc<Stage>) -> Result<()> {
    shop::open_with(&stage, |deployment| {
        deployment["spec"]["strategy"] = json!({"type": "Recreate"});
    })
    .await?;
    shop::release_under(&stage, &shop::canary()).await?;
    let traffic = stage.traffic(RATE);
    shop::ship(&stage, "shop:good-2").await?;
    shop::wait_weight(&stage, 100).await?;
    shop::wait_phase(&stage, "Succeeded", SOON).await?;
    shop::end_without_failure(&stage, traffic).await?;
    shop::ensure_on_primary(&stage, "shop:good-2").await
}

/// Without a VirtualService of the user's one is created, repaired and, with the Canary gone, left pointing at the
/// Service.
pub async fn created_routes(stage: Arc<Stage>) -> Result<()> {
    shop::open_pods(&stage, |_| {}).await?;
    let canary = shop::canary_with(|spec| {
        spec["service"]["hosts"] = json!([stage.host]);
        spec["service"]["gateways"] = json!(["gateway"]);
        spec["service"]["headers"] = json!({"response": {"set": {"x-made": "by-canary"}}});
    });
    // Nobody can call it before it has a route.
    stage.start_controller().await?;
    stage.apply(&canary).await?;
    shop::wait_phase(&stage, "Initialized", SOON).await?;
    shop::answers(&stage).await?;
    let traffic = stage.traffic(RATE);
    shop::ship(&stage, "shop:good-2").await?;
    shop::wait_weight(&stage, 30).await?;
    // A changed Canary changes the route and keeps the weight; an edit of our part is put right.
    let timeout = json!({"spec": {"service": {"timeout": "7s"}}});
    stage.merge(Kind::Canary, "shop", timeout).await?;
    let routed = |vs: &Value| {
        let http = &vs["spec"]["http"][0];
        http["timeout"] == "7s" && http["route"][1]["weight"].as_i64().is_some_and(|w| w >= 30)
    };
    stage
        .wait_for(Kind::VirtualService, "shop", "it has the timeout", SOON, routed)
        .await?;
    let removed = json!([{"op": "remove", "path": "/spec/http/0/headers"}]);
    stage.json_patch(Kind::VirtualService, "shop", removed).await?;
    let repaired = |vs: &Value| vs["spec"]["http"][0]["headers"]["response"]["set"]["x-made"] == "by-canary";
    stage
        .wait_for(Kind::VirtualService, "shop", "it is repaired", SOON, repaired)
        .await?;
    shop::wait_phase(&stage, "Succeeded", SOON).await?;
    shop::ensure_on_primary(&stage, "shop:good-2").await?;
    stage.delete(Kind::Canary, "shop").await?;
    stage.wait_gone(Kind::Canary, "shop", SOON).await?;
    stage.wait_gone(Kind::Deployment, "shop-primary", SOON).await?;
    let route = stage.api(Kind::VirtualService).get("shop").await?;
    let destinations = &route.data["spec"]["http"][0]["route"];
    ensure!(
        destinations.as_array().is_some_and(|d| d.len() == 1)
            && destinations[0]["destination"]["host"]
                .as_str()
                .is_some_and(|host| !host.contains("-primary")),
        "the route leads to {destinations}"
    );
    let from = tokio::time::Instant::now();
    traffic.requests(200).await?;
    traffic.since(from).ensure_answered_by("shop")?;
    shop::end_without_failure(&stage, traffic).await
}

/// Two Canaries for one workload: the older one keeps it, the other says so and touches nothing.
pub async fn rivals(stage: Arc<Stage>) -> Result<()> {
    shop::under_canary(&stage, &shop::canary()).await?;
    let mut rival = shop::canary();
    rival["metadata"]["name"] = json!("rival");
    // Ages are told apart by whole seconds.
    let made = stage.api(Kind::Canary).get("shop").await?;
    let age = made.metadata.creation_timestamp;
    wait::until("a second has passed", SOON, async || {
        let now = stage.now().timestamp();
        ensure!(
            age.as_ref().is_some_and(|age| age.0.as_second() < now),
            "the Canary is of this second"
        );
        Ok(())
    })
    .await?;
    stage.apply(&rival).await?;
    stage
        .wait_for(Kind::Canary, "rival", "it yields", SOON, |canary| {
            canary["status"]["hold"]["reason"] == "TargetConflict"
        })
        .await?;
    let traffic = stage.traffic(RATE);
    shop::ship(&stage, "shop:good-2").await?;
    shop::wait_phase(&stage, "Succeeded", SOON).await?;
    let yielding = stage.api(Kind::Canary).get("rival").await?.data;
    ensure!(
        yielding["status"].get("phase").is_none(),
        "the rival went on: {}",
        yielding["status"]["phase"]
    );
    stage.delete(Kind::Canary, "rival").await?;
    stage.wait_gone(Kind::Canary, "rival", SOON).await?;
    shop::end_without_failure(&stage, traffic).await?;
    shop::ensure_on_primary(&stage, "shop:good-2").await
}

/// A release that takes a field out of the pod template takes it out of the primary as well, although the primary was
/// created with it.
pub async fn field_removed(stage: Arc<Stage>) -> Result<()> {
    shop::open_with(&stage, |deployment| {
        let container = &mut deployment["spec"]["template"]["spec"]["containers"][0];
        container["env"] = json!([{"name": "OLD", "value": "yes"}, {"name": "KEPT", "value": "yes"}]);
    })
    .await?;
    shop::release_under(
        &stage,
        &shop::canary_with(|spec| spec["skipAnalysis"] = json!(true)),
    )
    .await?;
    // Who called a moment ago and is seen nowhere is waited for.
    let traffic = stage.traffic(RATE);
    let container = "/spec/template/spec/containers/0";
    let release = json!([
        {"op": "remove", "path": format!("{container}/env/0")},
        {"op": "replace", "path": format!("{container}/image"), "value": "shop:good-2"},
    ]);
    stage.json_patch(Kind::Deployment, "shop", release).await?;
    shop::wait_phase(&stage, "Succeeded", SOON).await?;
    shop::end_without_failure(&stage, traffic).await?;
    let primary = stage.api(Kind::Deployment).get("shop-primary").await?;
    let containers = &primary.data["spec"]["template"]["spec"]["containers"];
    ensure!(
        containers[0]["env"] == json!([{"name": "KEPT", "value": "yes"}]),
        "the primary has {}",
        containers[0]["env"]
    );
    shop::ensure_on_primary(&stage, "shop:good-2").await
}
