//! The hook API on the simulated cluster: the real router over the caches of the real controller, whose clients are called
//! without sockets.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    body::Body,
    http::{Request, Response, StatusCode},
};
use bellwether::{
    clock::Clock,
    explain::Explanation,
    hook_api::{Hook, Tokens, auth::Gatekeeper},
    sim::{
        api_server::{
            Key, Kind, Witness,
            request::Verb,
            store::{Change, Store},
        },
        cluster::SimCluster,
    },
};
use chrono::TimeDelta;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower_service::Service;

use crate::shared::{
    people::People,
    shop::{NS, await_phase, key, run, under_canary},
};

pub fn api(cluster: &SimCluster) -> Router {
    let ctx = cluster.context_of(0).unwrap();
    let clock: Arc<dyn Clock> = ctx.clock.clone();
    let gatekeeper = Gatekeeper::new(Arc::new(People), Tokens::none(clock.clone()), clock);
    bellwether::hook_api::router(Hook::new(ctx, gatekeeper))
}

pub struct Call {
    pub method: &'static str,
    pub path: String,
    pub token: Option<&'static str>,
    pub key: Option<String>,
    pub body: String,
}

pub fn get(path: impl Into<String>) -> Call {
    Call {
        method: "GET",
        path: format!("/v1/namespaces/{NS}/{}", path.into()),
        token: Some("good"),
        key: None,
        body: String::new(),
    }
}

fn unusual(method: &'static str, path: &str) -> Call {
    Call { method, ..get(path) }
}

pub fn post(path: impl Into<String>, body: &Value) -> Call {
    Call {
        method: "POST",
        body: body.to_string(),
        ..get(path)
    }
}

pub fn promote(key: &str, image: &str) -> Call {
    Call {
        key: Some(key.to_owned()),
        ..post("canaries/shop/promotions", &json!({"image": image}))
    }
}

pub async fn respond(api: &Router, call: Call) -> Response<Body> {
    let mut request = Request::builder().method(call.method).uri(&call.path);
    if let Some(token) = call.token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    if let Some(key) = call.key {
        request = request.header("Idempotency-Key", key);
    }
    api.clone()
        .call(request.body(Body::from(call.body)).unwrap())
        .await
        .unwrap()
}

