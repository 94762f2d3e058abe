//! `bellwether explain`: what a Canary is doing now and why, and what comes next, for a person on call.

mod next; // what comes next, as far as specification and status say
mod text; // for people

use std::process::ExitCode;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Parser;
use kube::ResourceExt;
use serde::Serialize;

use super::{
    PATIENCE, block_on,
    exit::Exit,
    get::standing,
    output::{Output, write},
    way::ClusterFlags,
    within,
};
use crate::{
    api::{Canary, CheckStatus, Hold, Intervention, PastRollout, Pause, Phase, Retirement, RevisionStatus},
    clock::{Clock, SystemClock},
    paint::Paint,
    rollout,
};
use next::Next;

/// Tell what a Canary is doing now and why, what holds it, and what comes next. Times are UTC.
///
/// The exit code says: 3 its last release was rolled back, 4 it is held.
#[derive(Debug, Parser)]
pub(super) struct Explain {
    /// The Canary
    canary: String,

    /// How it is printed
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,

    #[command(flatten)]
    cluster: ClusterFlags,
}

/// Everything that can be said of a Canary.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Explanation {
    namespace: String,
    name: String,
    /// The workload whose changes are released.
    workload: String,
    phase: Option<Phase>,
    /// Since when it is in this phase.
    since: Option<DateTime<Utc>>,
    message: Option<String>,
    /// Share of the canary in percent.
    weight: i32,
    step: Option<Step>,
    revision: RevisionStatus,
    hold: Option<Hold>,
    pause: Option<Pause>,
    retirement: Option<Retirement>,
    failed_checks: i32,
    /// Failed checks at which a release is rolled back.
    threshold: Option<i32>,
    checks: Vec<CheckStatus>,
    next: Vec<Next>,
    /// Orders that were heeded or refused, newest first.
    interventions: Vec<Intervention>,
    /// The last rollouts, newest first.
    history: Vec<PastRollout>,
}

/// The present step.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    /// From 1.
    number: i32,
    /// How many there are.
    of: Option<usize>,
    since: DateTime<Utc>,
}

impl Explain {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        block_on(self.tell())
    }

    async fn tell(self) -> anyhow::Result<Exit> {
        let asking = async { self.cluster.connect().await?.canary(&self.canary).await };
        let told = explain(&within(PATIENCE, "answer", asking).await?);
        if self.output.document() {
            self.output.print(&told)?;
        } else {
            let wide = self.output == Output::Wide;
            let now = SystemClock::default().now();
            write(&text::of(&told, now, wide, Paint::for_stdout()))?;
        }
        let phase = told.phase.map(|phase| phase.to_string());
        Ok(standing(phase.as_deref(), told.hold.is_some()))
    }
}

fn explain(canary: &Canary) -> Explanation {
    let status = canary.status.clone().unwrap_or_default();
    let target = &canary.spec.target_ref;
    let spec = rollout::validate(canary, TimeDelta::zero());
    let steps = spec.as_ref().ok().map(|spec| spec.steps.weights().len());
    let step = status.step.as_ref().map(|step| Step {
        number: step.index.saturating_add(1),
        of: steps,
        since: step.started_at,
    });
    Explanation {
        namespace: canary.namespace().unwrap_or_default(),
        name: canary.name_any(),
        workload: format!("{} {}", target.kind, target.name),
        phase: status.phase,
        since: status.last_transition_time,
        message: status.message.clone(),
        weight: status.canary_weight,
        step,
        failed_checks: status.failed_checks,
        threshold: spec.as_ref().ok().map(|spec| spec.threshold),
        checks: status.checks.clone(),
        next: match &spec {
            Ok(spec) => next::after(spec, &status),
            Err(invalid) => vec![Next::when(format!("the specification is mended: {invalid}"))],
        },
        interventions: status.interventions.iter().rev().cloned().collect(),
        history: status.history,
        revision: status.revision,
        hold: status.hold,
        pause: status.pause,
        retirement: status.retirement,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn api_server_that_does_not_answer_ends_with_7() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Connections are taken by the kernel, and nobody reads from them.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server = format!("http://{}", silent.local_addr().unwrap());
        let file = std::env::temp_dir().join(format!("bellwether-silent-{}", std::process::id()));
        let config = serde_json::json!({
            "current-context": "here",
            "clusters": [{"name": "silent", "cluster": {"server": server}}],
            "contexts": [{"name": "here", "context": {"cluster": "silent", "user": "nobody"}}],
            "users": [{"name": "nobody", "user": {}}],
        });
        std::fs::write(&file, config.to_string()).unwrap();
        let arguments = ["explain", "shop", "--kubeconfig", file.to_str().unwrap()];
        let told = Explain::try_parse_from(arguments).unwrap().tell();
        let began = tokio::time::Instant::now();
        let ended = tokio::time::timeout(PATIENCE * 2, told).await;
        let error = ended.expect("it would wait for ever").unwrap_err();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(Exit::of(&error), Exit::Timeout, "{error:#}");
        assert_eq!(began.elapsed().as_secs(), PATIENCE.as_secs());
    }
}
