//! The command line as a process: the built binary against the hook API, and against the API server, of a simulated cluster
//! that are served on a loopback port. Here is how it is run.

mod between; // what lies between it and the hook API
mod cluster; // by the API server
mod given_up; // a release goes on, and nobody waits any more
mod hook; // by the hook API
mod terminal; // what a person sees
mod watch; // waits in the cluster that break

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use axum::Router;
use bellwether::sim::{
    api_server::{Key, Kind},
    cluster::SimCluster,
};
use chrono::TimeDelta;
use serde_json::Value;

use crate::{
    hook_api::api,
    shared::{
        shop::{NS, key, under_canary},
        site::run,
    },
};

/// Virtual time that passes in a real millisecond.
const PACE: Duration = Duration::from_millis(20);

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

/// Waits until the release is held at a gate.
async fn await_gate(cluster: &SimCluster, gate: &str) {
    let held = |canary: &Value| {
        let message = canary["status"]["hold"]["message"].as_str();
        message.is_some_and(|text| text.contains(&format!("gate {gate} waits")))
    };
    assert!(
        cluster
            .wait(&key(Kind::CANARY), TimeDelta::seconds(120), held)
            .await
    );
}

#[test]
fn plugin_of_kubectl_completions_and_codes_are_told() {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let help = ran(bellwether(&["--help"])).await.expect(0);
        assert!(
            help.out.contains("\n  7    the wait was too long"),
            "{}",
            help.out
        );
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
