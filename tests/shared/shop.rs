//! A shop on the simulated cluster, under its Canary.

use bellwether::sim::{
    api_server::{Key, Kind},
    cluster::SimCluster,
};
use chrono::TimeDelta;
use serde_json::{Value, json};

pub const NS: &str = "shop";

fn deployment(image: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"}, "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "shop"}},
        "template": {
            "metadata": {"labels": {"app": "shop"}},
            "spec": {"containers": [{
                "name": "app", "image": image, "ports": [{"name": "http", "containerPort": 8080}],
            }]},
        },
    }})
}

fn service() -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop"}, "spec": {
        "selector": {"app": "shop"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
    }})
}

pub fn route() -> Value {
    json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "shop"}, "spec": {
        "hosts": ["shop.example.com"], "gateways": ["gateway"],
        "http": [{"name": "main", "route": [{"destination": {"host": "shop"}}]}],
    }})
}

pub fn canary() -> Value {
    json!({"apiVersion": "bellwether.dev/v1beta1", "kind": "Canary", "metadata": {"name": "shop"}, "spec": {
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
        "progressDeadlineSeconds": 60,
        "service": {"port": 80, "targetPort": "http"},
        "analysis": {
            "interval": "10s", "threshold": 2, "stepWeights": [10, 30, 50],
            "metrics": [
                {"name": "request-success-rate", "interval": "10s", "thresholdRange": {"min": 99}},
                {"name": "request-duration", "interval": "10s", "thresholdRange": {"max": 500}},
            ],
        },
    }})
}

pub fn key(kind: Kind) -> Key {
    Key::new(kind, NS, "shop")
}

pub fn run<T>(story: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(story)
}

pub async fn under_canary(seed: u64) -> SimCluster {
    let mut cluster = prepare(seed).await;
    cluster.start_controller();
    cluster.apply(NS, canary()).unwrap();
    await_phase(&cluster, "Initialized", 120).await;
    cluster
}

/// A cluster with a workload in traffic, and no controller yet.
pub async fn prepare(seed: u64) -> SimCluster {
    let cluster = SimCluster::start(seed, TimeDelta::seconds(2));
    for object in [deployment("shop:good-1"), service(), route()] {
        cluster.apply(NS, object).unwrap();
    }
    cluster.pass(TimeDelta::seconds(2)).await;
    let now = cluster.now();
    cluster.world().traffic.call(NS, "shop", 100.0, now);
    cluster
}

pub async fn await_phase(cluster: &SimCluster, phase: &str, seconds: i64) {
    let met = cluster
        .wait(&key(Kind::CANARY), TimeDelta::seconds(seconds), |c| {
            c["status"]["phase"] == phase
        })
        .await;
    let status = cluster.get(&key(Kind::CANARY)).map(|c| c["status"].clone());
    assert!(met, "not {phase} within {seconds} s: {status:#?}");
}
