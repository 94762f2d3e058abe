//! Every call of the API as one table: the router and the description are made of it.

use std::sync::{Arc, LazyLock};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Query, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use serde::Deserialize;

use super::{
    BODY_LIMIT, Hook,
    body::{Abort, NewPromotion, Order, RevisionOrder, RevisionSettlement, Settlement},
    calls::{self, Caller},
    extract::{Path, RequestBody},
    openapi::{self, Body, Operation, Parameter},
    problem::{Code, Problem},
    view::{Accepted, CanaryView, PromotionView},
};
use crate::api::{GateDecision, Verb};

/// Parameters of a wait.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wait {
    /// Seconds to wait at most.
    #[serde(default)]
    pub wait_seconds: u64,
    /// Not before the number of the state is above this one.
    #[serde(default)]
    pub after_seq: Option<i64>,
}

/// Where a log is read on.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// Byte.
    #[serde(default)]
    pub start: i64,
}

type Shared = State<Arc<Hook>>;

/// What is described of every call.
#[must_use]
pub fn operations() -> Vec<Operation> {
    let wait = vec![
        Parameter::query("waitSeconds", "integer", "Seconds to wait at most, 0 to 25."),
        Parameter::query("afterSeq", "integer", "Wait until `seq` is above this one."),
    ];
    let mut all = vec![
        Operation::new(
            "post",
            "/v1/namespaces/{namespace}/canaries/{canary}/promotions",
            "startPromotion",
            "Start a promotion",
        )
        .with(vec![Parameter::header(
            "Idempotency-Key",
            "Makes the promotion unique: the same key is the same promotion.",
        )])
        .takes(Body::of::<NewPromotion>(true))
        .answers(
            &[(200, "It was started before"), (201, "It was created")],
            Body::of::<PromotionView>(true),
        )
        .refuses(&[400, 404, 409, 413, 422, 423]),
        Operation::new(
            "get",
            "/v1/namespaces/{namespace}/promotions/{id}",
            "getPromotion",
            "Get the state of a promotion, or wait for the next one",
        )
        .with(wait)
        .answers(&[(200, "The state")], Body::of::<PromotionView>(true))
        .refuses(&[400, 404]),
        Operation::new(
            "get",
            "/v1/namespaces/{namespace}/promotions/{id}/log",
            "getLog",
            "Get the log of a promotion from a byte on",
        )
        .with(vec![Parameter::query("start", "integer", "The first byte.")])
        .answers(
            &[(
                200,
                "Text; X-Text-Size is the next start, X-More-Data says whether more will come",
            )],
            Body::text(),
        )
        .refuses(&[400, 404]),
        Operation::new(
            "get",
            "/v1/namespaces/{namespace}/promotions/{id}/result",
            "getResult",
            "Get the result by the status alone",
        )
        .answers(
            &[
                (200, "Promoted"),
                (202, "Not decided"),
                (409, "Rolled back or failed"),
                (410, "Aborted or superseded"),
            ],
            Body::of::<PromotionView>(true),
        )
        .refuses(&[404]),
        Operation::new(
            "post",
            "/v1/namespaces/{namespace}/promotions/{id}/abort",
            "abortPromotion",
            "Call a promotion off",
        )
        .takes(Body::of::<Abort>(false))
        .answers(
            &[(200, "It was over"), (202, "It is ordered")],
            Body::of::<Accepted>(true),
        )
        .refuses(&[400, 404, 413]),
        Operation::new(
            "get",
            "/v1/namespaces/{namespace}/canaries/{canary}",
            "getCanary",
            "Get the state of a Canary",
        )
        .answers(&[(200, "The state")], Body::of::<CanaryView>(true))
        .refuses(&[404]),
    ];
    for (path, id, summary, _) in ORDERS {
        all.push(
            Operation::new(
                "post",
                &format!("/v1/namespaces/{{namespace}}/promotions/{{id}}/{path}"),
                id,
                summary,
            )
            .takes(Body::of::<Order>(false))
            .answers(
                &[(200, "It was over"), (202, "It is ordered")],
                Body::of::<Accepted>(true),
            )
            .refuses(&[400, 404, 413]),
        );
    }
    for (path, id, summary, _) in SETTLEMENTS {
        all.push(
            Operation::new(
                "post",
                &format!("/v1/namespaces/{{namespace}}/promotions/{{id}}/{path}"),
                &format!("{id}OfPromotion"),
                &format!("{summary} for the release of a promotion"),
            )
            .takes(Body::of::<Settlement>(true))
            .answers(
                &[(200, "It was over"), (202, "It is on record")],
                Body::of::<Accepted>(true),
            )
            .refuses(&[400, 404, 413]),
        );
        all.push(
            Operation::new(
                "post",
                &format!("/v1/namespaces/{{namespace}}/canaries/{{canary}}/{path}"),
                &format!("{id}OfRevision"),
                &format!("{summary} for a revision"),
            )
            .takes(Body::of::<RevisionSettlement>(true))
            .answers(&[(202, "It is on record")], Body::of::<Accepted>(true))
            .refuses(&[400, 404, 413]),
        );
    }
    for (path, id, summary, _) in REVISION_ORDERS {
        all.push(
            Operation::new(
                "post",
                &format!("/v1/namespaces/{{namespace}}/canaries/{{canary}}/{path}"),
                id,
                summary,
            )
            .takes(Body::of::<RevisionOrder>(true))
            .answers(&[(202, "It is ordered")], Body::of::<Accepted>(true))
            .refuses(&[400, 404, 413]),
        );
    }
    all
}

