//! What a story has at hand: a namespace, a host name, a controller, traffic, and switches for what goes wrong.
//!
//! A stage stands in one of two worlds, the real cluster or the simulated one, and a story cannot tell which: what it
//! says and reads goes through a `kube::Client` in both, and what a client cannot do is a method here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::real::Real;
use super::simulated::Simulated;
use crate::cluster::Cluster;
use crate::objects::{self, Kind};
use crate::process::Process;
use crate::traffic::Traffic;
use crate::wait;

/// The stage of one story.
pub struct Stage {
    /// Acts as a person with every right.
    pub client: Client,
    /// The namespace of this story.
    pub namespace: String,
    /// The host name its requests go to.
    pub host: String,
    world: World,
    figures: Mutex<Vec<String>>,
}

enum World {
    Real(Box<Real>),
    Simulated(Simulated),
}

impl Stage {
    /// Makes a namespace with a gateway that is open for its host, on the real cluster.
    pub async fn set(cluster: Arc<Cluster>, name: &str) -> Result<Self> {
        let client = cluster.client.clone();
        let stage = Self::new(name, client, World::Real(Box::new(Real::new(cluster, name)?)));
        Real::open(&stage).await?;
        Ok(stage)
    }

    /// The same in a simulated cluster of its own; one seed is one run.
    pub fn simulated(name: &str, seed: u64) -> Self {
        let world = Simulated::new(name, seed);
        Self::new(name, world.client(), World::Simulated(world))
    }

    fn new(name: &str, client: Client, world: World) -> Self {
        Self {
            client,
            namespace: name.into(),
            host: format!("{name}.example.com"),
            world,
            figures: Mutex::default(),
        }
    }

    /// Starts the controller, which watches this namespace only; it must not be running.
    pub async fn start_controller(&self) -> Result<()> {
        match &self.world {
            World::Real(real) => real.controller.start().await,
            World::Simulated(simulated) => {
                simulated.start_controller();
                Ok(())
            }
        }
    }

    /// Ends the controller as a crash would.
    pub async fn kill_controller(&self) -> Result<()> {
        match &self.world {
            World::Real(real) => real.controller.kill().await,
            World::Simulated(simulated) => {
                simulated.kill_controller();
                Ok(())
            }
        }
    }

    /// Sends so many requests a second to the host of this story; in the simulated cluster that is the shop.
    pub fn traffic(&self, per_second: u32) -> Traffic {
        self.traffic_by("shop", per_second)
    }

    /// The same where the VirtualService that has the host is called otherwise, for the simulated cluster knows no hosts.
    pub fn traffic_by(&self, route: &str, per_second: u32) -> Traffic {
        match &self.world {
            World::Real(_) => Traffic::through_gateway(&self.host, per_second),
            World::Simulated(simulated) => simulated.traffic(route, per_second),
        }
    }

    /// Applies an object that belongs to no namespace.
    pub async fn apply_to_cluster(&self, object: &Value) -> Result<DynamicObject> {
        objects::apply(&self.client, None, object).await
    }

    /// Applies an object to the namespace.
    pub async fn apply(&self, object: &Value) -> Result<DynamicObject> {
        objects::apply(&self.client, Some(&self.namespace), object).await
    }

    /// The objects of a kind in the namespace.
    pub fn api(&self, kind: Kind) -> Api<DynamicObject> {
        kind.api(&self.client, &self.namespace)
    }

    /// Changes fields of an object (RFC 7386).
    pub async fn merge(&self, kind: Kind, name: &str, change: Value) -> Result<()> {
        let patch = Patch::Merge(change);
        let patched = self.api(kind).patch(name, &PatchParams::default(), &patch).await;
        patched
            .map(drop)
            .with_context(|| format!("cannot patch {kind:?} {name}"))
    }

    /// Changes an object by JSON Patch (RFC 6902).
    pub async fn json_patch(&self, kind: Kind, name: &str, operations: Value) -> Result<()> {
        let patch: Patch<Value> = Patch::Json(serde_json::from_value(operations)?);
        let patched = self.api(kind).patch(name, &PatchParams::default(), &patch).await;
        patched
            .map(drop)
            .with_context(|| format!("cannot patch {kind:?} {name}"))
    }

    /// Deletes an object without waiting until it is gone.
    pub async fn delete(&self, kind: Kind, name: &str) -> Result<()> {
        let deleted = self.api(kind).delete(name, &DeleteParams::default()).await;
        deleted
            .map(drop)
            .with_context(|| format!("cannot delete {kind:?} {name}"))
    }

