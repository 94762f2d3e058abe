//! The fake Jenkins under clients that others wrote for the real one.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use bellwether_e2e::jenkins::{FakeJenkins, Settings};
use tokio::process::Command;

const CLIENTS: [&str; 2] = ["python-jenkins==1.8.3", "api4jenkins==2.1.0"];

fn cache() -> Result<PathBuf> {
    if let Some(cache) = std::env::var_os("BELLWETHER_CACHE") {
        return Ok(cache.into());
    }
    if let Some(cache) = std::env::var_os("XDG_CACHE_HOME") {
        return Ok(Path::new(&cache).join("bellwether"));
    }
    let home = std::env::var_os("HOME").context("HOME is not set")?;
    Ok(Path::new(&home).join(".cache/bellwether"))
}

async fn succeed(program: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = command
        .output()
        .await
        .with_context(|| program.display().to_string())?;
    let (said, complained) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    ensure!(
        output.status.success(),
        "{}: {said}{complained}",
        program.display()
    );
    Ok(said.into_owned())
}

/// A Python that has the clients: made once, and then complete.
async fn python() -> Result<PathBuf> {
    let named = CLIENTS.join("_").replace("==", "-");
    let folder = cache()?.join("tools").join(format!("jenkins-clients_{named}"));
    let python = folder.join("bin/python");
    let complete = folder.join("complete");
    if !complete.exists() {
        let path = folder.display().to_string();
        succeed(Path::new("python3"), &["-m", "venv", "--clear", &path]).await?;
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        succeed(&python, &[&install[..], &CLIENTS[..]].concat()).await?;
        std::fs::write(complete, "")?;
    }
    Ok(python)
}

async fn drive(settings: Settings) -> Result<()> {
    let python = python().await?;
    let jenkins = FakeJenkins::start("127.0.0.1:0", settings).await?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("jenkins/check_fake.py");
    let said = succeed(&python, &[&script.display().to_string(), &jenkins.url()]).await?;
    ensure!(said.contains("checks"), "{said}");
    Ok(())
}

#[tokio::test]
async fn clients_of_the_real_jenkins_get_along_with_the_fake() -> Result<()> {
    drive(Settings::default()).await?;
    drive(Settings {
        context: "/jenkins".to_owned(),
        ..Settings::default()
    })
    .await
}
