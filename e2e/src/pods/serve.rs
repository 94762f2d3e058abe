//! One pod: listens on its own address, becomes ready, answers, crashes.
//!
//! The port is open exactly while the pod is ready, or terminates after it was: a pod that is gone refuses connections as
//! a real one does, so that a request sent to it fails.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::FutureExt;
use futures::future::select_all;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::behaviour::{Behaviour, Spread, time_around};
use super::metrics::{Answer, Meter};

/// What a pod has to answer a request.
pub struct Server {
    /// Where it listens, on each of its ports.
    pub addresses: Vec<SocketAddr>,
    /// Its pod as it was when it started.
    pub pod: Pod,
    /// The workload it belongs to.
    pub workload: String,
    /// To say that it is ready.
    pub api: Api<Pod>,
    /// How it behaves at present.
    pub behaviour: watch::Receiver<Behaviour>,
    /// What it counts.
    pub meter: Arc<Meter>,
    /// Decides about errors and latencies.
    pub spread: Mutex<Spread>,
}

impl Server {
    /// Lives through the pod's life; ends when it crashes, and is dropped when the pod is gone.
    pub async fn run(self: Arc<Self>) -> Result<()> {
        let mut behaviour = self.behaviour.clone();
        let started = Instant::now();
        loop {
            let ready_after = behaviour.borrow_and_update().ready_after;
            if elapsed(started, ready_after) {
                break;
            }
            wait_for(started, ready_after, behaviour.clone()).await;
        }
        let mut listeners = Some(self.listen().await?);
        self.say_ready(true).await?;
        let ready = Instant::now();
        loop {
            let now = behaviour.borrow_and_update().clone();
            if elapsed(ready, now.crash_after) {
                drop(listeners);
                return self.say_ready(false).await;
            }
            let closed = now.ports_closed || elapsed(ready, now.close_ports_after);
            let next = [now.crash_after, now.close_ports_after.filter(|_| !closed)]
                .into_iter()
                .flatten()
                .min();
            let turn = wait_for(ready, next, behaviour.clone());
            if closed {
                listeners = None;
                turn.await;
            } else {
                let open = match listeners.take() {
                    Some(open) => open,
                    None => self.listen().await?,
                };
                listeners = Some(self.answer_until(open, behaviour.clone(), ready).await?);
            }
        }
    }

    /// Accepts until the ports have to close, or the pod crashes; connections end with it.
    async fn answer_until(
        self: &Arc<Self>,
        listeners: Vec<TcpListener>,
        mut behaviour: watch::Receiver<Behaviour>,
        ready: Instant,
    ) -> Result<Vec<TcpListener>> {
        let mut connections = JoinSet::new();
        loop {
            let now = behaviour.borrow_and_update().clone();
            let end = [now.crash_after, now.close_ports_after]
                .into_iter()
                .flatten()
                .min();
            if now.ports_closed || elapsed(ready, end) {
                return Ok(listeners);
            }
            let accepting = select_all(listeners.iter().map(|listener| listener.accept().boxed()));
            tokio::select! {
                () = wait_for(ready, end, behaviour.clone()) => {}
                (accepted, ..) = accepting => {
                    let (connection, _) = accepted.context("cannot accept")?;
                    connections.spawn(Arc::clone(self).converse(connection));
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }

    /// Answers all requests of one connection.
    async fn converse(self: Arc<Self>, connection: TcpStream) {
        _ = connection.set_nodelay(true);
        let answer = service_fn(|request| self.answer(request));
        // A peer that goes away is none of the pod's business.
        _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(connection), answer)
            .await;
    }

    async fn answer(&self, _request: Request<Incoming>) -> Result<Response<http_body_util::Full<Bytes>>> {
        if self.behaviour.borrow().denies {
            // The proxy's answer, which names no workload.
            self.meter
                .record(Answer::http(StatusCode::FORBIDDEN), Duration::ZERO);
            let denied = http_body_util::Full::from("RBAC: access denied");
            return Ok(Response::builder().status(StatusCode::FORBIDDEN).body(denied)?);
        }
        let (luck, position) = {
            let mut spread = self.spread.lock().unwrap_or_else(PoisonError::into_inner);
            (spread.draw(), spread.draw())
        };
        let (answer, latency) = {
            let behaviour = self.behaviour.borrow();
            let failed = luck < behaviour.error_rate;
            (
                Answer::of(failed, behaviour.grpc),
                time_around(behaviour.latency, position),
            )
        };
        let arrived = Instant::now();
        sleep(latency).await;
        self.meter.record(answer, arrived.elapsed());
        let pod = self.pod.name_any();
        let image = image(&self.pod);
        let mut response = Response::builder()
            .status(answer.code)
            .header("x-pod", &pod)
            .header("x-workload", &self.workload);
        if let Some(status) = answer.grpc {
            // An answer of trailers alone has them in its head.
            response = response
                .header("content-type", "application/grpc")
                .header("grpc-status", status);
        }
        Ok(response.body(http_body_util::Full::from(format!("{pod} {image}\n")))?)
    }

    async fn listen(&self) -> Result<Vec<TcpListener>> {
        let mut listeners = Vec::new();
        for address in &self.addresses {
            let bound = TcpListener::bind(address).await;
            listeners.push(bound.with_context(|| format!("cannot listen on {address}"))?);
        }
        Ok(listeners)
    }

    /// Reports what a readiness probe would have found.
    async fn say_ready(&self, ready: bool) -> Result<()> {
        let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let status = if ready { "True" } else { "False" };
        let reason = (!ready).then_some("ContainersNotReady");
        let conditions = ["Ready", "ContainersReady"]
            .map(|kind| json!({"type": kind, "status": status, "reason": reason, "lastTransitionTime": now}));
        let state = match ready {
            true => json!({"running": {"startedAt": now}}),
            false => json!({"waiting": {"reason": "CrashLoopBackOff"}}),
        };
        let containers: Vec<_> = self
            .pod
            .spec
            .iter()
            .flat_map(|spec| &spec.containers)
            .map(|container| {
                json!({
                    "name": container.name,
                    "image": container.image,
                    "imageID": container.image,
                    "ready": ready,
                    "started": ready,
                    "restartCount": u8::from(!ready),
                    "state": state,
                })
            })
            .collect();
        let patch = json!({"status": {"conditions": conditions, "containerStatuses": containers}});
        let name = self.pod.name_any();
        match self
            .api
            .patch_status(&name, &PatchParams::default(), &Patch::Strategic(patch))
            .await
        {
            Ok(_) => Ok(()),
            // Deleted in the meantime.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error).context("cannot report readiness"),
        }
    }
}

/// The image of the first container.
pub fn image(pod: &Pod) -> &str {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.containers.first()?.image.as_deref())
        .unwrap_or_default()
}

fn elapsed(since: Instant, after: Option<Duration>) -> bool {
    after.is_some_and(|after| since.elapsed() >= after)
}

/// Until a time is reached, if there is one, or the behaviour changes.
async fn wait_for(since: Instant, after: Option<Duration>, mut behaviour: watch::Receiver<Behaviour>) {
    let changed = async {
        if behaviour.changed().await.is_err() {
            // The pod is gone, and this task is about to be ended.
            std::future::pending::<()>().await;
        }
    };
    match after {
        Some(after) => tokio::select! {
            () = sleep_until(since + after) => {}
            () = changed => {}
        },
        None => changed.await,
    }
}
