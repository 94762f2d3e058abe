//! Every call of the API as one table: the router and the description are made of it.

mod described; // what the description says of each

use std::sync::{Arc, LazyLock};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, MatchedPath, Query, Request, State},
    http::{HeaderMap, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use serde::Deserialize;
use tokio::time::Instant;

use super::{
    BODY_LIMIT, Hook,
    calls::{self, About, Caller, Given},
    extract::{Path, RequestBody},
    openapi,
    problem::{Code, Problem},
};
use crate::{
    api::{GateDecision, Verb},
    reconcile::kinds::Kind,
};
pub use described::operations;

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

/// How long an outcome is waited for.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Patience {
    /// Seconds to wait at most.
    #[serde(default)]
    wait_seconds: u64,
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

/// What an order does.
#[derive(Clone, Copy)]
enum Does {
    Command(Verb),
    Approval(GateDecision),
}

/// What an order is about.
#[derive(Clone, Copy)]
enum On {
    Promotion,
    Canary,
}

/// Every order: what it is about, the end of its path, the operation's id and summary, and what it does.
const ORDERS: [(On, &str, &str, &str, Does); 11] = {
    use Does::{Approval, Command};
    use GateDecision::{Approve, Reject};
    use On::{Canary, Promotion};
    use Verb::{Abort, Advance, Pause, Resume, Retry, SkipAnalysis, Undo};
    [
        (
            Promotion,
            "abort",
            "abortPromotion",
            "Call a promotion off",
            Command(Abort),
        ),
        (
            Promotion,
            "pause",
            "pausePromotion",
            "Take no further step",
            Command(Pause),
        ),
        (
            Promotion,
            "resume",
            "resumePromotion",
            "Go on after a pause",
            Command(Resume),
        ),
        (
            Promotion,
            "advance",
            "advancePromotion",
            "Take the next step now",
            Command(Advance),
        ),
        (
            Promotion,
            "skip-analysis",
            "skipAnalysis",
            "Promote without further analysis",
            Command(SkipAnalysis),
        ),
        (
            Promotion,
            "approve",
            "approveGateOfPromotion",
            "Approve a gate for the release of a promotion",
            Approval(Approve),
        ),
        (
            Promotion,
            "reject",
            "rejectGateOfPromotion",
            "Reject a gate for the release of a promotion",
            Approval(Reject),
        ),
        (
            Canary,
            "approve",
            "approveGateOfRevision",
            "Approve a gate for a revision",
            Approval(Approve),
        ),
        (
            Canary,
            "reject",
            "rejectGateOfRevision",
            "Reject a gate for a revision",
            Approval(Reject),
        ),
        (
            Canary,
            "undo",
            "undo",
            "Return to the revision promoted before",
            Command(Undo),
        ),
        (
            Canary,
            "retry",
            "retry",
            "Release a revision that failed once more",
            Command(Retry),
        ),
    ]
};

impl On {
    fn path(self) -> &'static str {
        match self {
            On::Promotion => PROMOTION,
            On::Canary => CANARY,
        }
    }

    fn about(self, name: String) -> About {
        match self {
            On::Promotion => About::Promotion(name),
            On::Canary => About::Canary(name),
        }
    }
}

const PROMOTION: &str = "/v1/namespaces/{namespace}/promotions/{id}";
const CANARY: &str = "/v1/namespaces/{namespace}/canaries/{canary}";

/// What carries orders: its kind, its path, the operation's id and summary.
const CARRIERS: [(Kind, &str, &str, &str); 2] = [
    (
        Kind::Command,
        "/v1/namespaces/{namespace}/commands/{name}",
        "getCommand",
        "Get an order and its outcome, or wait for the outcome",
    ),
    (
        Kind::Approval,
        "/v1/namespaces/{namespace}/approvals/{name}",
        "getApproval",
        "Get an approval or rejection and its outcome, or wait for the outcome",
    ),
];

/// The API.
pub fn router(hook: Arc<Hook>) -> Router {
    let mut router = Router::new()
        .route("/healthz", plain(get(|| async { "ok" })))
        .route("/readyz", plain(get(ready)))
        .route("/v1/openapi.json", plain(get(description)))
        .route(&format!("{CANARY}/promotions"), plain(post(start)))
        .route(CANARY, plain(get(canary)))
        .route(&format!("{CANARY}/explanation"), plain(get(explanation)))
        .route(PROMOTION, plain(get(state)))
        .route(&format!("{PROMOTION}/log"), plain(get(log)))
        .route(&format!("{PROMOTION}/result"), plain(get(result)));
    for (on, path, _, _, does) in ORDERS {
        let call = move |State(hook): Shared,
                         Path((namespace, name)): Path<(String, String)>,
                         headers: HeaderMap,
                         body: RequestBody| async move {
            let given = Given {
                caller: caller(&headers)?,
                namespace,
                about: on.about(name),
                body,
            };
            match does {
                Does::Command(verb) => calls::command(&hook, given, verb).await,
                Does::Approval(decision) => calls::approval(&hook, given, decision).await,
            }
        };
        router = router.route(&format!("{}/{path}", on.path()), plain(post(call)));
    }
    for (kind, path, _, _) in CARRIERS {
        let call = move |State(hook): Shared,
                         Path((namespace, name)): Path<(String, String)>,
                         patience: Result<Query<Patience>, axum::extract::rejection::QueryRejection>,
                         headers: HeaderMap| async move {
            let seconds = query(patience)?.wait_seconds;
            calls::order(&hook, &caller(&headers)?, kind, (&namespace, &name), seconds).await
        };
        router = router.route(path, plain(get(call)));
    }
    router
        .fallback(|| async { Problem::new(Code::NotFound, "there is no such path; see /v1/openapi.json") })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn_with_state(hook.clone(), count))
        .with_state(hook)
}

/// Counts a request under the pattern of its route: a path as it came would be free text.
async fn count(State(hook): Shared, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let began = Instant::now();
    let answer = next.run(request).await;
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let took = began.elapsed().as_secs_f64();
    hook.ctx.metrics.hook.note(route, answer.status().as_u16(), took);
    answer
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

async fn explanation(
    State(hook): Shared,
    Path((namespace, canary)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    calls::explanation(&hook, &caller(&headers)?, &namespace, &canary).await
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
