//! The harness: runs stories, each on a stage of its own, and sums up how they went.

mod real;
mod report;
mod simulate;
mod simulated;
mod stage;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use futures::future::LocalBoxFuture;
use futures::{FutureExt, StreamExt, stream};

pub use self::real::controller;
use self::report::Outcome;
pub use self::simulate::simulate;
pub use self::stage::Stage;
use crate::cluster::Cluster;
use crate::namespace::Inside;

/// Enough for a rollout with a handful of steps on a busy machine.
const TIMEOUT: Duration = Duration::from_mins(3);

/// Whether a story bears others beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// It stays in its namespace and runs beside others.
    Shared,
    /// It disturbs the whole cluster, or counts what others would disturb, and runs by itself.
    Alone,
}

/// On which clusters a story runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// On the real and on the simulated one.
    Both,
    /// On the real one only, for this reason.
    RealOnly(&'static str),
}

// All stories run on the main task: they mostly wait, and need not be `Send` then.
type Run = Box<dyn Fn(Arc<Stage>) -> LocalBoxFuture<'static, Result<()>>>;

/// Something a user does, and what must then be true.
pub struct Story {
    name: &'static str,
    isolation: Isolation,
    runs_on: Where,
    timeout: Duration,
    run: Run,
}

impl Story {
    /// A story; its name is that of its namespace too.
    pub fn new<F, R>(name: &'static str, isolation: Isolation, run: F) -> Self
    where
        F: Fn(Arc<Stage>) -> R + 'static,
        R: Future<Output = Result<()>> + 'static,
    {
        Self {
            name,
            isolation,
            runs_on: Where::Both,
            timeout: TIMEOUT,
            run: Box::new(move |stage| run(stage).boxed_local()),
        }
    }

    /// Keeps it to the real cluster, because the simulated one cannot tell it.
    pub fn real_only(mut self, reason: &'static str) -> Self {
        self.runs_on = Where::RealOnly(reason);
        self
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// On which clusters it runs.
    pub fn runs_on(&self) -> Where {
        self.runs_on
    }

    /// Gives it more or less time.
    pub fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// Prints the names of stories, one a line, with where they run.
pub fn print_names(stories: &[Story]) {
    for story in stories {
        match story.runs_on {
            Where::Both => println!("{}", story.name),
            Where::RealOnly(reason) => println!("{}  (real cluster only: {reason})", story.name),
        }
    }
}

/// Starts a cluster, runs the stories that match, and prints what came of them.
pub async fn run_all(
    inside: &Inside,
    stories: Vec<Story>,
    filter: &[String],
    jobs: usize,
) -> Result<ExitCode> {
    let chosen: Vec<_> = stories
        .into_iter()
        .filter(|story| filter.is_empty() || filter.iter().any(|part| story.name.contains(part.as_str())))
        .collect();
    ensure!(!chosen.is_empty(), "no story is called like {filter:?}");
    tokio::select! {
        code = run_chosen(inside, chosen, jobs) => code,
        _ = tokio::signal::ctrl_c() => Ok(ExitCode::from(130)),
    }
}

async fn run_chosen(inside: &Inside, chosen: Vec<Story>, jobs: usize) -> Result<ExitCode> {
    let started = Instant::now();
    let cluster = Arc::new(Cluster::start(inside).await?);
    let (alone, shared): (Vec<_>, Vec<_>) = chosen
        .into_iter()
        .partition(|story| story.isolation == Isolation::Alone);
    let mut outcomes: Vec<Outcome> = stream::iter(&shared)
        .map(|story| play(&cluster, story))
        .buffer_unordered(jobs.max(1))
        .collect()
        .await;
    for story in &alone {
        outcomes.push(play(&cluster, story).await);
    }
    report::print_table(&outcomes, started.elapsed());
    Ok(if outcomes.iter().all(Outcome::passed) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Plays one story to its end, whatever that is.
async fn play(cluster: &Arc<Cluster>, story: &Story) -> Outcome {
    let started = Instant::now();
    let stage = match Stage::set(Arc::clone(cluster), story.name).await {
        Ok(stage) => Arc::new(stage),
        Err(error) => return Outcome::new(story.name, started.elapsed(), Vec::new(), Err(error)),
    };
    let run = AssertUnwindSafe((story.run)(Arc::clone(&stage))).catch_unwind();
    let result = match tokio::time::timeout(story.timeout, run).await {
        Ok(Ok(result)) => result.and_then(|()| ensure_no_defect(&stage.log())),
        Ok(Err(panic)) => Err(anyhow!("panicked: {}", words_of(panic.as_ref()))),
        Err(_) => Err(anyhow!("not finished within {:?}", story.timeout)),
    };
    let outcome = Outcome::new(story.name, started.elapsed(), stage.figures(), result);
    outcome.print_line();
    if !outcome.passed() {
        stage.print_evidence().await;
    }
    if let Err(error) = stage.clear().await {
        eprintln!("{}: cannot clear the stage: {error:#}", story.name);
    }
    outcome
}

/// Whatever a story demands: no round may panic, and none may write again and again without an end.
fn ensure_no_defect(log: &str) -> Result<()> {
    let defect = log
        .lines()
        .find(|line| line.contains("NoProgress") || line.contains("Panicked"));
    ensure!(
        defect.is_none(),
        "the controller says: {}",
        defect.unwrap_or_default()
    );
    Ok(())
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a word")
}
