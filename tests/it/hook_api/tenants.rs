//! What one tenant may have of what there is for all, and what they type.

use bellwether::hook_api::Limits;

use super::*;

fn api_with(cluster: &SimCluster, limits: Limits) -> Router {
    let ctx = cluster.context_of(0).unwrap();
    let clock: Arc<dyn Clock> = ctx.clock.clone();
    let gatekeeper = Gatekeeper::new(Arc::new(People), Tokens::none(), clock);
    bellwether::hook_api::router(Hook::with_limits(ctx, gatekeeper, limits))
}

#[test]
fn whoever_has_no_place_to_wait_is_told_how_things_stand() {
    run(async {
        let cluster = under_canary(83).await;
        // A fifth of ten for each namespace.
        let api = api_with(
            &cluster,
            Limits {
                waiters: 10,
                ..Limits::default()
            },
        );
        let gates = json!({"spec": {"analysis": {"gates": [{"name": "g", "at": "confirm-rollout", "approval": {}}]}}});
        cluster.merge(&key(Kind::CANARY), gates).unwrap();
        let (_, made) = send(&api, promote("build-1", "shop:good-2")).await;
        let id = made["id"].as_str().unwrap();
        await_phase(&cluster, "Waiting", 60).await;
        let waits = || get(format!("promotions/{id}?waitSeconds=20&afterSeq=1000"));
        let began = cluster.now();
        let all = futures::future::join_all((0..5).map(|_| async {
            let response = respond(&api, waits()).await;
            (
                response.status(),
                response.headers().get("retry-after").cloned(),
                cluster.now() - began,
            )
        }));
        let all = all.await;
        assert!(
            all.iter().all(|(status, ..)| *status == StatusCode::OK),
            "{all:?}"
        );
        let (told, waited): (Vec<_>, Vec<_>) = all.iter().partition(|(_, again, _)| again.is_some());
        assert_eq!((told.len(), waited.len()), (3, 2), "{all:?}");
        assert!(
            told.iter()
                .all(|(_, again, after)| again.as_ref().unwrap() == "5" && *after < TimeDelta::seconds(1))
        );
        assert!(waited.iter().all(|(.., after)| *after >= TimeDelta::seconds(20)));
    });
}

#[test]
fn promotions_that_wait_for_their_turn_are_bounded() {
    run(async {
        let cluster = under_canary(84).await;
        let api = api(&cluster);
        let gates = json!({"spec": {"analysis": {"gates": [{"name": "g", "at": "confirm-rollout", "approval": {}}]}}});
        cluster.merge(&key(Kind::CANARY), gates).unwrap();
        let mut taken = 0;
        for n in 0..60 {
            let body = json!({"image": format!("shop:good-{n}"), "policy": {"conflict": "queue"}});
            let call = Call {
                key: Some(format!("k-{n}")),
                ..post("canaries/shop/promotions", &body)
            };
            let (status, problem) = send(&api, call).await;
            match status {
                StatusCode::CREATED => taken += 1,
                _ => assert_eq!(
                    (status, &problem["code"]),
                    (StatusCode::TOO_MANY_REQUESTS, &json!("too_many_requests"))
                ),
            }
        }
        assert_eq!(taken, 50);
    });
}

#[test]
fn orders_of_one_user_are_bounded_and_in_nobody_elses_way() {
    run(async {
        let cluster = under_canary(85).await;
        let api = api(&cluster);
        cluster.ship(NS, "shop", "shop:good-2").unwrap();
        await_phase(&cluster, "Progressing", 60).await;
        // Nobody answers while the controller is away.
        let ctx = cluster.context_of(0).unwrap();
        let body = json!({"revision": "0123456789abcdef"});
        let give = async |by| {
            let (status, _) = send(
                &api,
                Call {
                    token: Some(by),
                    ..post("canaries/shop/retry", &body)
                },
            )
            .await;
            status.as_u16()
        };
        drop(ctx);
        let mut refused = 0;
        for _ in 0..600 {
            refused += usize::from(give("good").await == 429);
        }
        assert!(refused >= 100, "{refused}");
        assert_eq!(give("lead").await, 202);
    });
}

#[test]
fn what_is_typed_is_no_escape_sequence_anywhere() {
    run(async {
        let cluster = under_canary(86).await;
        let api = api(&cluster);
        let body = json!({"image": "shop:good-2", "requester": {"user": "mia\u{1b}[2J", "job": "a\nb"}});
        let call = Call {
            key: Some("k".to_owned()),
            ..post("canaries/shop/promotions", &body)
        };
        let (status, problem) = send(&api, call).await;
        let told = problem["detail"].as_str().unwrap();
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(
            told.contains("requester.user: must have no control") && told.contains("requester.job"),
            "{told}"
        );
        let (_, made) = send(&api, promote("build", "shop:good-2")).await;
        let id = made["id"].as_str().unwrap();
        await_phase(&cluster, "Progressing", 60).await;
        // Whoever calls a release off is not kept from it by a stack trace.
        let body = json!({"reason": "so\n\tat Foo\u{1b}[31m\u{202e}"});
        let (status, _) = send(&api, post(format!("promotions/{id}/abort"), &body)).await;
        assert_eq!(status, StatusCode::ACCEPTED);
        await_phase(&cluster, "Failed", 60).await;
        let status = cluster.get(&key(Kind::CANARY)).unwrap()["status"].to_string();
        assert!(status.contains("so  at Foo\u{fffd}[31m\u{fffd}"), "{status}");
        // By kubectl.
        let by_hand = json!({"apiVersion": "bellwether.dev/v1beta1", "kind": "Command", "metadata": {"name": "c"},
            "spec": {"canaryRef": {"name": "shop"}, "verb": "Pause", "revision": "0123456789",
                "requestedBy": "eve\u{1b}[2J", "reason": "\u{9b}1m"}});
        cluster.apply(NS, by_hand).unwrap();
        cluster.pass(TimeDelta::seconds(20)).await;
        let status = cluster.get(&key(Kind::CANARY)).unwrap()["status"].to_string();
        assert!(
            status.contains("eve\u{fffd}[2J") && !status.contains("\\u001b"),
            "{status}"
        );
        assert!(!status.contains('\u{9b}'), "{status}");
    });
}

/// Somebody with access to the cluster made an object of the name that an order will have.
#[test]
fn order_under_whose_name_is_another_one_is_not_taken_for_given() {
    run(async {
        let cluster = under_canary(87).await;
        let api = api(&cluster);
        let body = json!({"revision": "0123456789abcdef", "reason": "one"});
        let call = |body: &Value| Call {
            key: Some("k".to_owned()),
            ..post("canaries/shop/undo", body)
        };
        let (status, first) = send(&api, call(&body)).await;
        assert_eq!(status, StatusCode::ACCEPTED);
        let again = json!({"revision": "0123456789abcdef", "reason": "another"});
        let (status, second) = send(&api, call(&again)).await;
        assert_eq!(
            (status, &second["command"]),
            (StatusCode::ACCEPTED, &first["command"])
        );
        let name = first["command"].as_str().unwrap();
        let of = Key::new(Kind::COMMAND, NS, name);
        cluster.delete(&of).unwrap();
        let other = json!({"apiVersion": "bellwether.dev/v1beta1", "kind": "Command", "metadata": {"name": name},
            "spec": {"canaryRef": {"name": "shop"}, "verb": "Retry", "revision": "0123456789abcdef",
                "requestedBy": "good"}});
        cluster.apply(NS, other).unwrap();
        let (status, problem) = send(&api, call(&body)).await;
        assert_eq!(
            (status, &problem["code"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("key_reused"))
        );
    });
}
