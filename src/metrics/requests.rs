//! Requests that this process sends to the API server, and those that the hook API answers.
//!
//! Invariant: a label comes from a table of ours, never from what somebody sent.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http::{Method, Request, Response};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use tokio::time::Instant;
use tower_service::Service;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiLabels {
    verb: &'static str,
    kind: &'static str,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerbLabel {
    verb: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HookLabels {
    route: String,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: String,
}

/// From 5 ms to 20 s.
fn latencies() -> Histogram {
    Histogram::new(exponential_buckets(0.005, 2.0, 13))
}

/// Requests to the API server.
#[derive(Clone)]
pub struct ApiRequests {
    requests: Family<ApiLabels, Counter>,
    durations: Family<VerbLabel, Histogram, fn() -> Histogram>,
}

impl ApiRequests {
    pub(super) fn new(registry: &mut Registry) -> ApiRequests {
        let requests = ApiRequests {
            requests: Family::default(),
            durations: Family::new_with_constructor(latencies),
        };
        registry.register(
            "api_requests",
            "Requests to the API server by verb, resource and status; 0 if there was no answer",
            requests.requests.clone(),
        );
        registry.register(
            "api_request_duration_seconds",
            "From a request to the API server to the head of its answer; of a watch to its beginning",
            requests.durations.clone(),
        );
        requests
    }

    fn note(&self, verb: &'static str, kind: &'static str, code: u16, began: Instant) {
        self.requests.get_or_create(&ApiLabels { verb, kind, code }).inc();
        self.durations
            .get_or_create(&VerbLabel { verb })
            .observe(began.elapsed().as_secs_f64());
    }
}

impl<S> tower_layer::Layer<S> for ApiRequests {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted {
            inner,
            requests: self.clone(),
        }
    }
}

/// A client whose requests are counted.
#[derive(Clone)]
pub struct Counted<S> {
    inner: S,
    requests: ApiRequests,
}

type Answer<R, E> = Pin<Box<dyn Future<Output = Result<R, E>> + Send>>;

impl<S, B, R> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    R: 'static,
    S::Error: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Answer<S::Response, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (verb, kind) = asked(request.method(), request.uri().path(), request.uri().query());
        let (requests, began) = (self.requests.clone(), Instant::now());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            let code = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
            requests.note(verb, kind, code, began);
            answer
        })
    }
}

/// Resources that this process asks for; everything else counts as `other`.
const RESOURCES: [&str; 25] = [
    "approvals",
    "authorizationpolicies",
    "canaries",
    "clusterfreezes",
    "commands",
    "customresourcedefinitions",
    "deployments",
    "destinationrules",
    "endpointslices",
    "envoyfilters",
    "events",
    "freezes",
    "horizontalpodautoscalers",
    "leases",
    "networkpolicies",
    "peerauthentications",
    "poddisruptionbudgets",
    "podmonitors",
    "promotionledgers",
    "promotions",
    "replicasets",
    "requestauthentications",
    "services",
    "subjectaccessreviews",
    "virtualservices",
];

/// Verb and resource of a request, as the API server names them: `/api/v1/…` or `/apis/<group>/<version>/…`, then perhaps
/// `namespaces/<name>`, then the resource and perhaps a name.
fn asked(method: &Method, path: &str, query: Option<&str>) -> (&'static str, &'static str) {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    let ahead = match segments.next() {
        Some("api") => 1,
        Some("apis") => 2,
        _ => return (verb(method, false, false), "other"),
    };
    let mut rest: Vec<&str> = segments.skip(ahead).collect();
    if rest.len() > 2 && rest[0] == "namespaces" {
        rest.drain(..2);
    }
    let kind = rest.first().and_then(|plural| {
        let known = RESOURCES.iter().chain(&["tokenreviews"]);
        known.copied().find(|known| known == plural)
    });
    let watch = query.is_some_and(|query| {
        query
            .split('&')
            .any(|pair| pair.starts_with("watch=") || pair == "watch")
    });
    (verb(method, rest.len() > 1, watch), kind.unwrap_or("other"))
}

fn verb(method: &Method, named: bool, watch: bool) -> &'static str {
    match *method {
        _ if watch => "watch",
        Method::GET if named => "get",
        Method::GET => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    }
}

/// Requests to the hook API.
#[derive(Clone)]
pub struct HookRequests {
    requests: Family<HookLabels, Counter>,
    durations: Family<RouteLabel, Histogram, fn() -> Histogram>,
}

impl HookRequests {
    pub(super) fn new(registry: &mut Registry) -> HookRequests {
        let requests = HookRequests {
            requests: Family::default(),
            durations: Family::new_with_constructor(latencies),
        };
        registry.register(
            "hook_requests",
            "Requests that the hook API answered, by route and status",
            requests.requests.clone(),
        );
        registry.register(
            "hook_request_duration_seconds",
            "From a request to the hook API to its answer, with the time that the client asked to wait",
            requests.durations.clone(),
        );
        requests
    }

    /// Notes a request to `route`, a pattern of the router's, that was answered with `code`.
    pub fn note(&self, route: &str, code: u16, seconds: f64) {
        let route = route.to_owned();
        let labels = HookLabels {
            route: route.clone(),
            code,
        };
        self.requests.get_or_create(&labels).inc();
        self.durations
            .get_or_create(&RouteLabel { route })
            .observe(seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_is_named_as_the_api_server_names_it() {
        for (method, path, query, named) in [
            (
                Method::GET,
                "/apis/bellwether.dev/v1beta1/canaries",
                Some("limit=500&watch=true"),
                ("watch", "canaries"),
            ),
            (Method::GET, "/api/v1/services", None, ("list", "services")),
            (
                Method::PATCH,
                "/apis/apps/v1/namespaces/n/deployments/d",
                Some("fieldManager=b"),
                ("patch", "deployments"),
            ),
            (
                Method::PUT,
                "/apis/bellwether.dev/v1beta1/namespaces/n/canaries/c/status",
                None,
                ("update", "canaries"),
            ),
            (
                Method::POST,
                "/apis/authentication.k8s.io/v1/tokenreviews",
                None,
                ("create", "tokenreviews"),
            ),
            (
                Method::GET,
                "/apis/whatever.example/v1/namespaces/n/things/x",
                None,
                ("get", "other"),
            ),
            (Method::GET, "/version", None, ("list", "other")),
        ] {
            assert_eq!(asked(&method, path, query), named, "{method} {path}");
        }
    }
}
