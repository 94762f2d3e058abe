//! Orders about a release.

use super::*;

#[test]
fn abort_rolls_back_and_says_who_and_why() {
    run(async {
        let cluster = under_canary(6).await;
        let api = api(&cluster);
        let (_, made) = send(&api, promote("aborted", "shop:good-2")).await;
        let id = made["id"].as_str().unwrap();
        let weight = |canary: &Value| canary["status"]["canaryWeight"] == 30;
        assert!(
            cluster
                .wait(&key(Kind::CANARY), TimeDelta::seconds(120), weight)
                .await
        );
        let abort = || {
            post(
                format!("promotions/{id}/abort"),
                &json!({"reason": "wrong branch"}),
            )
        };
        let (status, _) = send(&api, abort()).await;
        assert_eq!(status, StatusCode::ACCEPTED);
        let (status, _) = send(&api, abort()).await;
        assert_eq!(status, StatusCode::ACCEPTED, "again is as good as once");
        let (state, log) = wait(&api, id).await;
        assert_eq!(
            (&state["result"], &state["exitCode"]),
            (&json!("Aborted"), &json!(5)),
            "{log}"
        );
        assert!(log.contains("good") && log.contains("wrong branch"), "{log}");
        let routes = cluster.get(&key(Kind::VIRTUAL_SERVICE)).unwrap();
        assert_eq!(bellwether::sim::invariants::canary_weight(&routes), 0);
        let (status, _) = send(&api, abort()).await;
        assert_eq!(status, StatusCode::OK, "it is over");
        let (status, _) = send(&api, get(format!("promotions/{id}/result"))).await;
        assert_eq!(status, StatusCode::GONE);
    });
}

#[test]
fn abort_after_one_that_was_refused_is_heeded() {
    run(async {
        let cluster = under_canary(12).await;
        let api = api(&cluster);
        let (_, made) = send(&api, promote("aborted-twice", "shop:good-2")).await;
        let id = made["id"].as_str().unwrap();
        await_phase(&cluster, "Promoting", 300).await;
        let abort = |action: &str| post(format!("promotions/{id}/abort"), &json!({"action": action}));
        let (status, accepted) = send(&api, abort("pause")).await;
        assert_eq!(status, StatusCode::ACCEPTED);
        let command = Key::new(Kind::COMMAND, NS, accepted["command"].as_str().unwrap());
        let refused = |command: &Value| {
            let outcome = command["status"]["outcome"].as_str();
            outcome.is_some_and(|outcome| outcome.starts_with("refused"))
        };
        assert!(cluster.wait(&command, TimeDelta::seconds(5), refused).await);
        let (status, second) = send(&api, abort("rollback")).await;
        assert_eq!(status, StatusCode::ACCEPTED);
        assert_ne!(accepted["command"], second["command"]);
        let (state, log) = wait(&api, id).await;
        assert_eq!(state["message"], "aborted by good", "{log}");
        assert_ne!(state["result"], "Promoted", "{log}");
    });
}

#[test]
fn same_key_of_two_people_is_two_orders() {
    run(async {
        let cluster = under_canary(14).await;
        let api = api(&cluster);
        let (_, made) = send(&api, promote("two", "shop:good-2")).await;
        let id = made["id"].as_str().unwrap();
        let revision = json!("0123456789abcdef");
        for (path, body) in [
            (format!("promotions/{id}/pause"), json!({})),
            (format!("promotions/{id}/approve"), json!({"gate": "qa"})),
            ("canaries/shop/undo".to_owned(), json!({"revision": revision})),
            (
                "canaries/shop/reject".to_owned(),
                json!({"revision": revision, "gate": "qa"}),
            ),
            // The promotion goes on until the Canary has seen them.
            (format!("promotions/{id}/abort"), json!({"action": "rollback"})),
        ] {
            let mut names = Vec::new();
            for token in ["good", "lead", "good"] {
                let call = Call {
                    token: Some(token),
                    key: Some("same".to_owned()),
                    ..post(path.clone(), &body)
                };
                let (status, accepted) = send(&api, call).await;
                assert_eq!(status, StatusCode::ACCEPTED, "{path}: {accepted}");
                names.push(accepted["command"].as_str().unwrap().to_owned());
            }
            assert_ne!(names[0], names[1], "{path}");
            assert_eq!(names[0], names[2], "{path}");
        }
    });
}

#[test]
fn retry_and_undo_name_their_revision() {
    run(async {
        let cluster = under_canary(7).await;
        let api = api(&cluster);
        let (_, made) = send(&api, promote("good", "shop:good-2")).await;
        let (state, _) = wait(&api, made["id"].as_str().unwrap()).await;
        let revision = state["revision"].as_str().unwrap().to_owned();
        let undo = |revision: &str| {
            post(
                "canaries/shop/undo",
                &json!({"revision": revision, "reason": "customers complain"}),
            )
        };
        let (status, _) = send(&api, undo("00000000deadbeef")).await;
        assert_eq!(
            status,
            StatusCode::ACCEPTED,
            "it is refused by the Canary, and recorded"
        );
        cluster.pass(TimeDelta::seconds(3)).await;
        let (_, canary) = send(&api, get("canaries/shop")).await;
        assert_eq!(canary["promoted"], revision.as_str());
        send(&api, undo(&revision)).await;
        let primary = Key::new(Kind::DEPLOYMENT, NS, "shop-primary");
        let undone = |deployment: &Value| {
            deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "shop:good-1"
        };
        assert!(cluster.wait(&primary, TimeDelta::seconds(30), undone).await);
        await_phase(&cluster, "Failed", 10).await;
        let retry = post("canaries/shop/retry", &json!({"revision": revision}));
        let (status, _) = send(&api, retry).await;
        assert_eq!(status, StatusCode::ACCEPTED);
        await_phase(&cluster, "Succeeded", 200).await;
    });
}
