//! The cluster's parts, built once and kept in a cache outside the clone.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

/// Builds what is missing, with its progress on stderr, and returns the folder that holds all parts.
pub async fn build() -> Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/build.sh");
    let output = Command::new(&script)
        .stderr(Stdio::inherit())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot run {}", script.display()))?;
    ensure!(output.status.success(), "the cluster's parts could not be built");
    let stdout = String::from_utf8(output.stdout).context("the build script printed no text")?;
    let folder = stdout
        .lines()
        .last()
        .context("the build script printed no folder")?;
    Ok(PathBuf::from(folder))
}
