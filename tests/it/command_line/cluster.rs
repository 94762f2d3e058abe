//! Commands by the API server.

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use bellwether::sim::{
    api_server::{Key, Kind},
    cluster::SimCluster,
};
use chrono::TimeDelta;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    Ran, await_gate, await_weight, bellwether, hooked, log_of, pass_slowly, ran, run, serve, under_hook,
};
use crate::shared::shop::{NS, await_phase, key, under_canary};

/// The API server of the simulation behind a socket.
async fn forward(State(client): State<kube::Client>, request: Request) -> Response {
    let (mut head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let path = head.uri.path_and_query().unwrap().to_string();
    head.uri = path.parse().unwrap();
    let answered = client
        .send(Request::from_parts(head, kube::client::Body::from(body)))
        .await;
    answered.map_or_else(
        |_| StatusCode::BAD_GATEWAY.into_response(),
        |answer| answer.map(Body::new),
    )
}

/// A kubeconfig for the API server of `cluster`, which knows us as `user`, or does not serve reviews.
pub(super) async fn kubeconfig(cluster: &SimCluster, user: Option<&'static str>) -> Kubeconfig {
    let client = cluster.server.client("user", CancellationToken::new());
    let mut router = Router::new();
    if let Some(user) = user {
        let review = move || async move {
            axum::Json(
                json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview",
                "metadata": {}, "status": {"userInfo": {"username": user}}}),
            )
        };
        router = router.route("/apis/authentication.k8s.io/v1/selfsubjectreviews", post(review));
    }
    let url = serve(router.fallback(forward).with_state(client)).await;
    Kubeconfig::of(&url)
}

/// A file that goes with the test.
pub(super) struct Kubeconfig(std::path::PathBuf);

impl Kubeconfig {
    /// For the API server at `url`.
    pub(super) fn of(url: &str) -> Kubeconfig {
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "sim", "cluster": {"server": url}}],
            "users": [{"name": "file", "user": {"username": "said", "password": "-"}}],
            "contexts": [
                {"name": "here", "context": {"cluster": "sim", "user": "file", "namespace": NS}},
                {"name": "elsewhere", "context": {"cluster": "sim", "user": "file", "namespace": "other"}},
            ],
        });
        let name = format!(
            "bellwether-{}-{}.json",
            std::process::id(),
            url.rsplit(':').next().unwrap()
        );
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text.to_string()).unwrap();
        Kubeconfig(path)
    }

    pub(super) fn run(&self, arguments: &[&str]) -> impl Future<Output = Ran> + use<> {
        let mut command = bellwether(arguments);
        command.env("KUBECONFIG", &self.0);
        ran(command)
    }
}

