//! Robots: a tool applies Git's truth again and again, and knows nothing of what the Canary writes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::shop::{self, RATE, SOON};
use crate::objects::Kind;
use crate::story::Stage;
use crate::traffic::Traffic;

/// How often a robot looks.
const PACE: Duration = Duration::from_secs(3);
/// Requests in the two minutes in which it does.
const TWO_MINUTES: usize = 120 * RATE as usize;
/// As often something that is undone each time is put right at once.
const AT_ONCE: usize = 10;
/// As often it is written in two minutes, of forty in which the robot could undo it: for the first time, at once, then once a
/// minute, and now and then once more because the robot came between.
const MOST: usize = 1 + AT_ONCE + 2 + 2;
/// The same while the robot leads callers to a release: that is put right every five seconds.
const MOST_IN_RELEASE: usize = 1 + AT_ONCE + 22 + 2;
/// Longer than the minute after which something is put right that was undone too often, and what follows.
const MINUTES: Duration = Duration::from_mins(3);

/// What Git says: the routes and the selector as they were before any Canary, and how many pods.
fn git(stage: &Stage, image: &str) -> [Value; 3] {
    [
        shop::route(&stage.host),
        stage.service("shop"),
        stage.deployment("shop", image, 2),
    ]
}

/// Sets everything back to what Git says every three seconds, as long as the rest of the story takes.
async fn healing<T>(stage: &Stage, truth: &[Value], rest: impl Future<Output = Result<T>>) -> Result<T> {
    let robot = async || -> Result<T> {
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            for object in truth {
                stage.apply(object).await?;
            }
        }
    };
    tokio::select! {
        biased;
        done = rest => done,
        failed = robot() => failed,
    }
}

/// Waits until the quarrel has a name, and returns its message.
async fn named(stage: &Stage) -> Result<String> {
    let quarrel = shop::wait_status(stage, "the quarrel has a name", SOON, |status| {
        status["hold"]["reason"] == "TargetConflict"
    })
    .await?;
    let message = quarrel["status"]["hold"]["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    ensure!(
        message.starts_with("somebody keeps changing"),
        "the hold says {message}"
    );
    Ok(message)
}

/// Nothing was written more than `most` times.
fn ensure_few(writes: &BTreeMap<String, usize>, most: usize) -> Result<()> {
    let of = |resource: &str| writes.get(resource).copied().unwrap_or_default();
    let routes = of("virtualservices");
    ensure!(
        routes >= AT_ONCE,
        "routes were put right {routes} times: {writes:?}"
    );
    for resource in ["virtualservices", "services"] {
        let count = of(resource);
        ensure!(count <= most, "{resource} were written {count} times: {writes:?}");
    }
    Ok(())
}

/// Under the robot for two minutes; returns how many requests failed meanwhile.
async fn two_minutes(stage: &Stage, traffic: &Traffic, truth: &[Value], most: usize) -> Result<usize> {
    let from = Instant::now();
    let message = healing(stage, truth, async {
        let (message, ()) = futures::try_join!(named(stage), traffic.requests(TWO_MINUTES))?;
        Ok(message)
    })
    .await?;
    let (writes, stats) = (stage.writes_since(from).await?, traffic.since(from));
    stage.note(message);
    stage.note(format!("written: {writes:?}"));
    stage.note(format!("under the robot: {stats}"));
    ensure_few(&writes, most)?;
    Ok(stats.failed())
}

/// At rest: what leads to the primary is put right ten times at once, then once a minute, and the quarrel has a name. When the
/// robot stops, the next repair is the last.
pub async fn robot_at_rest(stage: Arc<Stage>) -> Result<()> {
    shop::under_canary(&stage, &shop::canary()).await?;
    let traffic = stage.traffic(RATE);
    let lost = two_minutes(&stage, &traffic, &git(&stage, "shop:good-1"), MOST).await?;
    // The target has no pods when the robot sends everybody there for the first time.
    ensure!(
        lost < RATE as usize,
        "{lost} requests failed, more than those of a second"
    );
    let quiet = Instant::now();
    back_on_primary(&stage).await?;
    stage.note(format!("quiet for {:?}", quiet.elapsed()));
    // Proxies hear of it a moment later.
    traffic.requests(100).await?;
    let from = Instant::now();
    traffic.requests(1000).await?;
    let stats = traffic.since(from);
    stats.ensure_answered_by("shop-primary")?;
    stats.ensure_none_failed()?;
    // Whom the robot sends to the target finds somebody, until ten minutes were quiet.
    stage.wait_pods("shop", 2, SOON).await
}

