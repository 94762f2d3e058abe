//! The explanation of a Canary.

use super::*;

/// Counts what anybody asks the API server for.
#[derive(Clone, Default)]
struct Questions(Arc<AtomicUsize>);

impl Witness for Questions {
    fn saw(&mut self, _: &Change, _: &Store) {}

    fn asked(&mut self, _: &'static str, _: Verb, _: Kind, _: &Store) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn explanation_is_for_whoever_may_get_the_canary_and_asks_the_api_server_nothing() {
    run(async {
        let cluster = under_canary(15).await;
        let api = api(&cluster);
        let (_, made) = send(&api, promote("explained", "shop:good-2")).await;
        let id = made["id"].as_str().unwrap();
        let analysed = |canary: &Value| canary["status"]["canaryWeight"] == 30;
        let canary = key(Kind::CANARY);
        assert!(cluster.wait(&canary, TimeDelta::seconds(120), analysed).await);
        let pause = post(format!("promotions/{id}/pause"), &json!({"reason": "lunch"}));
        assert_eq!(send(&api, pause).await.0, StatusCode::ACCEPTED);
        let paused = |canary: &Value| canary["status"]["hold"]["reason"] == "Paused";
        assert!(cluster.wait(&canary, TimeDelta::seconds(30), paused).await);
        cluster.pass(TimeDelta::milliseconds(500)).await;

        let questions = Questions::default();
        cluster.server.add_witness(Box::new(questions.clone()));
        let explain = |token, canary: &str| Call {
            token: Some(token),
            ..get(format!("canaries/{canary}/explanation"))
        };
        for _ in 0..20 {
            let (status, told) = send(&api, explain("reader", "shop")).await;
            assert_eq!(status, StatusCode::OK, "{told}");
            let known = serde_json::from_value((*cluster.get(&canary).unwrap()).clone()).unwrap();
            assert_eq!(told, serde_json::to_value(Explanation::of(&known)).unwrap());
            let said = (&told["weight"], &told["hold"]["reason"], &told["pause"]["by"]);
            assert_eq!(said, (&json!(30), &json!("Paused"), &json!("good")));
        }
        let elsewhere = Call {
            path: "/v1/namespaces/other/canaries/shop/explanation".to_owned(),
            ..get("")
        };
        for (call, expected, code) in [
            (explain("good", "none"), StatusCode::NOT_FOUND, "not_found"),
            (
                explain("stranger", "shop"),
                StatusCode::UNAUTHORIZED,
                "unauthenticated",
            ),
            (elsewhere, StatusCode::FORBIDDEN, "forbidden"),
        ] {
            let (status, problem) = send(&api, call).await;
            assert_eq!((status, &problem["code"]), (expected, &json!(code)));
        }
        assert_eq!(questions.0.load(Ordering::SeqCst), 0);
        send(&api, get("promotions/p-none")).await;
        assert_eq!(
            questions.0.load(Ordering::SeqCst),
            2,
            "what is asked is counted: the promotion, and the ledger of those that are forgotten"
        );
    });
}
