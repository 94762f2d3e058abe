//! Events on their way to HTTP sinks: the real controller on the simulated cluster, real requests to a real server, read by
//! a reader that is not ours.
//!
//! Time is virtual. It stands still while a request is under way, so that no timeout depends on the machine; only a sink
//! that is to time out lets it pass.

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
use cdevents_sdk::CDEvent;
use chrono::TimeDelta;
use cloudevents::{AttributesReader, Event};
use serde_json::Value;
use tokio::{sync::oneshot, time::Instant};

use crate::sim::{NS, await_phase, canary, key, prepare};

fn run<T>(story: impl Future<Output = T>) -> T {
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(story)
}

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
                    let wish = [(RETRY_AFTER, seconds.to_string())];
                    (StatusCode::from_u16(code).unwrap(), wish).into_response()
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
    let text = cluster.context_of(0).unwrap().metrics.text().unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("bellwether_{series} ")));
    line.map_or(0, |value| value.parse().unwrap())
}

#[test]
fn promotion_arrives_in_order_in_both_modes() {
    run(async {
        let [structured, binary, plain] = [(); 3].map(|()| Receiver::start(|_| YES));
        let configs = [
            structured.config("structured", ""),
            binary.config("binary", ", mode: binary"),
            plain.config("plain", ", mode: binary, format: cloudevents"),
        ];
        let cluster = under_canary(1, move || configs.iter().map(patient).collect()).await;
        cluster.ship(NS, "shop", "shop:good-2").unwrap();
        await_phase(&cluster, "Progressing", 60).await;
        await_phase(&cluster, "Succeeded", 300).await;
        await_told(&cluster, 30).await;
        for (receiver, kind) in [
            (&structured, "application/cloudevents+json"),
            (&binary, "application/json"),
        ] {
            let events = receiver.events();
            assert_complete(&events, &cluster);
            assert!(
                receiver
                    .seen
                    .lock()
                    .unwrap()
                    .iter()
                    .all(|(headers, _)| headers["content-type"] == kind)
            );
            for event in &events {
                let read: CDEvent = serde_json::from_value(data(event)).unwrap();
                assert_eq!(
                    (read.id().as_str(), read.ty()),
                    (event.id(), event.ty()),
                    "{event}"
                );
            }
            let services: Vec<(&str, Value)> = events
                .iter()
                .filter(|event| event.ty().starts_with("dev.cdevents.service."))
                .map(|event| {
                    (
                        event.ty(),
                        data(event)["subject"]["content"]["artifactId"].clone(),
                    )
                })
                .collect();
            assert_eq!(
                services,
                [
                    (
                        "dev.cdevents.service.deployed.0.3.0",
                        "pkg:docker/shop@good-1".into()
                    ),
                    (
                        "dev.cdevents.service.upgraded.0.3.0",
                        "pkg:docker/shop@good-2".into()
                    ),
                ]
            );
            let weights: Vec<Value> = events
                .iter()
                .map(facts)
                .filter(|facts| facts["reason"] == "WeightAdvanced")
                .map(|facts| facts["weight"].clone())
                .collect();
            assert_eq!(weights, [10, 30, 50]);
        }
        assert_complete(&plain.events(), &cluster);
        let told = structured.events().len() as u64;
        assert_eq!(metric(&cluster, "sink_told_total{sink=\"binary\"}"), told);
        assert_eq!(
            metric(&cluster, "sink_told_total{sink=\"kubernetes-events\"}"),
            told
        );
    });
}

#[test]
fn rollback_names_what_serves_again() {
    run(async {
        let receiver = Receiver::start(|_| YES);
        let config = receiver.config("all", "");
        let cluster = under_canary(2, move || vec![patient(&config)]).await;
        cluster.ship(NS, "shop", "shop:errors60-1").unwrap();
        await_phase(&cluster, "Progressing", 60).await;
        await_phase(&cluster, "Failed", 600).await;
        await_told(&cluster, 30).await;
        let events = receiver.events();
        let back = events
            .iter()
            .find(|event| event.ty() == "dev.cdevents.service.rolledback.0.3.0");
        let back = data(back.unwrap());
        assert_eq!(back["subject"]["content"]["artifactId"], "pkg:docker/shop@good-1");
        assert_eq!(back["customData"]["reason"], "RolledBack");
        assert_complete(&events, &cluster);
    });
}

/// When each request began, on the virtual clock.
struct Timed(Patient, Arc<Mutex<Vec<Instant>>>);

#[async_trait]
impl Transport for Timed {
    async fn post(&self, message: Message) -> Answer {
        self.1.lock().unwrap().push(Instant::now());
        self.0.post(message).await
    }
}

