//! What people do: edit by hand, pause, adopt at night, delete, and write nonsense.

use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use super::shop::{self, RATE, SOON};
use crate::objects::Kind;
use crate::story::Stage;
use crate::traffic::Traffic;

/// Somebody edits the VirtualService mid-rollout: their additions stay, our weights are restored, it goes on.
pub async fn edited_by_hand(stage: Arc<Stage>) -> Result<()> {
    shop::under_canary(&stage, &shop::canary()).await?;
    let traffic = stage.traffic(RATE);
    shop::ship(&stage, "shop:good-2").await?;
    shop::wait_weight(&stage, 10).await?;
    let patch = json!([
        {"op": "replace", "path": "/spec/http/0/route/0/weight", "value": 50},
        {"op": "replace", "path": "/spec/http/0/route/1/weight", "value": 50},
        {"op": "add", "path": "/spec/http/0/headers/response/set/x-added", "value": "by-hand"},
        {"op": "add", "path": "/spec/http/0", "value": {"name": "teapot", "match": [{"uri": {"prefix": "/teapot"}}], "directResponse": {"status": 418}}},
    ]);
    stage.json_patch(Kind::VirtualService, "shop", patch).await?;
    let ours = |vs: &Value| {
        let main = vs["spec"]["http"]
            .as_array()
            .and_then(|r| r.iter().find(|r| r["name"] == "main"))
            .cloned();
        main.is_some_and(|m| m["route"][0]["weight"] == 90 && m["route"][1]["weight"] == 10)
    };
    stage
        .wait_for(Kind::VirtualService, "shop", "our weights are back", SOON, ours)
        .await?;
    shop::wait_phase(&stage, "Succeeded", SOON).await?;
    let route = stage.api(Kind::VirtualService).get("shop").await?.data;
    ensure!(
        route["spec"]["http"][0]["name"] == "teapot",
        "the added route is gone"
    );
    ensure!(
        route["spec"]["http"][1]["headers"]["response"]["set"]["x-added"] == "by-hand",
        "the added header is gone"
    );
    shop::end_without_failure(&stage, traffic).await
}

/// Deleted at rest, mid-rollout, and while the controller is dead: no request fails, the target serves, nothing stays.
pub async fn deleted(stage: Arc<Stage>) -> Result<()> {
    shop::under_canary(&stage, &shop::canary()).await?;
    let before = shop::route(&stage.host)["spec"].clone();
    let traffic = stage.traffic(RATE);
    stage.delete(Kind::Canary, "shop").await?;
    handed_back(&stage, &traffic, &before).await?;

    stage.apply(&shop::canary()).await?;
    shop::wait_phase(&stage, "Initialized", SOON).await?;
    shop::ship(&stage, "shop:good-2").await?;
    shop::wait_weight(&stage, 10).await?;
    stage.delete(Kind::Canary, "shop").await?;
    handed_back(&stage, &traffic, &before).await?;

    stage.apply(&shop::canary()).await?;
    shop::wait_phase(&stage, "Initialized", SOON).await?;
    stage.kill_controller().await?;
    stage.delete(Kind::Canary, "shop").await?;
    traffic.requests(400).await?;
    stage.start_controller().await?;
    handed_back(&stage, &traffic, &before).await?;
    shop::end_without_failure(&stage, traffic).await
}

async fn handed_back(stage: &Stage, traffic: &Traffic, before: &Value) -> Result<()> {
    stage.wait_gone(Kind::Canary, "shop", SOON).await?;
    stage.wait_pods("shop", 2, SOON).await?;
    for (kind, name) in shop::CHILDREN {
        stage.wait_gone(kind, name, SOON).await?;
    }
    let route = stage.api(Kind::VirtualService).get("shop").await?;
    ensure!(
        &route.data["spec"] == before,
        "the route is not what it was: {}",
        route.data["spec"]
    );
    let service = stage.api(Kind::Service).get("shop").await?;
    ensure!(
        service.data["spec"]["selector"] == json!({"app": "shop"}),
        "selector {}",
        service.data["spec"]["selector"]
    );
    for object in [route, service] {
        let annotations = object.metadata.annotations.unwrap_or_default();
        ensure!(
            annotations.keys().all(|k| !k.contains("bellwether")),
            "marks stay: {annotations:?}"
        );
    }
    let from = tokio::time::Instant::now();
    traffic.requests(200).await?;
    let stats = traffic.since(from);
    ensure!(
        stats.share("shop") == 1.0,
        "the target does not serve alone: {:?}",
        stats.by_workload
    );
    traffic.so_far().ensure_none_failed()
}

