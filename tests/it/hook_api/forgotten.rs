//! Promotions that are over and forgotten: their keys start nothing, and whoever comes again is told what became of them.

use super::*;

fn promote_with(key: &str, image: &str, policy: &Value) -> Call {
    Call {
        key: Some(key.to_owned()),
        ..post(
            "canaries/shop/promotions",
            &json!({"image": image, "policy": policy}),
        )
    }
}

#[test]
fn key_of_a_forgotten_promotion_starts_nothing_and_tells_its_result() {
    run(async {
        let cluster = under_canary(81).await;
        let api = api(&cluster);
        let call = || promote_with("build-1", "shop:good-2", &json!({"ttlSeconds": 0}));
        let (status, made) = send(&api, call()).await;
        assert_eq!(status, StatusCode::CREATED);
        let id = made["id"].as_str().unwrap();
        await_phase(&cluster, "Succeeded", 300).await;
        cluster.pass(TimeDelta::seconds(10)).await;
        let images =
            |cluster: &SimCluster| cluster.get(&key(Kind::DEPLOYMENT)).unwrap()["spec"]["template"].clone();
        // Meanwhile something newer was released.
        cluster.ship(NS, "shop", "shop:good-3").unwrap();
        cluster.pass(TimeDelta::seconds(5)).await;
        let before = images(&cluster);
        for call in [
            call(),
            get(format!("promotions/{id}")),
            get(format!("promotions/{id}/result")),
        ] {
            let response = respond(&api, call).await;
            assert_eq!(response.status(), StatusCode::GONE);
            let problem: Value = serde_json::from_str(&text(response).await).unwrap();
            assert_eq!(
                (&problem["code"], &problem["result"], &problem["exitCode"]),
                (&json!("expired"), &json!("Promoted"), &json!(0)),
                "{problem}"
            );
            assert!(
                problem["finishedAt"].is_string() && problem["detail"].is_string(),
                "{problem}"
            );
        }
        let (status, _) = send(&api, promote_with("build-1", "shop:bad", &json!({}))).await;
        assert_eq!(status, StatusCode::GONE, "whatever is asked for with it");
        cluster.pass(TimeDelta::seconds(30)).await;
        assert_eq!(images(&cluster), before, "nothing is started");
        let (status, problem) = send(&api, get("promotions/p-none")).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{problem}");
    });
}

#[test]
fn promotion_does_not_begin_after_the_time_that_its_client_set() {
    run(async {
        let cluster = under_canary(82).await;
        let api = api(&cluster);
        let at = |seconds: i64| json!((cluster.now() + TimeDelta::seconds(seconds)).to_rfc3339());
        let (status, problem) = send(
            &api,
            promote_with("old", "shop:good-2", &json!({"notAfter": at(-1)})),
        )
        .await;
        assert_eq!((status, &problem["code"]), (StatusCode::GONE, &json!("expired")));
        // One that waits for its turn.
        send(&api, promote("first", "shop:good-2")).await;
        let policy = json!({"conflict": "queue", "notAfter": at(20)});
        let (status, made) = send(&api, promote_with("late", "shop:good-3", &policy)).await;
        assert_eq!(status, StatusCode::CREATED);
        let (state, log) = wait(&api, made["id"].as_str().unwrap()).await;
        assert_eq!(
            (&state["result"], &state["reason"]),
            (&json!("Failed"), &json!("Expired")),
            "{log}"
        );
    });
}
