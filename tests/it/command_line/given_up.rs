//! A command that gives up, for whatever reason, while a release may go on: it says so, and how to find it again.

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Json, Router,
    extract::Request,
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{hooked, ran, serve};
use crate::shared::shop::NS;

const PROMOTE: [&str; 7] = [
    "promote",
    "shop",
    "--image",
    "shop:good-2",
    "--wait",
    "--key",
    "k",
];

fn running() -> Value {
    json!({"id": "p-1", "namespace": NS, "canary": "shop", "phase": "Running", "finished": false, "exitCode": null,
        "seq": 1, "links": {"self": "https://hook.example/p-1"}})
}

fn refusal(status: StatusCode, code: &str) -> Response {
    let body = json!({"code": code, "detail": "no"}).to_string();
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
}

fn last_line(err: &str) -> &str {
    err.trim_end().lines().next_back().unwrap_or_default()
}

/// Answers `first` to the first request and `later` to the others.
fn first_and_then(first: fn() -> Response, later: fn() -> Response) -> Router {
    let asked = Arc::new(AtomicUsize::new(0));
    Router::new().fallback(move || {
        let number = asked.fetch_add(1, Ordering::Relaxed);
        async move { if number == 0 { first() } else { later() } }
    })
}

#[tokio::test]
async fn start_whose_answer_was_lost_is_told_although_a_page_refuses_what_comes_then() {
    let page = || (StatusCode::NOT_FOUND, Html("no such host")).into_response();
    let lost = || StatusCode::BAD_GATEWAY.into_response();
    let url = serve(first_and_then(lost, page)).await;
    let given_up = ran(hooked(&url, &PROMOTE)).await.expect(1);
    assert!(
        last_line(&given_up.err).contains("may have been started; the same call with --key 'k'"),
        "{given_up:#?}"
    );
}

#[tokio::test]
async fn start_that_was_refused_is_not_said_to_go_on() {
    let refused = || refusal(StatusCode::CONFLICT, "conflict");
    let url = serve(first_and_then(refused, refused)).await;
    let given_up = ran(hooked(&url, &PROMOTE)).await.expect(8);
    assert!(!given_up.err.contains("started"), "{given_up:#?}");
}

#[tokio::test]
async fn wait_that_was_never_answered_names_what_it_waits_for() {
    let away = || StatusCode::SERVICE_UNAVAILABLE.into_response();
    let url = serve(first_and_then(away, away)).await;
    let given_up = ran(hooked(&url, &["wait", "p-1", "--timeout", "1"]))
        .await
        .expect(7);
    assert!(
        last_line(&given_up.err).ends_with(&format!("bellwether wait p-1 --namespace {NS}")),
        "{given_up:#?}"
    );
}

#[tokio::test]
async fn signal_ends_a_wait_with_the_state_and_with_what_goes_on() {
    // It waits for what comes after the first state, so it has listened to signals for long.
    let waits = Arc::new(Notify::new());
    let told = waits.clone();
    let silent = async move |request: Request| {
        if request.uri().query().is_some() {
            told.notify_one();
            return std::future::pending().await;
        }
        Json(running()).into_response()
    };
    let url = serve(Router::new().fallback(silent)).await;
    for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let mut command = hooked(&url, &PROMOTE);
        command
            .args(["-o", "json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        waits.notified().await;
        let output = tokio::task::spawn_blocking(move || {
            let kill = format!("kill -{signal} {}", child.id());
            assert!(
                std::process::Command::new("sh")
                    .args(["-c", &kill])
                    .status()
                    .unwrap()
                    .success()
            );
            child.wait_with_output().unwrap()
        })
        .await
        .unwrap();
        let (out, err) = (
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        );
        assert_eq!(output.status.code(), Some(code), "{out}{err}");
        let state: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(state["id"], "p-1");
        assert!(err.contains(&format!("ended by SIG{signal}")), "{err}");
        let last = last_line(&err);
        assert!(
            last.contains("the release goes on: shop/p-1, https://hook.example/p-1"),
            "{err}"
        );
    }
}

#[tokio::test]
async fn verdict_that_is_known_is_not_lost_with_the_end_of_the_log() {
    let over = async |request: Request| {
        if request.uri().path().ends_with("/log") {
            return refusal(StatusCode::FORBIDDEN, "forbidden");
        }
        let mut state = running();
        state["finished"] = json!(true);
        state["phase"] = json!("Promoted");
        state["exitCode"] = json!(0);
        state["logBytes"] = json!(12);
        Json(state).into_response()
    };
    let url = serve(Router::new().fallback(over)).await;
    let promoted = ran(hooked(&url, &PROMOTE)).await.expect(0);
    assert!(
        promoted.err.contains("the end of the log could not be read") && !promoted.err.contains("goes on"),
        "{promoted:#?}"
    );
}

#[tokio::test]
async fn promotion_of_long_ago_is_said_to_be_found_again() {
    let over = async || {
        let mut state = running();
        state["finished"] = json!(true);
        state["exitCode"] = json!(0);
        state["createdAt"] = json!("2026-01-02T03:04:05Z");
        Json(state)
    };
    let url = serve(Router::new().fallback(over)).await;
    let found = ran(hooked(&url, &PROMOTE)).await.expect(0);
    assert!(
        found
            .err
            .contains("p-1 was started at 2026-01-02 03:04:05 UTC with the same key (k)"),
        "{found:#?}"
    );
}

/// An abort is ordered once for all who give up, and only where it is asked for.
#[tokio::test]
async fn promotion_that_nobody_waits_for_is_called_off_where_that_is_asked_for() {
    let aborts = Arc::new(AtomicUsize::new(0));
    let counted = aborts.clone();
    let answers = async move |request: Request| {
        let path = request.uri().path().to_owned();
        if path.ends_with("/abort") {
            assert_eq!(request.headers()["idempotency-key"], "lost-p-1");
            counted.fetch_add(1, Ordering::Relaxed);
            return Json(json!({"command": "c-1"})).into_response();
        }
        if path.ends_with("/commands/c-1") {
            return Json(json!({"outcome": "done"})).into_response();
        }
        if request.uri().query().is_some() {
            return std::future::pending().await;
        }
        Json(running()).into_response()
    };
    let url = serve(Router::new().fallback(answers)).await;
    let wait = ["wait", "p-1", "--timeout", "1"];
    let left = ran(hooked(&url, &wait)).await.expect(7);
    assert!(left.err.contains("the release goes on"), "{left:#?}");
    assert_eq!(aborts.load(Ordering::Relaxed), 0);
    let mut command = hooked(&url, &wait);
    command.args(["--on-lost", "abort"]);
    let called_off = ran(command).await.expect(7);
    assert!(
        called_off.err.contains("p-1 is called off: done") && !called_off.err.contains("goes on"),
        "{called_off:#?}"
    );
    assert_eq!(aborts.load(Ordering::Relaxed), 1);
}
