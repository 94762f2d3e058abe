//! Orders about one revision: `abort`, `pause`, `resume`, `advance`, `skip-analysis`, `undo`, `retry`.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use futures::TryStreamExt;
use kube::runtime::{WatchStreamExt, watcher};

use super::cluster::{Cluster, ClusterFlags, block_on, exit, write};
use crate::{
    api::{CanaryRef, Command, CommandSpec, Verb},
    promotion::names,
    reconcile::kinds::Kind,
};

/// How long an answer may take before the order is left to itself.
const ANSWER: std::time::Duration = std::time::Duration::from_secs(30);

/// Order something about the present revision of a Canary, on record with who and why.
///
/// Exit codes: 0 done, 2 refused, 7 not answered in time, 1 any other error.
#[derive(Debug, Parser)]
pub(super) struct Order {
    /// The Canary
    canary: String,

    /// The revision that is meant, or its beginning; the present one if absent
    #[arg(long, value_name = "DIGEST")]
    revision: Option<String>,

    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    #[command(flatten)]
    cluster: ClusterFlags,
}

impl Order {
    pub(super) fn run(self, verb: Verb) -> anyhow::Result<ExitCode> {
        block_on(self.give(verb))
    }

    async fn give(self, verb: Verb) -> anyhow::Result<ExitCode> {
        let cluster = self.cluster.connect().await?;
        let canary = cluster.canary(&self.canary).await?;
        let known = canary.status.unwrap_or_default().revision;
        let meant = if verb == Verb::Undo {
            known.promoted
        } else {
            known.current
        };
        let meant = meant.context("the Canary has no revision yet")?;
        if self
            .revision
            .as_ref()
            .is_some_and(|wanted| !meant.starts_with(wanted.as_str()))
        {
            write(&format!("bellwether: the Canary is at revision {meant} by now\n"))?;
            return Ok(ExitCode::from(exit::BAD_INPUT));
        }
        let spec = CommandSpec {
            canary_ref: CanaryRef {
                name: self.canary.clone(),
            },
            verb,
            revision: Some(meant.clone()),
            promotion: None,
            action: None,
            reason: self.reason.clone(),
            requested_by: cluster.user.clone(),
        };
        let chance = format!("{:032x}", fastrand::u128(..));
        let name = names::command(
            &cluster.namespace,
            &[&self.canary, &meant, &chance],
            &format!("{verb:?}"),
        );
        cluster.create(Kind::Command, &name, &spec).await?;
        let short = meant.get(..12).unwrap_or(&meant);
        match tokio::time::timeout(ANSWER, answer(&cluster, &name)).await {
            Ok(outcome) => {
                let outcome = outcome?;
                write(&format!("{verb:?} of revision {short}: {outcome}\n"))?;
                let refused = outcome.starts_with("refused");
                Ok(ExitCode::from(if refused { exit::BAD_INPUT } else { 0 }))
            }
            Err(_) => {
                write(&format!(
                    "{verb:?} of revision {short} is ordered ({name}), and not answered yet\n"
                ))?;
                Ok(ExitCode::from(exit::TIMEOUT))
            }
        }
    }
}

/// What became of a Command, when it is answered.
async fn answer(cluster: &Cluster, name: &str) -> anyhow::Result<String> {
    let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let stream = watcher(cluster.api(Kind::Command), only)
        .default_backoff()
        .applied_objects();
    let mut stream = std::pin::pin!(stream);
    loop {
        let object = match stream.try_next().await {
            Ok(object) => object.context("the watch ended")?,
            Err(error) => {
                tracing::debug!(%error, "the watch is begun anew");
                continue;
            }
        };
        let command: Command = serde_json::from_value(serde_json::to_value(&object)?)?;
        if let Some(outcome) = command.status.and_then(|status| status.outcome) {
            return Ok(outcome);
        }
    }
}
