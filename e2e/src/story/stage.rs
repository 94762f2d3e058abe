//! What a story has at hand: a namespace, a host name, a controller, traffic.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::DynamicObject;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::cluster::{Cluster, GATEWAY_PORT, PROMETHEUS, User};
use crate::objects::{self, Kind};
use crate::process::Process;
use crate::run_folder;
use crate::traffic::Traffic;
use crate::wait;

/// The stage of one story.
pub struct Stage {
    /// The cluster, shared with the other stories.
    pub cluster: Arc<Cluster>,
    /// The namespace of this story.
    pub namespace: String,
    /// The host name its requests go to.
    pub host: String,
    /// The controller under test, which watches this namespace only; not started.
    pub controller: Process,
    figures: Mutex<Vec<String>>,
}

impl Stage {
    /// Makes a namespace with a gateway that is open for its host.
    pub async fn set(cluster: Arc<Cluster>, name: &str) -> Result<Self> {
        let host = format!("{name}.example.com");
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        objects::apply(&cluster.client, None, &namespace).await?;
        let controller = controller(&cluster, name)?;
        let stage = Self {
            cluster,
            namespace: name.into(),
            host,
            controller,
            figures: Mutex::default(),
        };
        stage.apply(&stage.gateway()).await?;
        Ok(stage)
    }

    /// Starts the controller; its log is `logs/controller-<namespace>.log`.
    pub async fn start_controller(&self) -> Result<()> {
        self.controller.start().await
    }

    /// Sends so many requests a second to the host of this story.
    pub fn traffic(&self, per_second: u32) -> Traffic {
        Traffic::start(&self.host, per_second)
    }

    /// Applies an object to the namespace.
    pub async fn apply(&self, object: &Value) -> Result<DynamicObject> {
        objects::apply(&self.cluster.client, Some(&self.namespace), object).await
    }

    /// The objects of a kind in the namespace.
    pub fn api(&self, kind: Kind) -> Api<DynamicObject> {
        kind.api(&self.cluster.client, &self.namespace)
    }

