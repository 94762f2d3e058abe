//! What is asked of the API server and of Prometheus, counted.

use std::sync::Arc;

use anyhow::{Result, ensure};
use serde_json::json;
use tokio::time::Instant;

use super::shop::{self, RATE, SOON};
use crate::objects::Kind;
use crate::story::Stage;

/// What an idle Canary and a weight step cost the API server and Prometheus.
pub async fn cost(stage: Arc<Stage>) -> Result<()> {
    let cluster = stage.cluster()?;
    let audit = &cluster.audit;
    shop::under_canary(&stage, &shop::canary()).await?;
    let traffic = stage.traffic(RATE);
    // The facts of the bootstrap are told and acknowledged first.
    shop::wait_status(&stage, "everything is told", SOON, |s| {
        s["outbox"]["pending"].as_array().is_none_or(Vec::is_empty)
    })
    .await?;
    traffic.requests(400).await?;
    let (from, queries) = (chrono::Utc::now(), cluster.prometheus.queries_answered().await?);
    traffic.requests(12_000).await?;
    let idle = audit.count(&stage.namespace, from, chrono::Utc::now()).await?;
    let asked = cluster.prometheus.queries_answered().await? - queries;
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
        stage.controller()?.terminate().await?.success(),
        "SIGTERM did not end the controller cleanly"
    );
    shop::end_without_failure(&stage, traffic).await
}

/// Three Canaries that are judged at once ask Prometheus no more often than one: per sample a query for the requests of the
/// metrics, one for their durations, one for the traffic, and one for how fresh all that is.
pub async fn batching(stage: Arc<Stage>) -> Result<()> {
    let apps = ["one", "two", "three"];
    let prometheus = &stage.cluster()?.prometheus;
    stage.start_controller().await?;
    for app in apps {
        stage.apply(&stage.deployment(app, "shop:good-1", 1)).await?;
        let mut canary = shop::canary();
        canary["metadata"]["name"] = json!(app);
        canary["spec"]["targetRef"]["name"] = json!(app);
        stage.apply(&canary).await?;
    }
    for app in apps {
        wait_weight_of(&stage, app, "Initialized", 0).await?;
    }
    for app in apps {
        stage.set_image(app, "shop:good-2").await?;
    }
    for app in apps {
        // Nobody calls them: they are held without data, and sampled all the while.
        wait_weight_of(&stage, app, "Progressing", 10).await?;
    }
    let traffic = stage.traffic(10);
    let (from, before) = (Instant::now(), prometheus.queries_answered().await?);
    traffic.requests(100).await?;
    let asked = prometheus.queries_answered().await? - before;
    let seconds = from.elapsed().as_secs_f64();
    drop(traffic);
    for app in apps {
        let canary = stage.api(Kind::Canary).get(app).await?.data;
        ensure!(
            canary["status"]["canaryWeight"] == 10,
            "{app} was not judged all the while: {}",
            canary["status"]
        );
    }
    stage.note(format!(
        "3 Canaries judged every second by 2 metrics for {seconds:.1} s: {asked} questions to Prometheus"
    ));
    // Samples lie a second apart; at both ends one may be cut in half.
    let most = (seconds + 1.0) * 4.0;
    ensure!(asked > 0 && (asked as f64) <= most, "more than {most:.0}");
    Ok(())
}

async fn wait_weight_of(stage: &Stage, name: &str, phase: &str, weight: i64) -> Result<()> {
    let what = format!("{phase} at weight {weight}");
    stage
        .wait_for(Kind::Canary, name, &what, SOON, |canary| {
            canary["status"]["phase"] == phase && canary["status"]["canaryWeight"] == weight
        })
        .await
        .map(drop)
}