#[test]
fn overloaded_sink_is_asked_again_when_it_wants_to() {
    run(async {
        let mut refusals = 0;
        let receiver = Receiver::start(move |_| {
            refusals += 1;
            match refusals {
                1 => Says::Wait(503, 7),
                2 => Says::Code(429),
                3 => Says::Code(500),
                _ => YES,
            }
        });
        let config = receiver.config("busy", "");
        let times = Arc::new(Mutex::new(Vec::new()));
        let noted = times.clone();
        let cluster = under_canary(3, move || {
            let transport = Timed(Patient(Http::new(&config).unwrap()), noted.clone());
            vec![Sink::over(&config, None, Box::new(transport))]
        })
        .await;
        await_told(&cluster, 60).await;
        assert_complete(&receiver.events(), &cluster);
        assert_eq!(receiver.reasons(), ["Initializing", "Initialized"]);
        let times = times.lock().unwrap();
        let pauses: Vec<f64> = times
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).as_secs_f64())
            .collect();
        assert!((7.2..=7.6).contains(&pauses[0]), "{pauses:?}");
        assert!((0.5..=1.1).contains(&pauses[1]), "{pauses:?}");
        assert!((1.0..=2.1).contains(&pauses[2]), "{pauses:?}");
        for reason in [503, 429, 500] {
            let series = format!("sink_failures_total{{sink=\"busy\",reason=\"{reason}\"}}");
            assert_eq!(metric(&cluster, &series), 1, "{series}");
        }
    });
}

#[test]
fn sink_that_was_down_for_a_day_is_told_everything() {
    run(async {
        let mut receiver = Receiver::start(|_| YES);
        let config = receiver.config("frail", "");
        let cluster = under_canary(4, move || vec![patient(&config)]).await;
        cluster.ship(NS, "shop", "shop:good-2").unwrap();
        await_weight(&cluster, 30).await;
        receiver.die();
        await_phase(&cluster, "Succeeded", 300).await;
        cluster.pass(TimeDelta::hours(24)).await;
        let before = receiver.events().len();
        assert!(before < published(&cluster).len());
        receiver.serve();
        await_told(&cluster, 120).await;
        assert_complete(&receiver.events(), &cluster);
    });
}

#[test]
fn process_that_dies_loses_no_event_and_repeats_them_unchanged() {
    run(async {
        // Every third event is taken, the others fail; so there is always something under way.
        let mut asked = 0;
        let receiver = Receiver::start(move |_| {
            asked += 1;
            if asked % 3 == 0 { YES } else { Says::Code(503) }
        });
        let (first, second) = (receiver.config("first", ""), receiver.config("second", ""));
        let mut cluster = under_canary(5, move || vec![patient(&first), patient(&second)]).await;
        cluster.ship(NS, "shop", "shop:good-2").unwrap();
        for millis in [300, 4_000, 7_100, 9_900, 10_050, 3_333, 9_000, 500, 500, 500] {
            cluster.pass(TimeDelta::milliseconds(millis)).await;
            cluster.start_controller();
        }
        await_phase(&cluster, "Succeeded", 300).await;
        await_told(&cluster, 600).await;
        let events = receiver.events();
        let mut once: BTreeMap<i64, Event> = BTreeMap::new();
        let mut order = Vec::new();
        for event in &events {
            match once.get(&seq(event)) {
                Some(known) => assert_eq!(known, event, "a repetition is the same"),
                None => {
                    once.insert(seq(event), event.clone());
                    order.push(event.clone());
                }
            }
        }
        assert!(
            events.len() > once.len() + 3,
            "both sinks and every process repeat"
        );
        assert_complete(&order, &cluster);
    });
}

#[test]
fn refused_event_stops_none_that_follows() {
    run(async {
        let receiver = Receiver::start(|event| {
            let facts = facts(event);
            match (facts["reason"].as_str(), facts["weight"].as_i64()) {
                (Some("WeightAdvanced"), Some(30)) => Says::Code(400),
                (Some("WeightAdvanced"), Some(50)) => Says::Code(302),
                _ => YES,
            }
        });
        let config = receiver.config("picky", "");
        let cluster = under_canary(6, move || vec![patient(&config)]).await;
        cluster.ship(NS, "shop", "shop:good-2").unwrap();
        await_phase(&cluster, "Progressing", 60).await;
        await_phase(&cluster, "Succeeded", 300).await;
        await_told(&cluster, 30).await;
        let told = seqs(&receiver.events());
        let missing: Vec<i64> = published(&cluster)
            .into_keys()
            .filter(|seq| !told.contains(seq))
            .collect();
        assert_eq!(missing.len(), 2);
        assert!(told.is_sorted());
        assert!(told.last() > missing.last(), "{told:?} {missing:?}");
        for reason in [400, 302] {
            let series = format!("sink_given_up_total{{sink=\"picky\",reason=\"{reason}\"}}");
            assert_eq!(metric(&cluster, &series), 1, "{series}");
        }
    });
}

