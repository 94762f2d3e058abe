//! The Kubernetes API itself as backend: which cluster and namespace, as kubectl has them, and who we are to it.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{Ordered, StartRequest, watch::Watched};
use crate::{
    api::{
        AbortAction, ApprovalSpec, Canary, CanaryRef, CommandSpec, GROUP, GateDecision, Promotion,
        PromotionPhase, Verb,
    },
    cli::{
        env,
        exit::{Exit, Failure},
        output::short,
    },
    printable::{printable, printable_json},
    promotion::names,
    reconcile::kinds::Kind,
};

/// Which cluster and namespace.
#[derive(Debug, Args)]
pub(crate) struct ClusterFlags {
    /// Namespace; that of the kubeconfig's context if absent
    #[arg(short, long, value_name = "NAME", global = true)]
    pub(super) namespace: Option<String>,

    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME", global = true)]
    pub(super) context: Option<String>,

    /// Path of a kubeconfig file, instead of KUBECONFIG
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) kubeconfig: Option<PathBuf>,
}

/// A cluster, and the namespace that is meant.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    /// Who the kubeconfig says we are; only if the API server does not know.
    user: String,
}

/// Who we are.
pub(super) struct Who {
    name: String,
    /// Whether the API server says so.
    authenticated: bool,
}

impl ClusterFlags {
    pub(crate) async fn connect(&self) -> anyhow::Result<Cluster> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        let mut config = match &self.kubeconfig {
            Some(path) => {
                let file = Kubeconfig::read_from(path).context("--kubeconfig")?;
                kube::Config::from_custom_kubeconfig(file, &options).await?
            }
            None if self.context.is_some() => kube::Config::from_kubeconfig(&options)
                .await
                .context("--context")?,
            None => kube::Config::infer()
                .await
                .context("no cluster: set KUBECONFIG; or --hook, where a command has it")?,
        };
        config.connect_timeout = Some(std::time::Duration::from_secs(5));
        let namespace = self
            .namespace
            .clone()
            .unwrap_or_else(|| config.default_namespace.clone());
        let user = config
            .auth_info
            .username
            .clone()
            .filter(|user| !user.is_empty())
            .or_else(|| env(&["USER"]))
            .unwrap_or_else(|| "somebody".to_owned());
        Ok(Cluster {
            client: Client::try_from(config)?,
            namespace,
            user,
        })
    }
}

