//! Flags of the metric source.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::Args;

use crate::{
    jitter::Jitter,
    metrics_source::{Access, Prometheus, Selector, Settings, access::Header},
};

/// What measures releases; see docs/operating.md.
#[derive(Debug, Args)]
#[command(next_help_heading = "Metrics")]
pub(super) struct MetricFlags {
    /// Address of Prometheus, or of what speaks its API, such as Thanos or Mimir
    #[arg(
        long,
        value_name = "URL",
        env = "BELLWETHER_METRICS_SERVER",
        default_value = "http://prometheus:9090"
    )]
    metrics_server: String,

    /// Label matchers for every query, such as cluster="eu-1": needed where one server has several clusters
    #[arg(long, value_name = "MATCHERS", env = "BELLWETHER_METRICS_SELECTOR")]
    metrics_selector: Option<Selector>,

    /// File of a bearer token for the metrics server; read again for every query
    #[arg(
        long,
        value_name = "FILE",
        env = "BELLWETHER_METRICS_BEARER_TOKEN_FILE",
        conflicts_with = "metrics_basic_auth_file"
    )]
    metrics_bearer_token_file: Option<PathBuf>,

    /// File of USER:PASSWORD for the metrics server; read again for every query
    #[arg(long, value_name = "FILE", env = "BELLWETHER_METRICS_BASIC_AUTH_FILE")]
    metrics_basic_auth_file: Option<PathBuf>,

    /// Header of every query, such as X-Scope-OrgID: team-a; can be repeated
    #[arg(
        long = "metrics-header",
        value_name = "NAME: VALUE",
        env = "BELLWETHER_METRICS_HEADER",
        hide_env_values = true
    )]
    metrics_headers: Vec<Header>,

    /// Authorities of the metrics server's certificate in PEM, instead of the machine's; read again when it changes
    #[arg(long, value_name = "FILE", env = "BELLWETHER_METRICS_CA_FILE")]
    metrics_ca_file: Option<PathBuf>,

    /// Seconds between two scrapes of Prometheus; learnt from Prometheus if absent, and if it shows that they are rarer
    #[arg(
        long,
        value_name = "SECONDS",
        env = "BELLWETHER_SCRAPE_INTERVAL_SECONDS",
        value_parser = clap::value_parser!(u16).range(1..=600)
    )]
    scrape_interval_seconds: Option<u16>,
}

impl MetricFlags {
    /// The server.
    ///
    /// # Errors
    /// If its address, or a file that a flag names, cannot be used.
    pub(super) fn source(&self, jitter: &Arc<Jitter>) -> anyhow::Result<Prometheus> {
        let access = Access {
            bearer_token_file: self.metrics_bearer_token_file.clone(),
            basic_auth_file: self.metrics_basic_auth_file.clone(),
            headers: self.metrics_headers.clone(),
            ca_file: self.metrics_ca_file.clone(),
        };
        let source = Prometheus::new(&self.metrics_server, access, Some(jitter.clone()))
            .context("--metrics-server and what goes with it")?;
        tracing::info!(
            metrics_server = self.metrics_server,
            selector = self.metrics_selector.as_ref().map(tracing::field::display),
            "releases are measured"
        );
        Ok(source)
    }

    /// How samples are taken.
    pub(super) fn settings(&self) -> Settings {
        Settings {
            scrape_interval: self
                .scrape_interval_seconds
                .map(|seconds| Duration::from_secs(seconds.into())),
            selector: self.metrics_selector.clone().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        metrics: MetricFlags,
    }

    fn parse(flags: &[&str]) -> Result<MetricFlags, String> {
        let all = ["run"].iter().chain(flags);
        let parsed = Flags::try_parse_from(all).map_err(|error| error.to_string());
        parsed.map(|flags| flags.metrics)
    }

    #[test]
    fn flags_become_settings() {
        let flags = parse(&[
            "--metrics-selector",
            "cluster=\"eu-1\"",
            "--scrape-interval-seconds",
            "30",
            "--metrics-header",
            "X-Scope-OrgID: a|b, c",
        ])
        .unwrap();
        let settings = flags.settings();
        assert_eq!(settings.scrape_interval, Some(Duration::from_secs(30)));
        assert_eq!(settings.selector.appended(), ",cluster=\"eu-1\"");
        assert_eq!(flags.metrics_headers.len(), 1);
        assert_eq!(
            parse(&[]).unwrap().settings().scrape_interval,
            None,
            "it is learnt"
        );
    }

    #[test]
    fn wrong_flags_are_refused_with_what_would_be_right() {
        for (flags, right) in [
            (
                &["--metrics-selector", "cluster=eu-1"][..],
                "write NAME=\"VALUE\"",
            ),
            (&["--metrics-header", "X-Scope-OrgID"][..], "must be NAME: VALUE"),
            (
                &["--metrics-header", "Authorization: x"][..],
                "--metrics-bearer-token-file",
            ),
            (
                &[
                    "--metrics-bearer-token-file",
                    "a",
                    "--metrics-basic-auth-file",
                    "b",
                ][..],
                "cannot be used with",
            ),
            (&["--scrape-interval-seconds", "0"][..], "1..=600"),
        ] {
            let error = parse(flags).unwrap_err();
            assert!(error.contains(right), "{flags:?}: {error}");
        }
    }
}
