//! Flags of the commands for people and pipelines: which cluster and namespace, as kubectl has them.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use kube::{
    Api, Client,
    api::{DynamicObject, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

use crate::{
    api::{Canary, GROUP},
    reconcile::kinds::Kind,
};

/// Exit codes of every command; the hook API names the same.
pub(super) mod exit {
    /// Bad input.
    pub(crate) const BAD_INPUT: u8 = 2;
    /// A release is held and nobody waits longer, or nothing decided it.
    pub(crate) const HELD: u8 = 4;
    /// The wait was too long.
    pub(crate) const TIMEOUT: u8 = 7;
}

/// Which cluster and namespace.
#[derive(Debug, Args)]
pub(super) struct ClusterFlags {
    /// Namespace; that of the kubeconfig's context if absent
    #[arg(short, long, value_name = "NAME", global = true)]
    namespace: Option<String>,

    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME", global = true)]
    context: Option<String>,

    /// Path of a kubeconfig file, instead of KUBECONFIG
    #[arg(long, value_name = "FILE", global = true)]
    kubeconfig: Option<PathBuf>,
}

/// A cluster, and the namespace that is meant.
pub(super) struct Cluster {
    pub(super) client: Client,
    pub(super) namespace: String,
    /// Who the kubeconfig says we are, for records.
    pub(super) user: String,
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people
    #[default]
    Text,
    /// More columns
    Wide,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

impl ClusterFlags {
    pub(super) async fn connect(&self) -> anyhow::Result<Cluster> {
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
                .context("no cluster: set KUBECONFIG")?,
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
            .or_else(|| std::env::var("USER").ok())
            .filter(|user| !user.is_empty())
            .unwrap_or_else(|| "somebody".to_owned());
        Ok(Cluster {
            client: Client::try_from(config)?,
            namespace,
            user,
        })
    }
}

impl Cluster {
    pub(super) fn api(&self, kind: Kind) -> Api<DynamicObject> {
        kind.api(&self.client, &self.namespace)
    }

    /// The Canary of this name.
    pub(super) async fn canary(&self, name: &str) -> anyhow::Result<Canary> {
        let found = self.api(Kind::Canary).get_opt(name).await?;
        let found = found.with_context(|| format!("there is no Canary {}/{name}", self.namespace))?;
        Ok(serde_json::from_value(serde_json::to_value(&found)?)?)
    }

    /// Creates an object; whether it was there already.
    pub(super) async fn create(
        &self,
        kind: Kind,
        name: &str,
        spec: &impl serde::Serialize,
    ) -> anyhow::Result<bool> {
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
}

/// Prints a value for machines.
pub(super) fn print(output: Output, value: &Value) -> anyhow::Result<()> {
    let text = match output {
        Output::Yaml => serde_saphyr::to_string(value)?,
        _ => format!("{}\n", serde_json::to_string_pretty(value)?),
    };
    write(&text)
}

/// Prints text; a reader that has seen enough is no error.
pub(super) fn write(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Runs an asynchronous command.
pub(super) fn block_on(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(command)
}
