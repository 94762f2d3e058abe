//! What Kubernetes' own controllers and kubelets do, as far as a rollout notices: Deployments get ReplicaSets and pods,
//! Services get EndpointSlices.

pub mod autoscaler;
pub mod behaviour;
pub mod collector;
pub mod deployments;
pub mod endpoints;
pub mod pods;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::api_server::{
    Key, Kind,
    write::{By, Writer},
};
use behaviour::{Behaviour, Behaviours};
use pods::Pod;

/// All pods.
#[derive(Default)]
pub struct Workloads {
    /// By Deployment.
    pub pods: BTreeMap<Key, Vec<Pod>>,
    /// Pods of which only what they counted is left: a range of Prometheus shows the series of who has ended, too.
    pub gone: Vec<Pod>,
    /// Behaviours of images that tags do not describe.
    pub behaviours: Behaviours,
    /// Replicas that the load asks for, by HorizontalPodAutoscaler; without a number it does nothing.
    pub wanted: BTreeMap<Key, i64>,
    /// Whether new pods find a node.
    pub schedulable: bool,
    addresses: u32,
    /// Hashes of templates, with the UID and generation of the Deployment that has it.
    hashes: BTreeMap<Key, ((Value, Value), String)>,
}

impl Workloads {
    /// No pods yet.
    #[must_use]
    pub fn new() -> Workloads {
        Workloads {
            schedulable: true,
            ..Workloads::default()
        }
    }

    /// Every pod.
    pub fn all(&self) -> impl Iterator<Item = &Pod> {
        self.pods.values().flatten()
    }

    /// The behaviour of an image.
    #[must_use]
    pub fn behaviour(&self, image: &str) -> Behaviour {
        self.behaviours
            .get(image)
            .cloned()
            .unwrap_or_else(|| Behaviour::of_image(image))
    }

    /// Does what is to be done now; returns when something changes by itself.
    pub fn step(&mut self, writer: &mut Writer, by: By<'_>) -> Option<DateTime<Utc>> {
        autoscaler::step(self, writer, by);
        let deployments: Vec<_> = writer
            .store
            .list(Kind::DEPLOYMENT, None)
            .map(|(key, object)| (key.clone(), object.clone()))
            .collect();
        let orphans: Vec<Key> = self
            .pods
            .keys()
            .filter(|key| writer.store.get(key).is_none())
            .cloned()
            .collect();
        for key in orphans {
            self.end_all(&key, by.now);
        }
        for pods in self.pods.values_mut() {
            self.gone.extend(pods.extract_if(.., |pod| pod.gone(by.now)));
        }
        self.gone.retain(|pod| pod.is_counted(by.now));
        self.pods.retain(|_, pods| !pods.is_empty());
        if self.schedulable {
            for pod in self.pods.values_mut().flatten().filter(|pod| pod.pending) {
                (pod.pending, pod.started) = (false, by.now);
            }
        }
        for (key, object) in &deployments {
            deployments::step(self, writer, by, key, object);
        }
        endpoints::step(self, writer, by);
        collector::step(writer, by);
        self.all().filter_map(|pod| pod.next_change(by.now)).min()
    }

    fn end_all(&mut self, key: &Key, now: DateTime<Utc>) {
        for pod in self.pods.get_mut(key).into_iter().flatten() {
            pod.ending.get_or_insert(now);
        }
    }

    fn address(&mut self) -> String {
        self.addresses += 1;
        format!("10.200.{}.{}", self.addresses / 250, self.addresses % 250 + 1)
    }
}
