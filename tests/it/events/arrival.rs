//! What arrives at a sink that answers.

use cdevents_sdk::CDEvent;
use cloudevents::AttributesReader;
use serde_json::Value;

use super::{Receiver, YES, assert_complete, await_told, data, facts, metric, patient, run, under_canary};
use crate::shared::shop::{NS, await_phase};

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
