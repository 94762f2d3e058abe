//! What goes wrong around a release: the controller, the metrics, the API server, the canary or the primary fails.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use super::shop::{self, RATE, SOON};
use crate::story::Stage;

/// kill -9 at ten moments of a promotion and of a rollback: same end, and no failed request because of it.
pub async fn killed_controller(stage: Arc<Stage>) -> Result<()> {
    shop::under_canary(&stage, &shop::canary()).await?;
    let traffic = stage.traffic(RATE);
    shop::ship(&stage, "shop:good-2").await?;
    for requests in [90, 210, 330, 480, 150, 620, 270, 410, 540, 120] {
        traffic.requests(requests).await?;
        stage.kill_controller().await?;
        stage.start_controller().await?;
    }
    shop::wait_phase(&stage, "Succeeded", SOON).await?;
    shop::ensure_on_primary(&stage, "shop:good-2").await?;
    traffic.so_far().ensure_none_failed()?;
    shop::ship(&stage, "shop:errors5-3").await?;
    for requests in [110, 350, 240, 470, 160, 590, 310, 420, 200, 530] {
        traffic.requests(requests).await?;
        stage.kill_controller().await?;
        stage.start_controller().await?;
    }
    shop::wait_phase(&stage, "Failed", SOON).await?;
    shop::ensure_on_primary(&stage, "shop:good-2").await?;
    let stats = traffic.stop().await;
    stage.note(format!("{stats}"));
    stats.ensure_failures_are("500")?;
    Ok(())
}

/// kill -9 every nine seconds under a bad release, whose verdict takes longer than that: it is rolled back all the same.
pub async fn killed_again_and_again(stage: Arc<Stage>) -> Result<()> {
    let canary = shop::canary_with(|spec| spec["analysis"]["interval"] = json!("6s"));
    shop::under_canary(&stage, &canary).await?;
    let traffic = stage.traffic(RATE);
    shop::ship(&stage, "shop:errors20-2").await?;
    shop::wait_weight(&stage, 10).await?;
    let kills = std::cell::Cell::new(0);
    let killing = async {
        loop {
            stage.kill_controller().await?;
            stage.start_controller().await?;
            kills.set(kills.get() + 1);
            traffic.requests(9 * RATE as usize).await?;
        }
    };
    let failed = tokio::select! {
        failed = shop::wait_phase(&stage, "Failed", SOON) => failed?,
        killed = killing => return killed,
    };
    stage.note(format!("{} kills", kills.get()));
    ensure!(kills.get() >= 2, "it was judged between two kills");
    let outcome = &failed["status"]["history"][0]["outcome"];
    ensure!(outcome == "RolledBack", "the outcome is {outcome}");
    shop::ensure_on_primary(&stage, "shop:good-1").await?;
    let stats = traffic.stop().await;
    stage.note(format!("{stats}"));
    stats.ensure_failures_are("500")?;
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
    // Ten percent of 200 a second, and it must be over within fifteen seconds: a window, and another sample that shows the same.
    ensure!(stats.failed() < 300, "{} requests failed", stats.failed());
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
    stage.set_schedulable(false).await?;
    shop::wait_status(&stage, "it is being undone", SOON, |s| {
        s["retirement"]["kind"] == "UndoOnCanary"
    })
    .await?;
    let failed = shop::wait_phase(&stage, "Failed", SOON).await?;
    stage.note(failed["status"]["message"].as_str().unwrap_or_default());
    traffic.so_far().ensure_none_failed()?;
    shop::ensure_on_primary(&stage, "shop:good-1").await?;
    stage.set_schedulable(true).await?;
    shop::ship(&stage, "shop:good-3").await?;
    shop::wait_phase(&stage, "Succeeded", SOON).await?;
    shop::ensure_on_primary(&stage, "shop:good-3").await?;
    shop::end_without_failure(&stage, traffic).await
}