pub async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub async fn send(api: &Router, call: Call) -> (StatusCode, Value) {
    let response = respond(api, call).await;
    let status = response.status();
    let text = text(response).await;
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// Waits so many seconds for the outcome of the order at `path`, as `by`.
pub fn waiting(path: &str, seconds: u32, by: &'static str) -> Call {
    Call {
        path: format!("{path}?waitSeconds={seconds}"),
        token: Some(by),
        ..get("")
    }
}

/// Waits by long polls until the promotion is over; reads its log on the way. Returns the state and the whole log.
pub async fn wait(api: &Router, id: &str) -> (Value, String) {
    let (mut log, mut offset, mut seq) = (String::new(), 0, -1);
    for _ in 0..200 {
        let (status, state) = send(api, get(format!("promotions/{id}?waitSeconds=20&afterSeq={seq}"))).await;
        assert_eq!(status, StatusCode::OK, "{state}");
        seq = state["seq"].as_i64().unwrap();
        let part = respond(api, get(format!("promotions/{id}/log?start={offset}"))).await;
        offset = part.headers()["x-text-size"].to_str().unwrap().parse().unwrap();
        log.push_str(&text(part).await);
        if state["finished"] == true {
            return (state, log);
        }
    }
    panic!("promotion {id} does not end: {log}");
}

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

#[test]
fn nobody_unknown_writes_and_nobody_does_what_they_may_not() {
    run(async {
        let cluster = under_canary(8).await;
        let api = api(&cluster);
        for (token, expected) in [
            (None, StatusCode::UNAUTHORIZED),
            (Some("stranger"), StatusCode::UNAUTHORIZED),
            (Some("reader"), StatusCode::FORBIDDEN),
        ] {
            let call = Call {
                token,
                ..promote("key", "shop:good-2")
            };
            let (status, problem) = send(&api, call).await;
            assert_eq!(status, expected, "{token:?}: {problem}");
        }
        let call = Call {
            path: "/v1/namespaces/other/canaries/shop".to_owned(),
            ..get("")
        };
        assert_eq!(send(&api, call).await.0, StatusCode::FORBIDDEN);
        let call = Call {
            token: Some("reader"),
            ..get("canaries/shop")
        };
        assert_eq!(send(&api, call).await.0, StatusCode::OK);
        let promotions = cluster
            .server
            .read(|store| store.all().filter(|(key, _)| key.kind == Kind::PROMOTION).count());
        assert_eq!(promotions, 0);
    });
}

#[test]
fn nonsense_is_refused_and_says_what_would_be_right() {
    run(async {
        let cluster = under_canary(9).await;
        let api = api(&cluster);
        let with = |body: Value| Call {
            body: body.to_string(),
            ..promote("nonsense", "")
        };
        let cases = [
            (with(json!({"imgae": "shop:good-2"})), 400, "imgae"),
            (with(json!({})), 400, "exactly one of image"),
            (
                with(json!({"image": "a", "images": {"app": "b"}})),
                400,
                "exactly one of image",
            ),
            (with(json!({"image": 7})), 400, "image"),
            (
                with(json!({"image": "a", "policy": {"conflict": "maybe"}})),
                400,
                "maybe",
            ),
            (
                with(json!({"image": "a", "policy": {"deadlineSeconds": 1}})),
                400,
                "deadlineSeconds",
            ),
            (
                with(json!({"image": "a", "requester": {"authenticatedAs": "root"}})),
                400,
                "authenticatedAs",
            ),
            (
                Call {
                    key: None,
                    ..promote("", "shop:good-2")
                },
                400,
                "Idempotency-Key",
            ),
            (promote(&"k".repeat(201), "shop:good-2"), 400, "Idempotency-Key"),
            (
                Call {
                    body: "x".repeat(300 * 1024),
                    ..promote("long", "")
                },
                413,
                "bytes",
            ),
            (
                Call {
                    key: Some("k".to_owned()),
                    ..post("canaries/none/promotions", &json!({"image": "a"}))
                },
                404,
                "no Canary",
            ),
            (get("promotions/p-none"), 404, "no promotion"),
            (get("promotions/p-none?waitSeconds=26"), 400, "waitSeconds"),
            (get("promotions/p-none?waitseconds=2"), 400, "waitseconds"),
            (get("promotions/p-none/log?start=-1"), 400, "start"),
            (get("commands/c-none?waitSeconds=1"), 404, "no command"),
            (get("approvals/a-none"), 404, "no approval"),
            (get("commands/c-none?waitSeconds=26"), 400, "waitSeconds"),
            (get("commands/c-none?afterSeq=2"), 400, "afterSeq"),
            (get("approvals/..%2f..%2fx"), 404, "no approval"),
            (get("promotions/..%2f..%2fx"), 404, "no promotion"),
            (get("elsewhere"), 404, "openapi"),
            (
                post("canaries/shop/undo", &json!({"revision": "0000000"})),
                400,
                "revision",
            ),
            (
                post("canaries/shop/retry", &json!({"revision": "0".repeat(65)})),
                400,
                "revision",
            ),
            (get("promotions/%FF"), 400, "path"),
            (get("promotions/%FF/log"), 400, "path"),
            (post("canaries/%ff%fe/promotions", &json!({})), 400, "path"),
            (get("promotions/%zz"), 404, "no promotion"),
            (get("promotions/p-none?waitSeconds=%FF"), 400, "waitSeconds"),
            (get("promotions/p-none?waitSeconds=-1"), 400, "waitSeconds"),
            (get("promotions/p-none/"), 404, "openapi"),
            (unusual("DELETE", "promotions/p-none"), 405, "method"),
            (unusual("OPTIONS", "promotions/p-none"), 405, "method"),
            (unusual("TRACE", "canaries/shop/undo"), 405, "method"),
            (unusual("BREW", "canaries/shop/undo"), 405, "method"),
            (unusual("HEAD", "canaries/shop/undo"), 405, ""),
            (unusual("HEAD", "elsewhere"), 404, ""),
            (post("canaries/shop", &json!({})), 405, "method"),
        ];
        for (call, expected, named) in cases {
            let (method, path) = (call.method, call.path.clone());
            let response = respond(&api, call).await;
            let status = response.status().as_u16();
            let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
            let text = text(response).await;
            assert_eq!(status, expected, "{method} {path}: {text}");
            assert_eq!(kind, "application/problem+json; charset=utf-8", "{method} {path}");
            assert!(text.contains(named), "{method} {path}: {named} is not in {text}");
        }
        let promotions = cluster
            .server
            .read(|store| store.all().filter(|(key, _)| key.kind == Kind::PROMOTION).count());
        assert_eq!(promotions, 0);
    });
}

#[test]
fn description_names_every_path_and_every_path_it_names_is_served() {
    run(async {
        let cluster = under_canary(10).await;
        let api = api(&cluster);
        let call = Call {
            path: "/v1/openapi.json".to_owned(),
            token: None,
            ..get("")
        };
        let (status, document) = send(&api, call).await;
        assert_eq!((status, &document["openapi"]), (StatusCode::OK, &json!("3.1.0")));
        let paths = document["paths"].as_object().unwrap();
        let mut operations = Vec::new();
        for (method, operation) in paths.values().flat_map(|methods| methods.as_object().unwrap()) {
            operations.push(operation["operationId"].as_str().unwrap());
            let responses = operation["responses"].as_object().unwrap();
            let described = |status: &str| responses.contains_key(status);
            assert!(described("400"), "{operation}");
            assert_eq!(
                (described("408"), described("413")),
                (method == "post", method == "post")
            );
        }
        operations.sort_unstable();
        // Clients are made of these.
        assert_eq!(
            operations.join(" "),
            "abortPromotion advancePromotion approveGateOfPromotion approveGateOfRevision getApproval getCanary \
             getCommand getExplanation getLog getPromotion getResult pausePromotion rejectGateOfPromotion \
             rejectGateOfRevision resumePromotion retry skipAnalysis startPromotion undo"
        );
        for (path, methods) in paths {
            for method in methods.as_object().unwrap().keys() {
                let filled = path
                    .replace("{namespace}", NS)
                    .replace("{canary}", "shop")
                    .replace("{id}", "p-none")
                    .replace("{name}", "c-none");
                let call = Call {
                    method: if method == "post" { "POST" } else { "GET" },
                    path: filled,
                    key: Some("key".to_owned()),
                    ..get("")
                };
                let (status, answer) = send(&api, call).await;
                let unserved = answer["detail"]
                    .as_str()
                    .is_some_and(|detail| detail.contains("openapi.json"));
                assert!(
                    !unserved && status != StatusCode::METHOD_NOT_ALLOWED,
                    "{method} {path}: {answer}"
                );
            }
        }
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer} is nowhere");
        }
    });
}

