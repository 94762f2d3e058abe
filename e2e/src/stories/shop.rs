//! The shop: the application that most stories release.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::objects::Kind;
use crate::story::Stage;
use crate::traffic::Traffic;
use crate::wait;

/// Long enough for anything that takes seconds.
pub const SOON: Duration = Duration::from_secs(100);
/// Requests a second where traffic matters.
pub const RATE: u32 = 200;
/// What the controller creates beside the workload, its Service and its route.
pub const CHILDREN: [(Kind, &str); 5] = [
    (Kind::Deployment, "shop-primary"),
    (Kind::Service, "shop-primary"),
    (Kind::Service, "shop-canary"),
    (Kind::DestinationRule, "shop-primary"),
    (Kind::DestinationRule, "shop-canary"),
];

/// The workload, its Service and a VirtualService that was there before any Canary.
pub async fn open(stage: &Stage) -> Result<()> {
    open_with(stage, |_| {}).await
}

/// `open` with a Deployment that is changed first.
pub async fn open_with(stage: &Stage, change: impl FnOnce(&mut Value)) -> Result<()> {
    stage.apply(&route(&stage.host)).await?;
    open_pods(stage, change).await?;
    answers(stage).await
}

/// The workload and its Service without a route.
pub async fn open_pods(stage: &Stage, change: impl FnOnce(&mut Value)) -> Result<()> {
    let mut deployment = stage.deployment("shop", "shop:good-1", 2);
    change(&mut deployment);
    stage.apply(&deployment).await?;
    stage.apply(&stage.service("shop")).await?;
    let pods = deployment["spec"]["replicas"].as_u64().context("no replicas")?;
    stage.wait_pods("shop", usize::try_from(pods)?, SOON).await
}

/// Waits until requests through the gateway are answered.
pub async fn answers(stage: &Stage) -> Result<()> {
    wait::until("the shop answers", SOON, async || {
        let traffic = stage.traffic(100);
        traffic.requests(20).await?;
        traffic.stop().await.ensure_none_failed()
    })
    .await
}

/// The VirtualService as its users wrote it, with things that no controller knows.
pub fn route(host: &str) -> Value {
    json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "shop", "labels": {"team": "shopping"}, "annotations": {"example.com/contact": "shop@example.com"}},
        "spec": {"hosts": [host], "gateways": ["gateway"], "http": [{
            "name": "main",
            "headers": {"response": {"set": {"x-shop": "yes"}}},
            "route": [{"destination": {"host": "shop"}}],
        }]},
    })
}

/// A Canary for it: four steps of two seconds.
pub fn canary() -> Value {
    json!({"apiVersion": "bellwether.dev/v1beta1", "kind": "Canary", "metadata": {"name": "shop"}, "spec": {
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
        "progressDeadlineSeconds": 60,
        "service": {"port": 80, "targetPort": "http"},
        "analysis": {
            "interval": "4s", "threshold": 2, "stepWeights": [10, 30, 50],
            "metrics": [
                {"name": "request-success-rate", "interval": "4s", "thresholdRange": {"min": 99}},
                {"name": "request-duration", "interval": "4s", "thresholdRange": {"max": 500}},
            ],
        },
    }})
}

/// `canary()` with parts replaced.
pub fn canary_with(change: impl FnOnce(&mut Value)) -> Value {
    let mut canary = canary();
    change(&mut canary["spec"]);
    canary
}

/// A release shipped as a person would.
pub async fn ship(stage: &Stage, image: &str) -> Result<()> {
    stage.set_image("shop", image).await
}

/// The shop under its Canary, initialized, with the controller running.
pub async fn under_canary(stage: &Stage, canary: &Value) -> Result<()> {
    open(stage).await?;
    release_under(stage, canary).await
}

/// The open shop is put under its Canary while it is called: not a request fails, and it is known where they arrive.
pub async fn release_under(stage: &Stage, canary: &Value) -> Result<()> {
    stage.start_controller().await?;
    stage.apply(canary).await?;
    set_up(stage).await
}