/// A fix is pushed while a failed promotion is being undone, and the primary, which lost most pods to it, cannot carry
/// everything: the traffic stays on the side that can until the primary is whole, then the fix is released as usual.
pub async fn fix_during_undo(stage: Arc<Stage>) -> Result<()> {
    shop::open_with(&stage, |deployment| {
        deployment["spec"]["replicas"] = json!(3);
        deployment["spec"]["strategy"] = json!({"rollingUpdate": {"maxUnavailable": 2, "maxSurge": 1}});
    })
    .await?;
    let canary = shop::canary_with(|spec| spec["progressDeadlineSeconds"] = json!(20));
    shop::release_under(&stage, &canary).await?;
    let traffic = stage.traffic(RATE);
    shop::ship(&stage, "shop:good-2").await?;
    shop::wait_weight(&stage, 50).await?;
    stage.set_schedulable(false).await?;
    shop::wait_status(&stage, "it is being undone", SOON, |s| {
        s["retirement"]["kind"] == "UndoOnCanary" && s["canaryWeight"] == 100
    })
    .await?;
    shop::ship(&stage, "shop:good-3").await?;
    // Longer than any round, and shorter than the deadline.
    traffic.requests(1000).await?;
    let weights = shop::weights(&stage).await?;
    // A third of its pods may take twice a third of the traffic for a while, and no more.
    ensure!(
        weights.1 >= 34,
        "the primary has a third of its pods and weights are {weights:?}"
    );
    stage.set_schedulable(true).await?;
    let done = shop::wait_phase(&stage, "Succeeded", SOON).await?;
    let outcomes: Vec<_> = (0..2)
        .map(|i| done["status"]["history"][i]["outcome"].clone())
        .collect();
    ensure!(outcomes == ["Promoted", "Failed"], "outcomes {outcomes:?}");
    shop::end_without_failure(&stage, traffic).await?;
    shop::ensure_on_primary(&stage, "shop:good-3").await
}

/// Prometheus stops and comes back: held, goes on. Stops for long: retreat, still held, goes on.
pub async fn metrics_lost(stage: Arc<Stage>) -> Result<()> {
    let canary = shop::canary_with(|spec| spec["analysis"]["maxBlind"] = json!("10s"));
    shop::under_canary(&stage, &canary).await?;
    let traffic = stage.traffic(RATE);
    shop::ship(&stage, "shop:good-2").await?;
    shop::wait_weight(&stage, 10).await?;
    stage.set_metrics(false).await?;
    let held = shop::wait_status(&stage, "it is held", SOON, |s| {
        s["hold"]["reason"] == "MetricsUnavailable"
    })
    .await?;
    ensure!(
        held["status"]["failedChecks"] == 0,
        "blindness was counted as a failed check"
    );
    stage.set_metrics(true).await?;
    shop::wait_phase(&stage, "Succeeded", SOON).await?;
    shop::ship(&stage, "shop:good-3").await?;
    shop::wait_weight(&stage, 10).await?;
    stage.set_metrics(false).await?;
    let retreated =
        shop::wait_status(&stage, "it retreated", SOON, |s| s["hold"]["retreated"] == true).await?;
    ensure!(retreated["status"]["canaryWeight"] == 0, "the weight stayed");
    ensure!(
        retreated["status"]["phase"] == "Progressing",
        "phase {}",
        retreated["status"]["phase"]
    );
    stage.set_metrics(true).await?;
    shop::wait_phase(&stage, "Succeeded", SOON).await?;
    shop::end_without_failure(&stage, traffic).await
}

/// The API server restarts mid-rollout.
pub async fn api_server_restarts(stage: Arc<Stage>) -> Result<()> {
    shop::under_canary(&stage, &shop::canary()).await?;
    let traffic = stage.traffic(RATE);
    shop::ship(&stage, "shop:good-2").await?;
    shop::wait_weight(&stage, 10).await?;
    stage.restart_api_server().await?;
    shop::wait_phase(&stage, "Succeeded", Duration::from_secs(90)).await?;
    shop::end_without_failure(&stage, traffic).await?;
    shop::ensure_on_primary(&stage, "shop:good-2").await
}

/// Every pod of the canary crashes mid-step: the traffic is back at once; they do not come back, so it fails.
pub async fn crashing(stage: Arc<Stage>) -> Result<()> {
    let canary = shop::canary_with(|spec| {
        spec["progressDeadlineSeconds"] = json!(10);
        spec["analysis"]["interval"] = json!("25s");
    });
    shop::under_canary(&stage, &canary).await?;
    let traffic = stage.traffic(RATE);
    shop::ship(&stage, "shop:crash-2").await?;
    shop::wait_weight(&stage, 10).await?;
    let held = shop::wait_status(&stage, "the traffic is taken back", SOON, |s| {
        s["hold"]["reason"] == "Dark" && s["hold"]["retreated"] == true
    })
    .await?;
    stage.note(held["status"]["message"].as_str().unwrap_or_default());
    shop::wait_phase(&stage, "Failed", SOON).await?;
    shop::ensure_on_primary(&stage, "shop:good-1").await?;
    let stats = traffic.stop().await;
    stage.note(format!("{stats}"));
    // Ten percent of 200 a second for as long as nobody can know, and connections that broke.
    ensure!(stats.failed() < 40, "{} requests failed", stats.failed());
    Ok(())
}
