//! Gates and freezes on the simulated cluster, through the hook API.

use bellwether::sim::{
    api_server::{Key, Kind},
    cluster::SimCluster,
};
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::{
    hook_api::{Call, api, get, post, promote, send, wait, waiting},
    shared::shop::{NS, await_phase, key, run, under_canary},
};

/// A cluster whose Canary waits for an approval before traffic and before the promotion; not by whoever asks.
async fn gated(seed: u64) -> SimCluster {
    let cluster = under_canary(seed).await;
    let gates = json!([
        {"name": "smoke", "at": "pre-rollout", "approval": {}},
        {"name": "acceptance", "at": "confirm-promotion", "approval": {"notByRequester": true}},
    ]);
    set_gates(&cluster, &gates);
    cluster
}

fn set_gates(cluster: &SimCluster, gates: &Value) {
    let change = json!({"spec": {"analysis": {"gates": gates}}});
    cluster.merge(&key(Kind::CANARY), change).unwrap();
}

async fn held(cluster: &SimCluster, reason: &str, message: &str) {
    let met = cluster
        .wait(&key(Kind::CANARY), TimeDelta::seconds(120), |canary| {
            let hold = &canary["status"]["hold"];
            hold["reason"] == reason
                && hold["message"]
                    .as_str()
                    .is_some_and(|text| text.contains(message))
        })
        .await;
    let status = cluster.get(&key(Kind::CANARY)).map(|c| c["status"].clone());
    assert!(met, "not held by {reason} ({message}): {status:#?}");
}

async fn reaches(cluster: &SimCluster, weight: i64) {
    let met = |canary: &Value| canary["status"]["canaryWeight"] == weight;
    assert!(
        cluster
            .wait(&key(Kind::CANARY), TimeDelta::seconds(60), met)
            .await,
        "not at {weight} %"
    );
}

fn weight(cluster: &SimCluster) -> i64 {
    let canary = cluster.get(&key(Kind::CANARY)).unwrap();
    canary["status"]["canaryWeight"].as_i64().unwrap_or(0)
}

fn settle(id: &str, verb: &str, gate: &str, by: &'static str) -> Call {
    let body = json!({"gate": gate, "comment": "looked at it"});
    Call {
        token: Some(by),
        ..post(format!("promotions/{id}/{verb}"), &body)
    }
}

/// What became of the newest Approval by this person.
async fn outcome(cluster: &SimCluster, name: &str) -> String {
    let approval = Key::new(Kind::APPROVAL, NS, name);
    let answered = |object: &Value| object["status"]["outcome"].is_string();
    assert!(cluster.wait(&approval, TimeDelta::seconds(30), answered).await);
    let object = cluster.get(&approval).unwrap();
    object["status"]["outcome"].as_str().unwrap().to_owned()
}

#[test]
fn release_waits_for_approvals_and_somebody_else_than_the_requester_has_to_give_the_last() {
    run(async {
        let cluster = gated(21).await;
        let api = api(&cluster);
        let (_, made) = send(&api, promote("build-1", "shop:good-2")).await;
        let id = made["id"].as_str().unwrap().to_owned();
        held(&cluster, "AwaitingApproval", "smoke").await;
        assert_eq!(weight(&cluster), 0, "no traffic before the gate");
        cluster.pass(TimeDelta::seconds(120)).await;
        assert_eq!(weight(&cluster), 0);
        send(&api, settle(&id, "approve", "smoke", "good")).await;

        held(&cluster, "AwaitingApproval", "acceptance").await;
        await_phase(&cluster, "WaitingPromotion", 1).await;
        let (status, answer) = send(&api, settle(&id, "approve", "acceptance", "good")).await;
        assert_eq!(status, 202);
        let path = answer["links"]["order"].as_str().unwrap();
        let (status, order) = send(&api, waiting(path, 20, "good")).await;
        assert_eq!(status, 200, "{order}");
        let told = order["outcome"].as_str().unwrap();
        assert!(told.starts_with("refused: good asked for this release"), "{told}");
        let told = ["verb", "gate", "requestedBy", "reason", "promotion"].map(|field| order[field].as_str());
        let meant = ["Approve", "acceptance", "good", "looked at it", &id].map(Some);
        assert_eq!(told, meant, "{order}");
        cluster.pass(TimeDelta::seconds(60)).await;
        await_phase(&cluster, "WaitingPromotion", 1).await;

        let (_, state) = send(&api, get(format!("promotions/{id}"))).await;
        assert_eq!(state["held"], "AwaitingApproval");
        assert_eq!(
            (&state["gates"][0]["state"], &state["gates"][0]["by"]),
            (&json!("Open"), &json!("good"))
        );
        assert_eq!(state["gates"][1]["state"], "Waiting");

        send(&api, settle(&id, "approve", "acceptance", "lead")).await;
        let (state, log) = wait(&api, &id).await;
        assert_eq!(state["result"], "Promoted", "{log}");
        assert!(log.contains("gate acceptance waits for an approval"), "{log}");
    });
}

