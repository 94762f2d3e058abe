//! `bellwether run`: the controller. Flags bear Flagger's names where Flagger has them.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use chrono::TimeDelta;
use clap::{Parser, ValueEnum};
use futures::{
    FutureExt,
    future::{Fuse, FusedFuture},
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::sync::{Notify, mpsc::unbounded_channel};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{env, events::EventFlags, hook::HookFlags, metrics::MetricFlags};
use crate::{
    admin,
    clock::{Clock, SystemClock},
    config_file::{self, Reloaded},
    gates::{Gates, Instances},
    hook_api,
    jitter::Jitter,
    leader::{self, Candidate, Leadership, election::Timing},
    metrics::Metrics,
    metrics_source::Sampler,
    outbox::{self, Outbox},
    reconcile::{self, Context, Settings},
    telemetry::{self, LogFormat},
    user_aliases::UserAliases,
};

#[derive(Clone, Copy, Debug, ValueEnum)]
enum MeshProvider {
    /// Istio: weights in a VirtualService
    Istio,
}

/// Run the controller.
///
/// The cluster is the one of KUBECONFIG (or ~/.kube/config), or inside a pod the one of its service account.
#[derive(Debug, Parser)]
pub(super) struct Run {
    /// Path of a kubeconfig file, instead of KUBECONFIG and the pod's service account
    #[arg(
        long,
        value_name = "FILE",
        env = "BELLWETHER_KUBECONFIG",
        help_heading = "Cluster"
    )]
    kubeconfig: Option<PathBuf>,

    /// Work in this namespace only; all namespaces if absent
    #[arg(
        long,
        value_name = "NAME",
        env = "BELLWETHER_NAMESPACE",
        help_heading = "Cluster"
    )]
    namespace: Option<String>,

    /// Labels by which pods of a workload and of its primary are told apart: the first that the workload's selector has
    #[arg(
        long,
        value_name = "LABELS",
        env = "BELLWETHER_SELECTOR_LABELS",
        value_delimiter = ',',
        default_value = "app,name,app.kubernetes.io/name",
        help_heading = "Cluster"
    )]
    selector_labels: Vec<String>,

    /// Prefixes of labels and annotations of a workload that its primary Deployment gets as well; * for all but the marks
    /// of tools such as Argo CD. The labels of its selector it has always
    #[arg(
        long,
        value_name = "PREFIXES",
        env = "BELLWETHER_INCLUDE_LABEL_PREFIX",
        value_delimiter = ',',
        help_heading = "Cluster"
    )]
    include_label_prefix: Vec<String>,

    /// What routes the traffic
    #[arg(
        long,
        value_enum,
        env = "BELLWETHER_MESH_PROVIDER",
        default_value = "istio",
        help_heading = "Traffic"
    )]
    mesh_provider: MeshProvider,

    /// Seconds that proxies may need to follow a changed route or endpoint; no pod is scaled away earlier
    #[arg(
        long,
        value_name = "SECONDS",
        env = "BELLWETHER_DRAIN_SECONDS",
        default_value_t = 5,
        value_parser = clap::value_parser!(u16).range(0..=600),
        help_heading = "Traffic"
    )]
    drain_seconds: u16,

    #[command(flatten)]
    metrics: MetricFlags,

    /// Several replicas: one decides, the others stand by
    #[arg(
        long,
        env = "BELLWETHER_ENABLE_LEADER_ELECTION",
        num_args = 0..=1,
        default_missing_value = "true",
        default_value_t = false,
        value_parser = clap::value_parser!(bool),
        help_heading = "Replicas"
    )]
    enable_leader_election: bool,

    /// Namespace of the Lease; the pod's own, or default outside of a pod, if absent
    #[arg(
        long,
        value_name = "NAME",
        env = "BELLWETHER_LEADER_ELECTION_NAMESPACE",
        help_heading = "Replicas"
    )]
    leader_election_namespace: Option<String>,

    /// error, warn, info, debug, trace, or a filter by module
    #[arg(
        long,
        value_name = "LEVEL",
        env = "BELLWETHER_LOG_LEVEL",
        default_value = "info",
        help_heading = "Process"
    )]
    log_level: String,

    /// Form of the log
    #[arg(
        long,
        value_enum,
        env = "BELLWETHER_LOG_FORMAT",
        default_value = "json",
        help_heading = "Process"
    )]
    log_format: LogFormat,

    #[command(flatten)]
    hook: HookFlags,

    #[command(flatten)]
    events: EventFlags,

    /// File of the users of the cluster whom CI servers know by other names: a list of user and aliases; read again when it
    /// changes. Who asked for a release by one name does not approve it by the other
    #[arg(
        long,
        value_name = "FILE",
        env = "BELLWETHER_USER_ALIASES_FILE",
        help_heading = "Gates"
    )]
    user_aliases_file: Option<PathBuf>,

    /// File of the Jenkins whose jobs gates may name: a list of name, url, user, token or password, namespaces and caFile;
    /// read again when it changes
    #[arg(
        long,
        value_name = "FILE",
        env = "BELLWETHER_JENKINS_FILE",
        help_heading = "Gates"
    )]
    jenkins_file: Option<PathBuf>,

    /// Export what is told of Canaries under the names of Flagger's metrics as well
    #[arg(
        long,
        env = "BELLWETHER_FLAGGER_METRICS",
        num_args = 0..=1,
        default_missing_value = "true",
        default_value_t = false,
        value_parser = clap::value_parser!(bool),
        help_heading = "Process"
    )]
    flagger_metrics: bool,

    /// Port of /healthz, /readyz and /metrics; 0 takes a free one
    #[arg(
        long,
        value_name = "PORT",
        env = "BELLWETHER_PORT",
        default_value_t = 8080,
        help_heading = "Process"
    )]
    port: u16,
}

