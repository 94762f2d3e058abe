use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;

use super::*;
use crate::clock::SystemClock;

const PERMISSION: Permission = Permission {
    verb: "get",
    resource: "promotions",
    subresource: None,
};

/// Knows tokens that begin with `good`, and counts what it is asked. Of the token `never` it never tells.
#[derive(Default)]
struct Counter {
    now: AtomicUsize,
    most: AtomicUsize,
    whose: AtomicUsize,
    may: AtomicUsize,
}

impl Counter {
    /// A review, during which others may begin.
    async fn review(&self, asked: &AtomicUsize) {
        asked.fetch_add(1, Ordering::SeqCst);
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Reviewer for Counter {
    async fn whose(&self, token: &str) -> Result<Option<User>, Problem> {
        self.review(&self.whose).await;
        if token.starts_with("never") {
            std::future::pending::<()>().await;
        }
        Ok(token.starts_with("good").then(|| User {
            name: token.to_owned(),
            ..User::default()
        }))
    }

    async fn may(&self, user: &User, _: Permission, _: &str, _: &str) -> Result<bool, Problem> {
        self.review(&self.may).await;
        if user.name == "good-for-nothing" {
            std::future::pending::<()>().await;
        }
        Ok(true)
    }
}

fn gatekeeper() -> (Arc<Counter>, Gatekeeper) {
    let counter = Arc::new(Counter::default());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let gatekeeper = Gatekeeper::new(counter.clone(), Tokens::none(), clock);
    (counter, gatekeeper)
}

async fn admit(gatekeeper: &Gatekeeper, token: &str) -> Result<User, Code> {
    let authorization = format!("Bearer {token}");
    let admitted = gatekeeper
        .admit(Some(&authorization), PERMISSION, "shop", "p-1")
        .await;
    admitted.map_err(|problem| problem.code)
}

#[tokio::test]
async fn flood_of_wrong_tokens_is_no_flood_of_reviews() {
    let (counter, gatekeeper) = gatekeeper();
    let tokens: Vec<String> = (0..1000).map(|nth| format!("wrong-{nth}")).collect();
    let answers = join_all(tokens.iter().map(|token| admit(&gatekeeper, token))).await;
    assert!(answers.iter().all(|answer| *answer == Err(Code::Unauthenticated)));
    assert_eq!(counter.most.load(Ordering::SeqCst), REVIEWS);
}

#[tokio::test]
async fn those_who_come_at_once_with_one_token_are_asked_for_a_few_times_only() {
    let (counter, gatekeeper) = gatekeeper();
    let answers = join_all((0..1000).map(|_| admit(&gatekeeper, "good"))).await;
    assert!(answers.iter().all(Result::is_ok));
    for asked in [&counter.whose, &counter.may] {
        let asked = asked.load(Ordering::SeqCst);
        assert!((1..=REVIEWS).contains(&asked), "{asked} reviews");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_is_known_is_not_kept_waiting_by_those_who_are_nobody() {
    let (counter, gatekeeper) = gatekeeper();
    admit(&gatekeeper, "good").await.unwrap();
    let tokens: Vec<String> = (0..REVIEWS).map(|nth| format!("never-{nth}")).collect();
    let flood = join_all(tokens.iter().map(|token| admit(&gatekeeper, token)));
    let known = async {
        while counter.whose.load(Ordering::SeqCst) <= REVIEWS {
            tokio::task::yield_now().await;
        }
        // Nobody else has a turn until the flood is over.
        assert_eq!(admit(&gatekeeper, "good-2").await, Err(Code::Unavailable));
    };
    let other = async {
        let elsewhere = gatekeeper
            .admit(Some("Bearer good"), PERMISSION, "other", "p-1")
            .await;
        elsewhere.map(|user| user.name).map_err(|problem| problem.code)
    };
    let (flood, (), other) = tokio::join!(flood, known, other);
    assert_eq!(other.as_deref(), Ok("good"));
    assert!(flood.iter().all(|answer| *answer == Err(Code::Unavailable)));
}

/// An API server that takes its time to say no is asked for many others as well.
#[tokio::test(start_paused = true)]
async fn whoever_may_nothing_waits_behind_themselves() {
    let (counter, gatekeeper) = gatekeeper();
    let flood = join_all((0..10 * REVIEWS).map(|_| admit(&gatekeeper, "good-for-nothing")));
    let other = async {
        while counter.may.load(Ordering::SeqCst) < OWN_REVIEWS {
            tokio::task::yield_now().await;
        }
        let admitted = admit(&gatekeeper, "good").await.map(|user| user.name);
        assert_eq!(counter.may.load(Ordering::SeqCst), OWN_REVIEWS + 1);
        admitted
    };
    let (flood, other) = tokio::join!(flood, other);
    assert_eq!(other.as_deref(), Ok("good"));
    assert!(flood.iter().all(|answer| *answer == Err(Code::Unavailable)));
}

/// What nobody can be called is neither asked about nor remembered.
#[tokio::test]
async fn name_that_no_object_has_costs_no_review() {
    let (counter, gatekeeper) = gatekeeper();
    for (namespace, name) in [("shop", "A B"), ("shop", "../x"), ("Shop", "web")] {
        let asked = gatekeeper.admit(Some("Bearer good"), PERMISSION, namespace, name);
        assert_eq!(
            asked.await.map_err(|problem| problem.code).unwrap_err(),
            Code::NotFound
        );
    }
    let long = "x".repeat(254);
    for (name, known) in [
        ("", true),
        ("web", true),
        ("web:qa", true),
        (long.as_str(), false),
    ] {
        let asked = gatekeeper.admit(Some("Bearer good"), PERMISSION, "shop", name);
        assert_eq!(asked.await.is_ok(), known, "{name}");
    }
    assert_eq!(counter.may.load(Ordering::SeqCst), 3);
}

/// An API server that answers everything with one status.
#[derive(Clone)]
struct Refuses(u16);

impl tower_service::Service<http::Request<kube::client::Body>> for Refuses {
    type Response = http::Response<kube::client::Body>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<kube::client::Body>) -> Self::Future {
        let body = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "code": self.0,
        });
        let answer = http::Response::builder().status(self.0);
        let answer = answer.body(kube::client::Body::from(body.to_string().into_bytes()));
        std::future::ready(Ok(answer.unwrap()))
    }
}

#[tokio::test]
async fn refusal_of_a_review_says_nothing_of_whoever_asks() {
    for status in [400, 401, 403, 404, 422, 429, 500, 503] {
        let cluster = Cluster(kube::Client::new(Refuses(status), "default"));
        let whose = cluster.whose("token").await.unwrap_err();
        let may = cluster
            .may(&User::default(), PERMISSION, "shop", "p-1")
            .await
            .unwrap_err();
        for problem in [whose, may] {
            assert_eq!(
                (problem.status, problem.code),
                (503, Code::Unavailable),
                "{status}"
            );
        }
    }
}
