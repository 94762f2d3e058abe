//! What lies between a pipeline and the hook API (proxies, login pages, gateways) is a fake.

use std::{
    convert::Infallible,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::{hooked, ran, serve};
use crate::shared::shop::NS;

/// A promotion behind everything that can lie between a pipeline and the hook API.
#[derive(Default)]
struct Rocky {
    asked: Vec<String>,
    starts: usize,
    logs: usize,
}

async fn rocky(State(rocky): State<Arc<Mutex<Rocky>>>, request: Request) -> Response {
    let mut rocky = rocky.lock().unwrap();
    let path = request.uri().to_string();
    let known = request.headers().contains_key(header::AUTHORIZATION);
    rocky.asked.push(format!("{} {path} {known}", request.method()));
    let log = |text: &'static str, end: &'static str| ([("x-text-size", end)], text).into_response();
    let state = |seq: i64, finished: bool| {
        let phase = if finished { "Promoted" } else { "Running" };
        axum::Json(json!({"id": "p-1", "namespace": NS, "canary": "shop", "seq": seq, "phase": phase,
            "finished": finished, "exitCode": finished.then_some(0), "weight": 10, "logBytes": if finished { 12 } else { 6 },
            "unheardOf": {"of": 1}}))
        .into_response()
    };
    if path.ends_with("/promotions") {
        rocky.starts += 1;
        return match rocky.starts {
            1 => (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")], "").into_response(),
            2 => (StatusCode::FOUND, [("location", "/login")], "").into_response(),
            3 => axum::response::Html("<h1>Log in</h1>").into_response(),
            4 => {
                let piece = Bytes::from("x".repeat(1 << 20));
                let without_end = futures::stream::repeat_with(move || Ok::<_, Infallible>(piece.clone()));
                Body::from_stream(without_end).into_response()
            }
            _ => state(1, false),
        };
    }
    if path.contains("/log") {
        rocky.logs += 1;
        return match rocky.logs {
            1 => log("first\n", "6"),
            // A replica that is behind.
            2 => log("", "3"),
            3 => (StatusCode::BAD_GATEWAY, "<html>").into_response(),
            _ if path.ends_with("start=6") => log("secon", "11"),
            _ => log("\n", "12"),
        };
    }
    match path.contains("afterSeq") {
        true => state(2, true),
        false => state(1, false),
    }
}

#[test]
fn what_lies_between_is_waited_out_and_the_token_goes_nowhere_else() {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let log = Arc::new(Mutex::new(Rocky::default()));
        let url = serve(Router::new().fallback(rocky).with_state(log.clone())).await;
        let flags = [
            "promote",
            "shop",
            "--image",
            "shop:good-2",
            "--wait",
            "--key",
            "k",
        ];
        // The API may have a path of its own.
        let ran = ran(hooked(&format!("{url}/bell/"), &flags)).await.expect(0);
        assert_eq!(ran.out, "promotion p-1 of shop/shop\nfirst\nsecon\n");
        for why in [
            "status 503",
            "status 302",
            "a page came",
            "more than 64 MiB",
            "status 502",
        ] {
            assert!(ran.err.contains(why), "{why} is not in {}", ran.err);
        }
        let asked = &log.lock().unwrap().asked;
        let ours = |line: &String| line.contains("/bell/v1/namespaces/shop/") && line.ends_with("true");
        assert!(asked.iter().all(ours), "{asked:#?}");
    });
}

#[test]
fn nothing_that_answers_ends_with_7() {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let busy = || async { (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "60")], "") };
        let url = serve(Router::new().fallback(busy)).await;
        let ran = ran(hooked(&url, &["wait", "p-1", "--timeout", "1"]))
            .await
            .expect(7);
        assert!(
            ran.err.contains("asking again in 60 s") && ran.err.contains("within 1 s"),
            "{ran:#?}"
        );
    });
}

/// A hook API that takes a promotion in and then says nothing more of it.
async fn silent(request: Request) -> Response {
    if request.uri().query().is_some() {
        return std::future::pending().await;
    }
    axum::Json(
        json!({"id": "p-1", "namespace": NS, "canary": "shop", "phase": "Running", "finished": false,
        "exitCode": null}),
    )
    .into_response()
}

#[test]
fn document_of_a_wait_that_was_too_long_names_the_promotion() {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let url = serve(Router::new().fallback(silent)).await;
        let flags = [
            "promote",
            "shop",
            "--image",
            "shop:good-2",
            "--wait",
            "--timeout",
            "3",
        ];
        let mut command = hooked(&url, &flags);
        command.args(["-o", "json"]);
        let waited = ran(command).await.expect(7);
        let state = waited.json();
        assert_eq!((&state["id"], &state["finished"]), (&json!("p-1"), &json!(false)));
        assert!(waited.err.contains("no verdict within 3 s"), "{waited:#?}");
        let waited = ran(hooked(&url, &flags)).await.expect(7);
        assert_eq!(waited.out, "promotion p-1 of shop/shop\n");
    });
}

