//! The hook API on the simulated cluster: the real router over the caches of the real controller, whose clients are called
//! without sockets.

mod clients; // notes that a client is there
mod description; // OpenAPI
mod explanation; // of a Canary
mod forgotten; // promotions that are over and gone
mod names; // of other Canaries
mod orders; // about a release
mod outcomes; // what became of an order
mod promotions; // from the start to the verdict
mod refusals; // who may, and what is nonsense
mod tenants; // shares, and what people type

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
    let gatekeeper = Gatekeeper::new(Arc::new(People), Tokens::none(), clock);
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