    /// Ships an image as a person would.
    pub async fn set_image(&self, deployment: &str, image: &str) -> Result<()> {
        match &self.world {
            World::Real(_) => {
                let (object, image) = (format!("deployment/{deployment}"), format!("app={image}"));
                self.kubectl(&["set", "image", &object, &image]).await.map(drop)
            }
            World::Simulated(_) => {
                let path = "/spec/template/spec/containers/0/image";
                let change = json!([{"op": "replace", "path": path, "value": image}]);
                self.json_patch(Kind::Deployment, deployment, change).await
            }
        }
    }

    /// What the clock says that creation timestamps come from.
    pub fn now(&self) -> DateTime<Utc> {
        match &self.world {
            World::Real(_) => Utc::now(),
            World::Simulated(simulated) => simulated.now(),
        }
    }

    /// Lets no new pod find a node, or every one again.
    pub async fn set_schedulable(&self, on: bool) -> Result<()> {
        match &self.world {
            World::Real(_) => {
                let verb = if on { "uncordon" } else { "cordon" };
                self.kubectl(&[verb, "node"]).await.map(drop)
            }
            World::Simulated(simulated) => {
                simulated.set_schedulable(on);
                Ok(())
            }
        }
    }

    /// Lets so many ready pods with this `app` label crash; they do not come back.
    pub async fn crash_pods(&self, app: &str, count: usize) -> Result<()> {
        let crashed = match &self.world {
            World::Real(_) => {
                let labels = ListParams::default().labels(&format!("app={app}"));
                let pods = self.api(Kind::Pod).list(&labels).await?.items;
                let running = pods
                    .iter()
                    .filter(|pod| pod.metadata.deletion_timestamp.is_none());
                let chosen: Vec<_> = running.take(count).map(ResourceExt::name_any).collect();
                for name in &chosen {
                    let crash =
                        json!({"metadata": {"annotations": {"sim.bellwether.dev/crash-after": "1ms"}}});
                    self.merge(Kind::Pod, name, crash).await?;
                }
                chosen.len()
            }
            World::Simulated(simulated) => simulated.crash(app, count),
        };
        ensure!(crashed == count, "only {crashed} pods of {app} could crash");
        Ok(())
    }

    /// Lets nobody change an object, by an admission policy, or everybody again.
    pub async fn deny_changes(&self, kind: Kind, name: &str, on: bool) -> Result<()> {
        match &self.world {
            World::Real(_) => self.set_policy(kind, name, on).await,
            World::Simulated(simulated) => {
                simulated.deny(kind, name, on);
                Ok(())
            }
        }
    }

