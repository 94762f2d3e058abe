//! The simulated pods: processes of nobody, but with addresses that really answer.

mod behaviour;
mod metrics;
mod serve;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use futures::StreamExt;
use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::behaviour::{Behaviour, Spread};
use self::metrics::Registry;
use self::serve::Server;

/// Where Prometheus finds what the pods count.
pub const METRICS_ADDRESS: &str = "10.250.0.1:15090";

/// The port of a container that names none.
const DEFAULT_PORT: u16 = 8080;

/// Runs a server for every pod of the cluster, until it is dropped.
pub struct PodServer {
    _tasks: JoinSet<()>,
}

impl PodServer {
    /// Starts to watch for pods, and serves what they count.
    pub async fn start(client: Client) -> Result<Self> {
        let registry = Registry::default();
        let listener = TcpListener::bind(METRICS_ADDRESS)
            .await
            .with_context(|| format!("cannot listen on {METRICS_ADDRESS}"))?;
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_metrics(listener, registry.clone()));
        tasks.spawn(follow_pods(client, registry));
        Ok(Self { _tasks: tasks })
    }
}

/// A pod that has an address: its task, and a way to tell it how to behave.
struct Running {
    behaviour: watch::Sender<Behaviour>,
    _task: JoinSet<()>,
}

/// Starts a server for every pod with an address, and ends it when the pod is gone.
async fn follow_pods(client: Client, registry: Registry) {
    let mut running: HashMap<String, Running> = HashMap::new();
    let mut listed: Vec<String> = Vec::new();
    let mut events =
        pin!(watcher::watcher(Api::<Pod>::all(client.clone()), watcher::Config::default()).default_backoff());
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => listed.clear(),
            Ok(watcher::Event::InitApply(pod)) => {
                listed.extend(pod.uid());
                update(&mut running, &client, &registry, pod);
            }
            Ok(watcher::Event::InitDone) => running.retain(|uid, _| listed.contains(uid)),
            Ok(watcher::Event::Apply(pod)) => update(&mut running, &client, &registry, pod),
            Ok(watcher::Event::Delete(pod)) => {
                if let Some(uid) = pod.uid() {
                    running.remove(&uid);
                }
            }
            // The API server is away; the pods stay as they are until it is back.
            Err(_) => {}
        }
    }
}

fn update(running: &mut HashMap<String, Running>, client: &Client, registry: &Registry, pod: Pod) {
    let Some(uid) = pod.uid() else { return };
    let behaviour = match Behaviour::of(&pod) {
        Ok(behaviour) => behaviour,
        Err(error) => {
            eprintln!("pod {}: {error:#}", pod.name_any());
            return;
        }
    };
    if let Some(known) = running.get(&uid) {
        known
            .behaviour
            .send_if_modified(|now| std::mem::replace(now, behaviour.clone()) != behaviour);
    } else if let Some(address) = address(&pod) {
        running.insert(uid, run(client, registry, pod, address, behaviour));
    }
}

fn run(client: &Client, registry: &Registry, pod: Pod, address: SocketAddr, behaviour: Behaviour) -> Running {
    let (sender, receiver) = watch::channel(behaviour);
    let name = pod.name_any();
    let workload = workload(&pod);
    let server = Server {
        address,
        api: Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default()),
        behaviour: receiver,
        meter: registry.meter(labels(&pod, &workload)),
        spread: Mutex::new(Spread::new(&name)),
        workload,
        pod,
    };
    let mut task = JoinSet::new();
    task.spawn(async move {
        if let Err(error) = Arc::new(server).run().await {
            eprintln!("pod {name}: {error:#}");
        }
    });
    Running {
        behaviour: sender,
        _task: task,
    }
}

/// Where a pod listens, once it has an address.
fn address(pod: &Pod) -> Option<SocketAddr> {
    let ip: IpAddr = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
    let container = pod.spec.as_ref()?.containers.first()?;
    let port = container
        .ports
        .iter()
        .flatten()
        .next()
        .and_then(|port| u16::try_from(port.container_port).ok());
    Some(SocketAddr::new(ip, port.unwrap_or(DEFAULT_PORT)))
}

/// The Deployment or other workload that a pod belongs to, as Istio names it.
fn workload(pod: &Pod) -> String {
    let owner = pod
        .owner_references()
        .first()
        .map_or_else(|| pod.name_any(), |owner| owner.name.clone());
    match pod
        .labels()
        .get("pod-template-hash")
        .and_then(|hash| owner.strip_suffix(&format!("-{hash}")))
    {
        Some(deployment) => deployment.to_owned(),
        None => owner,
    }
}

/// The labels that the sidecar of a pod would set, as far as they do not depend on the answer.
fn labels(pod: &Pod, workload: &str) -> String {
    let namespace = pod.namespace().unwrap_or_default();
    let app = pod.labels().get("app").map_or(workload, String::as_str);
    format!(
        "reporter=\"destination\",source_workload=\"istio-ingressgateway\",\
         source_workload_namespace=\"istio-system\",destination_workload=\"{workload}\",\
         destination_workload_namespace=\"{namespace}\",destination_app=\"{app}\",\
         destination_service=\"{workload}.{namespace}.svc.cluster.local\",\
         destination_service_name=\"{workload}\",destination_service_namespace=\"{namespace}\",\
         request_protocol=\"http\",namespace=\"{namespace}\",pod=\"{}\"",
        pod.name_any()
    )
}

async fn serve_metrics(listener: TcpListener, registry: Registry) {
    let mut connections = JoinSet::new();
    while let Ok((connection, _)) = listener.accept().await {
        let registry = registry.clone();
        connections.spawn(async move {
            let answer = service_fn(|_| {
                let body = Full::<Bytes>::from(registry.render());
                async { Ok::<_, Infallible>(Response::new(body)) }
            });
            // Prometheus may go away in the middle, when a story kills it.
            _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(connection), answer)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}
