//! The simulated pods: processes of nobody, but with addresses that really answer.

mod behaviour;
mod metrics;
mod namespaces;
mod serve;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use futures::StreamExt;
use futures::future::Either;
use futures::stream::select;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::behaviour::{Behaviour, Spread};
use self::metrics::Registry;
use self::namespaces::Namespaces;
pub use self::namespaces::{BARS, RARELY_SCRAPED};
use self::serve::Server;

/// Where Prometheus finds what the pods count.
pub const METRICS_ADDRESS: &str = "10.250.0.1:15090";
/// The path of those that are scraped often.
pub const METRICS_PATH: &str = "/metrics";
/// The path of those that are scraped rarely.
pub const RARE_METRICS_PATH: &str = "/metrics/rare";

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
        let namespaces = Namespaces::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_metrics(listener, registry.clone(), namespaces.clone()));
        tasks.spawn(follow_pods(client, registry, namespaces));
        Ok(Self { _tasks: tasks })
    }
}

/// A pod that has an address: its task, and a way to tell it how to behave.
struct Running {
    /// As it is now.
    pod: Pod,
    behaviour: watch::Sender<Behaviour>,
    _task: JoinSet<()>,
}

/// The pods that there are, and what is known of their namespaces.
struct Pods {
    client: Client,
    registry: Registry,
    namespaces: Namespaces,
    running: HashMap<String, Running>,
}

/// Starts a server for every pod with an address, and ends it when the pod is gone.
async fn follow_pods(client: Client, registry: Registry, known: Namespaces) {
    let watching = watcher::Config::default;
    let pods = watcher::watcher(Api::<Pod>::all(client.clone()), watching()).default_backoff();
    let namespaces = watcher::watcher(Api::<Namespace>::all(client.clone()), watching()).default_backoff();
    let mut events = pin!(select(pods.map(Either::Left), namespaces.map(Either::Right)));
    let mut listed: Vec<String> = Vec::new();
    let mut all = Pods {
        client,
        registry,
        namespaces: known,
        running: HashMap::new(),
    };
    while let Some(event) = events.next().await {
        match event {
            Either::Left(Ok(watcher::Event::Init)) => listed.clear(),
            Either::Left(Ok(watcher::Event::InitApply(pod))) => {
                listed.extend(pod.uid());
                all.update(pod);
            }
            Either::Left(Ok(watcher::Event::InitDone)) => all.running.retain(|uid, _| listed.contains(uid)),
            Either::Left(Ok(watcher::Event::Apply(pod))) => all.update(pod),
            Either::Left(Ok(watcher::Event::Delete(pod))) => {
                if let Some(uid) = pod.uid() {
                    all.running.remove(&uid);
                }
            }
            Either::Right(Ok(watcher::Event::InitApply(namespace) | watcher::Event::Apply(namespace))) => {
                all.namespaces.set(&namespace);
                all.update_all_in(&namespace.name_any());
            }
            // The API server is away; everything stays as it is until it is back.
            Either::Left(Err(_)) | Either::Right(_) => {}
        }
    }
}

impl Pods {
    fn update(&mut self, pod: Pod) {
        let Some(uid) = pod.uid() else { return };
        let barrier = self
            .namespaces
            .barrier(&pod.namespace().unwrap_or_default(), &workload(&pod));
        let behaviour = match Behaviour::of(&pod) {
            Ok(behaviour) => behaviour.behind(barrier),
            Err(error) => {
                eprintln!("pod {}: {error:#}", pod.name_any());
                return;
            }
        };
        if let Some(known) = self.running.get_mut(&uid) {
            known.pod = pod;
            known
                .behaviour
                .send_if_modified(|now| std::mem::replace(now, behaviour.clone()) != behaviour);
        } else if let Some(addresses) = addresses(&pod) {
            let running = run(&self.client, &self.registry, pod, addresses, behaviour);
            self.running.insert(uid, running);
        }
    }

    /// The namespace says something else now.
    fn update_all_in(&mut self, namespace: &str) {
        let pods = self.running.values().map(|running| &running.pod);
        let pods: Vec<Pod> = pods
            .filter(|pod| pod.namespace().as_deref() == Some(namespace))
            .cloned()
            .collect();
        for pod in pods {
            self.update(pod);
        }
    }
}

fn run(
    client: &Client,
    registry: &Registry,
    pod: Pod,
    addresses: Vec<SocketAddr>,
    behaviour: Behaviour,
) -> Running {
    let (sender, receiver) = watch::channel(behaviour);
    let name = pod.name_any();
    let workload = workload(&pod);
    let namespace = pod.namespace().unwrap_or_default();
    let server = Server {
        addresses,
        api: Api::namespaced(client.clone(), &namespace),
        behaviour: receiver,
        meter: registry.meter(&namespace, labels(&pod, &workload)),
        spread: Mutex::new(Spread::new(&name)),
        workload,
        pod: pod.clone(),
    };
    let mut task = JoinSet::new();
    task.spawn(async move {
        if let Err(error) = Arc::new(server).run().await {
            eprintln!("pod {name}: {error:#}");
        }
    });
    Running {
        pod,
        behaviour: sender,
        _task: task,
    }
}

/// Where a pod listens, once it has an address: on every port of its container.
fn addresses(pod: &Pod) -> Option<Vec<SocketAddr>> {
    let ip: IpAddr = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
    let container = pod.spec.as_ref()?.containers.first()?;
    let ports = container.ports.iter().flatten();
    let mut ports: Vec<u16> = ports
        .filter_map(|port| u16::try_from(port.container_port).ok())
        .collect();
    if ports.is_empty() {
        ports.push(DEFAULT_PORT);
    }
    Some(ports.into_iter().map(|port| SocketAddr::new(ip, port)).collect())
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
         namespace=\"{namespace}\",pod=\"{}\"",
        pod.name_any()
    )
}

async fn serve_metrics(listener: TcpListener, registry: Registry, namespaces: Namespaces) {
    let mut connections = JoinSet::new();
    while let Ok((connection, _)) = listener.accept().await {
        let (registry, namespaces) = (registry.clone(), namespaces.clone());
        connections.spawn(async move {
            let answer = service_fn(|request: Request<Incoming>| {
                let rare = request.uri().path() == RARE_METRICS_PATH;
                let asked = |namespace: &str| namespaces.rarely_scraped(namespace) == rare;
                let body = Full::<Bytes>::from(registry.render(asked));
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
