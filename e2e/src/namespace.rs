//! The network namespace that the cluster lives in.
//!
//! Pod addresses exist nowhere but in it, so nothing can be sent to a stranger's network by mistake, and no root is
//! needed. It comes with a process namespace: when its first process ends, for whatever reason, everything in it ends.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;
use tokio::signal;

use crate::run_folder::{self, RunFolder};

/// Address of the only node, and of the ingress gateway on it.
pub const NODE_ADDRESS: &str = "10.250.0.1";
/// Addresses of the pods, all local to the namespace.
pub const POD_ADDRESSES: &str = "10.200.0.0/16";

const RUN_FOLDER: &str = "BELLWETHER_E2E_RUN_FOLDER";
const TOOLS: &str = "BELLWETHER_E2E_TOOLS";

/// What a process inside the namespace was given by the one outside.
#[derive(Clone, Debug)]
pub struct Inside {
    /// The folder of this run.
    pub folder: PathBuf,
    /// The folder of the cluster's parts.
    pub tools: PathBuf,
}

/// Tells whether this process is inside, and with what.
pub fn inside() -> Result<Option<Inside>> {
    let Some(folder) = env::var_os(RUN_FOLDER) else {
        return Ok(None);
    };
    let tools = env::var_os(TOOLS).with_context(|| format!("{RUN_FOLDER} is set, but {TOOLS} is not"))?;
    Ok(Some(Inside {
        folder: folder.into(),
        tools: tools.into(),
    }))
}

/// Runs this program again with the same arguments inside a new namespace and returns how it ended.
pub async fn enter(folder: &RunFolder, tools: &Path) -> Result<ExitCode> {
    let mut command = Command::new("unshare");
    command
        .args(isolation().await?)
        .args(["--net", "--pid", "--fork", "--kill-child", "--"])
        .arg(env::current_exe()?)
        .args(env::args_os().skip(1))
        .env(RUN_FOLDER, folder.path())
        .env(TOOLS, tools)
        .kill_on_drop(true);
    let mut child = command.spawn().context("cannot run unshare")?;
    let mut terminated = signal::unix::signal(signal::unix::SignalKind::terminate())?;
    let status = tokio::select! {
        status = child.wait() => status?,
        _ = terminated.recv() => {
            child.kill().await?;
            return Ok(ExitCode::from(143));
        }
        _ = interrupted_twice() => {
            child.kill().await?;
            return Ok(ExitCode::from(130));
        }
    };
    // An end by a signal has no code of its own.
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Sets up addresses and routes, and sees to it that this process ends with the one outside.
pub async fn prepare(inside: &Inside) -> Result<()> {
    let folder = inside.folder.clone();
    std::thread::spawn(move || {
        let ended = run_folder::wait_for_end(&folder);
        eprintln!(
            "the run has ended from outside{}",
            ended.err().map(|e| format!(": {e:#}")).unwrap_or_default()
        );
        std::process::exit(1);
    });
    ip(&["link", "set", "lo", "up"]).await?;
    ip(&["address", "add", &format!("{NODE_ADDRESS}/32"), "dev", "lo"]).await?;
    ip(&["route", "add", "local", POD_ADDRESSES, "dev", "lo"]).await
}

/// The first Ctrl-C goes to the processes inside as well, which end by themselves.
async fn interrupted_twice() {
    let _first = signal::ctrl_c().await;
    let _second = signal::ctrl_c().await;
}

/// How to get a namespace here: with a user namespace where that is allowed, else as root.
async fn isolation() -> Result<&'static [&'static str]> {
    const WITH_USER: &[&str] = &["--user", "--map-root-user"];
    const AS_ROOT: &[&str] = &[];
    for flags in [WITH_USER, AS_ROOT] {
        let probe = Command::new("unshare")
            .args(flags)
            .args(["--net", "--pid", "--fork", "--", "true"])
            .stderr(Stdio::null())
            .status()
            .await
            .context("cannot run unshare")?;
        if probe.success() {
            return Ok(flags);
        }
    }
    bail!(
        "this machine lets this user make no network namespace; \
         allow it with `sysctl kernel.unprivileged_userns_clone=1` or, on Ubuntu, \
         `sysctl kernel.apparmor_restrict_unprivileged_userns=0`, or run as root"
    )
}

async fn ip(args: &[&str]) -> Result<()> {
    let output = Command::new("ip")
        .args(args)
        .output()
        .await
        .context("cannot run ip")?;
    ensure!(
        output.status.success(),
        "ip {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
