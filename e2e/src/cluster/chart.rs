//! The product as its users install it: by Helm. The controller under test is a process with the arguments of the chart's
//! Deployment and a token of the chart's ServiceAccount, so its rights are the chart's and no more.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::process::Command;

use super::access::{self, User};
use super::{Cluster, Layout};

/// Name of the release, and of everything that it installs.
pub const RELEASE: &str = "bellwether";
/// Namespace that it is installed in.
pub const NAMESPACE: &str = "bellwether";

/// Flags that stories set themselves: each has a namespace and ports of its own, and few have two replicas.
const OF_STORIES: [&str; 4] = [
    "--port",
    "--hook-",
    "--enable-leader-election",
    "--leader-election-",
];

/// Runs Helm as the admin and returns what it printed.
pub async fn helm(layout: &Layout, args: &[&str]) -> Result<String> {
    let output = Command::new(layout.tool("helm"))
        .args(args)
        .env("KUBECONFIG", access::kubeconfig(&layout.folder, User::Admin))
        .env("HOME", &layout.folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot run helm")?;
    ensure!(
        output.status.success(),
        "helm {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Installs the chart, or upgrades it, and waits until nothing is missing.
pub async fn install(layout: &Layout) -> Result<()> {
    let text = |path: &Path| path.display().to_string();
    let (chart, values) = (
        text(&layout.repository.join("charts/bellwether")),
        text(&layout.manifests.join("values.yaml")),
    );
    let args = [
        "upgrade",
        "--install",
        RELEASE,
        &chart,
        "--namespace",
        NAMESPACE,
        "--create-namespace",
        "--values",
        &values,
    ];
    helm(layout, &args).await.map(drop)
}

/// Lets the controller act as the chart's ServiceAccount for a day.
pub async fn let_act(cluster: &Cluster) -> Result<()> {
    let token = cluster
        .kubectl([
            "--namespace",
            NAMESPACE,
            "create",
            "token",
            RELEASE,
            "--duration=24h",
        ])
        .await?;
    access::write_kubeconfig(&cluster.layout.folder, User::Bellwether, token.trim())
}

/// The arguments of the chart's Deployment but those that stories set themselves.
pub async fn arguments(cluster: &Cluster) -> Result<Vec<String>> {
    let text = cluster
        .kubectl([
            "--namespace",
            NAMESPACE,
            "get",
            "deployment",
            RELEASE,
            "--output",
            "json",
        ])
        .await?;
    let deployment: Value = serde_json::from_str(&text)?;
    let args = deployment.pointer("/spec/template/spec/containers/0/args");
    let args = args
        .and_then(Value::as_array)
        .context("the chart's container has no arguments")?;
    let args = args.iter().filter_map(Value::as_str);
    let kept = args.filter(|arg| !OF_STORIES.iter().any(|flag| arg.starts_with(flag)));
    Ok(kept.map(str::to_owned).collect())
}
