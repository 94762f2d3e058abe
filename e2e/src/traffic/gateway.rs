//! Requests through the gateway of the real cluster.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Request, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::{Fate, Recorder, Sample};
use crate::cluster::GATEWAY_PORT;
use crate::namespace::NODE_ADDRESS;

/// A request without an answer by then has failed.
const PATIENCE: Duration = Duration::from_secs(5);

type Connections = Client<HttpConnector, Empty<Bytes>>;

/// A sender that goes on until it is stopped or dropped.
pub(super) struct Gateway {
    stop: oneshot::Sender<()>,
    task: JoinSet<()>,
}

impl Gateway {
    pub(super) fn send(host: &str, per_second: u32, recorder: &Arc<Recorder>) -> Self {
        let (stop, stopped) = oneshot::channel();
        let mut task = JoinSet::new();
        task.spawn(send_until(
            stopped,
            host.to_owned(),
            per_second,
            Arc::clone(recorder),
        ));
        Self { stop, task }
    }

    /// Returns when so many more requests have met their fate.
    pub(super) async fn requests(&self, recorder: &Recorder, more: usize) -> Result<()> {
        let mut done = recorder.done.subscribe();
        let target = *done.borrow_and_update() + more;
        done.wait_for(|count| *count >= target)
            .await
            .context("the traffic has stopped")?;
        Ok(())
    }

    /// Stops sending and waits for the answers that are still due.
    pub(super) async fn stop(mut self) {
        _ = self.stop.send(());
        while self.task.join_next().await.is_some() {}
    }
}

/// Sends on the beat of a clock until told to stop, and then waits for the answers that are due.
async fn send_until(
    mut stopped: oneshot::Receiver<()>,
    host: String,
    per_second: u32,
    recorder: Arc<Recorder>,
) {
    let connections: Connections = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
    let mut beat = interval(Duration::from_secs(1) / per_second.max(1));
    // After a stall the pace goes on; a burst would measure the stall again.
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            _ = beat.tick() => {}
        }
        under_way.spawn(send_one(connections.clone(), host.clone(), Arc::clone(&recorder)));
        while under_way.try_join_next().is_some() {}
    }
    under_way.join_all().await;
}

async fn send_one(connections: Connections, host: String, recorder: Arc<Recorder>) {
    let sent = Instant::now();
    let fate = match timeout(PATIENCE, exchange(&connections, &host)).await {
        Ok(Ok(fate)) => fate,
        Ok(Err(error)) => Fate::Lost(format!("{:#}", error.root_cause())),
        Err(_) => Fate::Lost("no answer in time".into()),
    };
    recorder.add(Sample {
        sent,
        took: sent.elapsed(),
        fate,
    });
}

async fn exchange(connections: &Connections, host: &str) -> Result<Fate> {
    let request = Request::get(format!("http://{NODE_ADDRESS}:{GATEWAY_PORT}/"))
        .header(header::HOST, host)
        .body(Empty::new())?;
    let response = connections.request(request).await?;
    let code = response.status().as_u16();
    let header = |name: &str| {
        let value = response.headers().get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let workload = header("x-workload");
    let grpc = header("grpc-status").and_then(|status| status.parse().ok());
    response.into_body().collect().await?;
    Ok(Fate::Answered { code, grpc, workload })
}