/// What is said at gates.
const SETTLEMENTS: [(&str, &str, &str, GateDecision); 2] = [
    ("approve", "approveGate", "Approve a gate", GateDecision::Approve),
    ("reject", "rejectGate", "Reject a gate", GateDecision::Reject),
];

/// Orders about the release of a promotion.
const ORDERS: [(&str, &str, &str, Verb); 4] = [
    ("pause", "pausePromotion", "Take no further step", Verb::Pause),
    ("resume", "resumePromotion", "Go on after a pause", Verb::Resume),
    (
        "advance",
        "advancePromotion",
        "Take the next step now",
        Verb::Advance,
    ),
    (
        "skip-analysis",
        "skipAnalysis",
        "Promote without further analysis",
        Verb::SkipAnalysis,
    ),
];

/// Orders about a revision of a Canary.
const REVISION_ORDERS: [(&str, &str, &str, Verb); 2] = [
    (
        "undo",
        "undo",
        "Return to the revision promoted before",
        Verb::Undo,
    ),
    (
        "retry",
        "retry",
        "Release a revision that failed once more",
        Verb::Retry,
    ),
];

/// The API.
pub fn router(hook: Arc<Hook>) -> Router {
    let mut router = Router::new()
        .route("/healthz", plain(get(|| async { "ok" })))
        .route("/readyz", plain(get(ready)))
        .route("/v1/openapi.json", plain(get(description)))
        .route(
            "/v1/namespaces/{namespace}/canaries/{canary}/promotions",
            plain(post(start)),
        )
        .route("/v1/namespaces/{namespace}/canaries/{canary}", plain(get(canary)))
        .route("/v1/namespaces/{namespace}/promotions/{id}", plain(get(state)))
        .route("/v1/namespaces/{namespace}/promotions/{id}/log", plain(get(log)))
        .route(
            "/v1/namespaces/{namespace}/promotions/{id}/result",
            plain(get(result)),
        )
        .route(
            "/v1/namespaces/{namespace}/promotions/{id}/abort",
            plain(post(abort)),
        );
    for (path, _, _, verb) in ORDERS {
        let call = move |hook: Shared,
                         path: Path<(String, String)>,
                         headers: HeaderMap,
                         body: RequestBody| { order(hook, path, headers, body, verb) };
        router = router.route(
            &format!("/v1/namespaces/{{namespace}}/promotions/{{id}}/{path}"),
            plain(post(call)),
        );
    }
    for (path, _, _, decision) in SETTLEMENTS {
        let call =
            move |hook: Shared, path: Path<(String, String)>, headers: HeaderMap, body: RequestBody| {
                settle(hook, path, headers, body, decision)
            };
        router = router.route(
            &format!("/v1/namespaces/{{namespace}}/promotions/{{id}}/{path}"),
            plain(post(call)),
        );
        let call =
            move |hook: Shared, path: Path<(String, String)>, headers: HeaderMap, body: RequestBody| {
                revision_settle(hook, path, headers, body, decision)
            };
        router = router.route(
            &format!("/v1/namespaces/{{namespace}}/canaries/{{canary}}/{path}"),
            plain(post(call)),
        );
    }
    for (path, _, _, verb) in REVISION_ORDERS {
        let call =
            move |hook: Shared, path: Path<(String, String)>, headers: HeaderMap, body: RequestBody| {
                revision_order(hook, path, headers, body, verb)
            };
        router = router.route(
            &format!("/v1/namespaces/{{namespace}}/canaries/{{canary}}/{path}"),
            plain(post(call)),
        );
    }
    router
        .fallback(|| async { Problem::new(Code::NotFound, "there is no such path; see /v1/openapi.json") })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(hook)
}