impl Drop for Kubeconfig {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn promotion_in_the_cluster_is_made_by_whom_the_api_server_knows() {
    run(async {
        let cluster = under_canary(35).await;
        let mia = kubeconfig(&cluster, Some("oidc:mia")).await;
        tokio::spawn(pass_slowly());
        let promote = ["promote", "shop", "--image", "shop:good-2", "--wait"];
        let promoted = mia.run(&promote).await.expect(0);
        let (first, log) = promoted.out.split_once('\n').unwrap();
        let id = first.split(' ').nth(1).unwrap();
        assert_eq!(log, log_of(&cluster, id));
        let promotion = cluster.get(&Key::new(Kind::PROMOTION, NS, id)).unwrap();
        let requester = &promotion["spec"]["requester"];
        assert_eq!(
            (&requester["user"], &requester["authenticatedAs"]),
            (&json!("oidc:mia"), &json!("oidc:mia"))
        );

        let file = kubeconfig(&cluster, None).await;
        let promote = ["promote", "shop", "--image", "shop:good-3", "-o", "json"];
        let made = file.run(&promote).await.expect(0).json();
        assert_eq!(
            (&made["requester"]["user"], &made["requester"]["authenticatedAs"]),
            (&json!("said"), &Value::Null)
        );
    });
}

#[test]
fn orders_in_the_cluster_are_answered_and_explained() {
    run(async {
        let cluster = under_canary(36).await;
        let mia = kubeconfig(&cluster, Some("oidc:mia")).await;
        tokio::spawn(pass_slowly());
        let rest = mia.run(&["explain", "shop"]).await.expect(0);
        assert!(rest.out.contains("begins a release"), "{}", rest.out);
        cluster.ship(NS, "shop", "shop:good-2").unwrap();
        await_weight(&cluster, 30).await;
        let paused = mia.run(&["pause", "shop", "--reason", "lunch"]).await.expect(0);
        assert!(paused.out.ends_with(": done\n"), "{}", paused.out);
        let held = |canary: &Value| canary["status"]["hold"]["reason"] == "Paused";
        assert!(
            cluster
                .wait(&key(Kind::CANARY), TimeDelta::seconds(60), held)
                .await
        );
        let told = mia.run(&["explain", "shop"]).await.expect(4);
        for part in [
            "Progressing",
            "30 %",
            "step 2 of 3",
            "held       Paused since",
            "paused     by oidc:mia",
            "lunch",
            "request-success-rate",
            "0 of 2 failed checks",
            "next       no step is taken until",
            "orders     ",
            "Pause of",
        ] {
            assert!(told.out.contains(part), "{part} is not in\n{}", told.out);
        }
        let told = mia.run(&["explain", "shop", "-o", "json"]).await.expect(4).json();
        assert_eq!(
            (
                &told["hold"]["reason"],
                &told["step"]["number"],
                &told["step"]["of"],
                &told["threshold"]
            ),
            (&json!("Paused"), &json!(2), &json!(3), &json!(2))
        );
        assert!(
            mia.run(&["explain", "shop", "-o", "yaml"])
                .await
                .expect(4)
                .out
                .contains("by: oidc:mia")
        );
        mia.run(&["resume", "shop"]).await.expect(0);
        let aborted = mia.run(&["abort", "shop", "-o", "json"]).await.expect(0).json();
        assert_eq!(aborted["outcome"], "done");
        await_phase(&cluster, "Failed", 120).await;
        let refused = mia.run(&["pause", "shop"]).await.expect(2);
        assert!(refused.out.contains("refused"), "{refused:#?}");
        let none = mia.run(&["explain", "none"]).await.expect(1);
        assert!(none.out.is_empty() && none.err.contains("no Canary"), "{none:#?}");
    });
}

#[test]
fn lists_and_history_of_the_cluster_are_printed_in_every_form() {
    run(async {
        let cluster = under_canary(37).await;
        let mia = kubeconfig(&cluster, Some("oidc:mia")).await;
        tokio::spawn(pass_slowly());
        let promote = [
            "promote",
            "shop",
            "--image",
            "shop:good-2",
            "--wait",
            "-o",
            "yaml",
        ];
        let promoted = mia.run(&promote).await.expect(0);
        assert!(promoted.out.contains("result: Promoted"), "{}", promoted.out);
        let undone = mia
            .run(&["undo", "shop", "--reason", "complaints"])
            .await
            .expect(0);
        assert!(undone.out.ends_with(": done\n"), "{}", undone.out);
        await_phase(&cluster, "Failed", 120).await;
        let history = mia.run(&["history", "shop"]).await.expect(0);
        assert!(history.out.contains("Promoted"), "{}", history.out);
        let rollouts = mia.run(&["history", "shop", "-o", "json"]).await.expect(0).json();
        let revision = rollouts[0]["revision"].as_str().unwrap().to_owned();
        assert!(
            mia.run(&["history", "shop", "-o", "wide"])
                .await
                .expect(0)
                .out
                .contains(&revision)
        );

        let one = mia.run(&["get", "shop", "-o", "json"]).await.expect(3).json();
        assert_eq!(
            (&one["phase"], &one["promotions"]),
            (&json!("Failed"), &json!([]))
        );
        let all = ["get", "--context", "elsewhere", "-A", "-o", "json"];
        assert_eq!(mia.run(&all).await.expect(0).json()[0]["namespace"], NS);
        let elsewhere = mia
            .run(&["get", "--context", "elsewhere", "-o", "json"])
            .await
            .expect(0);
        assert_eq!(elsewhere.json(), json!([]));
        let named = ["get", "--context", "elsewhere", "-n", NS];
        assert!(mia.run(&named).await.expect(0).out.contains("shop"));
        mia.run(&["get", "-A", "shop"]).await.expect(2);
    });
}

#[test]
fn gate_is_explained_and_opened_in_the_cluster_and_over_the_hook_api() {
    run(async {
        let (cluster, url) = under_hook(39).await;
        let gates = json!([
            {"name": "smoke", "at": "pre-rollout", "approval": {}, "timeout": "2h"},
            {"name": "end", "at": "confirm-promotion", "approval": {}},
        ]);
        cluster
            .merge(
                &key(Kind::CANARY),
                json!({"spec": {"analysis": {"gates": gates}}}),
            )
            .unwrap();
        let mia = kubeconfig(&cluster, Some("oidc:mia")).await;
        tokio::spawn(pass_slowly());
        let promote = ["promote", "shop", "--image", "shop:good-2", "-o", "json"];
        let id = mia.run(&promote).await.expect(0).json()["id"]
            .as_str()
            .unwrap()
            .to_owned();
        await_gate(&cluster, "smoke").await;
        let told = mia.run(&["explain", "shop"]).await.expect(4);
        for part in [
            "AwaitingApproval",
            "bellwether approve shop --gate smoke",
            "is still closed",
        ] {
            assert!(told.out.contains(part), "{part} is not in\n{}", told.out);
        }
        let wrong = mia.run(&["approve", "shop", "--gate", "smok"]).await.expect(2);
        assert!(wrong.out.contains("there are smoke, end"), "{wrong:#?}");
        let done = mia.run(&["approve", "shop", "--gate", "smoke"]).await.expect(0);
        assert!(done.out.ends_with(": done\n"), "{}", done.out);
        await_gate(&cluster, "end").await;
        let reject = ["reject", "shop", "--gate", "end", "--reason", "ugly"];
        ran(hooked(&url, &reject)).await.expect(0);
        let ended = ran(hooked(&url, &["wait", &id])).await.expect(3);
        assert!(
            ended.out.contains("gate end was not passed by good: ugly"),
            "{}",
            ended.out
        );
    });
}
