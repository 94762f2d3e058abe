//! `bellwether get` and `bellwether history`: what stands where.

use std::process::ExitCode;

use clap::Parser;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};

use super::cluster::{ClusterFlags, Output, block_on, exit, print, write};
use crate::{
    api::{Canary, CanaryStatus, Phase},
    paint::{Paint, bar},
};

/// Show Canaries and where their rollouts stand.
///
/// Exit codes: 0, or of one Canary by name: 3 its last release was rolled back, 4 it is held, 1 an error.
#[derive(Debug, Parser)]
pub(super) struct Get {
    /// One Canary; all of the namespace if absent
    canary: Option<String>,

    /// Those of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,

    /// How they are printed
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,

    #[command(flatten)]
    cluster: ClusterFlags,
}

/// Show the last rollouts of a Canary.
#[derive(Debug, Parser)]
pub(super) struct History {
    /// The Canary
    canary: String,

    /// How they are printed
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,

    #[command(flatten)]
    cluster: ClusterFlags,
}

impl Get {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        block_on(self.get())
    }

    async fn get(self) -> anyhow::Result<ExitCode> {
        let cluster = self.cluster.connect().await?;
        let canaries: Vec<Canary> = if let Some(name) = &self.canary {
            vec![cluster.canary(name).await?]
        } else {
            let api: Api<Canary> = if self.all_namespaces {
                Api::all(cluster.client.clone())
            } else {
                Api::namespaced(cluster.client.clone(), &cluster.namespace)
            };
            api.list(&ListParams::default()).await?.items
        };
        match self.output {
            Output::Json | Output::Yaml => {
                let mut all: Vec<Value> = canaries.iter().map(summary).collect();
                let value = if self.canary.is_some() {
                    all.remove(0)
                } else {
                    Value::Array(all)
                };
                print(self.output, &value)?;
            }
            output => write(&table(&canaries, output == Output::Wide, Paint::for_stdout()))?,
        }
        let one = canaries.first().filter(|_| self.canary.is_some());
        Ok(one.map_or(ExitCode::SUCCESS, |canary| code(canary.status.as_ref())))
    }
}

fn code(status: Option<&CanaryStatus>) -> ExitCode {
    match status {
        Some(status) if status.hold.is_some() => ExitCode::from(exit::HELD),
        Some(status) if status.phase == Some(Phase::Failed) => ExitCode::from(3),
        _ => ExitCode::SUCCESS,
    }
}

fn summary(canary: &Canary) -> Value {
    let status = canary.status.clone().unwrap_or_default();
    json!({
        "namespace": canary.metadata.namespace,
        "name": canary.metadata.name,
        "phase": status.phase,
        "weight": status.canary_weight,
        "held": status.hold.map(|hold| hold.reason),
        "message": status.message,
        "revision": status.revision.current,
        "promoted": status.revision.promoted,
        "failedChecks": status.failed_checks,
        "lastTransitionTime": status.last_transition_time,
    })
}

fn table(canaries: &[Canary], wide: bool, paint: Paint) -> String {
    let header = if wide {
        format!(
            "{:<16} {:<24} {:<12} {:>6} {:<20}  {:<13} {:<13} {:<18} MESSAGE",
            "NAMESPACE", "NAME", "PHASE", "WEIGHT", "", "REVISION", "PROMOTED", "HELD"
        )
    } else {
        format!(
            "{:<16} {:<24} {:<12} {:>6} {:<20}  MESSAGE",
            "NAMESPACE", "NAME", "PHASE", "WEIGHT", ""
        )
    };
    let mut text = format!("{}\n", paint.dim(&header));
    for canary in canaries {
        let status = canary.status.clone().unwrap_or_default();
        let phase = status.phase.map_or("-".to_owned(), |phase| phase.to_string());
        let phase = format!("{phase:<12}");
        let phase = match status.phase {
            Some(Phase::Failed) => paint.judged(false, &phase),
            Some(Phase::Succeeded | Phase::Initialized) => paint.judged(true, &phase),
            _ => paint.yellow(&phase),
        };
        let short = |revision: &Option<String>| {
            let revision = revision.as_deref().unwrap_or("-");
            revision.get(..12).unwrap_or(revision).to_owned()
        };
        let more = if wide {
            format!(
                "{:<13} {:<13} {:<18} ",
                short(&status.revision.current),
                short(&status.revision.promoted),
                status
                    .hold
                    .as_ref()
                    .map_or("-".to_owned(), |hold| hold.reason.to_string()),
            )
        } else {
            String::new()
        };
        let name = |name: &Option<String>| name.clone().unwrap_or_default();
        text.push_str(&format!(
            "{:<16} {:<24} {phase} {:>4} % {}  {more}{}\n",
            name(&canary.metadata.namespace),
            name(&canary.metadata.name),
            status.canary_weight,
            paint.yellow(&bar(f64::from(status.canary_weight))),
            status.message.unwrap_or_default(),
        ));
    }
    text
}

impl History {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        block_on(async move {
            let cluster = self.cluster.connect().await?;
            let canary = cluster.canary(&self.canary).await?;
            let history = canary.status.unwrap_or_default().history;
            if matches!(self.output, Output::Json | Output::Yaml) {
                print(self.output, &serde_json::to_value(&history)?)?;
                return Ok(ExitCode::SUCCESS);
            }
            let mut text = String::new();
            for past in history {
                let short = past.revision.get(..12).unwrap_or(&past.revision);
                let ended = past.ended_at.format("%Y-%m-%d %H:%M:%S");
                text.push_str(&format!(
                    "{ended}  {short}  {:<12} {}\n",
                    format!("{:?}", past.outcome),
                    past.message
                ));
            }
            write(&text)?;
            Ok(ExitCode::SUCCESS)
        })
    }
}
