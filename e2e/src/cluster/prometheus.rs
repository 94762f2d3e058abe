//! Prometheus, which scrapes what the pods count, every second, or every 30 seconds where a story asks for it.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Layout;
use crate::pods::{METRICS_ADDRESS, METRICS_PATH, RARE_METRICS_PATH};
use crate::process::Process;

/// Where Prometheus listens.
pub const PROMETHEUS: &str = "http://10.250.0.1:9090";

/// Where the controller of one story has its metrics.
const CONTROLLER: &str = "127.0.0.1:18085";
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// The Prometheus of the cluster; it can be killed and started again, and keeps what it had.
pub struct Prometheus {
    /// Its process.
    pub process: Process,
    http: reqwest::Client,
}

impl Prometheus {
    /// Describes the process and writes what it reads; it is not started.
    pub fn prepare(layout: &Layout, http: reqwest::Client) -> Result<Self> {
        let config = layout.folder.join("prometheus.yaml");
        let scrape = |name: &str, path: &str, interval: &str| {
            json!({
                "job_name": name,
                "metrics_path": path,
                "scrape_interval": interval,
                "scrape_timeout": "1s",
                "fallback_scrape_protocol": "PrometheusText0.0.4",
                // The pods say themselves who they are.
                "honor_labels": true,
                "static_configs": [{"targets": [METRICS_ADDRESS]}],
            })
        };
        // As the chart's PodMonitor has it.
        let controller = json!({
            "job_name": "bellwether",
            "scrape_interval": "1s",
            "scrape_timeout": "1s",
            "honor_labels": true,
            "static_configs": [{"targets": [CONTROLLER]}],
        });
        let scrapes = [
            scrape("pods", METRICS_PATH, "1s"),
            scrape("rare-pods", RARE_METRICS_PATH, "30s"),
            controller,
        ];
        fs::write(
            &config,
            serde_json::to_vec_pretty(&json!({"scrape_configs": scrapes}))?,
        )?;
        let address = PROMETHEUS.trim_start_matches("http://");
        let process = Process::new("prometheus", layout.tool("prometheus"), &layout.logs)
            .path("--config.file", &config)
            .path("--storage.tsdb.path", &layout.folder.join("prometheus"))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn");
        Ok(Self { process, http })
    }

    /// Starts it and waits until it answers.
    pub async fn start(&self) -> Result<()> {
        self.process.start().await?;
        let ready = format!("{PROMETHEUS}/-/ready");
        self.process
            .ready(STARTS_WITHIN, async || {
                self.http.get(&ready).send().await?.error_for_status()?;
                Ok(())
            })
            .await
    }

    /// The value of an instant query that yields at most one sample.
    pub async fn query(&self, promql: &str) -> Result<Option<f64>> {
        let mut url = reqwest::Url::parse(PROMETHEUS)?.join("/api/v1/query")?;
        url.query_pairs_mut().append_pair("query", promql);
        let answer: Value = serde_json::from_slice(&self.http.get(url).send().await?.bytes().await?)?;
        let result = answer
            .pointer("/data/result")
            .with_context(|| format!("no result in {answer}"))?;
        let Some(sample) = result.pointer("/0/value/1") else {
            return Ok(None);
        };
        let text = sample
            .as_str()
            .with_context(|| format!("not a sample: {sample}"))?;
        Ok(Some(text.parse()?))
    }

    /// How many instant and range queries it has answered since it was started.
    pub async fn queries_answered(&self) -> Result<u64> {
        let metrics = self
            .http
            .get(format!("{PROMETHEUS}/metrics"))
            .send()
            .await?
            .text()
            .await?;
        let mut total = 0.0;
        for line in metrics
            .lines()
            .filter(|line| line.starts_with("prometheus_http_requests_total{"))
        {
            if line.contains("handler=\"/api/v1/query\"") || line.contains("handler=\"/api/v1/query_range\"")
            {
                let count = line.rsplit(' ').next().context("a metric without a value")?;
                total += count.parse::<f64>()?;
            }
        }
        Ok(total as u64)
    }
}
