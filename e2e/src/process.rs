//! One process of the cluster: started with its output in a file, killed, started again.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use crate::wait;

/// Lines of a log that are shown when its process fails.
const TAIL: usize = 40;

/// A process that can be started any number of times, with the same arguments each time.
pub struct Process {
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    log: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Process {
    /// A process that is not started yet; its output goes to `<logs>/<name>.log`.
    pub fn new(name: &str, program: impl Into<PathBuf>, logs: &Path) -> Self {
        Self {
            name: name.to_owned(),
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            log: logs.join(format!("{name}.log")),
            child: Mutex::default(),
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Adds `<flag>=<path>`.
    pub fn path(self, flag: &str, path: &Path) -> Self {
        let mut arg = OsString::from(flag);
        arg.push("=");
        arg.push(path);
        self.arg(arg)
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// The file its output goes to.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Starts it; it must not be running.
    pub async fn start(&self) -> Result<()> {
        let mut child = self.child.lock().await;
        ensure!(child.is_none(), "{} is already running", self.name);
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("cannot write {}", self.log.display()))?;
        let started = Command::new(&self.program)
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C is for the suite, which then ends everything in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        *child = Some(started);
        Ok(())
    }

    /// Waits until `ask` succeeds; fails at once if the process ends before.
    pub async fn ready<T>(&self, within: Duration, ask: impl AsyncFnMut() -> Result<T>) -> Result<T> {
        let what = format!("{} is ready", self.name);
        let answer = wait::until(&what, within, ask);
        tokio::select! {
            answer = answer => answer,
            ended = self.ended() => Err(ended?),
        }
        .with_context(|| format!("end of {}:\n{}", self.log.display(), tail(&self.log)))
    }

    /// Ends it as a crash would (SIGKILL) and waits until it is gone.
    pub async fn kill(&self) -> Result<()> {
        if let Some(mut child) = self.child.lock().await.take() {
            child
                .kill()
                .await
                .with_context(|| format!("cannot kill {}", self.name))?;
        }
        Ok(())
    }

    /// Asks it to end (SIGTERM) and returns how it did.
    pub async fn terminate(&self) -> Result<ExitStatus> {
        let mut child = self
            .child
            .lock()
            .await
            .take()
            .with_context(|| format!("{} is not running", self.name))?;
        let pid = child.id().with_context(|| format!("{} has ended", self.name))?;
        let asked = Command::new("sh")
            .args(["-c", &format!("kill -TERM {pid}")])
            .status()
            .await?;
        ensure!(asked.success(), "cannot signal {}", self.name);
        Ok(child.wait().await?)
    }

    /// Tells whether it runs.
    pub async fn is_running(&self) -> bool {
        match self.child.lock().await.as_mut() {
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => false,
        }
    }

    /// The last lines of its output.
    pub fn tail(&self) -> String {
        tail(&self.log)
    }

    /// Comes back with an error when the process is not running any more.
    async fn ended(&self) -> Result<anyhow::Error> {
        wait::until("it ends", Duration::from_hours(1), async || {
            if self.is_running().await {
                bail!("{} still runs", self.name)
            }
            Ok(())
        })
        .await?;
        Ok(anyhow::anyhow!("{} has ended", self.name))
    }
}

/// The last lines of a file, or why there are none.
pub fn tail(file: &Path) -> String {
    match std::fs::read(file) {
        Ok(content) => {
            let text = String::from_utf8_lossy(&content);
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(TAIL)..].join("\n")
        }
        Err(error) => format!("({error})"),
    }
}
