//! What becomes of an order, as the hook API tells whoever gave it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::http::StatusCode;
use bellwether::sim::{
    api_server::{
        Kind, Witness,
        request::Verb,
        store::{Change, Store},
    },
    cluster::SimCluster,
};
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{Call, api, get, post, promote, respond, send, text, waiting};
use crate::shared::shop::{NS, key, run, under_canary};

/// Counts what is read of orders, one by one.
#[derive(Clone, Default)]
struct Reads(Arc<AtomicUsize>);

impl Reads {
    fn of(cluster: &SimCluster) -> Reads {
        let reads = Reads::default();
        cluster.server.add_witness(Box::new(reads.clone()));
        reads
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Witness for Reads {
    fn saw(&mut self, _: &Change, _: &Store) {}

    fn asked(&mut self, _: &'static str, verb: Verb, kind: Kind, _: &Store) {
        let read = verb == Verb::Get && [Kind::COMMAND, Kind::APPROVAL].contains(&kind);
        self.0.fetch_add(usize::from(read), Ordering::SeqCst);
    }
}

async fn at_weight(cluster: &SimCluster, weight: i64) {
    let met = |canary: &Value| canary["status"]["canaryWeight"] == weight;
    let met = cluster
        .wait(&key(Kind::CANARY), TimeDelta::seconds(120), met)
        .await;
    assert!(met, "not at {weight} %");
}

#[test]
fn abort_names_where_its_outcome_is_and_the_waiting_client_is_told_that_it_is_done() {
    run(async {
        let cluster = under_canary(51).await;
        let api = api(&cluster);
        let (_, made) = send(&api, promote("aborted", "shop:good-2")).await;
        let id = made["id"].as_str().unwrap();
        at_weight(&cluster, 10).await;
        let reads = Reads::of(&cluster);
        let body = json!({"reason": "wrong branch"});
        let taken = respond(&api, post(format!("promotions/{id}/abort"), &body)).await;
        assert_eq!(taken.status(), StatusCode::ACCEPTED);
        let location = taken.headers()["location"].to_str().unwrap().to_owned();
        let accepted: Value = serde_json::from_str(&text(taken).await).unwrap();
        let name = accepted["command"].as_str().unwrap();
        assert_eq!(location, format!("/v1/namespaces/{NS}/commands/{name}"));
        assert_eq!(accepted["links"]["order"], location);

        let began = cluster.now();
        let (status, order) = send(&api, waiting(&location, 20, "reader")).await;
        assert_eq!(status, StatusCode::OK, "{order}");
        let taken = cluster.now() - began;
        assert!(taken < TimeDelta::seconds(10), "told after {taken}");
        let answered_at = order["answeredAt"].clone();
        assert!(answered_at.is_string(), "{order}");
        let whole = json!({
            "name": name, "namespace": NS, "canary": "shop", "verb": "Abort", "gate": null, "revision": null,
            "promotion": id, "requestedBy": "good", "reason": "wrong branch", "outcome": "done",
            "answeredAt": answered_at,
        });
        assert_eq!(order, whole);
        let again = cluster.now();
        assert_eq!(send(&api, waiting(&location, 20, "good")).await.1, whole);
        assert_eq!(cluster.now(), again, "what is answered is told at once");
        assert_eq!(reads.count(), 0, "the watch tells of orders");
    });
}

#[test]
fn order_that_nobody_answers_is_told_without_an_outcome_when_the_time_is_over() {
    run(async {
        let cluster = under_canary(52).await;
        let api = api(&cluster);
        // No Canary of this name is there to answer soon.
        let order = json!({
            "apiVersion": "bellwether.dev/v1beta1", "kind": "Command", "metadata": {"name": "lost"},
            "spec": {"canaryRef": {"name": "none"}, "verb": "Pause", "revision": "0123456789", "requestedBy": "mia"},
        });
        cluster.apply(NS, order).unwrap();
        let reads = Reads::of(&cluster);
        let path = format!("/v1/namespaces/{NS}/commands/lost");
        let began = cluster.now();
        let (status, order) = send(&api, waiting(&path, 20, "good")).await;
        let waited = cluster.now() - began;
        assert!(
            (TimeDelta::seconds(20)..TimeDelta::seconds(21)).contains(&waited),
            "{waited}"
        );
        assert_eq!(
            (status, &order["outcome"], &order["answeredAt"], &order["verb"]),
            (StatusCode::OK, &Value::Null, &Value::Null, &json!("Pause"))
        );
        assert_eq!(reads.count(), 1, "then the watch has told of it");
        let began = cluster.now();
        assert_eq!(send(&api, waiting(&path, 0, "good")).await.1, order);
        assert!(cluster.now() - began < TimeDelta::seconds(1));
    });
}

#[test]
fn whoever_may_order_needs_another_right_to_see_the_outcome() {
    run(async {
        let cluster = under_canary(53).await;
        let api = api(&cluster);
        let revision = json!("0123456789abcdef");
        for (path, body, resource) in [
            ("canaries/shop/undo", json!({"revision": revision}), "commands"),
            (
                "canaries/shop/approve",
                json!({"revision": revision, "gate": "qa"}),
                "approvals",
            ),
        ] {
            let call = Call {
                token: Some("orderer"),
                ..post(path, &body)
            };
            let (status, accepted) = send(&api, call).await;
            assert_eq!(status, StatusCode::ACCEPTED, "{accepted}");
            let path = accepted["links"]["order"].as_str().unwrap();
            let (status, problem) = send(&api, waiting(path, 5, "orderer")).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{problem}");
            let told = problem["detail"].as_str().unwrap();
            assert!(told.contains(&format!("get {resource}")), "{told}");
            let nobody = Call {
                token: None,
                ..waiting(path, 5, "orderer")
            };
            assert_eq!(send(&api, nobody).await.0, StatusCode::UNAUTHORIZED);
            let (status, order) = send(&api, waiting(path, 5, "reader")).await;
            assert_eq!(status, StatusCode::OK, "{order}");
            let told = order["outcome"].as_str().unwrap();
            assert!(told.starts_with("refused: "), "{told}");
        }
        let (status, _) = send(&api, get("commands/c-none")).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    });
}
