//! What a story has at hand: a namespace, a host name, a controller, traffic, and switches for what goes wrong.
//!
//! A stage stands in one of two worlds, the real cluster or the simulated one, and a story cannot tell which: what it
//! says and reads goes through a `kube::Client` in both, and what a client cannot do is a method here.

mod switches; // what goes wrong, and is put right again

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Scrapes;
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
    pub async fn set(cluster: Arc<Cluster>, name: &str, scrapes: Scrapes) -> Result<Self> {
        let client = cluster.client.clone();
        let real = Real::new(cluster, name, scrapes)?;
        let stage = Self::new(name, client, World::Real(Box::new(real)));
        Real::open(&stage, scrapes).await?;
        Ok(stage)
    }

    /// The same in a simulated cluster of its own; one seed is one run.
    pub fn simulated(name: &str, seed: u64, scrapes: Scrapes) -> Self {
        let world = Simulated::new(name, seed, scrapes);
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

    /// The same to `<route>.<host of this story>`, the host of another VirtualService.
    pub fn traffic_below(&self, route: &str, per_second: u32) -> Traffic {
        match &self.world {
            World::Real(_) => Traffic::through_gateway(&self.host_below(route), per_second),
            World::Simulated(simulated) => simulated.traffic(route, per_second),
        }
    }

    /// A host of this story beside the one that it has.
    pub fn host_below(&self, name: &str) -> String {
        format!("{name}.{}", self.host)
    }

    /// Applies an object that belongs to no namespace.
    pub async fn apply_to_cluster(&self, object: &Value) -> Result<DynamicObject> {
        objects::apply(&self.client, None, object).await
    }

    /// Applies an object to the namespace.
    pub async fn apply(&self, object: &Value) -> Result<DynamicObject> {
        objects::apply(&self.client, Some(&self.namespace), object).await
    }

    /// Applies an object to the namespace in somebody else's name.
    pub async fn apply_as(&self, manager: &str, object: &Value) -> Result<DynamicObject> {
        objects::apply_as(&self.client, manager, Some(&self.namespace), object).await
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