#[test]
fn sink_that_hangs_delays_neither_the_rollout_nor_another_sink() {
    /// Plays a rollout; returns when it succeeded, by the status.
    async fn play(cluster: SimCluster) -> (SimCluster, Value) {
        cluster.ship(NS, "shop", "shop:good-2").unwrap();
        await_phase(&cluster, "Progressing", 60).await;
        await_phase(&cluster, "Succeeded", 300).await;
        let canary = cluster.get(&key(Kind::CANARY)).unwrap();
        let since = canary["status"]["lastTransitionTime"].clone();
        (cluster, since)
    }
    let alone = run(async { play(under_canary(7, Vec::new).await).await.1 });
    run(async {
        let hanging = Receiver::start(|_| Says::Nothing);
        let working = Receiver::start(|_| YES);
        let configs = (hanging.config("hanging", ""), working.config("working", ""));
        let sinks = move || {
            // This one's timeouts are to elapse.
            let hanging = Sink::over_http(&configs.0, None).unwrap();
            vec![hanging, patient(&configs.1)]
        };
        let (cluster, since) = play(under_canary(7, sinks).await).await;
        assert_eq!(since, alone, "to the millisecond");
        cluster.pass(TimeDelta::seconds(1)).await;
        assert_complete(&working.events(), &cluster);
        assert_eq!(hanging.events().len(), 0);
        let failures = metric(
            &cluster,
            "sink_failures_total{sink=\"hanging\",reason=\"timeout\"}",
        );
        assert!(failures > 3, "{failures}");
        let canary = cluster.get(&key(Kind::CANARY)).unwrap();
        let waiting = canary["status"]["outbox"]["pending"].as_array().unwrap();
        assert_eq!(waiting.len(), published(&cluster).len(), "all are kept for it");
    });
}

#[test]
fn days_without_a_sink_cost_no_more_than_the_status_holds() {
    run(async {
        let mut receiver = Receiver::start(|_| YES);
        receiver.die();
        let config = receiver.config("away", "");
        let cluster = under_canary(8, move || vec![patient(&config)]).await;
        for n in 2..7 {
            cluster.ship(NS, "shop", &format!("shop:good-{n}")).unwrap();
            await_phase(&cluster, "Progressing", 60).await;
            await_phase(&cluster, "Succeeded", 300).await;
            let ctx = cluster.context_of(0).unwrap();
            assert!(ctx.outbox.sinks()[0].waiting() <= 16);
            cluster.pass(TimeDelta::hours(12)).await;
        }
        let canary = cluster.get(&key(Kind::CANARY)).unwrap();
        let kept: Vec<i64> = canary["status"]["outbox"]["pending"]
            .as_array()
            .unwrap()
            .iter()
            .map(|notice| notice["seq"].as_i64().unwrap())
            .collect();
        assert_eq!(kept.len(), 16);
        let crowded = metric(&cluster, "sink_given_up_total{sink=\"away\",reason=\"crowded\"}");
        assert_eq!(crowded as usize, published(&cluster).len() - 16);
        receiver.serve();
        await_told(&cluster, 120).await;
        assert_eq!(seqs(&receiver.events()), kept);
        let promoted = receiver
            .reasons()
            .iter()
            .filter(|reason| *reason == "Promoted")
            .count();
        assert_eq!(promoted, 5, "outcomes are kept");
        let artifacts: Vec<Value> = receiver
            .events()
            .iter()
            .filter(|event| reason(event) == "Promoted")
            .map(|event| data(event)["subject"]["content"]["artifactId"].clone())
            .collect();
        let expected: Vec<String> = (2..7).map(|n| format!("pkg:docker/shop@good-{n}")).collect();
        assert_eq!(artifacts, expected, "each of its own time");
    });
}

#[test]
fn sink_of_other_namespaces_is_told_nothing_and_waited_for_never() {
    run(async {
        let receiver = Receiver::start(|_| YES);
        let (other, ours) = (
            receiver.config("other", ", namespaces: [pay]"),
            receiver.config("ours", ", namespaces: [pay, shop]"),
        );
        let cluster = under_canary(9, move || vec![patient(&other), patient(&ours)]).await;
        await_told(&cluster, 30).await;
        assert_complete(&receiver.events(), &cluster);
        assert_eq!(metric(&cluster, "sink_told_total{sink=\"other\"}"), 0);
    });
}

#[test]
fn deleted_canary_tells_its_last_and_waits_a_minute_for_a_sink_that_is_down() {
    for down in [false, true] {
        run(async move {
            let mut receiver = Receiver::start(|_| YES);
            let config = receiver.config("last", "");
            let cluster = under_canary(10, move || vec![patient(&config)]).await;
            await_told(&cluster, 30).await;
            if down {
                receiver.die();
            }
            let begun = cluster.now();
            cluster.delete(&key(Kind::CANARY)).unwrap();
            let gone = cluster
                .wait(&key(Kind::CANARY), TimeDelta::seconds(300), Value::is_null)
                .await;
            assert!(gone);
            cluster.pass(TimeDelta::seconds(1)).await;
            let took = (cluster.now() - begun).num_seconds();
            let given_up = metric(&cluster, "sink_given_up_total{sink=\"last\",reason=\"gone\"}");
            if down {
                assert!((60..=70).contains(&took), "{took} s");
                assert_eq!(given_up, 1);
            } else {
                assert!(took < 60, "{took} s");
                assert_eq!(receiver.reasons().last().unwrap(), "Terminating");
                assert_eq!(given_up, 0);
            }
            assert_eq!(cluster.context_of(0).unwrap().outbox.sinks()[0].waiting(), 0);
        });
    }
}