    async fn set_policy(&self, kind: Kind, name: &str, on: bool) -> Result<()> {
        let policy = format!("deny-{name}");
        if !on {
            for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
                self.kubectl(&["delete", kind, &policy]).await?;
            }
            return Ok(());
        }
        let (group, version) = ("admissionregistration.k8s.io/v1", kind.api_version());
        let (of, version) = version.split_once('/').unwrap_or(("", version.as_str()));
        let here = json!({"matchLabels": {"kubernetes.io/metadata.name": self.namespace}});
        let rule = json!({"apiGroups": [of], "apiVersions": [version], "operations": ["UPDATE"],
            "resources": [kind.plural()], "resourceNames": [name]});
        self.apply_to_cluster(&json!({"apiVersion": group, "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": policy}, "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"namespaceSelector": here, "resourceRules": [rule]},
                "validations": [{"expression": "false", "message": "nobody may change it", "reason": "Forbidden"}],
            }}))
        .await?;
        self.apply_to_cluster(
            &json!({"apiVersion": group, "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": policy}, "spec": {"policyName": policy, "validationActions": ["Deny"]}}),
        )
        .await?;
        // It takes effect a moment after it was applied.
        let (api, try_it) = (self.api(kind), PatchParams::default());
        let change = Patch::Merge(json!({"metadata": {"annotations": {"example.com/tried": "yes"}}}));
        wait::until("the policy is in force", Duration::from_secs(30), async || {
            let refused = api.patch(name, &try_it.clone().dry_run(), &change).await.is_err();
            ensure!(refused, "it may still be changed");
            Ok(())
        })
        .await
    }

    /// What the controller wrote since then, by the name of the kind in paths; its own status counts as `canaries`.
    pub async fn writes_since(&self, from: Instant) -> Result<BTreeMap<String, usize>> {
        let real = match &self.world {
            World::Real(real) => real,
            World::Simulated(simulated) => return Ok(simulated.writes(from)),
        };
        let now = self.now();
        let counted = real
            .cluster
            .audit
            .count(&self.namespace, now - TimeDelta::from_std(from.elapsed())?, now)
            .await?;
        let mut writes = BTreeMap::new();
        for (request, times) in counted.writes {
            let resource = request.split_once(' ').map_or("", |(_, resource)| resource);
            let plural = resource.split('/').next().unwrap_or_default();
            *writes.entry(plural.to_owned()).or_default() += times;
        }
        Ok(writes)
    }

    /// Stops Prometheus, or starts it again with what it had.
    pub async fn set_metrics(&self, on: bool) -> Result<()> {
        match &self.world {
            World::Real(real) if on => real.cluster.prometheus.start().await,
            World::Real(real) => real.cluster.prometheus.process.kill().await,
            World::Simulated(simulated) => {
                simulated.set_metrics(on);
                Ok(())
            }
        }
    }

    /// Stops the control plane of the mesh, or starts it again: without it proxies hear of no change.
    pub async fn set_mesh(&self, on: bool) -> Result<()> {
        match &self.world {
            World::Real(real) if on => real.cluster.mesh.start_control_plane(&real.cluster.http).await,
            World::Real(real) => real.cluster.mesh.istiod.kill().await,
            World::Simulated(simulated) => {
                simulated.set_mesh(on);
                Ok(())
            }
        }
    }

    /// Kills the API server and starts it again on the same store.
    pub async fn restart_api_server(&self) -> Result<()> {
        match &self.world {
            World::Real(real) => real.cluster.restart_api_server().await,
            World::Simulated(simulated) => {
                simulated.restart_api_server().await;
                Ok(())
            }
        }
    }

    /// Deletes the kinds of Istio that the controller uses, with their objects, or installs them again.
    pub async fn set_istio_kinds(&self, on: bool) -> Result<()> {
        match &self.world {
            World::Real(real) if on => real.cluster.install_istio_kinds().await,
            World::Real(_) => {
                let kinds = [
                    "virtualservices.networking.istio.io",
                    "destinationrules.networking.istio.io",
                ];
                let verb = ["delete", "customresourcedefinition", "--timeout=60s"];
                self.kubectl(&[&verb[..], &kinds].concat()).await.map(drop)
            }
            World::Simulated(simulated) => {
                simulated.set_istio_kinds(on);
                Ok(())
            }
        }
    }

    /// Deletes the Canary kind itself, and returns when its last object is gone; or installs it again.
    pub async fn set_canary_kind(&self, on: bool) -> Result<()> {
        match &self.world {
            World::Real(real) if on => real.cluster.apply_kinds().await,
            World::Real(_) => {
                let crd = "customresourcedefinition/canaries.bellwether.dev";
                self.kubectl(&["delete", crd, "--timeout=60s"]).await.map(drop)
            }
            World::Simulated(simulated) => {
                if !on {
                    let canaries = self.api(Kind::Canary);
                    for canary in canaries.list(&ListParams::default()).await?.items {
                        self.delete(Kind::Canary, &canary.name_any()).await?;
                        let within = Duration::from_secs(60);
                        self.wait_gone(Kind::Canary, &canary.name_any(), within).await?;
                    }
                }
                simulated.set_canary_kind(on);
                Ok(())
            }
        }
    }

    /// The real cluster, shared with the other stories; for stories that only it can tell.
    pub fn cluster(&self) -> Result<&Arc<Cluster>> {
        Ok(&self.real()?.cluster)
    }

    /// The process of the controller; for stories that only the real cluster can tell.
    pub fn controller(&self) -> Result<&Process> {
        Ok(&self.real()?.controller)
    }

    fn real(&self) -> Result<&Real> {
        match &self.world {
            World::Real(real) => Ok(real),
            World::Simulated(_) => bail!("the simulated cluster has no processes"),
        }
    }

    /// Runs kubectl in the namespace; for stories that only the real cluster can tell.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.cluster()?
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

    /// Waits until exactly so many pods with this `app` label are there, all of them ready.
    pub async fn wait_pods(&self, app: &str, count: usize, within: Duration) -> Result<()> {
        match &self.world {
            World::Real(_) => objects::wait_pods(&self.client, &self.namespace, app, count, within)
                .await
                .map(drop),
            World::Simulated(simulated) => {
                let what = format!("{count} ready pods of {app}");
                wait::until(&what, within, async || {
                    let (all, ready) = simulated.pods(app);
                    ensure!(all == count && ready == count, "{ready} of {all} are ready");
                    Ok(())
                })
                .await
            }
        }
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
        match &self.world {
            World::Real(real) => real.print_evidence(self).await,
            World::Simulated(simulated) => simulated.print_evidence(),
        }
    }

    /// What the controller logged so far; in the simulated cluster the log is that of the whole run.
    pub fn log(&self) -> String {
        match &self.world {
            World::Real(real) => std::fs::read_to_string(real.controller.log()).unwrap_or_default(),
            World::Simulated(_) => String::new(),
        }
    }

    /// Ends the controller and removes the namespace, without waiting for its last object.
    pub async fn clear(&self) -> Result<()> {
        match &self.world {
            World::Real(real) => real.clear(self).await,
            World::Simulated(_) => Ok(()),
        }
    }
}