impl Cluster {
    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        kind.api(&self.client, &self.namespace)
    }

    /// Whom the API server takes us for: what is written down must not be what somebody says of themselves.
    async fn who(&self) -> anyhow::Result<Who> {
        let api: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let asked = api
            .create(&PostParams::default(), &SelfSubjectReview::default())
            .await;
        let name = match asked {
            Ok(review) => review.status.and_then(|status| status.user_info?.username),
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            Err(error) => return Err(error).context("who we are, the API server does not say"),
        };
        let authenticated = name.is_some();
        let name = name.unwrap_or_else(|| self.user.clone());
        Ok(Who { name, authenticated })
    }

    /// The Canary of this name.
    pub(crate) async fn canary(&self, name: &str) -> anyhow::Result<Canary> {
        let found = self.api(Kind::Canary).get_opt(name).await?;
        let found = found.with_context(|| format!("there is no Canary {}/{name}", self.namespace))?;
        typed(&found)
    }

    /// All Canaries, of the namespace or of all.
    pub(crate) async fn canaries(&self, all_namespaces: bool) -> anyhow::Result<Vec<Canary>> {
        let api: Api<Canary> = if all_namespaces {
            Api::all(self.client.clone())
        } else {
            Api::namespaced(self.client.clone(), &self.namespace)
        };
        let items = api.list(&ListParams::default()).await?.items;
        items.iter().map(typed).collect()
    }

    /// Promotions that are not over, of the namespace or of all.
    pub(crate) async fn unfinished(&self, all_namespaces: bool) -> anyhow::Result<Vec<Promotion>> {
        let api: Api<Promotion> = if all_namespaces {
            Api::all(self.client.clone())
        } else {
            Api::namespaced(self.client.clone(), &self.namespace)
        };
        let mut promotions = api.list(&ListParams::default()).await?.items;
        promotions.retain(|promotion| {
            let phase = promotion.status.as_ref().and_then(|status| status.phase);
            !phase.is_some_and(PromotionPhase::finished)
        });
        promotions.iter().map(typed).collect()
    }

    /// A Promotion, if there is one.
    pub(super) async fn promotion(&self, name: &str) -> anyhow::Result<Option<Promotion>> {
        let found = self.api(Kind::Promotion).get_opt(name).await?;
        found.map(|object| typed(&object)).transpose()
    }

    /// Creates an object; whether it was there already.
    async fn create(&self, kind: Kind, name: &str, spec: &impl Serialize) -> anyhow::Result<bool> {
        let object = json!({
            "apiVersion": format!("{GROUP}/v1beta1"),
            "kind": kind.resource().kind,
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": spec,
        });
        let object: DynamicObject = serde_json::from_value(object)?;
        match self.api(kind).create(&PostParams::default(), &object).await {
            Ok(_) => Ok(false),
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Starts a promotion, or finds the one that this key started.
    pub(super) async fn start(&self, request: &StartRequest) -> anyhow::Result<(Promotion, Canary)> {
        let canary = self.canary(&request.spec.canary_ref.name).await?;
        let who = self.who().await?;
        let mut spec = request.spec.clone();
        spec.requester.authenticated_as = who.authenticated.then(|| who.name.clone());
        spec.requester.user = Some(who.name);
        let name = names::promotion(&self.namespace, &spec.canary_ref.name, &request.key);
        let earlier = request.asked.sending();
        let created = self.create(Kind::Promotion, &name, &spec).await;
        if let Err(error) = &created
            && let Some(kube::Error::Api(status)) = error.downcast_ref()
            && status.code < 500
        {
            request.asked.refused(earlier);
        }
        let known = created?;
        let there = self.promotion(&name).await?;
        let there = there.context("the promotion went a moment ago")?;
        let same = (&there.spec.image, &there.spec.images, &there.spec.r#await)
            == (&spec.image, &spec.images, &spec.r#await);
        if known && !same {
            let text = format!(
                "--key {:?} started another promotion before ({name})",
                request.key
            );
            return Err(Failure::input(text));
        }
        Ok((there, canary))
    }

    /// An object from now on.
    pub(super) fn watch(&self, kind: Kind, name: &str) -> Watched {
        Watched::new(&self.client, &self.namespace, kind, name)
    }

    /// Orders something, and waits for the answer.
    pub(super) async fn order(&self, order: &Ordered<'_>) -> anyhow::Result<Value> {
        let meant = match order.promotion {
            Some(_) => None,
            None => Some(self.meant(order).await?),
        };
        let canary_ref = CanaryRef {
            name: order.canary.to_owned(),
        };
        if let Some(gate) = order.gate {
            return self.settle(order, gate, canary_ref, meant.as_deref()).await;
        }
        let spec = CommandSpec {
            canary_ref,
            verb: order.verb,
            revision: meant.clone(),
            promotion: order.promotion.map(str::to_owned),
            action: order.action,
            reason: order.reason.map(str::to_owned),
            requested_by: self.who().await?.name,
            on_behalf_of: Vec::new(),
        };
        let name = names::command(&self.namespace, &spec, None, order.key);
        self.create(Kind::Command, &name, &spec).await?;
        self.answered(order, Kind::Command, &name, meant.as_deref()).await
    }

    /// Says yes or no at a gate.
    async fn settle(
        &self,
        order: &Ordered<'_>,
        gate: &str,
        canary_ref: CanaryRef,
        meant: Option<&str>,
    ) -> anyhow::Result<Value> {
        let spec = ApprovalSpec {
            canary_ref,
            gate: gate.to_owned(),
            decision: if order.verb == Verb::Reject {
                GateDecision::Reject
            } else {
                GateDecision::Approve
            },
            revision: meant.map(str::to_owned),
            promotion: order.promotion.map(str::to_owned),
            comment: order.reason.map(str::to_owned),
            approved_by: self.who().await?.name,
            on_behalf_of: Vec::new(),
        };
        let name = names::approval(&self.namespace, &spec, None, order.key);
        self.create(Kind::Approval, &name, &spec).await?;
        self.answered(order, Kind::Approval, &name, meant).await
    }

    /// What became of an order, as a document.
    async fn answered(
        &self,
        order: &Ordered<'_>,
        kind: Kind,
        name: &str,
        meant: Option<&str>,
    ) -> anyhow::Result<Value> {
        let outcome = order.in_time(name, self.answer(kind, name)).await?;
        let about = (order.promotion, meant);
        Ok(order.told(&self.namespace, about, &json!(name), outcome.as_deref()))
    }

    /// The revision that is meant: the present one, or of an undo the promoted one.
    async fn meant(&self, order: &Ordered<'_>) -> anyhow::Result<String> {
        if order.action == Some(AbortAction::None) {
            let text = "--action none leaves a release alone; without --promotion there is nothing to do";
            return Err(Failure::input(text));
        }
        let known = self
            .canary(order.canary)
            .await?
            .status
            .unwrap_or_default()
            .revision;
        let meant = if order.verb == Verb::Undo {
            known.promoted
        } else {
            known.current
        };
        let meant = meant.context("the Canary has no revision yet")?;
        order.check(&meant)?;
        Ok(meant)
    }

    /// What became of a Command or an Approval, when it is answered.
    async fn answer(&self, kind: Kind, name: &str) -> anyhow::Result<String> {
        let mut order = self.watch(kind, name);
        loop {
            let object = order.next().await?;
            if let Some(outcome) = object.data["status"]["outcome"].as_str() {
                return Ok(printable(outcome).into_owned());
            }
        }
    }
}

/// An object as its type, with texts that a terminal shows as they are.
pub(super) fn typed<T: DeserializeOwned>(object: &impl Serialize) -> anyhow::Result<T> {
    let json = serde_json::to_value(object)?;
    Ok(serde_json::from_value(printable_json(&json).into_owned())?)
}

impl Ordered<'_> {
    /// Whether `meant` is the revision that was named, if one was.
    pub(super) fn check(&self, meant: &str) -> anyhow::Result<()> {
        match self.revision {
            Some(wanted) if !meant.starts_with(wanted) => {
                let text = format!("the Canary is at revision {} by now", short(meant));
                Err(Failure::with(Exit::BadInput, text))
            }
            _ => Ok(()),
        }
    }
}
