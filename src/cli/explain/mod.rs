//! `bellwether explain`: what a Canary is doing now and why, and what comes next, for a person on call.

mod text; // for people

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use serde::Deserialize;
use serde_json::Value;

use super::{
    PATIENCE,
    backend::{Backend, BackendFlags},
    block_on,
    exit::Exit,
    get::standing,
    output::{Output, write},
    within,
};
use crate::{
    clock::{Clock, SystemClock},
    explain::Explanation,
    paint::Paint,
};

/// Tell what a Canary is doing now and why, what holds it, and what comes next. Times are UTC.
///
/// The exit code says: 3 its last release was rolled back, 4 it is held.
#[derive(Debug, Parser)]
pub(super) struct Explain {
    /// The Canary
    canary: String,

    /// How it is printed
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,

    #[command(flatten)]
    backend: BackendFlags,
}

impl Explain {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        block_on(self.tell())
    }

    async fn tell(self) -> anyhow::Result<Exit> {
        let document = within(PATIENCE, "answer", self.told()).await?;
        if self.output.document() {
            self.output.print(&document)?;
        } else {
            let told = Explanation::deserialize(&document)
                .context("the explanation has what this version does not know; -o json prints it")?;
            let wide = self.output == Output::Wide;
            let now = SystemClock::default().now();
            write(&text::of(&told, now, wide, Paint::for_stdout()))?;
        }
        Ok(standing(document["phase"].as_str(), !document["hold"].is_null()))
    }

    /// The explanation as it came: a controller that is newer may say more than is known here.
    async fn told(&self) -> anyhow::Result<Value> {
        match self.backend.open().await? {
            Backend::Cluster(cluster) => {
                let canary = cluster.canary(&self.canary).await?;
                Ok(serde_json::to_value(Explanation::of(&canary))?)
            }
            Backend::Hook(hook) => hook.explanation(&self.canary).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ends_with_7(arguments: &[&str]) {
        let told = Explain::try_parse_from(arguments).unwrap().tell();
        let began = tokio::time::Instant::now();
        let ended = tokio::time::timeout(PATIENCE * 2, told).await;
        let error = ended.expect("it would wait for ever").unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Timeout, "{error:#}");
        assert_eq!(began.elapsed().as_secs(), PATIENCE.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_answer_ends_with_7_either_way() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Connections are taken by the kernel, and nobody reads from them.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server = format!("http://{}", silent.local_addr().unwrap());
        let file = std::env::temp_dir().join(format!("bellwether-silent-{}", std::process::id()));
        let path = file.to_str().unwrap();
        let config = serde_json::json!({
            "current-context": "here",
            "clusters": [{"name": "silent", "cluster": {"server": server}}],
            "contexts": [{"name": "here", "context": {"cluster": "silent", "user": "nobody"}}],
            "users": [{"name": "nobody", "user": {}}],
        });
        std::fs::write(&file, config.to_string()).unwrap();
        ends_with_7(&["explain", "shop", "--kubeconfig", path]).await;
        std::fs::write(&file, "token").unwrap();
        let hook = ["--hook", &server, "--token-file", path, "-n", "shop"];
        ends_with_7(&[&["explain", "shop"], &hook[..]].concat()).await;
        std::fs::remove_file(&file).unwrap();
    }
}
