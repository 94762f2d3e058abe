//! A stage on the real cluster: a namespace in it, and the controller as a process.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::{Scrapes, Stage};
use crate::cluster::{Cluster, GATEWAY_PORT, User};
use crate::objects::{self, Kind};
use crate::pods::RARELY_SCRAPED;
use crate::process::Process;
use crate::run_folder;

/// How often Prometheus scrapes, as most controllers are told.
const EVERY_SECOND: [&str; 2] = ["--scrape-interval-seconds", "1"];

/// What a stage on the real cluster has.
pub(super) struct Real {
    pub(super) cluster: Arc<Cluster>,
    /// Its log is `logs/controller-<namespace>.log`.
    pub(super) controller: Process,
}

impl Real {
    pub(super) fn new(cluster: Arc<Cluster>, namespace: &str, scrapes: Scrapes) -> Result<Self> {
        let controller = untold(&cluster, namespace, namespace)?;
        let controller = match scrapes {
            Scrapes::Often => controller.args(EVERY_SECOND),
            Scrapes::Rarely => controller,
        };
        Ok(Self { cluster, controller })
    }

    /// Makes the namespace, with a gateway in it.
    pub(super) async fn open(stage: &Stage, scrapes: Scrapes) -> Result<()> {
        let rarely = (scrapes == Scrapes::Rarely).to_string();
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
            "name": stage.namespace, "annotations": { RARELY_SCRAPED: rarely },
        }});
        objects::apply(&stage.client, None, &namespace).await?;
        let gateway = json!({
            "apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "gateway"}, "spec": {
                "selector": {"istio": "ingressgateway"},
                "servers": [{
                    "port": {"number": GATEWAY_PORT, "name": "http", "protocol": "HTTP"},
                    "hosts": [stage.host, format!("*.{}", stage.host)],
                }],
            },
        });
        stage.apply(&gateway).await.map(drop)
    }

    pub(super) async fn print_evidence(&self, stage: &Stage) {
        let requests: [&[&str]; 3] = [
            &["get", "canaries,virtualservices", "--output", "yaml"],
            &[
                "get",
                "deployments,pods,services,destinationrules",
                "--output",
                "wide",
            ],
            &["get", "events", "--sort-by", ".lastTimestamp"],
        ];
        for request in requests {
            match stage.kubectl(request).await {
                Ok(text) => println!("--- {}: {}\n{text}", stage.namespace, request.join(" ")),
                Err(error) => println!("--- {}: {error:#}", stage.namespace),
            }
        }
        if self.controller.log().exists() {
            println!(
                "--- {}\n{}",
                self.controller.log().display(),
                self.controller.tail()
            );
        }
    }

    pub(super) async fn clear(&self, stage: &Stage) -> Result<()> {
        self.controller.kill().await?;
        // A story that failed may have left a part of the cluster stopped.
        self.cluster.start_what_is_stopped().await?;
        free_canaries(stage).await?;
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(stage.client.clone());
        match namespaces
            .delete(&stage.namespace, &DeleteParams::background())
            .await
        {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map(drop).map_err(Into::into),
        }
    }
}

/// No controller is left that would hand anything back: without finalizers the Canaries can go.
async fn free_canaries(stage: &Stage) -> Result<()> {
    let canaries = stage.api(Kind::Canary);
    for canary in canaries.list(&ListParams::default()).await?.items {
        let freed = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        canaries
            .patch(&canary.name_any(), &PatchParams::default(), &freed)
            .await?;
    }
    Ok(())
}

/// The controller for one namespace; `name` is that of its log.
pub fn controller(cluster: &Cluster, namespace: &str, name: &str) -> Result<Process> {
    Ok(untold(cluster, namespace, name)?.args(EVERY_SECOND))
}

/// The same with its metrics at a port that Prometheus knows.
pub fn controller_at(cluster: &Cluster, namespace: &str, port: &str) -> Result<Process> {
    Ok(told(cluster, namespace, namespace, port)?.args(EVERY_SECOND))
}

/// The program that is tested.
pub fn program() -> Result<PathBuf> {
    if let Some(program) = std::env::var_os("BELLWETHER_BIN") {
        return Ok(PathBuf::from(program));
    }
    let own = std::env::current_exe()?;
    let folder = own.parent().context("this program is nowhere")?;
    Ok(folder.join("bellwether"))
}

/// The same without a word about how often Prometheus scrapes.
fn untold(cluster: &Cluster, namespace: &str, name: &str) -> Result<Process> {
    told(cluster, namespace, name, "0")
}

fn told(cluster: &Cluster, namespace: &str, name: &str, port: &str) -> Result<Process> {
    let program = program()?;
    ensure!(
        run_folder::build_output().is_ok(),
        "this program is not in a build folder"
    );
    let process = Process::new(&format!("controller-{name}"), program, &cluster.layout.logs)
        .args(cluster.arguments()?)
        .args(["--namespace", namespace, "--port", port])
        .env("KUBECONFIG", cluster.kubeconfig(User::Bellwether));
    Ok(process)
}