/// Deleted after a release was rolled back: the primary serves until somebody decides what the workload is to run. What was
/// promoted comes first, or it serves as it is.
pub async fn deleted_after_rollback(stage: Arc<Stage>) -> Result<()> {
    shop::under_canary(&stage, &shop::canary()).await?;
    let before = shop::route(&stage.host)["spec"].clone();
    let choices = [
        ("promoted", "shop:errors20-2", "shop:good-1"),
        ("as-is", "shop:slow-2", "shop:slow-2"),
    ];
    for (choice, shipped, image) in choices {
        let bad = stage.traffic(RATE);
        shop::ship(&stage, shipped).await?;
        shop::wait_phase(&stage, "Failed", SOON).await?;
        shop::ensure_on_primary(&stage, "shop:good-1").await?;
        drop(bad);
        let traffic = stage.traffic(RATE);
        stage.delete(Kind::Canary, "shop").await?;
        shop::wait_status(&stage, "somebody is to decide", SOON, |s| {
            s["hold"]["reason"] == "HandBackUnreleased"
        })
        .await?;
        // Longer than a step, and than anything that is tried again.
        traffic.requests(3000).await?;
        let stats = traffic.so_far();
        stats.ensure_answered_by("shop-primary")?;
        stats.ensure_none_failed()?;
        let decided = json!({"metadata": {"annotations": {"bellwether.dev/hand-back": choice}}});
        stage.merge(Kind::Canary, "shop", decided).await?;
        stage.wait_gone(Kind::Canary, "shop", SOON).await?;
        let serving = shop::image_of(&stage, "shop").await?;
        ensure!(serving == image, "{choice}: the workload has {serving}");
        let stats = traffic.so_far();
        stage.note(format!("{choice}: {stats}"));
        if choice == "promoted" {
            handed_back(&stage, &traffic, &before).await?;
            shop::end_without_failure(&stage, traffic).await?;
            stage.apply(&shop::canary()).await?;
            shop::set_up(&stage).await?;
        } else {
            stage.wait_gone(Kind::Deployment, "shop-primary", SOON).await?;
            let from = tokio::time::Instant::now();
            traffic.requests(200).await?;
            let stats = traffic.since(from);
            stats.ensure_answered_by("shop")?;
            let stats = traffic.stop().await;
            stats.ensure_failures_are("500")?;
        }
    }
    Ok(())
}

/// A paused workload gets a new template: nothing is released, and that has a name; resumed, it is released as usual.
pub async fn paused(stage: Arc<Stage>) -> Result<()> {
    shop::under_canary(&stage, &shop::canary()).await?;
    let traffic = stage.traffic(RATE);
    let set_paused = async |on: bool| {
        let change = json!({"spec": {"paused": on}});
        stage.merge(Kind::Deployment, "shop", change).await
    };
    set_paused(true).await?;
    shop::ship(&stage, "shop:good-2").await?;
    let held = shop::wait_status(&stage, "the pause is named", SOON, |s| {
        s["hold"]["reason"] == "WorkloadPaused"
    })
    .await?;
    stage.note(held["status"]["hold"]["message"].as_str().unwrap_or_default());
    // Longer than a step, and than it takes to notice a revision.
    traffic.requests(1600).await?;
    let now = stage.api(Kind::Canary).get("shop").await?.data;
    let phase = &now["status"]["phase"];
    ensure!(phase == "Initialized", "phase {phase} while it is paused");
    ensure!(
        now["status"]["hold"]["reason"] == "WorkloadPaused",
        "held by {}",
        now["status"]["hold"]
    );
    shop::ensure_on_primary(&stage, "shop:good-1").await?;
    ensure!(traffic.so_far().share("shop") == 0.0, "the canary got traffic");
    set_paused(false).await?;
    shop::wait_weight(&stage, 10).await?;
    let done = shop::wait_phase(&stage, "Succeeded", SOON).await?;
    let outcome = &done["status"]["history"][0]["outcome"];
    ensure!(outcome == "Promoted", "the outcome is {outcome}");
    shop::end_without_failure(&stage, traffic).await?;
    shop::ensure_on_primary(&stage, "shop:good-2").await
}

