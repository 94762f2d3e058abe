//! Names and keys of one Canary are no way to another.

use std::convert::Infallible;

use bellwether::promotion::names;
use futures::{StreamExt, channel::mpsc::unbounded};

use super::*;

/// A Promotion by hand: whoever may create one gives it any name.
fn by_hand(cluster: &SimCluster, name: &str, canary: &str, more: &Value) {
    let mut spec = json!({"canaryRef": {"name": canary}, "image": "shop:good-9"});
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    let object = json!({"apiVersion": "bellwether.dev/v1beta1", "kind": "Promotion",
        "metadata": {"name": name, "namespace": NS}, "spec": spec});
    cluster.apply(NS, object).unwrap();
}

#[test]
fn key_is_not_answered_by_the_promotion_of_another_canary() {
    run(async {
        let cluster = under_canary(86).await;
        let api = api(&cluster);
        by_hand(
            &cluster,
            &names::promotion(NS, "shop", "live"),
            "other",
            &json!({}),
        );
        let name = names::promotion(NS, "shop", "over");
        let ledger = json!({"apiVersion": "bellwether.dev/v1beta1", "kind": "PromotionLedger",
            "metadata": {"name": bellwether::promotion::ledger::name(&name), "namespace": NS},
            "spec": {"entries": {&name: {"canary": "other", "result": "Promoted", "finishedAt": cluster.now()}}}});
        cluster.apply(NS, ledger).unwrap();
        cluster.pass(TimeDelta::seconds(1)).await;
        for key in ["live", "over"] {
            let (status, problem) = send(&api, promote(key, "shop:good-2")).await;
            assert_eq!(
                (status, &problem["code"]),
                (StatusCode::UNPROCESSABLE_ENTITY, &json!("key_reused")),
                "{key}: {problem}"
            );
        }
    });
}

/// The name is another Canary's by the time that the body has come.
#[test]
fn order_is_carried_out_on_the_canary_that_it_was_admitted_for() {
    run(async {
        let cluster = under_canary(87).await;
        let api = api(&cluster);
        by_hand(&cluster, "swapped", "shop", &json!({"policy": {"ttlSeconds": 0}}));
        cluster.pass(TimeDelta::seconds(1)).await;
        let (body, parts) = unbounded::<&'static str>();
        let parts = parts.map(|part| Ok::<_, Infallible>(part.as_bytes()));
        let request = Request::builder()
            .method("POST")
            .uri(format!("/v1/namespaces/{NS}/promotions/swapped/skip-analysis"))
            .header("Authorization", "Bearer good")
            .body(Body::from_stream(parts))
            .unwrap();
        body.unbounded_send("{").unwrap();
        let swap = async {
            cluster.pass(TimeDelta::seconds(1)).await;
            let swapped = Key::new(Kind::PROMOTION, NS, "swapped");
            cluster.delete(&swapped).unwrap();
            by_hand(&cluster, "swapped", "other", &json!({}));
            cluster.pass(TimeDelta::seconds(1)).await;
            body.unbounded_send("}").unwrap();
            drop(body);
        };
        let mut router = api.clone();
        let (response, ()) = futures::join!(router.call(request), swap);
        assert_eq!(response.unwrap().status(), StatusCode::CONFLICT);
        let commands = cluster
            .server
            .read(|store| store.all().filter(|(key, _)| key.kind == Kind::COMMAND).count());
        assert_eq!(commands, 0);
    });
}

/// Which Canary a promotion is of, and whether there is one, learns only who may order something of it.
#[test]
fn refusal_of_an_order_does_not_tell_whether_the_promotion_exists() {
    run(async {
        let cluster = under_canary(88).await;
        let api = api(&cluster);
        by_hand(&cluster, "there", "shop", &json!({}));
        cluster.pass(TimeDelta::seconds(1)).await;
        let mut told = Vec::new();
        for id in ["there", "nowhere"] {
            let call = Call {
                token: Some("reader"),
                ..post(format!("promotions/{id}/abort"), &json!({}))
            };
            let (status, problem) = send(&api, call).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{problem}");
            told.push(problem.to_string().replace(id, "ID"));
        }
        assert_eq!(told[0], told[1]);
    });
}