/// An empty prefix, as an empty environment variable has it, would be one of every label.
fn include_labels(prefixes: &[String]) -> Vec<String> {
    let given = prefixes.iter().filter(|prefix| !prefix.is_empty());
    given.cloned().collect()
}

impl Run {
    pub(super) fn run(self) -> anyhow::Result<()> {
        telemetry::init(&self.log_level, self.log_format)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .worker_threads(2)
            .build()?;
        runtime.block_on(self.serve())
    }

    async fn serve(self) -> anyhow::Result<()> {
        let MeshProvider::Istio = self.mesh_provider;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let jitter = Arc::new(Jitter::random());
        let metrics = if self.flagger_metrics {
            Metrics::with_flagger_names()
        } else {
            Metrics::new()
        };
        let client = self.client(&metrics).await?;
        let stop = stop_on_signal()?;
        let listed = Arc::new(Notify::new());
        let (leadership, holding) = self.leadership(&client, &clock, &jitter, listed.clone(), &stop);
        let source = self.metrics.source(&jitter)?;
        let (woken, sampled) = unbounded_channel();
        let told = woken.clone();
        let instances = match &self.jenkins_file {
            Some(path) => {
                let known = Reloaded::of_file(path, clock.clone(), Instances::of_file);
                known.context("--jenkins-file")?.revoked_without_file()
            }
            None => Reloaded::fixed(Instances::none()),
        };
        let aliases = match &self.user_aliases_file {
            Some(path) => Reloaded::of_file(path, clock.clone(), config_file::user_aliases)
                .context("--user-aliases-file")?,
            None => Reloaded::fixed(UserAliases::default()),
        };
        let gates = Gates::new(instances, jitter.clone(), leadership.clone(), woken.clone());
        let sampler = Arc::new(Sampler::new(
            Arc::new(source),
            clock.clone(),
            self.metrics.settings(),
            woken,
        ));
        let (outbox, facts) = Outbox::new(self.events.sinks()?, told);
        let ctx = Arc::new(Context {
            client,
            settings: Settings {
                namespace: self.namespace.clone(),
                selector_labels: self.selector_labels.clone(),
                include_label_prefix: include_labels(&self.include_label_prefix),
                drain: TimeDelta::seconds(i64::from(self.drain_seconds)),
            },
            clock,
            leadership,
            jitter,
            cache: Default::default(),
            index: Default::default(),
            local: Default::default(),
            sampler: sampler.clone(),
            outbox,
            gates,
            aliases,
            metrics,
        });
        let address = SocketAddr::from(([0, 0, 0, 0], self.port));
        let admin = tokio::spawn(admin::serve(ctx.clone(), address, stop.clone()));
        let hook = self.hook.hook(&ctx)?;
        let stopping = stop.clone();
        let serving = tokio::spawn(async move {
            match hook {
                Some((hook, listen)) => hook_api::serve(hook, listen, stopping).await,
                None => {
                    stopping.cancelled().await;
                    Ok(())
                }
            }
        });
        let sampling = tokio::spawn(
            stop.clone()
                .run_until_cancelled_owned(async move { sampler.run().await }),
        );
        let telling = tokio::spawn(
            stop.clone()
                .run_until_cancelled_owned(outbox::deliver(ctx.clone(), facts)),
        );
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "starting");
        let mut controller = tokio::spawn(reconcile::run::run(ctx, sampled, listed, stop.clone())).fuse();
        let (mut serving, mut holding) = (serving.fuse(), holding.fuse());
        // Whichever ends first ends the process: none of them may be missing unnoticed.
        tokio::select! {
            ended = admin => ended?.context("admin server")?,
            ended = &mut serving => ended?.context("hook API")?,
            ended = &mut controller => ended?,
            ended = sampling => drop(ended?),
            ended = telling => drop(ended?),
            ended = &mut holding => {
                ended?;
                anyhow::ensure!(stop.is_cancelled(), "the Lease was lost; another replica decides now");
            }
        }
        anyhow::ensure!(stop.is_cancelled(), "a part of the controller ended unexpectedly");
        // Rounds under way finish, the Lease is given back, and who waits at the hook API is answered.
        for task in [controller, holding] {
            end(task).await?;
        }
        if let Some(ended) = end(serving).await? {
            ended.context("hook API")?;
        }
        tracing::info!("stopped");
        Ok(())
    }

    /// Whether this process decides, and the task that gets and keeps the Lease as soon as everything is `listed`.
    fn leadership(
        &self,
        client: &kube::Client,
        clock: &Arc<dyn Clock>,
        jitter: &Arc<Jitter>,
        listed: Arc<Notify>,
        stop: &CancellationToken,
    ) -> (Leadership, JoinHandle<()>) {
        let identity = identity();
        if !self.enable_leader_election {
            let waiting = stop.clone();
            let nothing = tokio::spawn(async move { waiting.cancelled().await });
            return (Leadership::alone(&identity, clock.clone()), nothing);
        }
        let (leadership, claim) = Leadership::elected(&identity, clock.clone());
        let candidate = Candidate {
            namespace: self
                .leader_election_namespace
                .clone()
                .unwrap_or_else(|| client.default_namespace().to_owned()),
            name: "bellwether-leader-election".to_owned(),
            identity,
            timing: Timing::default(),
            listed,
        };
        let holding = leader::hold(
            client.clone(),
            candidate,
            clock.clone(),
            jitter.clone(),
            claim,
            stop.clone(),
        );
        (leadership, tokio::spawn(holding))
    }

    async fn client(&self, metrics: &Metrics) -> anyhow::Result<kube::Client> {
        let mut config = match &self.kubeconfig {
            Some(path) => {
                let file = Kubeconfig::read_from(path).context("--kubeconfig")?;
                kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?
            }
            None => kube::Config::infer()
                .await
                .context("no cluster: set KUBECONFIG or run in a pod")?,
        };
        // Every round has its own bound, back-off and guard; retries below it would only hide a refusal.
        config.default_retry = false;
        config.connect_timeout = Some(Duration::from_secs(5));
        config.write_timeout = Some(Duration::from_secs(10));
        // Longer than a watch lasts, which the API server ends after 290 s: a list of which nothing arrives is an error.
        config.read_timeout = Some(Duration::from_secs(295));
        let builder = kube::client::ClientBuilder::try_from(config)?;
        Ok(builder.with_layer(&metrics.api).build())
    }
}

/// What a task ends with, unless that was seen before.
///
/// # Errors
/// If it panicked.
async fn end<T>(task: Fuse<JoinHandle<T>>) -> anyhow::Result<Option<T>> {
    if task.is_terminated() {
        return Ok(None);
    }
    Ok(Some(task.await?))
}

/// A name that no other process has: the pod's, and something of this start.
fn identity() -> String {
    let host = env(&["HOSTNAME"]);
    format!(
        "{}-{:08x}",
        host.as_deref().unwrap_or("bellwether"),
        fastrand::u32(..)
    )
}

/// A token that the first SIGTERM or SIGINT cancels.
fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("asked to stop; running rounds finish");
        token.cancel();
    });
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn end_of_a_task_is_seen_even_if_it_comes_before_somebody_looks() {
        let task = tokio::spawn(async { "failed" });
        while !task.is_finished() {
            tokio::task::yield_now().await;
        }
        assert_eq!(end(task.fuse()).await.unwrap(), Some("failed"));
        let mut task = tokio::spawn(async { "failed" }).fuse();
        assert_eq!((&mut task).await.unwrap(), "failed");
        assert_eq!(end(task).await.unwrap(), None, "it was seen");
    }
}
