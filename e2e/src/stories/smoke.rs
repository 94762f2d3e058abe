//! The cluster itself: without it being real, no other story says anything.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::objects::{self, Kind};
use crate::story::Stage;
use crate::wait;

const SOON: Duration = Duration::from_secs(20);

/// Two Deployments behind one route: the split, the counts, and a pod that is gone.
pub async fn the_cluster_is_real(stage: Arc<Stage>) -> Result<()> {
    for (name, image) in [("old", "shop:good-1"), ("new", "shop:good-2")] {
        stage.apply(&stage.deployment(name, image, 2)).await?;
        stage.apply(&stage.service(name)).await?;
    }
    stage.apply(&route(&stage.host, 10)).await?;
    stage.wait_pods("old", 2, SOON).await?;
    let pods = objects::wait_pods(&stage.client, &stage.namespace, "new", 2, SOON).await?;
    wait_for_route(&stage).await?;

    let traffic = stage.traffic(200);
    traffic.requests(2_000).await?;
    let stats = traffic.stop().await;
    stats.ensure_none_failed()?;
    stats.ensure_share("new", 0.1)?;
    stage.note(format!(
        "{stats}, share of new {:.1} %",
        stats.share("new") * 100.0
    ));

    prometheus_has_counted(&stage, stats.requests).await?;
    a_pod_can_go_dark(&stage, &pods).await?;
    pods_that_are_gone_refuse(&stage, &pods).await
}

fn route(host: &str, share_of_new: u32) -> Value {
    let to = |service: &str, weight: u32| json!({"destination": {"host": service}, "weight": weight});
    json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "shop"}, "spec": {
        "hosts": [host],
        "gateways": ["gateway"],
        "http": [{"route": [to("old", 100 - share_of_new), to("new", share_of_new)]}],
    }})
}

/// The gateway knows the route, and both of its sides answer.
async fn wait_for_route(stage: &Stage) -> Result<()> {
    wait::until("both sides of the route answer", SOON, async || {
        let traffic = stage.traffic(200);
        traffic.requests(60).await?;
        let stats = traffic.stop().await;
        stats.ensure_none_failed()?;
        ensure!(
            stats.by_workload.len() == 2,
            "only one side answers: {:?}",
            stats.by_workload
        );
        Ok(())
    })
    .await
}

async fn prometheus_has_counted(stage: &Stage, requests: usize) -> Result<()> {
    let counted = format!(
        "sum(istio_requests_total{{reporter=\"destination\",destination_workload_namespace=\"{}\"}})",
        stage.namespace
    );
    wait::until("Prometheus has counted every request", SOON, async || {
        let count = stage
            .cluster()?
            .prometheus
            .query(&counted)
            .await?
            .context("no sample yet")?;
        ensure!(count >= requests as f64, "{count} of {requests}");
        Ok(())
    })
    .await?;
    let p99 = format!(
        "histogram_quantile(0.99, sum by (le) (istio_request_duration_milliseconds_bucket{{\
         destination_workload_namespace=\"{}\"}}))",
        stage.namespace
    );
    let p99 = stage
        .cluster()?
        .prometheus
        .query(&p99)
        .await?
        .context("no latencies")?;
    ensure!(
        (10.0..=50.0).contains(&p99),
        "p99 of {p99} ms where pods take 16 ms at most"
    );
    Ok(())
}

/// An annotation closes the port of one running pod at once; it stays ready.
async fn a_pod_can_go_dark(stage: &Stage, pods: &[Pod]) -> Result<()> {
    let name = pods[0].metadata.name.as_deref().context("a pod without a name")?;
    ensure!(connects(&pods[0]).await?, "a ready pod refuses connections");
    stage
        .kubectl(&["annotate", "pod", name, "sim.bellwether.dev/ports=closed"])
        .await?;
    wait::until("its port is closed", SOON, async || refused(&pods[0]).await).await?;
    stage.wait_pods("new", 2, SOON).await?;
    stage
        .kubectl(&["annotate", "pod", name, "sim.bellwether.dev/ports-"])
        .await?;
    wait::until("its port is open again", SOON, async || {
        ensure!(connects(&pods[0]).await?, "still closed");
        Ok(())
    })
    .await
}

async fn pods_that_are_gone_refuse(stage: &Stage, pods: &[Pod]) -> Result<()> {
    stage
        .kubectl(&["scale", "deployment", "new", "--replicas", "0"])
        .await?;
    for pod in pods {
        stage
            .wait_gone(Kind::Pod, pod.metadata.name.as_deref().unwrap_or_default(), SOON)
            .await?;
        wait::until(
            "connections to a pod that is gone are refused",
            SOON,
            async || refused(pod).await,
        )
        .await?;
    }
    Ok(())
}

async fn refused(pod: &Pod) -> Result<()> {
    ensure!(!connects(pod).await?, "it still answers");
    Ok(())
}

/// Tells whether a pod's port is open; anything but yes or a refusal is an error.
async fn connects(pod: &Pod) -> Result<bool> {
    let address = pod
        .status
        .as_ref()
        .and_then(|status| status.pod_ip.as_deref())
        .context("a pod without address")?;
    match TcpStream::connect((address, 8080)).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(false),
        Err(error) => bail!("neither open nor refused: {error}"),
    }
}
