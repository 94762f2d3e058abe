//! Two controllers, of which one decides.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::api::{Api, DynamicObject};
use serde_json::Value;
use tokio::time::Instant;

use super::shop::{self, RATE, SOON};
use crate::cluster::chart::NAMESPACE;
use crate::objects::Kind;
use crate::process::Process;
use crate::story::{self, Stage};
use crate::wait;

const LEASE: &str = "bellwether-leader-election";
/// A Lease that was given back is seen at the next look of whoever stands by, two seconds later at most; one that was not
/// expires after fifteen.
const HANDED_OVER_WITHIN: Duration = Duration::from_secs(4);

/// The leader is killed mid-rollout and the other one goes on; then the leader is asked to stop and hands over at once.
pub async fn two_replicas(stage: Arc<Stage>) -> Result<()> {
    let (one, two) = (replica(&stage, "one")?, replica(&stage, "two")?);
    nobody_leads(&stage).await?;
    shop::open(&stage).await?;
    one.start().await?;
    let first = leader_other_than(&stage, "", SOON).await?;
    two.start().await?;
    standing_by(&two, 1).await?;
    stage.apply(&shop::canary()).await?;
    shop::set_up(&stage).await?;
    let traffic = stage.traffic(RATE);
    shop::ship(&stage, "shop:good-2").await?;
    shop::wait_weight(&stage, 10).await?;
    let killed = Instant::now();
    one.kill().await?;
    let second = leader_other_than(&stage, &first, SOON).await?;
    stage.note(format!(
        "taken over {:.1} s after the kill",
        killed.elapsed().as_secs_f64()
    ));
    shop::wait_phase(&stage, "Succeeded", SOON).await?;
    shop::ensure_on_primary(&stage, "shop:good-2").await?;

    one.start().await?;
    standing_by(&one, 2).await?;
    shop::ship(&stage, "shop:good-3").await?;
    shop::wait_weight(&stage, 10).await?;
    let asked = Instant::now();
    ensure!(
        two.terminate().await?.success(),
        "SIGTERM did not end the leader cleanly"
    );
    leader_other_than(&stage, &second, SOON).await?;
    let took = asked.elapsed();
    stage.note(format!("handed over {:.1} s after SIGTERM", took.as_secs_f64()));
    ensure!(took < HANDED_OVER_WITHIN, "the handover took {took:?}");
    shop::wait_phase(&stage, "Succeeded", SOON).await?;
    shop::ensure_on_primary(&stage, "shop:good-3").await?;
    shop::end_without_failure(&stage, traffic).await
}

pub fn replica(stage: &Stage, name: &str) -> Result<Process> {
    let name = format!("{}-{name}", stage.namespace);
    let process = story::controller(stage.cluster()?, &stage.namespace, &name)?;
    Ok(process.args([
        "--enable-leader-election",
        "--leader-election-namespace",
        NAMESPACE,
    ]))
}

/// Takes the Lease away that another story left behind. There is one for the whole cluster, because the chart gives no rights
/// to others: no two stories have replicas at one time.
pub async fn nobody_leads(stage: &Stage) -> Result<()> {
    let delete = [
        "--namespace",
        NAMESPACE,
        "delete",
        "lease",
        LEASE,
        "--ignore-not-found",
    ];
    stage.cluster()?.kubectl(delete).await.map(drop)
}

/// Waits until a process has started for the `times`-th time and has every watch.
pub async fn standing_by(process: &Process, times: usize) -> Result<()> {
    wait::until("it stands by", SOON, async || {
        let log = std::fs::read_to_string(process.log())?;
        let started = log.matches("every watch is listed").count();
        ensure!(started >= times, "its watches are not listed");
        Ok(())
    })
    .await
}

/// Waits until the Lease is held by somebody else, and returns by whom.
pub async fn leader_other_than(stage: &Stage, last: &str, within: Duration) -> Result<String> {
    let holder = |lease: &Value| -> Option<String> {
        let holder = lease["spec"]["holderIdentity"].as_str()?;
        (!holder.is_empty() && holder != last).then(|| holder.to_owned())
    };
    let leases: Api<DynamicObject> =
        Api::namespaced_with(stage.client.clone(), NAMESPACE, &Kind::Lease.resource());
    wait::until("somebody else leads", within, async || {
        let lease = serde_json::to_value(leases.get(LEASE).await?)?;
        holder(&lease).with_context(|| format!("nobody else leads: {}", lease["spec"]))
    })
    .await
}
