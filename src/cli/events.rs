//! Flags of the sinks of events.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::outbox::{Sink, config};

/// Who is told what happens, besides Kubernetes Events; see docs/events.md.
#[derive(Debug, Args)]
#[command(next_help_heading = "Events")]
pub(super) struct EventFlags {
    /// File of HTTP sinks that get CloudEvents: a list of name, url, mode, format, caFile, headers, tokenFile, namespaces
    #[arg(long, value_name = "FILE", env = "BELLWETHER_EVENTS_FILE")]
    events_file: Option<PathBuf>,

    /// Name of this cluster in the source of every event
    #[arg(long, value_name = "NAME", env = "BELLWETHER_CLUSTER_NAME", value_parser = cluster_name)]
    cluster_name: Option<String>,
}

impl EventFlags {
    /// The sinks.
    pub(super) fn sinks(&self) -> anyhow::Result<Vec<Sink>> {
        let Some(path) = &self.events_file else {
            return Ok(Vec::new());
        };
        let configs = config::read(path).with_context(|| format!("--events-file {}", path.display()))?;
        for config in configs.iter().filter(|config| config.is_exposed()) {
            tracing::warn!(
                sink = config.name,
                "credentials travel in the clear: the address is not https"
            );
        }
        let sinks = configs
            .iter()
            .map(|config| Sink::over_http(config, self.cluster_name.as_deref()))
            .collect::<Result<Vec<_>, _>>()
            .context("--events-file")?;
        tracing::info!(sinks = sinks.len(), "events are told over HTTP");
        Ok(sinks)
    }
}

/// A name that needs no escape in an address.
fn cluster_name(text: &str) -> Result<String, String> {
    let fit = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if text.is_empty() || text.len() > 253 || !text.chars().all(fit) {
        return Err("must have 1 to 253 letters, digits, hyphens, dots and underscores".to_owned());
    }
    Ok(text.to_owned())
}