fn plain(methods: MethodRouter<Arc<Hook>>) -> MethodRouter<Arc<Hook>> {
    methods.fallback(|| async { Problem::new(Code::MethodNotAllowed, "the path has no such method") })
}

fn caller(headers: &HeaderMap) -> Result<Caller, Problem> {
    let header = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let key = header("idempotency-key");
    if headers.contains_key("idempotency-key")
        && !key.as_ref().is_some_and(|key| (1..=200).contains(&key.len()))
    {
        return Err(Problem::new(
            Code::BadRequest,
            "header Idempotency-Key: must have 1 to 200 visible characters",
        ));
    }
    Ok(Caller {
        authorization: header(header::AUTHORIZATION.as_str()),
        key,
    })
}

fn query<T: serde::de::DeserializeOwned>(
    query: Result<Query<T>, axum::extract::rejection::QueryRejection>,
) -> Result<T, Problem> {
    query
        .map(|Query(query)| query)
        .map_err(|rejection| Problem::new(Code::BadRequest, rejection.body_text()))
}

async fn ready(State(hook): Shared) -> Response {
    if hook.ctx.metrics.is_ready() {
        "ok".into_response()
    } else {
        Problem::new(Code::Unavailable, "the first lists are not complete").into_response()
    }
}

async fn description() -> impl IntoResponse {
    static DESCRIPTION: LazyLock<Bytes> = LazyLock::new(|| openapi::document().to_string().into());
    ([(header::CONTENT_TYPE, "application/json")], DESCRIPTION.clone())
}

async fn start(
    State(hook): Shared,
    Path((namespace, canary)): Path<(String, String)>,
    headers: HeaderMap,
    body: RequestBody,
) -> Result<Response, Problem> {
    calls::start(&hook, &caller(&headers)?, &namespace, &canary, body).await
}

async fn canary(
    State(hook): Shared,
    Path((namespace, canary)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    calls::canary(&hook, &caller(&headers)?, &namespace, &canary).await
}

async fn state(
    State(hook): Shared,
    Path((namespace, id)): Path<(String, String)>,
    wait: Result<Query<Wait>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    calls::state(&hook, &caller(&headers)?, &namespace, &id, query(wait)?).await
}

async fn log(
    State(hook): Shared,
    Path((namespace, id)): Path<(String, String)>,
    start: Result<Query<Start>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    calls::log(&hook, &caller(&headers)?, &namespace, &id, query(start)?.start).await
}

async fn result(
    State(hook): Shared,
    Path((namespace, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    calls::result(&hook, &caller(&headers)?, &namespace, &id).await
}

async fn abort(
    State(hook): Shared,
    Path((namespace, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: RequestBody,
) -> Result<Response, Problem> {
    calls::abort(&hook, &caller(&headers)?, &namespace, &id, body).await
}

async fn order(
    State(hook): Shared,
    Path((namespace, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: RequestBody,
    verb: Verb,
) -> Result<Response, Problem> {
    calls::order(&hook, &caller(&headers)?, &namespace, &id, body, verb).await
}

async fn revision_order(
    State(hook): Shared,
    Path((namespace, canary)): Path<(String, String)>,
    headers: HeaderMap,
    body: RequestBody,
    verb: Verb,
) -> Result<Response, Problem> {
    calls::revision_order(&hook, &caller(&headers)?, &namespace, &canary, body, verb).await
}

async fn settle(
    State(hook): Shared,
    Path((namespace, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: RequestBody,
    decision: GateDecision,
) -> Result<Response, Problem> {
    calls::settle(&hook, &caller(&headers)?, &namespace, &id, body, decision).await
}

async fn revision_settle(
    State(hook): Shared,
    Path((namespace, canary)): Path<(String, String)>,
    headers: HeaderMap,
    body: RequestBody,
    decision: GateDecision,
) -> Result<Response, Problem> {
    calls::revision_settle(&hook, &caller(&headers)?, &namespace, &canary, body, decision).await
}
