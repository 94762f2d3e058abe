//! Probes of the API: what a controller relies on, asked of an API server and written down.
//!
//! Every probe is a plain function over a client and a namespace that returns a transcript. The transcript that must
//! come of it stands beside it, and is demanded of the real server (story `api-probes`) and of the simulated one (test
//! `probes`): so the two agree. Where they do not, the simulated one is wrong.

mod apply;
mod collection;
mod defaults;
mod delete;
mod refusals;
mod watch;
mod workloads;
mod write;

use std::time::Duration;

use anyhow::{Result, ensure};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use kube::api::{DynamicObject, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::objects::Kind;

/// Long enough for anything that Kubernetes' own controllers do.
const SOON: Duration = Duration::from_secs(30);

/// Where probes are made.
#[derive(Clone)]
pub struct Ground {
    /// Acts as a person with every right.
    pub client: Client,
    /// A namespace without a controller of ours.
    pub namespace: String,
}

type Ask = Box<dyn Fn(Ground) -> LocalBoxFuture<'static, Result<Value>>>;

/// A question to an API server, with the answer that must come.
pub struct Probe {
    name: &'static str,
    ask: Ask,
    expected: Value,
}

impl Probe {
    fn new<F, R>(name: &'static str, ask: F, expected: Value) -> Self
    where
        F: Fn(Ground) -> R + 'static,
        R: Future<Output = Result<Value>> + 'static,
    {
        Self {
            name,
            ask: Box::new(move |ground| ask(ground).boxed_local()),
            expected,
        }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Fails with both transcripts if the answer is not what it must be.
    pub async fn make(&self, ground: &Ground) -> Result<()> {
        let answer = (self.ask)(ground.clone()).await?;
        ensure!(
            answer == self.expected,
            "it must be\n  {}\nand is\n  {answer}",
            self.expected
        );
        Ok(())
    }
}

/// The probes that are made after the server was started again.
pub fn after_restart() -> Vec<Probe> {
    watch::after_restart()
}

/// All others.
pub fn all() -> Vec<Probe> {
    [
        write::probes(),
        apply::probes(),
        refusals::probes(),
        defaults::probes(),
        delete::probes(),
        collection::probes(),
        watch::probes(),
        workloads::probes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Makes probes and fails with those that went wrong; returns how many there are.
pub async fn make(ground: &Ground, probes: Vec<Probe>) -> Result<usize> {
    let mut wrong = Vec::new();
    for probe in &probes {
        if let Err(error) = probe.make(ground).await {
            wrong.push(format!("{}: {error:#}", probe.name));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(probes.len())
}

impl Ground {
    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        kind.api(&self.client, &self.namespace)
    }

    /// Creates an object of a kind.
    async fn create(&self, kind: Kind, object: Value) -> Result<DynamicObject> {
        let object = serde_json::from_value(object)?;
        Ok(self.api(kind).create(&PostParams::default(), &object).await?)
    }
}

/// A Lease: an object that nobody else touches, and that may have any owner.
fn lease(name: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": name}, "spec": {"holderIdentity": "nobody", "leaseDurationSeconds": 15},
    })
}

/// A Canary that is well-formed; its workload is not there.
fn canary(name: &str) -> Value {
    json!({"apiVersion": "bellwether.dev/v1beta1", "kind": "Canary", "metadata": {"name": name}, "spec": {
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "service": {"port": 80},
        "analysis": {"stepWeights": [10]},
    }})
}

/// A Deployment without pods.
fn deployment(name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{
                "name": "app", "image": "shop:good-1", "ports": [{"name": "http", "containerPort": 8080}],
            }]},
        },
    }})
}

/// A Service for it.
fn service(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {
        "selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
    }})
}

/// Code and reason of a refusal, or `ok`.
fn verdict<T>(answer: kube::Result<T>) -> Value {
    match answer {
        Ok(_) => json!("ok"),
        Err(kube::Error::Api(status)) => json!(format!("{} {}", status.code, status.reason)),
        Err(error) => json!(format!("{error}")),
    }
}

/// Code, reason and message of a refusal.
fn in_words<T>(answer: kube::Result<T>) -> Value {
    match answer {
        Err(kube::Error::Api(status)) => {
            json!(format!("{} {}: {}", status.code, status.reason, status.message))
        }
        other => verdict(other),
    }
}

fn version(object: &DynamicObject) -> String {
    object.metadata.resource_version.clone().unwrap_or_default()
}

fn generation(object: &DynamicObject) -> i64 {
    object.metadata.generation.unwrap_or_default()
}