#[test]
fn explanation_of_a_newer_controller_is_printed_as_it_came() {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let told = json!({"namespace": NS, "name": "shop", "phase": "Unheard", "hold": {"reason": "Unheard"},
            "next": [], "unheardOf": {"of": 1}});
        let answer = told.clone();
        let url = serve(Router::new().fallback(move || async { axum::Json(answer) })).await;
        let document = ran(hooked(&url, &["explain", "shop", "-o", "json"]))
            .await
            .expect(4);
        assert_eq!(document.json(), told);
        let text = ran(hooked(&url, &["explain", "shop"])).await.expect(1);
        assert!(text.out.is_empty() && text.err.contains("-o json"), "{text:#?}");
    });
}

/// A file that goes with the test.
struct File(PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn token_file_that_goes_during_a_wait_is_waited_for() {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let name = format!("bellwether-exchanged-{}", std::process::id());
        let file = Arc::new(File(std::env::temp_dir().join(name)));
        let (taken, asked) = (file.clone(), Arc::new(AtomicI64::new(0)));
        // The first question is answered when the file is gone.
        let answer = move || {
            let seq = asked.fetch_add(1, Ordering::Relaxed);
            if seq == 0 {
                std::fs::remove_file(&taken.0).unwrap();
            }
            let state =
                json!({"id": "p-1", "seq": seq, "phase": "Promoted", "finished": seq > 0, "exitCode": 0});
            async move { axum::Json(state) }
        };
        let url = serve(Router::new().fallback(answer)).await;
        let wait = || {
            let mut command = hooked(&url, &["wait", "p-1", "--timeout", "20"]);
            command.env("BELLWETHER_TOKEN_FILE", &file.0);
            command
        };
        for (text, why) in [
            (None, "No such file"),
            (Some(" \n"), "empty"),
            (Some("a\u{7}b"), "signs"),
        ] {
            if let Some(text) = text {
                std::fs::write(&file.0, text).unwrap();
            }
            let ran = ran(wait()).await.expect(2);
            assert!(
                ran.err.contains("--token-file") && ran.err.contains(why),
                "{ran:#?}"
            );
        }
        std::fs::write(&file.0, "first").unwrap();
        let mut waiting = wait().stderr(Stdio::piped()).spawn().unwrap();
        let back = file.clone();
        let ended = tokio::task::spawn_blocking(move || {
            let mut lines = BufReader::new(waiting.stderr.take().unwrap()).lines();
            let told = lines.next().unwrap().unwrap();
            std::fs::write(&back.0, "second").unwrap();
            (told, waiting.wait().unwrap().code())
        });
        let (told, code) = ended.await.unwrap();
        assert!(
            told.contains("--token-file") && told.contains("asking again"),
            "{told}"
        );
        assert_eq!(code, Some(0));
    });
}

#[test]
fn token_that_others_can_read_is_warned_of_once() {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let asked = Arc::new(AtomicI64::new(0));
        let answer = move || {
            let seq = asked.fetch_add(1, Ordering::Relaxed);
            let state =
                json!({"id": "p-1", "seq": seq, "phase": "Promoted", "finished": seq > 0, "exitCode": 0});
            async move { axum::Json(state) }
        };
        let url = serve(Router::new().fallback(answer)).await;
        let mut wait = hooked("http://bellwether.example", &["wait", "p-1", "--timeout", "20"]);
        wait.env("HTTP_PROXY", &url);
        let warned = ran(wait).await.expect(0).err;
        assert_eq!(warned.lines().count(), 1, "{warned}");
        assert!(warned.contains("others can read the token"), "{warned}");
        let quiet = ran(hooked(&url, &["wait", "p-1", "--timeout", "20"]))
            .await
            .expect(0);
        assert_eq!(quiet.err, "", "it does not leave the machine");
    });
}

#[test]
fn every_jenkins_build_has_a_key_of_its_own_and_keeps_it() {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let keys: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = keys.clone();
        let answer = move |request: Request| {
            let key = request.headers()["idempotency-key"].to_str().unwrap().to_owned();
            seen.lock().unwrap().push(key);
            let state =
                json!({"id": "p-1", "namespace": NS, "canary": "shop", "phase": "Pending", "finished": false,
                "exitCode": null});
            async move { axum::Json(state) }
        };
        let url = serve(Router::new().fallback(answer)).await;
        // Jobs a/b and a-b have the same tag.
        for build in [
            "https://ci.example/job/a/job/b/7/",
            "https://ci.example/job/a-b/7/",
            "",
        ] {
            for _ in 0..2 {
                let mut promote = hooked(&url, &["promote", "shop", "--image", "shop:good-2"]);
                promote.env("BUILD_TAG", "jenkins-a-b-7").env("BUILD_URL", build);
                ran(promote).await.expect(0);
            }
        }
        let keys = keys.lock().unwrap();
        let expected = [
            "https://ci.example/job/a/job/b/7/",
            "https://ci.example/job/a-b/7/",
            "jenkins-a-b-7",
        ];
        let twice: Vec<_> = expected.iter().flat_map(|key| [*key, *key]).collect();
        assert_eq!(*keys, twice);
    });
}
