//! The command line as a process: the built binary against the hook API, and against the API server, of a simulated cluster
//! that are served on a loopback port. What lies between them (proxies, login pages) is a fake.

use std::{
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{StatusCode, header},
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

use crate::{
    hook_api::api,
    sim::{NS, await_phase, key, under_canary},
};

/// Virtual time that passes in a real millisecond.
const PACE: Duration = Duration::from_millis(20);

/// Plays a story in virtual time, with sockets.
fn play<T>(story: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(story)
}

/// Lets virtual time pass at a pace that processes can follow. It does not pass by itself while anything blocks.
async fn pass_slowly() {
    loop {
        tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(1)))
            .await
            .unwrap();
        tokio::time::advance(PACE).await;
    }
}

/// Serves on a free port; the address.
async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

/// What came of a process.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    #[track_caller]
    fn expect(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "{self:#?}");
        assert!(
            !self.out.contains('\x1b'),
            "escape codes in a pipe: {:?}",
            self.out
        );
        self
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// The binary with nothing of this process's environment.
fn bellwether(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellwether"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

/// The binary in hook mode.
fn hooked(url: &str, arguments: &[&str]) -> Command {
    let mut command = bellwether(arguments);
    command
        .args(["--namespace", NS])
        .env("BELLWETHER_URL", url)
        .env("BELLWETHER_TOKEN", "good")
        // Pipelines set to nothing what they do not have.
        .envs([("BELLWETHER_CA_FILE", ""), ("BELLWETHER_TOKEN_FILE", "")]);
    command
}

async fn ran(mut command: Command) -> Ran {
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap();
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A cluster, and the address of its hook API.
async fn under_hook(seed: u64) -> (SimCluster, String) {
    let cluster = under_canary(seed).await;
    let url = serve(api(&cluster)).await;
    tokio::spawn(pass_slowly());
    (cluster, url)
}

/// The whole log as the Promotion has it.
fn log_of(cluster: &SimCluster, id: &str) -> String {
    let promotion = cluster.get(&Key::new(Kind::PROMOTION, NS, id)).unwrap();
    let lines = promotion["status"]["log"]["lines"].as_array().unwrap().clone();
    lines
        .iter()
        .map(|line| format!("{}\n", line.as_str().unwrap()))
        .collect()
}

async fn await_weight(cluster: &SimCluster, weight: i64) {
    let met = |canary: &Value| canary["status"]["canaryWeight"] == weight;
    assert!(
        cluster
            .wait(&key(Kind::CANARY), TimeDelta::seconds(240), met)
            .await
    );
}

#[test]
fn promotion_over_the_hook_api_ends_with_its_code_and_every_line_once() {
    play(async {
        let (cluster, url) = under_hook(31).await;
        let promote = |image, key| {
            let flags = ["promote", "shop", "--image", image, "--wait", "--key", key];
            hooked(&url, &flags)
        };
        let good = ran(promote("shop:good-2", "build-1")).await.expect(0);
        let (first, log) = good.out.split_once('\n').unwrap();
        let id = first.split(' ').nth(1).unwrap();
        assert_eq!(log, log_of(&cluster, id));
        assert!(log.contains("weight 50 %") && log.contains("Promoted"), "{log}");

        let again = ran(promote("shop:good-2", "build-1")).await.expect(0);
        assert_eq!(again.out, good.out, "the same key is the same promotion");
        let waited = ran(hooked(&url, &["wait", id, "-o", "json"])).await.expect(0);
        assert_eq!(waited.json()["id"], id);
        let reused = ran(promote("shop:good-3", "build-1")).await.expect(2);
        assert!(
            reused.out.is_empty() && reused.err.contains("Idempotency-Key"),
            "{reused:#?}"
        );

        let mut bad = promote("shop:errors60-1", "build-2");
        bad.args(["--output", "json"]);
        let state = ran(bad).await.expect(3).json();
        assert_eq!(
            (&state["result"], &state["exitCode"]),
            (&json!("RolledBack"), &json!(3))
        );
        let shown = ran(hooked(&url, &["get", "shop", "-o", "json"])).await.expect(3);
        assert_eq!(shown.json()["phase"], "Failed");
        let shown = ran(hooked(&url, &["get", "shop", "-o", "wide"])).await.expect(3);
        assert!(
            shown.out.contains("Failed") && shown.out.contains("REVISION"),
            "{shown:#?}"
        );
    });
}

#[test]
fn aborted_promotion_ends_with_5_and_says_who_and_why() {
    play(async {
        let (cluster, url) = under_hook(32).await;
        let promote = ["promote", "shop", "--image", "shop:good-2", "--wait"];
        let waiting = tokio::spawn(ran(hooked(&url, &promote)));
        await_weight(&cluster, 10).await;
        let other = ["promote", "shop", "--image", "shop:good-3"];
        let refused = ran(hooked(&url, &other)).await.expect(8);
        assert!(refused.err.contains("not over"), "{refused:#?}");
        let pause = ran(hooked(&url, &["pause", "shop", "-o", "json"]))
            .await
            .expect(0)
            .json();
        assert_eq!(
            (&pause["verb"], &pause["outcome"]),
            (&json!("Pause"), &json!("ordered"))
        );
        ran(hooked(&url, &["resume", "shop"])).await.expect(0);
        let other = ["abort", "shop", "--revision", "deadbeef00"];
        let meant = ran(hooked(&url, &other)).await.expect(2);
        assert!(meant.err.contains("by now"), "{meant:#?}");
        let abort = ran(hooked(&url, &["abort", "shop", "--reason", "wrong branch"])).await;
        assert!(abort.expect(0).out.contains("ordered"));
        let ended = waiting.await.unwrap().expect(5);
        assert!(ended.out.contains("wrong branch"), "{ended:#?}");
        let nothing = ran(hooked(&url, &["abort", "shop"])).await.expect(1);
        assert!(nothing.err.contains("no promotion"), "{nothing:#?}");
    });
}

#[test]
fn undo_and_retry_over_the_hook_api_name_the_revision_that_is_meant() {
    play(async {
        let (cluster, url) = under_hook(33).await;
        let promote = ["promote", "shop", "--image", "shop:good-2", "--wait"];
        ran(hooked(&url, &promote)).await.expect(0);
        ran(hooked(&url, &["undo", "shop", "--reason", "customers complain"]))
            .await
            .expect(0);
        await_phase(&cluster, "Failed", 120).await;
        ran(hooked(&url, &["retry", "shop"])).await.expect(0);
        await_phase(&cluster, "Succeeded", 300).await;
        let past = ran(hooked(&url, &["history", "shop", "-o", "json"]))
            .await
            .expect(0)
            .json();
        let outcomes: Vec<_> = past
            .as_array()
            .unwrap()
            .iter()
            .map(|past| &past["outcome"])
            .collect();
        assert_eq!(outcomes, [&json!("Promoted"), &json!("Promoted")]);
    });
}

#[test]
fn what_cannot_be_is_told_on_standard_error_with_its_code() {
    play(async {
        let (_cluster, url) = under_hook(34).await;
        let mut stranger = hooked(&url, &["get", "shop"]);
        stranger.env("BELLWETHER_TOKEN", "stranger");
        let mut nobody = hooked(&url, &["get", "shop"]);
        nobody.env_remove("BELLWETHER_TOKEN");
        let mut lost = hooked(&url, &["get", "shop", "--token-file", "/none/such"]);
        lost.env_remove("BELLWETHER_TOKEN");
        let mut nowhere = bellwether(&["get", "shop"]);
        nowhere
            .env("BELLWETHER_URL", &url)
            .env("BELLWETHER_TOKEN", "good");
        let mut reader = hooked(&url, &["promote", "shop", "--image", "shop:good-2"]);
        reader.env("BELLWETHER_TOKEN", "reader");
        let cases = [
            (stranger, 1, "nobody is known"),
            (nobody, 2, "BELLWETHER_TOKEN"),
            (lost, 2, "/none/such"),
            (nowhere, 2, "--namespace"),
            (reader, 1, "may not"),
            (hooked(&url, &["get"]), 2, "name it"),
            (hooked(&url, &["get", "none"]), 1, "no Canary"),
            (hooked(&url, &["wait", "p-none"]), 1, "no promotion"),
            (
                hooked(&url, &["promote", "shop", "--image", "a=b:1", "--image", "c:1"]),
                2,
                "name its container",
            ),
            (
                hooked(&url, &["get", "--hook", "ftp://x", "shop"]),
                2,
                "https://HOST",
            ),
            (
                hooked(&url, &["get", "--hook", "http://x", "--context", "y"]),
                2,
                "--context",
            ),
            (hooked(&url, &["unknown"]), 2, "Usage"),
        ];
        for (command, code, named) in cases {
            let shown = format!("{command:?}");
            let ran = ran(command).await.expect(code);
            assert!(ran.out.is_empty() && ran.err.contains(named), "{shown}: {ran:#?}");
        }
    });
}

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
        for why in ["status 503", "status 302", "not the hook API", "status 502"] {
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
async fn kubeconfig(cluster: &SimCluster, user: Option<&'static str>) -> Kubeconfig {
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

/// A file that goes with the test.
struct Kubeconfig(std::path::PathBuf);

impl Kubeconfig {
    fn run(&self, arguments: &[&str]) -> impl Future<Output = Ran> + use<> {
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
    play(async {
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
    play(async {
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
    play(async {
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
fn plugin_of_kubectl_completions_and_codes_are_told() {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let help = ran(bellwether(&["--help"])).await.expect(0);
        assert!(help.out.contains("\n  7  the wait was too long"), "{}", help.out);
        for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
            let completions = ran(bellwether(&["completions", shell])).await.expect(0);
            assert!(completions.out.contains("skip-analysis"), "{shell}");
        }
        let plugin = std::env::temp_dir().join(format!("bellwether-plugin-{}", std::process::id()));
        std::fs::create_dir_all(&plugin).unwrap();
        let link = plugin.join("kubectl-bellwether");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_bellwether"), &link).unwrap();
        let mut command = Command::new(&link);
        command.args(["get", "--help"]);
        let help = ran(command).await;
        std::fs::remove_dir_all(&plugin).unwrap();
        assert!(help.expect(0).out.contains("Usage: kubectl bellwether get"));
    });
}

#[test]
fn gate_is_explained_and_opened_in_the_cluster_and_over_the_hook_api() {
    play(async {
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
        let held = |gate: &'static str| {
            move |canary: &Value| {
                let message = canary["status"]["hold"]["message"].as_str();
                message.is_some_and(|text| text.contains(&format!("gate {gate} waits")))
            }
        };
        let canary = key(Kind::CANARY);
        assert!(cluster.wait(&canary, TimeDelta::seconds(60), held("smoke")).await);
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
        assert!(cluster.wait(&canary, TimeDelta::seconds(120), held("end")).await);
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
