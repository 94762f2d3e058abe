//! Sinks that are overloaded, refuse or hang.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bellwether::{
    outbox::{
        Sink,
        cloud_event::Message,
        http::{Http, Transport},
        verdict::Answer,
    },
    sim::{api_server::Kind, cluster::SimCluster},
};
use chrono::TimeDelta;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    Patient, Receiver, Says, YES, assert_complete, await_told, facts, metric, patient, published, run, seqs,
    under_canary,
};
use crate::shared::shop::{NS, await_phase, key};

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