/// Adopted at night, when nobody calls, and called in the morning: not a request is lost, the first is answered by the
/// primary, and a release goes as usual.
pub async fn adopted_at_night(stage: Arc<Stage>) -> Result<()> {
    // Not even to see whether it answers is it called.
    stage.apply(&shop::route(&stage.host)).await?;
    shop::open_pods(&stage, |_| {}).await?;
    stage.start_controller().await?;
    stage.apply(&shop::canary()).await?;
    let night = shop::wait_phase(&stage, "Initialized", SOON).await?;
    let reached = |status: &Value| {
        let conditions = status["conditions"].as_array().into_iter().flatten();
        let mut reached = conditions.filter(|condition| condition["type"] == "Reached");
        reached.next().map(|condition| condition["status"].clone())
    };
    let known = reached(&night["status"]);
    ensure!(
        known == Some(json!("Unknown")),
        "nobody called, and Reached is {known:?}"
    );
    shop::ensure_on_primary(&stage, "shop:good-1").await?;
    let traffic = stage.traffic(RATE);
    traffic.requests(1000).await?;
    let stats = traffic.so_far();
    stats.ensure_answered_by("shop-primary")?;
    stats.ensure_none_failed()?;
    shop::ship(&stage, "shop:good-2").await?;
    let done = shop::wait_phase(&stage, "Succeeded", SOON).await?;
    let known = reached(&done["status"]);
    ensure!(
        known == Some(json!("True")),
        "it was released, and Reached is {known:?}"
    );
    shop::end_without_failure(&stage, traffic).await?;
    shop::ensure_on_primary(&stage, "shop:good-2").await
}

/// The whole namespace is deleted mid-rollout: nothing of ours keeps it from going.
pub async fn namespace_deleted(stage: Arc<Stage>) -> Result<()> {
    shop::under_canary(&stage, &shop::canary()).await?;
    let traffic = stage.traffic(RATE);
    shop::ship(&stage, "shop:good-2").await?;
    shop::wait_weight(&stage, 10).await?;
    drop(traffic);
    let namespace = format!("namespace/{}", stage.namespace);
    stage
        .kubectl(&["delete", &namespace, "--timeout=60s"])
        .await
        .map(drop)
}

/// Nonsense is refused with the field named; a missing target is a condition that ends when it is there.
pub async fn bad_input(stage: Arc<Stage>) -> Result<()> {
    type Change = fn(&mut Value);
    let cases: [(&str, Change); 9] = [
        ("spec.analysis.interval", |s| {
            s["analysis"]["interval"] = json!("soon");
        }),
        ("spec.analysis.interval", |s| {
            s["analysis"]["interval"] = json!("500ms");
        }),
        ("spec.analysis.maxWeight", |s| {
            s["analysis"]["maxWeight"] = json!(101);
        }),
        ("spec.analysis.stepWeights", |s| {
            s["analysis"]["stepWeights"] = json!([10, 101]);
        }),
        ("spec.analysis.stepWeights", |s| {
            s["analysis"]["stepWeights"] = json!([30, 10]);
        }),
        ("spec.analysis: Invalid value", |s| {
            s["analysis"] = json!({"interval": "1m"});
        }),
        ("spec.targetRef.kind", |s| {
            s["targetRef"]["kind"] = json!("StatefulSet");
        }),
        ("spec.analysis.metrics", |s| {
            s["analysis"]["metrics"] = json!([{"name": "mood", "thresholdRange": {"min": 1}}]);
        }),
        ("spec.targetRef.name", |s| {
            s["targetRef"]["name"] = json!("x".repeat(56));
        }),
    ];
    for (field, change) in cases {
        match stage.apply(&shop::canary_with(change)).await {
            Ok(_) => bail!("accepted although {field} is nonsense"),
            Err(error) => {
                let text = format!("{error:#}");
                ensure!(text.contains(field), "the refusal does not name {field}: {text}");
            }
        }
    }
    stage.start_controller().await?;
    stage.apply(&shop::canary()).await?;
    shop::wait_status(&stage, "the target is missed", SOON, |s| {
        s["hold"]["reason"] == "TargetNotFound"
    })
    .await?;
    shop::open(&stage).await?;
    shop::set_up(&stage).await?;
    let moved = shop::canary_with(|s| s["targetRef"]["name"] = json!("other"));
    let refusal = stage.apply(&moved).await.err().map(|error| format!("{error:#}"));
    ensure!(
        refusal.is_some_and(|text| text.contains("spec.targetRef.name: cannot change")),
        "the Canary was moved to another workload"
    );
    Ok(())
}
