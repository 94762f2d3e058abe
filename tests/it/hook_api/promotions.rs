//! A pipeline starts a promotion and waits for its verdict.

use super::*;
use crate::shared::shop::canary;

#[test]
fn pipeline_promotes_and_gets_the_verdict_with_its_log() {
    run(async {
        let cluster = under_canary(3).await;
        let api = api(&cluster);
        let (status, made) = send(&api, promote("build-1", "shop:good-2")).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        let id = made["id"].as_str().unwrap();
        let (state, log) = wait(&api, id).await;
        assert_eq!(
            (&state["result"], &state["exitCode"]),
            (&json!("Promoted"), &json!(0)),
            "{log}"
        );
        assert_eq!(state["logBytes"].as_i64().unwrap() as usize, log.len());
        for weight in [
            "weight 10 %",
            "weight 30 %",
            "weight 50 %",
            "request-success-rate 100.00",
        ] {
            assert!(log.contains(weight), "{weight} is not in\n{log}");
        }
        let (status, _) = send(&api, get(format!("promotions/{id}/result"))).await;
        assert_eq!(status, StatusCode::OK);

        let (_, made) = send(&api, promote("build-2", "shop:errors60-1")).await;
        let id = made["id"].as_str().unwrap();
        let (state, log) = wait(&api, id).await;
        assert_eq!(
            (&state["result"], &state["exitCode"]),
            (&json!("RolledBack"), &json!(3)),
            "{log}"
        );
        assert!(
            state["message"]
                .as_str()
                .unwrap()
                .contains("request-success-rate"),
            "{state}"
        );
        let (status, _) = send(&api, get(format!("promotions/{id}/result"))).await;
        assert_eq!(status, StatusCode::CONFLICT);
    });
}

#[test]
fn same_key_is_the_same_promotion_however_often_it_comes() {
    run(async {
        let cluster = under_canary(4).await;
        let api = api(&cluster);
        let calls = (0..100).map(|_| send(&api, promote("once", "shop:good-2")));
        let answers = futures::future::join_all(calls).await;
        let created = answers
            .iter()
            .filter(|(status, _)| *status == StatusCode::CREATED)
            .count();
        assert_eq!(created, 1);
        let first = &answers[0].1["id"];
        for (status, answer) in &answers {
            assert!([StatusCode::CREATED, StatusCode::OK].contains(status), "{answer}");
            assert_eq!(&answer["id"], first);
        }
        let (status, problem) = send(&api, promote("once", "shop:good-3")).await;
        assert_eq!(
            (status, &problem["code"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("key_reused"))
        );
        let (status, problem) = send(&api, promote("twice", "shop:good-3")).await;
        assert_eq!(
            (status, &problem["code"]),
            (StatusCode::CONFLICT, &json!("conflict"))
        );
        assert!(
            problem["other"]
                .as_str()
                .unwrap()
                .ends_with(first.as_str().unwrap())
        );
        let (state, _) = wait(&api, first.as_str().unwrap()).await;
        assert_eq!(state["result"], "Promoted");
    });
}

#[test]
fn controller_that_dies_loses_no_wait_and_no_line() {
    run(async {
        let mut cluster = under_canary(5).await;
        let before = api(&cluster);
        let (_, made) = send(&before, promote("survives", "shop:good-2")).await;
        let id = made["id"].as_str().unwrap().to_owned();
        let weight = |canary: &Value| canary["status"]["canaryWeight"] == 30;
        assert!(
            cluster
                .wait(&key(Kind::CANARY), TimeDelta::seconds(120), weight)
                .await
        );
        let part = respond(&before, get(format!("promotions/{id}/log"))).await;
        let offset: usize = part.headers()["x-text-size"].to_str().unwrap().parse().unwrap();
        let first = text(part).await;
        assert_eq!(first.len(), offset);
        cluster.kill_controller();
        cluster.pass(TimeDelta::seconds(7)).await;
        cluster.start_controller();
        cluster.pass(TimeDelta::seconds(2)).await;
        let after = api(&cluster);
        let (state, whole) = wait(&after, &id).await;
        assert_eq!(state["result"], "Promoted", "{whole}");
        assert!(
            whole.starts_with(&first),
            "the log begins otherwise:\n{first}\n---\n{whole}"
        );
        let (status, again) = send(&after, promote("survives", "shop:good-2")).await;
        assert_eq!(
            (status, &again["id"], &again["finished"]),
            (StatusCode::OK, &json!(id), &json!(true))
        );
    });
}

#[test]
fn promotion_of_a_canary_that_is_gone_ends_with_its_deadline_and_goes_after_its_time() {
    run(async {
        let mut cluster = under_canary(6).await;
        let mut rival = canary();
        rival["metadata"]["name"] = json!("rival");
        cluster.apply(NS, rival).unwrap();
        cluster.pass(TimeDelta::seconds(1)).await;
        let api = api(&cluster);
        let policy = json!({"deadlineSeconds": 120, "ttlSeconds": 600});
        let body = json!({"image": "shop:good-2", "policy": policy});
        let promote = |canary: &str| Call {
            key: Some(canary.to_owned()),
            ..post(format!("canaries/{canary}/promotions"), &body)
        };
        let (status, waits) = send(&api, promote("rival")).await;
        assert_eq!(status, StatusCode::CREATED, "{waits}");
        let (_, runs) = send(&api, promote("shop")).await;
        let object = |made: &Value| Key::new(Kind::PROMOTION, NS, made["id"].as_str().unwrap());
        let (waits, runs) = (object(&waits), object(&runs));
        let begun = |promotion: &Value| promotion["status"]["phase"] == "Running";
        assert!(cluster.wait(&runs, TimeDelta::seconds(60), begun).await);
        // The rival never was more than an object, so nothing keeps it; the other one hands back first.
        cluster.delete(&Key::new(Kind::CANARY, NS, "rival")).unwrap();
        cluster.delete(&key(Kind::CANARY)).unwrap();
        let gone = |canary: &Value| canary.is_null();
        assert!(
            cluster
                .wait(&key(Kind::CANARY), TimeDelta::seconds(300), gone)
                .await
        );
        cluster.kill_controller();
        cluster.start_controller();
        for (key, reason) in [(&runs, "CanaryDeleted"), (&waits, "DeadlineExceeded")] {
            let over = |promotion: &Value| promotion["status"]["phase"] == "Failed";
            assert!(cluster.wait(key, TimeDelta::seconds(200), over).await, "{key:?}");
            let promotion = cluster.get(key).unwrap();
            assert_eq!(promotion["status"]["reason"], reason, "{promotion}");
        }
        for key in [&runs, &waits] {
            assert!(
                cluster.wait(key, TimeDelta::seconds(900), gone).await,
                "{key:?} stays"
            );
        }
    });
}
