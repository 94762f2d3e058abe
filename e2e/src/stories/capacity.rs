//! Too few pods: no room for one more, none to come before one goes, no old ReplicaSets, pods that crash.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::shop::{self, RATE, SOON};
use crate::objects::Kind;
use crate::story::Stage;

/// What a pipeline applies: its own number of replicas among the rest.
fn manifest(stage: &Stage, image: &str, replicas: u32) -> Value {
    let mut deployment = stage.deployment("shop", image, replicas);
    deployment["spec"]["strategy"] = json!({"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}});
    deployment
}

/// One of the primary's six pods finds no node while it takes a release over, and a pipeline applies its manifest with two
/// replicas: two pods never get what six served, the primary keeps its six, and the next release is promoted.
pub async fn pod_without_node(stage: Arc<Stage>) -> Result<()> {
    shop::open_with(&stage, |deployment| {
        *deployment = manifest(&stage, "shop:good-1", 2);
    })
    .await?;
    let canary = shop::canary_with(|spec| spec["progressDeadlineSeconds"] = json!(20));
    shop::release_under(&stage, &canary).await?;
    stage
        .merge(Kind::Deployment, "shop-primary", json!({"spec": {"replicas": 6}}))
        .await?;
    stage.wait_pods("shop-primary", 6, SOON).await?;
    let traffic = stage.traffic(RATE);
    stage.apply(&manifest(&stage, "shop:good-2", 2)).await?;
    shop::wait_weight(&stage, 50).await?;
    let pods = shop::replicas_of(&stage, "shop").await?;
    ensure!(pods == 6, "half of what six pods served is sent to {pods}");
    stage.set_schedulable(false).await?;
    let missing = |primary: &Value| {
        let status = &primary["status"];
        status["updatedReplicas"] == 1 && status["readyReplicas"] == 5
    };
    stage
        .wait_for(
            Kind::Deployment,
            "shop-primary",
            "one pod has no node",
            SOON,
            missing,
        )
        .await?;
    stage.apply(&manifest(&stage, "shop:good-2", 2)).await?;
    let mut most = 0;
    let on_primary = |route: &Value| {
        let weight = route["spec"]["http"][0]["route"][1]["weight"].as_i64();
        most = most.max(weight.unwrap_or_default());
        weight == Some(0)
    };
    stage
        .wait_for(
            Kind::VirtualService,
            "shop",
            "five pods of six serve",
            SOON,
            on_primary,
        )
        .await?;
    ensure!(most <= 50, "two pods got {most} % of what six served");
    shop::wait_status(&stage, "it is being undone", SOON, |s| {
        s["hold"]["reason"] == "PromotionFailed"
    })
    .await?;
    let weights = shop::weights(&stage).await?;
    ensure!(
        weights == (100, 0),
        "five pods of six serve, and weights are {weights:?}"
    );
    stage.set_schedulable(true).await?;
    shop::wait_phase(&stage, "Failed", SOON).await?;
    shop::ensure_on_primary(&stage, "shop:good-1").await?;
    stage.wait_pods("shop-primary", 6, SOON).await?;
    stage.apply(&manifest(&stage, "shop:good-3", 2)).await?;
    shop::wait_phase(&stage, "Succeeded", SOON).await?;
    shop::end_without_failure(&stage, traffic).await?;
    shop::ensure_on_primary(&stage, "shop:good-3").await?;
    stage.wait_pods("shop-primary", 6, SOON).await
}

/// A workload whose pods go before new ones come: released at every weight, and so do the primary's, of which one serves all the
/// while.
pub async fn no_surge(stage: Arc<Stage>) -> Result<()> {
    shop::open_with(&stage, |deployment| {
        *deployment = manifest(&stage, "shop:good-1", 2);
    })
    .await?;
    shop::release_under(&stage, &shop::canary()).await?;
    let traffic = stage.traffic(RATE);
    stage.apply(&manifest(&stage, "shop:good-2", 2)).await?;
    for weight in [10, 30, 50] {
        let there = shop::wait_weight(&stage, weight).await?;
        let weight_there = &there["status"]["canaryWeight"];
        ensure!(
            *weight_there == weight,
            "{weight_there} came after less than {weight}"
        );
    }
    let (mut begun, mut least) = (false, i64::MAX);
    let replaced = |primary: &Value| {
        let count = |field: &str| primary["status"][field].as_i64().unwrap_or_default();
        let image = &primary["spec"]["template"]["spec"]["containers"][0]["image"];
        let (updated, ready) = (count("updatedReplicas"), count("readyReplicas"));
        least = least.min(ready);
        // The status follows the template.
        begun |= *image == "shop:good-2" && updated < 2;
        begun && updated == 2 && ready == 2
    };
    let primary = stage
        .wait_for(
            Kind::Deployment,
            "shop-primary",
            "all its pods are new",
            SOON,
            replaced,
        )
        .await?;
    ensure!(least == 1, "{least} of the primary's two pods were ready");
    let strategy = &primary["spec"]["strategy"]["rollingUpdate"];
    ensure!(
        *strategy == json!({"maxUnavailable": 1, "maxSurge": 0}),
        "the primary has {strategy}"
    );
    let done = shop::wait_phase(&stage, "Succeeded", SOON).await?;
    let outcome = &done["status"]["history"][0]["outcome"];
    ensure!(outcome == "Promoted", "the outcome is {outcome}");
    shop::end_without_failure(&stage, traffic).await?;
    shop::ensure_on_primary(&stage, "shop:good-2").await
}

/// `revisionHistoryLimit: 0`, and all pods go before new ones come: the primary of a failed promotion has no pod of the
/// old template left, returns to it all the same, and a fix is released as usual.
pub async fn no_history(stage: Arc<Stage>) -> Result<()> {
    shop::open_with(&stage, |deployment| {
        deployment["spec"]["revisionHistoryLimit"] = json!(0);
        deployment["spec"]["strategy"] = json!({"type": "Recreate"});
    })
    .await?;
    let canary = shop::canary_with(|spec| spec["progressDeadlineSeconds"] = json!(20));
    shop::release_under(&stage, &canary).await?;
    let traffic = stage.traffic(RATE);
    shop::ship(&stage, "shop:good-2").await?;
    // All its pods have their nodes by then.
    shop::wait_weight(&stage, 50).await?;
    stage.set_schedulable(false).await?;
    let undone = shop::wait_status(&stage, "it is being undone", SOON, |s| {
        s["retirement"]["kind"] == "UndoOnCanary"
    })
    .await?;
    let weight = &undone["status"]["canaryWeight"];
    ensure!(*weight == 100, "the canary alone has pods, and gets {weight} %");
    stage.set_schedulable(true).await?;
    shop::wait_phase(&stage, "Failed", SOON).await?;
    shop::ensure_on_primary(&stage, "shop:good-1").await?;
    traffic.so_far().ensure_none_failed()?;
    shop::ship(&stage, "shop:good-3").await?;
    let done = shop::wait_phase(&stage, "Succeeded", SOON).await?;
    let history = &done["status"]["history"];
    let outcomes = [&history[0]["outcome"], &history[1]["outcome"]];
    ensure!(outcomes == ["Promoted", "Failed"], "outcomes {outcomes:?}");
    shop::end_without_failure(&stage, traffic).await?;
    shop::ensure_on_primary(&stage, "shop:good-3").await
}

/// Half of the canary's pods crash: the rest could carry the step, but no further one is taken, and it fails.
pub async fn half_crashes(stage: Arc<Stage>) -> Result<()> {
    shop::open_with(&stage, |deployment| deployment["spec"]["replicas"] = json!(4)).await?;
    let canary = shop::canary_with(|spec| spec["progressDeadlineSeconds"] = json!(15));
    shop::release_under(&stage, &canary).await?;
    let traffic = stage.traffic(RATE);
    shop::ship(&stage, "shop:good-2").await?;
    shop::wait_weight(&stage, 10).await?;
    stage.crash_pods("shop", 2).await?;
    let held = shop::wait_status(&stage, "it is held", SOON, |s| {
        s["hold"]["reason"] == "WorkloadNotReady"
    })
    .await?;
    stage.note(held["status"]["hold"]["message"].as_str().unwrap_or_default());
    let mut most = 0;
    let failed = shop::wait_status(&stage, "phase is Failed", Duration::from_secs(60), |status| {
        most = most.max(status["canaryWeight"].as_i64().unwrap_or_default());
        status["phase"] == "Failed"
    })
    .await?;
    ensure!(most <= 10, "it got {most} % with half of its pods");
    let outcome = &failed["status"]["history"][0]["outcome"];
    ensure!(outcome == "RolledBack", "the outcome is {outcome}");
    stage.note(failed["status"]["message"].as_str().unwrap_or_default());
    shop::ensure_on_primary(&stage, "shop:good-1").await?;
    let stats = traffic.stop().await;
    stage.note(format!("{stats}"));
    // Half of ten percent of 200 a second, for as long as proxies cannot know; most are tried again elsewhere.
    ensure!(stats.failed() < 20, "{} requests failed", stats.failed());
    Ok(())
}
