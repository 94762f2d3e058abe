//! What the cluster and the stories need, built or fetched once and kept in a cache outside the clone.
//!
//! All of it is there before the namespace is entered: inside there is no network that a registry could be reached by.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

/// What some stories need beside the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    /// Java, and the Groovy and the interpreter of Jenkins.
    JenkinsLibrary,
    /// A real Hudson, from Maven Central.
    Hudson,
    /// Python with what the dashboards are made with.
    Dashboards,
}

/// Builds what is missing of the cluster's parts and fetches what is missing of `needed`, with its progress on stderr, and
/// returns the folder that holds the cluster's parts.
///
/// # Errors
/// If a program that this needs is not installed, which is named, or if a build or a download fails.
pub async fn provide(needed: &BTreeSet<Tool>) -> Result<PathBuf> {
    for tool in needed {
        fetch(*tool).await?;
    }
    let script = here().join("tools/build.sh");
    let stdout = run(&script, &[])
        .await
        .context("the cluster's parts could not be built")?;
    let folder = stdout
        .lines()
        .last()
        .context("the build script printed no folder")?;
    Ok(PathBuf::from(folder))
}

async fn fetch(tool: Tool) -> Result<()> {
    match tool {
        Tool::JenkinsLibrary => {
            let script = here().join("../jenkins/test/run.sh");
            let fetched = run(&script, &["--fetch"]).await.map(drop);
            fetched.context("what the Jenkins library is tested with could not be fetched")
        }
        Tool::Hudson => {
            let script = here().join("tools/hudson.sh");
            let fetched = run(&script, &["fetch"]).await.map(drop);
            fetched.context("Hudson could not be fetched")
        }
        Tool::Dashboards => {
            let script = here().join("../dashboards/python");
            let fetched = run(&script, &["-c", "pass"]).await.map(drop);
            fetched.context("what the dashboards are made with could not be fetched")
        }
    }
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a script to its end and returns its stdout; its stderr is ours. `Command::output` would keep that back as well.
async fn run(script: &Path, arguments: &[&str]) -> Result<String> {
    let running = Command::new(script)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {}", script.display()))?;
    let output = running.wait_with_output().await?;
    ensure!(
        output.status.success(),
        "{} ended with {}",
        script.display(),
        output.status
    );
    String::from_utf8(output.stdout).context("the script printed no text")
}