#[test]
fn rejected_release_is_rolled_back_with_who_and_why() {
    run(async {
        let cluster = gated(22).await;
        let api = api(&cluster);
        let (_, made) = send(&api, promote("build-1", "shop:good-2")).await;
        let id = made["id"].as_str().unwrap().to_owned();
        held(&cluster, "AwaitingApproval", "smoke").await;
        send(&api, settle(&id, "approve", "smoke", "good")).await;
        held(&cluster, "AwaitingApproval", "acceptance").await;
        send(&api, settle(&id, "reject", "acceptance", "lead")).await;
        let (state, log) = wait(&api, &id).await;
        assert_eq!(state["result"], "RolledBack", "{log}");
        let message = state["message"].as_str().unwrap();
        assert!(
            message.contains("gate acceptance was not passed by lead: looked at it"),
            "{message}"
        );
        assert_eq!(weight(&cluster), 0);
    });
}

#[test]
fn approval_belongs_to_one_revision_and_the_next_one_asks_again() {
    run(async {
        let cluster = gated(23).await;
        let api = api(&cluster);
        cluster.ship(NS, "shop", "shop:good-2").unwrap();
        held(&cluster, "AwaitingApproval", "smoke").await;
        let revision = |cluster: &SimCluster| {
            let canary = cluster.get(&key(Kind::CANARY)).unwrap();
            canary["status"]["revision"]["current"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        let old = revision(&cluster);
        // A newer revision comes in the moment in which the old one is approved.
        cluster.ship(NS, "shop", "shop:good-3").unwrap();
        let body = json!({"gate": "smoke", "revision": old});
        let (status, _) = send(&api, post("canaries/shop/approve", &body)).await;
        assert_eq!(status, 202);
        cluster.pass(TimeDelta::seconds(60)).await;
        assert_ne!(revision(&cluster), old);
        assert_eq!(weight(&cluster), 0, "the approval was for another revision (W41)");
        held(&cluster, "AwaitingApproval", "smoke").await;
        let body = json!({"gate": "smoke", "revision": revision(&cluster)});
        send(&api, post("canaries/shop/approve", &body)).await;
        reaches(&cluster, 10).await;
    });
}

#[test]
fn whoever_may_not_create_approvals_may_not_approve_and_a_gate_that_is_none_is_named() {
    run(async {
        let cluster = gated(24).await;
        let api = api(&cluster);
        let (_, made) = send(&api, promote("build-1", "shop:good-2")).await;
        let id = made["id"].as_str().unwrap().to_owned();
        held(&cluster, "AwaitingApproval", "smoke").await;
        let (status, problem) = send(&api, settle(&id, "approve", "smoke", "reader")).await;
        assert_eq!((status.as_u16(), &problem["code"]), (403, &json!("forbidden")));
        let (_, answer) = send(&api, settle(&id, "approve", "smok", "lead")).await;
        let told = outcome(&cluster, answer["command"].as_str().unwrap()).await;
        assert_eq!(
            told,
            "refused: there is no gate smok; there are smoke, acceptance"
        );
        // Whoever was refused may try once more.
        for _ in 0..2 {
            let (_, answer) = send(&api, settle(&id, "approve", "smok", "lead")).await;
            let told = outcome(&cluster, answer["command"].as_str().unwrap()).await;
            assert!(told.starts_with("refused"), "{told}");
        }
        let (_, answer) = send(&api, settle(&id, "approve", "smoke", "lead")).await;
        assert_eq!(
            outcome(&cluster, answer["command"].as_str().unwrap()).await,
            "done"
        );
        let (status, problem) = send(&api, post(format!("promotions/{id}/approve"), &json!({}))).await;
        assert_eq!((status.as_u16(), &problem["code"]), (400, &json!("bad_request")));
    });
}

/// Who may decide on one gate alone.
#[test]
fn right_may_be_for_one_canary_or_one_gate() {
    run(async {
        let cluster = gated(26).await;
        let api = api(&cluster);
        let by = |call: Call, token| Call {
            token: Some(token),
            ..call
        };
        let (status, problem) = send(&api, by(promote("build-1", "shop:good-2"), "narrow")).await;
        assert_eq!(status.as_u16(), 403, "{problem}");
        let told = problem["detail"].as_str().unwrap();
        assert!(
            told.contains("narrow may not create canaries/promote.bellwether.dev shop"),
            "{told}"
        );
        let (_, made) = send(&api, promote("build-1", "shop:good-2")).await;
        let id = made["id"].as_str().unwrap().to_owned();
        let (status, _) = send(
            &api,
            by(post(format!("promotions/{id}/abort"), &json!({})), "narrow"),
        )
        .await;
        assert_eq!(status.as_u16(), 403);
        held(&cluster, "AwaitingApproval", "smoke").await;
        let (status, problem) = send(&api, settle(&id, "approve", "acceptance", "smoke")).await;
        assert_eq!(status.as_u16(), 403, "{problem}");
        let (status, answer) = send(&api, settle(&id, "approve", "smoke", "smoke")).await;
        assert_eq!(status.as_u16(), 202, "{answer}");
        assert_eq!(
            outcome(&cluster, answer["command"].as_str().unwrap()).await,
            "done"
        );
        let (status, _) = send(&api, settle("p-none", "approve", "smoke", "smoke")).await;
        assert_eq!(status.as_u16(), 403, "nobody learns which promotions there are");
    });
}

/// They start the release, let go of its record, release it once more, and approve it.
#[test]
fn requester_who_lets_go_of_every_record_still_cannot_approve() {
    run(async {
        let cluster = gated(27).await;
        let api = api(&cluster);
        let body = json!({"image": "shop:good-2", "policy": {"ttlSeconds": 0}});
        let start = Call {
            key: Some("build-1".to_owned()),
            ..post("canaries/shop/promotions", &body)
        };
        let (_, made) = send(&api, start).await;
        let id = made["id"].as_str().unwrap().to_owned();
        held(&cluster, "AwaitingApproval", "smoke").await;
        let (status, _) = send(&api, post(format!("promotions/{id}/abort"), &json!({}))).await;
        assert_eq!(status.as_u16(), 202);
        await_phase(&cluster, "Failed", 60).await;
        cluster.pass(TimeDelta::seconds(10)).await;
        let (status, problem) = send(&api, get(format!("promotions/{id}"))).await;
        assert_eq!(
            (status.as_u16(), &problem["code"]),
            (410, &json!("expired")),
            "{problem}"
        );
        let canary = cluster.get(&key(Kind::CANARY)).unwrap();
        let revision = canary["status"]["revision"]["current"].clone();
        let retry = post("canaries/shop/retry", &json!({"revision": revision}));
        let (status, _) = send(
            &api,
            Call {
                token: Some("lead"),
                ..retry
            },
        )
        .await;
        assert_eq!(status.as_u16(), 202);
        held(&cluster, "AwaitingApproval", "smoke").await;
        let settle = |gate: &str, by| Call {
            token: Some(by),
            ..post(
                "canaries/shop/approve",
                &json!({"gate": gate, "revision": revision}),
            )
        };
        let (_, answer) = send(&api, settle("smoke", "good")).await;
        assert_eq!(
            outcome(&cluster, answer["command"].as_str().unwrap()).await,
            "done"
        );
        held(&cluster, "AwaitingApproval", "acceptance").await;
        for by in ["good", "lead"] {
            let (_, answer) = send(&api, settle("acceptance", by)).await;
            let told = outcome(&cluster, answer["command"].as_str().unwrap()).await;
            assert!(told.contains("asked for this release"), "{by}: {told}");
        }
        // An approval of somebody else for them is theirs as well.
        let body = json!({"gate": "acceptance", "revision": revision, "onBehalfOf": ["Good"]});
        let call = Call {
            token: Some("everywhere"),
            ..post("canaries/shop/approve", &body)
        };
        let (_, answer) = send(&api, call).await;
        let told = outcome(&cluster, answer["command"].as_str().unwrap()).await;
        assert!(told.contains("asked for this release"), "{told}");
        let (_, answer) = send(&api, settle("acceptance", "everywhere")).await;
        assert_eq!(
            outcome(&cluster, answer["command"].as_str().unwrap()).await,
            "done"
        );
        await_phase(&cluster, "Succeeded", 120).await;
    });
}

#[test]
fn gate_that_stays_closed_for_too_long_rolls_the_release_back() {
    run(async {
        let cluster = under_canary(25).await;
        let gates = json!([{"name": "smoke", "at": "confirm-rollout", "approval": {}, "timeout": "5m"}]);
        set_gates(&cluster, &gates);
        cluster.ship(NS, "shop", "shop:good-2").unwrap();
        await_phase(&cluster, "Waiting", 10).await;
        let target = cluster.get(&key(Kind::DEPLOYMENT)).unwrap();
        assert_eq!(target["spec"]["replicas"], 0, "no pod is started");
        await_phase(&cluster, "Failed", 330).await;
        let canary = cluster.get(&key(Kind::CANARY)).unwrap();
        let message = canary["status"]["message"].as_str().unwrap();
        assert!(
            message.contains("gate smoke was not passed: still closed after 5 min"),
            "{message}"
        );
    });
}

#[test]
fn pods_that_a_manifest_starts_go_while_nobody_has_confirmed_the_release() {
    run(async {
        let cluster = under_canary(29).await;
        let gates = json!([{"name": "smoke", "at": "confirm-rollout", "approval": {}}]);
        set_gates(&cluster, &gates);
        cluster.ship(NS, "shop", "shop:good-2").unwrap();
        cluster
            .merge(&key(Kind::DEPLOYMENT), json!({"spec": {"replicas": 2}}))
            .unwrap();
        await_phase(&cluster, "Waiting", 10).await;
        let gone = |target: &Value| target["spec"]["replicas"] == 0;
        assert!(
            cluster
                .wait(&key(Kind::DEPLOYMENT), TimeDelta::seconds(60), gone)
                .await
        );
        held(&cluster, "AwaitingApproval", "smoke").await;
    });
}

fn freeze(kind: &str, spec: &Value) -> Value {
    json!({"apiVersion": "bellwether.dev/v1beta1", "kind": kind, "metadata": {"name": "holidays"}, "spec": spec})
}

#[test]
fn freeze_of_the_namespace_refuses_promotions_and_its_end_begins_those_that_wait() {
    run(async {
        let cluster = under_canary(26).await;
        let api = api(&cluster);
        cluster
            .apply(NS, freeze("Freeze", &json!({"reason": "nobody is there"})))
            .unwrap();
        cluster.pass(TimeDelta::seconds(1)).await;
        let (status, problem) = send(&api, promote("build-1", "shop:good-2")).await;
        assert_eq!(
            (status.as_u16(), &problem["code"]),
            (423, &json!("frozen")),
            "{problem}"
        );
        assert!(
            problem["detail"]
                .as_str()
                .unwrap()
                .contains("Freeze holidays: nobody is there")
        );

        let body = json!({"image": "shop:good-2", "policy": {"conflict": "queue"}});
        let queued = Call {
            key: Some("build-2".to_owned()),
            ..post("canaries/shop/promotions", &body)
        };
        let (status, made) = send(&api, queued).await;
        assert_eq!(status, 201, "{made}");
        cluster.pass(TimeDelta::seconds(60)).await;
        let id = made["id"].as_str().unwrap();
        let (_, state) = send(&api, get(format!("promotions/{id}"))).await;
        assert_eq!(
            (&state["phase"], &state["reason"]),
            (&json!("Pending"), &json!("Frozen"))
        );
        let image = |cluster: &SimCluster| {
            let target = cluster.get(&key(Kind::DEPLOYMENT)).unwrap();
            target["spec"]["template"]["spec"]["containers"][0]["image"].clone()
        };
        assert_eq!(image(&cluster), "shop:good-1", "the workload is left alone");
        cluster.delete(&Key::new(Kind::FREEZE, NS, "holidays")).unwrap();
        let (state, log) = wait(&api, id).await;
        assert_eq!(state["result"], "Promoted", "{log}");
    });
}

#[test]
fn cluster_freeze_that_holds_stops_a_release_between_two_steps_and_rollback_still_works() {
    run(async {
        let cluster = under_canary(27).await;
        cluster.ship(NS, "shop", "shop:errors60-2").unwrap();
        reaches(&cluster, 10).await;
        cluster
            .apply(
                "",
                freeze(
                    "ClusterFreeze",
                    &json!({"reason": "incident", "underWay": "hold"}),
                ),
            )
            .unwrap();
        await_phase(&cluster, "Failed", 60).await;
        cluster.ship(NS, "shop", "shop:good-3").unwrap();
        held(&cluster, "Frozen", "ClusterFreeze holidays: incident").await;
        await_phase(&cluster, "Failed", 1).await;
        cluster
            .delete(&Key::new(Kind::CLUSTER_FREEZE, "", "holidays"))
            .unwrap();
        reaches(&cluster, 30).await;
        cluster
            .apply(
                "",
                freeze(
                    "ClusterFreeze",
                    &json!({"reason": "incident", "underWay": "hold"}),
                ),
            )
            .unwrap();
        held(&cluster, "Frozen", "incident").await;
        cluster.pass(TimeDelta::seconds(120)).await;
        assert_eq!(weight(&cluster), 30, "no further step");
        cluster
            .delete(&Key::new(Kind::CLUSTER_FREEZE, "", "holidays"))
            .unwrap();
        await_phase(&cluster, "Succeeded", 120).await;
    });
}

#[test]
fn window_of_a_freeze_ends_by_itself() {
    run(async {
        let cluster = under_canary(28).await;
        let begins = cluster.now() + TimeDelta::minutes(2);
        let schedule = begins.format("%M %H * * *").to_string();
        let spec = json!({"reason": "deploy stop", "canaryRef": {"name": "shop"},
            "windows": [{"schedule": schedule, "duration": "30m"}]});
        cluster.apply(NS, freeze("Freeze", &spec)).unwrap();
        cluster.pass(TimeDelta::minutes(3)).await;
        cluster.ship(NS, "shop", "shop:good-2").unwrap();
        held(&cluster, "Frozen", "deploy stop").await;
        cluster.pass(TimeDelta::minutes(20)).await;
        assert_eq!(weight(&cluster), 0);
        await_phase(&cluster, "Progressing", 10 * 60).await;
        await_phase(&cluster, "Succeeded", 300).await;
    });
}