#[test]
fn client_that_asks_keeps_its_release_and_one_that_falls_silent_loses_it() {
    run(async {
        let cluster = under_canary(11).await;
        let slow = json!({"spec": {"analysis": {"interval": "3m"}}});
        cluster.merge(&key(Kind::CANARY), slow).unwrap();
        let api = api(&cluster);
        let body = json!({"image": "shop:good-2",
            "policy": {"onClientLost": "rollback", "clientLostSeconds": 60}});
        let call = Call {
            key: Some("watched".to_owned()),
            ..post("canaries/shop/promotions", &body)
        };
        let (status, made) = send(&api, call).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        let id = made["id"].as_str().unwrap();
        for _ in 0..6 {
            cluster.pass(TimeDelta::seconds(40)).await;
            let (_, state) = send(&api, get(format!("promotions/{id}"))).await;
            assert_eq!(state["finished"], false, "{state}");
        }
        cluster.pass(TimeDelta::seconds(100)).await;
        let promotion = cluster.get(&Key::new(Kind::PROMOTION, NS, id)).unwrap();
        assert_eq!(promotion["status"]["phase"], "Aborted", "{promotion}");
        let message = promotion["status"]["message"].as_str().unwrap();
        assert!(message.contains("its client is lost"), "{message}");
    });
}

/// Counts what is patched of promotions, whatever becomes of it.
#[derive(Clone, Default)]
struct Patches(Arc<AtomicUsize>);

impl Witness for Patches {
    fn saw(&mut self, _: &Change, _: &Store) {}

    fn asked(&mut self, _: &'static str, verb: Verb, kind: Kind, _: &Store) {
        let patch = verb == Verb::Patch && kind == Kind::PROMOTION;
        self.0.fetch_add(usize::from(patch), Ordering::SeqCst);
    }
}

#[test]
fn clients_of_one_promotion_are_noted_once_and_only_on_what_is_known_of_it() {
    run(async {
        let cluster = under_canary(13).await;
        let api = api(&cluster);
        let body = json!({"image": "shop:good-2", "policy": {"onClientLost": "rollback"}});
        let call = Call {
            key: Some("watched".to_owned()),
            ..post("canaries/shop/promotions", &body)
        };
        let (_, made) = send(&api, call).await;
        let id = made["id"].as_str().unwrap().to_owned();
        let promotion = Key::new(Kind::PROMOTION, NS, &id);
        let seen = |object: &Value| {
            let seen = &object["metadata"]["annotations"]["bellwether.dev/client-seen-at"];
            seen.as_str().map(str::to_owned)
        };
        // Nothing else is written meanwhile.
        cluster
            .merge(
                &key(Kind::CANARY),
                json!({"spec": {"analysis": {"interval": "3m"}}}),
            )
            .unwrap();
        cluster.pass(TimeDelta::seconds(30)).await;
        cluster
            .merge(&promotion, json!({"metadata": {"labels": {"known": "late"}}}))
            .unwrap();
        // The watch has not told it yet.
        send(&api, get(format!("promotions/{id}"))).await;
        cluster.pass(TimeDelta::seconds(4)).await;
        assert_eq!(seen(&cluster.get(&promotion).unwrap()), None);

        cluster.pass(TimeDelta::seconds(2)).await;
        let patches = Patches::default();
        cluster.server.add_witness(Box::new(patches.clone()));
        for _ in 0..50 {
            send(&api, get(format!("promotions/{id}"))).await;
        }
        cluster.pass(TimeDelta::milliseconds(100)).await;
        for _ in 0..50 {
            send(&api, get(format!("promotions/{id}/log"))).await;
        }
        cluster.pass(TimeDelta::seconds(10)).await;
        assert!(seen(&cluster.get(&promotion).unwrap()).is_some());
        assert_eq!(patches.0.load(Ordering::SeqCst), 1);
    });
}

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
        assert_eq!(questions.0.load(Ordering::SeqCst), 1, "what is asked is counted");
    });
}
