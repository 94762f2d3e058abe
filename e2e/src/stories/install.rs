//! What is shipped beside the controller: the chart, and dashboards with their rules.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chrono::Utc;
use serde_json::Value;
use tokio::process::Command;

use super::shop::{self, RATE};
use crate::cluster::PROMETHEUS;
use crate::cluster::chart::helm;
use crate::story::{self, Stage};

/// Long enough for a rollout.
const ROLLOUT: Duration = Duration::from_secs(120);
/// Kinds of operators that this cluster does not have; what the chart makes of them is rendered and not asked for here.
const OF_OPERATORS: [&str; 2] = ["monitoring.coreos.com/", "cert-manager.io/"];

/// The API server takes everything that the chart makes of its files of values.
pub async fn chart(stage: Arc<Stage>) -> Result<()> {
    let cluster = stage.cluster()?;
    let chart = cluster.layout.repository.join("charts/bellwether");
    let mut files: Vec<PathBuf> = std::fs::read_dir(chart.join("ci"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .collect();
    files.sort();
    let text = |path: &Path| path.display().to_string();
    let file = cluster.layout.folder.join("rendered.yaml");
    // Beside the chart that is installed: what is applied to its objects would be merged with them.
    let namespaces = ["chart-trial", "shop"];
    for namespace in namespaces {
        cluster.kubectl(["create", "namespace", namespace]).await?;
    }
    let (mut taken, mut left_out) = (0, 0);
    for values in &files {
        let args = [
            "template",
            "trial",
            &text(&chart),
            "--namespace",
            "chart-trial",
            "--values",
            &text(values),
        ];
        let rendered = helm(&cluster.layout, &args).await?;
        let documents: Vec<&str> = rendered
            .split("\n---\n")
            .filter(|document| document.lines().any(|line| line.starts_with("kind:")))
            .collect();
        let of_operator = |document: &&str| {
            document.lines().any(|line| {
                let group = line.strip_prefix("apiVersion: ");
                group.is_some_and(|group| OF_OPERATORS.iter().any(|other| group.starts_with(other)))
            })
        };
        let (others, ours): (Vec<_>, Vec<_>) = documents.into_iter().partition(of_operator);
        left_out += others.len();
        taken += ours.len();
        std::fs::write(&file, ours.join("\n---\n"))?;
        let apply = [
            "apply",
            "--server-side",
            "--force-conflicts",
            "--dry-run=server",
            "--validate=strict",
            "-f",
        ];
        cluster
            .kubectl(apply.into_iter().map(str::to_owned).chain([text(&file)]))
            .await
            .with_context(|| format!("{}", values.display()))?;
    }
    for namespace in namespaces {
        cluster
            .kubectl(["delete", "namespace", namespace, "--wait=false"])
            .await?;
    }
    stage.note(format!(
        "{} files of values, {taken} objects taken, {left_out} of operators not asked for",
        files.len()
    ));
    ensure!(files.len() > 10 && taken > 100, "too few: {taken}");
    Ok(())
}

/// Where Prometheus expects the controller of this story.
const PORT: &str = "18085";

/// After a good and a bad release every expression of dashboards, rules and docs has data, or a reason to have none.
pub async fn dashboards(stage: Arc<Stage>) -> Result<()> {
    let began = Utc::now();
    let cluster = stage.cluster()?;
    let controller =
        story::controller_at(cluster, &stage.namespace, PORT)?.args(["--hook-listen", "127.0.0.1:18086"]);
    shop::open(&stage).await?;
    controller.start().await?;
    stage.apply(&shop::canary()).await?;
    shop::set_up(&stage).await?;
    let traffic = stage.traffic(RATE);
    // The hook API has answered somebody.
    cluster
        .http
        .get("http://127.0.0.1:18086/v1/openapi.json")
        .send()
        .await?;
    shop::ship(&stage, "shop:good-2").await?;
    shop::wait_phase(&stage, "Succeeded", ROLLOUT).await?;
    shop::ship(&stage, "shop:errors60-3").await?;
    shop::wait_phase(&stage, "Failed", ROLLOUT).await?;
    // Of what ended with the release Prometheus has two samples.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let folder = cluster.layout.repository.join("dashboards");
    let (start, end) = (began.timestamp(), Utc::now().timestamp());
    let python = folder.join("python");
    let expressions = Command::new(&python)
        .arg(folder.join("expressions.py"))
        .args([
            "--namespace",
            &stage.namespace,
            "--canary",
            "shop",
            "--job",
            "bellwether",
        ])
        .args(["--interval", "10s", "--step", "2s", "--window", "10m"])
        .output()
        .await?;
    ensure!(
        expressions.status.success(),
        "{}",
        String::from_utf8_lossy(&expressions.stderr)
    );
    let list = cluster.layout.folder.join("expressions.jsonl");
    std::fs::write(&list, &expressions.stdout)?;
    let executed = Command::new(&python)
        .arg(folder.join("execute.py"))
        .args(["--url", PROMETHEUS, "--step", "2"])
        .args(["--start", &start.to_string(), "--end", &end.to_string()])
        .stdin(std::fs::File::open(&list)?)
        .output()
        .await?;
    let results = cluster.layout.logs.join("dashboards.json");
    std::fs::write(&results, &executed.stdout)?;
    let told = String::from_utf8_lossy(&executed.stderr).trim().to_owned();
    ensure!(
        executed.status.success(),
        "{told}; the results are in {}",
        results.display()
    );
    let answers: Value = serde_json::from_slice(&executed.stdout)?;
    ensure!(!answers.is_null(), "no results");
    stage.note(told.lines().last().unwrap_or_default());
    controller.kill().await?;
    traffic.stop().await;
    Ok(())
}