/// During the set-up, which goes on when the robot stops: nobody is lost, for the workload keeps its pods until then.
pub async fn robot_at_bootstrap(stage: Arc<Stage>) -> Result<()> {
    shop::open(&stage).await?;
    let traffic = stage.traffic(RATE);
    stage.start_controller().await?;
    stage.apply(&shop::canary()).await?;
    two_minutes(&stage, &traffic, &git(&stage, "shop:good-1"), MOST).await?;
    shop::wait_phase(&stage, "Initialized", MINUTES).await?;
    back_on_primary(&stage).await?;
    shop::ensure_on_primary(&stage, "shop:good-1").await?;
    shop::end_without_failure(&stage, traffic).await
}

/// In the middle of a release, which the robot's Git has as well: it goes on when the robot stops. Nobody is lost, for both sides
/// keep their pods, and those behind what the robot insists on stay until ten minutes were quiet.
pub async fn robot_mid_rollout(stage: Arc<Stage>) -> Result<()> {
    shop::under_canary(&stage, &shop::canary()).await?;
    let traffic = stage.traffic(RATE);
    shop::ship(&stage, "shop:good-2").await?;
    shop::wait_weight(&stage, 10).await?;
    two_minutes(&stage, &traffic, &git(&stage, "shop:good-2"), MOST_IN_RELEASE).await?;
    let status = stage.api(Kind::Canary).get("shop").await?.data["status"].clone();
    stage.note(format!("{} at {} %", status["phase"], status["canaryWeight"]));
    shop::wait_phase(&stage, "Succeeded", MINUTES).await?;
    back_on_primary(&stage).await?;
    let primary = shop::image_of(&stage, "shop-primary").await?;
    ensure!(primary == "shop:good-2", "the primary runs {primary}");
    stage.wait_pods("shop", 2, SOON).await?;
    shop::end_without_failure(&stage, traffic).await
}

/// The Canary is deleted while the robot works: what it wants is what a deletion leaves.
pub async fn robot_at_deletion(stage: Arc<Stage>) -> Result<()> {
    shop::under_canary(&stage, &shop::canary()).await?;
    let traffic = stage.traffic(RATE);
    let truth = git(&stage, "shop:good-1");
    healing(&stage, &truth, async {
        named(&stage).await?;
        let deleted = Instant::now();
        stage.delete(Kind::Canary, "shop").await?;
        stage.wait_gone(Kind::Canary, "shop", SOON).await?;
        stage.wait_gone(Kind::Deployment, "shop-primary", SOON).await?;
        let from = Instant::now();
        traffic.requests(1000).await?;
        let stats = traffic.since(from);
        stats.ensure_answered_by("shop")?;
        let stats = traffic.since(deleted);
        stage.note(format!("since the deletion: {stats}"));
        stats.ensure_none_failed()
    })
    .await
}

/// The routes and the Service lead to the primary.
async fn back_on_primary(stage: &Stage) -> Result<()> {
    let routed = |route: &Value| {
        let route = &route["spec"]["http"][0]["route"];
        route[0]["weight"] == 100 && route[1]["weight"] == 0
    };
    stage
        .wait_for(
            Kind::VirtualService,
            "shop",
            "its routes are back",
            MINUTES,
            routed,
        )
        .await?;
    let selected = |service: &Value| service["spec"]["selector"] != json!({"app": "shop"});
    stage
        .wait_for(Kind::Service, "shop", "its selector is back", MINUTES, selected)
        .await
        .map(drop)
}
