//! What becomes of a wait in the cluster whose watch breaks, is not allowed, or is of something that goes. The API server is
//! a fake that answers by a script.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{Ran, cluster::Kubeconfig, serve};
use crate::shared::shop::NS;

/// An answer to a list or a watch, which are asked for in turn.
type Answer = (StatusCode, Value);

fn object(kind: &str, name: &str, status: &Value) -> Value {
    let spec = match kind {
        "Promotion" => json!({"canaryRef": {"name": "shop"}, "image": "shop:good-2"}),
        _ => Value::Null,
    };
    json!({"apiVersion": "bellwether.dev/v1beta1", "kind": kind, "spec": spec, "status": status,
        "metadata": {"name": name, "namespace": NS, "uid": "u", "resourceVersion": "5"}})
}

fn promotion(phase: &str) -> Value {
    object("Promotion", "p-1", &json!({"phase": phase, "seq": 1}))
}

fn list(items: &[Value]) -> Answer {
    let list = json!({"apiVersion": "bellwether.dev/v1beta1", "kind": "List",
        "metadata": {"resourceVersion": "5"}, "items": items});
    (StatusCode::OK, list)
}

fn refusal(code: u16, reason: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason,
        "message": format!("{reason} by the fake")})
}

fn refused(code: u16, reason: &str) -> Answer {
    (StatusCode::from_u16(code).unwrap(), refusal(code, reason))
}

async fn answer(State(script): State<Arc<Mutex<VecDeque<Answer>>>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let (status, answer) = match path.rsplit('/').next().unwrap() {
        "commands" if request.method() == Method::POST => {
            (StatusCode::CREATED, object("Command", "c-1", &Value::Null))
        }
        "p-1" => (StatusCode::OK, promotion("Running")),
        "shop" if path.ends_with("/canaries/shop") => (StatusCode::OK, canary()),
        "promotions" | "commands" => match script.lock().unwrap().pop_front() {
            Some(next) => next,
            // A watch in which nothing happens.
            None => {
                return Body::from_stream(futures::stream::pending::<Result<String, String>>())
                    .into_response();
            }
        },
        _ => refused(404, "NotFound"),
    };
    (status, axum::Json(answer)).into_response()
}

fn canary() -> Value {
    let mut canary = crate::shared::shop::canary();
    canary["status"] = json!({"revision": {"current": "03cb9eb50e56"}});
    canary["metadata"]["resourceVersion"] = json!("5");
    canary
}

fn run(script: impl IntoIterator<Item = Answer>, arguments: &[&str]) -> Ran {
    let script = Arc::new(Mutex::new(script.into_iter().collect()));
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let url = serve(Router::new().fallback(answer).with_state(script)).await;
        Kubeconfig::of(&url).run(arguments).await
    })
}

/// Longer than anything here takes, and far from it.
const WAIT: [&str; 4] = ["wait", "p-1", "--timeout", "20"];

#[test]
fn watch_that_breaks_is_told_and_begun_anew() {
    let script = [refused(500, "InternalError"), list(&[promotion("Promoted")])];
    let ran = run(script, &WAIT).expect(0);
    let told = ran.err.contains("InternalError by the fake") && ran.err.contains("the watch is begun anew");
    assert!(told, "{ran:#?}");
}

#[test]
fn whoever_may_not_list_or_watch_is_told_at_once() {
    let may_not_list = vec![refused(403, "Forbidden")];
    let may_not_watch = vec![list(&[promotion("Running")]), refused(401, "Unauthorized")];
    for script in [may_not_list, may_not_watch] {
        let ran = run(script, &WAIT).expect(1);
        assert!(ran.err.contains("by the fake"), "{ran:#?}");
    }
    let ran = run([refused(403, "Forbidden")], &["pause", "shop"]).expect(1);
    let told = ran.err.contains("Forbidden by the fake") && ran.err.contains("is ordered");
    assert!(told, "{ran:#?}");
}

#[test]
fn promotion_that_was_deleted_while_the_watch_was_broken_is_not_waited_for() {
    let gone = json!({"type": "ERROR", "object": refusal(410, "Expired")});
    let script = [list(&[promotion("Running")]), (StatusCode::OK, gone), list(&[])];
    let ran = run(script, &WAIT).expect(1);
    assert!(ran.err.contains("Promotion p-1 was deleted"), "{ran:#?}");
}
