//! Sinks and processes that are gone, for a moment or for days: what is told afterwards, and what is not.

use std::collections::BTreeMap;

use bellwether::sim::api_server::Kind;
use chrono::TimeDelta;
use cloudevents::Event;
use serde_json::Value;

use super::{
    Receiver, Says, YES, assert_complete, await_told, await_weight, data, metric, patient, published, reason,
    run, seq, seqs, under_canary,
};
use crate::shared::shop::{NS, await_phase, key};

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
