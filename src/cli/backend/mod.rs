//! The two backends of the commands: the Kubernetes API, or the hook API for whoever has no access to the cluster.
//!
//! Every command is written once against [`Backend`]. Both backends speak of a promotion and of a Canary in the same documents,
//! those of the hook API (`docs/hook-api.md`).

mod address; // of the hook API
mod client; // requests to the hook API, with patience
mod cluster; // the Kubernetes API
mod follow; // a promotion to its end
mod hook; // the hook API
mod token; // the bearer token of the hook API
mod watch; // an object over a watch

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    api::{AbortAction, PromotionSpec, Verb},
    hook_api::view::PromotionView,
};

pub(super) use cluster::Cluster;
use cluster::ClusterFlags;
use follow::Following;
use hook::{HookApi, HookWay};

/// How long an answer may take before an order is left to itself.
const ANSWER: Duration = Duration::from_secs(30);
/// What may answer at once although it is asked to wait is not asked more often than this.
const PACE: Duration = Duration::from_secs(1);

/// Which backend, and where it is.
#[derive(Debug, Args)]
pub(super) struct BackendFlags {
    #[command(flatten)]
    cluster: ClusterFlags,

    #[command(flatten)]
    hook: HookWay,
}

/// What the commands talk to: the cluster, or the hook API.
pub(super) enum Backend {
    /// The Kubernetes API.
    Cluster(Box<Cluster>),
    /// The hook API.
    Hook(Box<HookApi>),
}

/// A promotion that is wanted.
pub(super) struct StartRequest {
    /// What is wanted.
    pub(super) spec: PromotionSpec,
    /// Makes it unique.
    pub(super) key: String,
    /// Whether it was asked for, and nobody said no.
    pub(super) asked: Asked,
}

/// Whether something was asked for that may have been done, because no answer says that it was refused.
#[derive(Debug, Default)]
pub(super) struct Asked(AtomicBool);

impl Asked {
    /// It is about to be sent; what is returned tells of an earlier try without an answer.
    fn sending(&self) -> bool {
        self.0.swap(true, Ordering::Relaxed)
    }

    /// It was refused for good: only an `earlier` try without an answer may have been heeded.
    fn refused(&self, earlier: bool) {
        self.0.store(earlier, Ordering::Relaxed);
    }

    /// Whether it may have been done.
    pub(super) fn maybe_done(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// An order that is wanted.
pub(super) struct Ordered<'a> {
    /// The Canary.
    pub(super) canary: &'a str,
    /// What is to be done.
    pub(super) verb: Verb,
    /// The gate that is decided on.
    pub(super) gate: Option<&'a str>,
    /// The revision that is meant, or its beginning.
    pub(super) revision: Option<&'a str>,
    /// The promotion that is meant.
    pub(super) promotion: Option<&'a str>,
    /// Of an abort: what becomes of the release.
    pub(super) action: Option<AbortAction>,
    /// Why.
    pub(super) reason: Option<&'a str>,
    /// Makes it unique.
    pub(super) key: &'a str,
}

impl Ordered<'_> {
    /// The outcome that `answer` brings, if it comes soon; `name` is that of the object that carries the order.
    async fn in_time(
        &self,
        name: &str,
        answer: impl Future<Output = anyhow::Result<String>>,
    ) -> anyhow::Result<Option<String>> {
        let answered = tokio::time::timeout(ANSWER, answer).await;
        let verb = self.verb;
        answered
            .ok()
            .transpose()
            .with_context(|| format!("{verb:?} is ordered ({name}), and its answer cannot be seen"))
    }

    /// The order as a document: about which promotion or revision it is, what carries it, and what became of it.
    fn told(
        &self,
        namespace: &str,
        (promotion, revision): (Option<&str>, Option<&str>),
        command: &Value,
        outcome: Option<&str>,
    ) -> Value {
        json!({
            "namespace": namespace,
            "canary": self.canary,
            "verb": self.verb,
            "gate": self.gate,
            "revision": revision,
            "promotion": promotion,
            "command": command,
            "outcome": outcome,
        })
    }
}

/// The state of a promotion.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// The whole document.
    pub(super) document: Value,
    /// What is looked at here.
    pub(super) seen: Seen,
}

/// What is looked at of the state of a promotion. Readers ignore what they do not know, and miss what is not there.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Seen {
    pub(super) id: String,
    pub(super) phase: String,
    pub(super) finished: bool,
    #[serde(default)]
    pub(super) namespace: String,
    #[serde(default)]
    pub(super) canary: String,
    #[serde(default)]
    pub(super) seq: i64,
    #[serde(default)]
    pub(super) exit_code: Option<i64>,
    #[serde(default)]
    pub(super) message: Option<String>,
    #[serde(default)]
    pub(super) revision: Option<String>,
    #[serde(default)]
    pub(super) weight: i32,
    #[serde(default)]
    pub(super) step: Option<i32>,
    #[serde(default)]
    pub(super) steps: Option<i32>,
    #[serde(default)]
    pub(super) held: Option<String>,
    #[serde(default)]
    pub(super) log_bytes: i64,
}

impl State {
    /// The state in a document, if it is one.
    fn read(document: Value) -> Option<State> {
        let seen = Seen::deserialize(&document).ok()?;
        Some(State { document, seen })
    }

    fn of(view: &PromotionView) -> anyhow::Result<State> {
        let document = serde_json::to_value(view)?;
        let seen = Seen::deserialize(&document)?;
        Ok(State { document, seen })
    }
}

impl BackendFlags {
    /// The namespace that was named.
    pub(super) fn namespace(&self) -> Option<String> {
        self.cluster.namespace.clone()
    }

    pub(super) async fn open(&self) -> anyhow::Result<Backend> {
        // Whoever names a kubeconfig means its cluster, whatever the environment says.
        let named = self.cluster.context.is_some() || self.cluster.kubeconfig.is_some();
        match self.hook.url(named) {
            Some(url) => {
                let hook = self.hook.open(&url, self.cluster.namespace.as_deref())?;
                Ok(Backend::Hook(Box::new(hook)))
            }
            None => Ok(Backend::Cluster(Box::new(self.cluster.connect().await?))),
        }
    }
}

impl Backend {
    /// Starts a promotion, or finds the one that its key started.
    pub(super) async fn start(&self, request: &StartRequest) -> anyhow::Result<State> {
        match self {
            Backend::Cluster(cluster) => {
                let (promotion, canary) = cluster.start(request).await?;
                State::of(&PromotionView::of(&promotion, Some(&canary)))
            }
            Backend::Hook(hook) => hook.start(request).await,
        }
    }

    /// Follows a promotion from the first byte of its log.
    pub(super) async fn follow(&self, id: &str) -> anyhow::Result<Following> {
        match self {
            Backend::Cluster(cluster) => Following::watch(cluster, id).await,
            Backend::Hook(hook) => Ok(Following::poll(hook, id)),
        }
    }

    /// Orders something; the answer has `outcome`, which is null if none came in time.
    pub(super) async fn order(&self, order: &Ordered<'_>) -> anyhow::Result<Value> {
        match self {
            Backend::Cluster(cluster) => cluster.order(order).await,
            Backend::Hook(hook) => hook.order(order).await,
        }
    }
}
