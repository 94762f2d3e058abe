//! Events on their way to HTTP sinks: the real controller on the simulated cluster, real requests to a real server, read by
//! a reader that is not ours. Here is how.
//!
//! Time is virtual. It stands still while a request is under way, so that no timeout depends on the machine; only a sink
//! that is to time out lets it pass.

mod arrival; // at sinks that answer
mod outage; // sinks and processes that are gone
mod trouble; // sinks that are overloaded, refuse or hang

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use async_trait::async_trait;
use axum::{
    Router,
    http::{HeaderMap, StatusCode, header::RETRY_AFTER},
    response::IntoResponse,
    routing::post,
};
use bellwether::{
    outbox::{
        Sink,
        cloud_event::Message,
        config::{self, SinkConfig},
        http::{Http, Transport},
        verdict::Answer,
    },
    sim::{api_server::Kind, cluster::SimCluster},
};
use chrono::TimeDelta;
use cloudevents::{AttributesReader, Event};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::shared::{
    shop::{NS, await_phase, canary, key, prepare},
    site::run,
};

/// What a server says to an event.
#[derive(Clone, Copy)]
enum Says {
    Code(u16),
    Wait(u16, u32),
    Nothing,
}

const YES: Says = Says::Code(202);

type Mood = Box<dyn FnMut(&Event) -> Says + Send>;

/// A receiver of events on a thread of its own, in real time.
struct Receiver {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<(HeaderMap, Event)>>>,
    mood: Arc<Mutex<Mood>>,
    serving: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Receiver {
    fn start(mood: impl FnMut(&Event) -> Says + Send + 'static) -> Receiver {
        let mut receiver = Receiver {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            seen: Arc::default(),
            mood: Arc::new(Mutex::new(Box::new(mood))),
            serving: None,
        };
        receiver.serve();
        receiver
    }

    /// Serves, at the address that it had before.
    fn serve(&mut self) {
        let listener = std::net::TcpListener::bind(self.address).unwrap();
        listener.set_nonblocking(true).unwrap();
        self.address = listener.local_addr().unwrap();
        let (seen, mood) = (self.seen.clone(), self.mood.clone());
        let take = move |headers: HeaderMap, event: Event| async move {
            let says = mood.lock().unwrap()(&event);
            match says {
                Says::Code(code) => {
                    if code < 300 {
                        seen.lock().unwrap().push((headers, event));
                    }
                    StatusCode::from_u16(code).unwrap().into_response()
                }
                Says::Wait(code, seconds) => {
                    let pause = [(RETRY_AFTER, seconds.to_string())];
                    (StatusCode::from_u16(code).unwrap(), pause).into_response()
                }
                Says::Nothing => std::future::pending().await,
            }
        };
        let app = Router::new().route("/in", post(take));
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    _ = stopped => {}
                    served = async { axum::serve(listener, app).await } => served.unwrap(),
                }
            });
        });
        self.serving = Some((stop, thread));
    }

    /// From when this returns, nobody listens.
    fn die(&mut self) {
        if let Some((stop, thread)) = self.serving.take() {
            stop.send(()).unwrap();
            thread.join().unwrap();
        }
    }

    fn events(&self) -> Vec<Event> {
        let seen = self.seen.lock().unwrap();
        seen.iter().map(|(_, event)| event.clone()).collect()
    }

    fn reasons(&self) -> Vec<String> {
        self.events().iter().map(reason).collect()
    }

    fn config(&self, name: &str, more: &str) -> SinkConfig {
        let text = format!("[{{name: {name}, url: 'http://{}/in'{more}}}]", self.address);
        config::parse(&text).unwrap().remove(0)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.die();
    }
}

/// Time stands still while a request is under way.
struct Patient(Http);

#[async_trait]
impl Transport for Patient {
    async fn post(&self, message: Message) -> Answer {
        let (done, waiting) = std::sync::mpsc::channel::<()>();
        // While a blocking task runs, the paused clock of the runtime does not advance.
        let holding = tokio::task::spawn_blocking(move || waiting.recv().is_ok());
        let answer = self.0.post(message).await;
        drop(done);
        holding.await.unwrap();
        answer
    }
}

fn patient(config: &SinkConfig) -> Sink {
    Sink::over(config, None, Box::new(Patient(Http::new(config).unwrap())))
}

async fn under_canary(seed: u64, sinks: impl Fn() -> Vec<Sink> + Send + Sync + 'static) -> SimCluster {
    let mut cluster = prepare(seed).await;
    cluster.sinks = Some(Box::new(sinks));
    cluster.start_controller();
    cluster.apply(NS, canary()).unwrap();
    await_phase(&cluster, "Initialized", 120).await;
    cluster
}

/// Waits until no fact is left in the status.
async fn await_told(cluster: &SimCluster, seconds: i64) {
    let told = |canary: &Value| canary["status"]["outbox"]["pending"].is_null();
    let met = cluster
        .wait(&key(Kind::CANARY), TimeDelta::seconds(seconds), told)
        .await;
    let status = cluster.get(&key(Kind::CANARY)).map(|c| c["status"].clone());
    assert!(met, "facts wait: {status:#?}");
}

async fn await_weight(cluster: &SimCluster, weight: i64) {
    let met = |canary: &Value| canary["status"]["canaryWeight"] == weight;
    assert!(
        cluster
            .wait(&key(Kind::CANARY), TimeDelta::seconds(120), met)
            .await
    );
}

fn data(event: &Event) -> Value {
    match event.data().unwrap() {
        cloudevents::Data::Json(value) => value.clone(),
        cloudevents::Data::Binary(bytes) => serde_json::from_slice(bytes).unwrap(),
        cloudevents::Data::String(text) => serde_json::from_str(text).unwrap(),
    }
}

fn facts(event: &Event) -> Value {
    let data = data(event);
    let places = [&data["customData"], &data["subject"]["content"], &data];
    let facts = places.into_iter().find(|facts| facts["reason"].is_string());
    facts.unwrap().clone()
}

fn reason(event: &Event) -> String {
    facts(event)["reason"].as_str().unwrap().to_owned()
}

fn seq(event: &Event) -> i64 {
    let (uid, seq) = event.id().split_once('/').unwrap();
    assert_eq!(facts(event)["uid"], uid);
    assert_eq!(
        event.extension("sequence").unwrap().to_string(),
        format!("{seq:0>10}")
    );
    seq.parse().unwrap()
}

fn seqs(events: &[Event]) -> Vec<i64> {
    events.iter().map(seq).collect()
}

/// Number and reason of every Kubernetes Event of the Canary: what there was to tell.
fn published(cluster: &SimCluster) -> BTreeMap<i64, String> {
    cluster.server.read(|store| {
        let events = store.all().filter(|(key, _)| key.kind == Kind::EVENT);
        events
            .map(|(key, event)| {
                let seq = key.name.rsplit('.').next().unwrap().parse().unwrap();
                (seq, event["reason"].as_str().unwrap().to_owned())
            })
            .collect()
    })
}

fn assert_complete(events: &[Event], cluster: &SimCluster) {
    let told: Vec<(i64, String)> = events.iter().map(|event| (seq(event), reason(event))).collect();
    let published: Vec<(i64, String)> = published(cluster).into_iter().collect();
    assert_eq!(told, published);
}

fn metric(cluster: &SimCluster, series: &str) -> u64 {
    let text = cluster.context_of(0).unwrap().metrics.text(true).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("bellwether_{series} ")));
    line.map_or(0, |value| value.parse().unwrap())
}