    /// Runs kubectl in the namespace.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.cluster
            .kubectl(["--namespace", self.namespace.as_str()].iter().chain(args))
            .await
    }

    /// Waits until an object is there and as it should be.
    pub async fn wait_for(
        &self,
        kind: Kind,
        name: &str,
        what: &str,
        within: Duration,
        mut met: impl FnMut(&Value) -> bool,
    ) -> Result<Value> {
        let met = |object: Option<&DynamicObject>| object.is_some_and(|object| met(&object.data));
        let object = wait::watch_until(self.api(kind), name, what, within, met).await?;
        Ok(object.with_context(|| format!("{name} is gone"))?.data)
    }

    /// Waits until an object is gone.
    pub async fn wait_gone(&self, kind: Kind, name: &str, within: Duration) -> Result<()> {
        wait::watch_until(self.api(kind), name, "it is gone", within, |object| {
            object.is_none()
        })
        .await
        .map(drop)
    }

    /// Waits until exactly so many pods with this `app` label are there, all of them ready, and returns them.
    pub async fn wait_pods(&self, app: &str, count: usize, within: Duration) -> Result<Vec<Pod>> {
        let api: Api<Pod> = Api::namespaced(self.cluster.client.clone(), &self.namespace);
        let what = format!("{count} ready pods of {app}");
        let of_app = |pod: &&Pod| pod.labels().get("app").is_some_and(|label| label == app);
        let pods = wait::watch_all_until(api, &what, within, |pods| {
            let mut pods = pods.iter().filter(of_app).peekable();
            (count == 0 || pods.peek().is_some()) && {
                let (all, ready) = pods.fold((0, 0), |(all, ready), pod| {
                    (all + 1, ready + usize::from(is_ready(pod)))
                });
                all == count && ready == count
            }
        })
        .await?;
        Ok(pods.into_iter().filter(|pod| of_app(&pod)).collect())
    }

    /// A Deployment whose pods answer on port 8080; see the pods' presets for what the image says.
    pub fn deployment(&self, name: &str, image: &str, replicas: u32) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{
                    "name": "app", "image": image, "ports": [{"name": "http", "containerPort": 8080}],
                }]},
            },
        }})
    }

    /// A Service for the pods of a Deployment.
    pub fn service(&self, name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {
            "selector": {"app": name},
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        }})
    }

    /// Adds a line to what is printed about the story at the end.
    pub fn note(&self, figure: impl Into<String>) {
        self.figures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(figure.into());
    }

    /// What was noted.
    pub fn figures(&self) -> Vec<String> {
        self.figures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Prints what helps to tell why the story failed.
    pub async fn print_evidence(&self) {
        let requests: [&[&str]; 4] = [
            &["get", "canaries,virtualservices", "--output", "yaml"],
            &[
                "get",
                "deployments,pods,services,destinationrules",
                "--output",
                "wide",
            ],
            &["get", "virtualservices", "--output", "yaml"],
            &["get", "events", "--sort-by", ".lastTimestamp"],
        ];
        for request in requests {
            match self.kubectl(request).await {
                Ok(text) => println!("--- {}: {}\n{text}", self.namespace, request.join(" ")),
                Err(error) => println!("--- {}: {error:#}", self.namespace),
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

    /// Whatever a story demands: no round may panic, and none may write again and again without an end.
    pub fn ensure_no_defect_logged(&self) -> Result<()> {
        let log = std::fs::read_to_string(self.controller.log()).unwrap_or_default();
        let defect = log
            .lines()
            .find(|line| line.contains("NoProgress") || line.contains("Panicked"));
        ensure!(
            defect.is_none(),
            "the controller says: {}",
            defect.unwrap_or_default()
        );
        Ok(())
    }

    /// Ends the controller and removes the namespace, without waiting for its last object.
    pub async fn clear(&self) -> Result<()> {
        self.controller.kill().await?;
        // A story that failed may have left a part of the cluster stopped.
        self.cluster.start_what_is_stopped().await?;
        self.free_canaries().await?;
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(self.cluster.client.clone());
        match namespaces
            .delete(&self.namespace, &kube::api::DeleteParams::background())
            .await
        {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map(drop).map_err(Into::into),
        }
    }

    /// No controller is left that would hand anything back: without finalizers the Canaries can go.
    async fn free_canaries(&self) -> Result<()> {
        let canaries = self.api(Kind::Canary);
        let nothing = kube::api::ListParams::default();
        for canary in canaries.list(&nothing).await?.items {
            let freed = kube::api::Patch::Merge(json!({"metadata": {"finalizers": null}}));
            canaries
                .patch(&canary.name_any(), &kube::api::PatchParams::default(), &freed)
                .await?;
        }
        Ok(())
    }

    fn gateway(&self) -> Value {
        json!({"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "gateway"}, "spec": {
            "selector": {"istio": "ingressgateway"},
            "servers": [{
                "port": {"number": GATEWAY_PORT, "name": "http", "protocol": "HTTP"},
                "hosts": [self.host],
            }],
        }})
    }
}

/// The pod says that it is ready, and is not on its way out.
fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

fn controller(cluster: &Cluster, namespace: &str) -> Result<Process> {
    let program = match std::env::var_os("BELLWETHER_BIN") {
        Some(program) => PathBuf::from(program),
        None => {
            let own = std::env::current_exe()?;
            own.parent()
                .context("this program is nowhere")?
                .join("bellwether")
        }
    };
    ensure!(
        run_folder::build_output().is_ok(),
        "this program is not in a build folder"
    );
    Ok(
        Process::new(&format!("controller-{namespace}"), program, &cluster.layout.logs)
            .args([
                "run",
                "--namespace",
                namespace,
                "--metrics-server",
                PROMETHEUS,
                "--scrape-interval-seconds",
                "1",
                "--drain-seconds",
                "3",
                "--port",
                "0",
                "--log-format",
                "text",
            ])
            .env("KUBECONFIG", cluster.kubeconfig(User::Bellwether)),
    )
}