/// Waits until the primary has taken over, while the shop is called: a service without callers takes a minute longer.
pub async fn set_up(stage: &Stage) -> Result<()> {
    let traffic = stage.traffic(100);
    wait_phase(stage, "Initialized", SOON).await?;
    traffic.stop().await.ensure_none_failed()
}

/// Waits for a phase and returns the Canary as it was then.
pub async fn wait_phase(stage: &Stage, phase: &str, within: Duration) -> Result<Value> {
    wait_status(stage, &format!("phase is {phase}"), within, |status| {
        status["phase"] == phase
    })
    .await
}

/// Waits for a state of the status and returns the Canary as it was then.
pub async fn wait_status(
    stage: &Stage,
    what: &str,
    within: Duration,
    mut met: impl FnMut(&Value) -> bool,
) -> Result<Value> {
    stage
        .wait_for(Kind::Canary, "shop", what, within, |canary| {
            met(&canary["status"])
        })
        .await
}

/// Waits until the canary has traffic.
pub async fn wait_weight(stage: &Stage, at_least: i64) -> Result<Value> {
    wait_status(stage, &format!("weight is at least {at_least}"), SOON, |status| {
        status["canaryWeight"]
            .as_i64()
            .is_some_and(|weight| weight >= at_least)
    })
    .await
}

/// Weights of primary and canary in the VirtualService, as far as it is split.
pub async fn weights(stage: &Stage) -> Result<(i64, i64)> {
    let object = stage.api(Kind::VirtualService).get("shop").await?;
    let routes = object.data["spec"]["http"].as_array().context("no routes")?;
    let of = |suffix: &str| -> i64 {
        routes
            .iter()
            .filter_map(|r| r["route"].as_array())
            .flatten()
            .filter(|d| {
                d["destination"]["host"]
                    .as_str()
                    .is_some_and(|h| h.starts_with(suffix))
            })
            .filter_map(|d| d["weight"].as_i64())
            .sum()
    };
    Ok((of("shop-primary"), of("shop-canary")))
}

/// The image that a Deployment's template names.
pub async fn image_of(stage: &Stage, deployment: &str) -> Result<String> {
    let object = stage.api(Kind::Deployment).get(deployment).await?;
    let image = object.data["spec"]["template"]["spec"]["containers"][0]["image"].as_str();
    image.map(str::to_owned).context("no image")
}

/// Replicas that a Deployment asks for.
pub async fn replicas_of(stage: &Stage, deployment: &str) -> Result<i64> {
    let object = stage.api(Kind::Deployment).get(deployment).await?;
    object.data["spec"]["replicas"].as_i64().context("no replicas")
}

/// Everything is where a rollout that was withdrawn leaves it.
pub async fn ensure_on_primary(stage: &Stage, image: &str) -> Result<()> {
    let weights = weights(stage).await?;
    ensure!(weights == (100, 0), "weights are {weights:?}");
    let primary = image_of(stage, "shop-primary").await?;
    ensure!(primary == image, "the primary runs {primary}, not {image}");
    // Its pods go when no request reaches them any more.
    crate::wait::until("the canary has no pods", SOON, async || {
        let replicas = replicas_of(stage, "shop").await?;
        ensure!(replicas == 0, "the canary has {replicas} replicas");
        Ok(())
    })
    .await
}

/// Ends the traffic and demands that no request failed.
pub async fn end_without_failure(stage: &Stage, traffic: Traffic) -> Result<()> {
    let stats = traffic.stop().await;
    stage.note(format!("{stats}"));
    stats.ensure_none_failed()
}

/// The reasons of the events told of the Canary so far.
pub async fn event_reasons(stage: &Stage) -> Result<Vec<String>> {
    let events = stage
        .api(Kind::Event)
        .list(&kube::api::ListParams::default())
        .await?;
    let of_canary = |e: &&kube::api::DynamicObject| e.data["regarding"]["kind"] == "Canary";
    let reasons = events
        .items
        .iter()
        .filter(of_canary)
        .filter_map(|e| e.data["reason"].as_str().map(str::to_owned));
    Ok(reasons.collect())
}
