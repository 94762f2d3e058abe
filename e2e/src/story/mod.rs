//! The harness: runs stories, each on a stage of its own, and sums up how they went.

mod plan;
mod real;
mod report;
mod simulate;
mod simulated;
mod stage;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use futures::{FutureExt, StreamExt, stream};

pub use self::plan::{Choice, Isolation, Runs, Scrapes, Story, Where, choose, needed, print_names};
pub use self::real::{controller, controller_at, program};
use self::report::Outcome;
pub use self::simulate::simulate;
pub use self::stage::Stage;
use crate::cluster::Cluster;
use crate::namespace::Inside;
use crate::rights;

/// Starts a cluster, plays the stories, and prints what came of them.
pub async fn run_all(inside: &Inside, stories: Vec<Story>, jobs: usize) -> Result<ExitCode> {
    tokio::select! {
        code = run_chosen(inside, stories, jobs) => code,
        _ = tokio::signal::ctrl_c() => Ok(ExitCode::from(130)),
    }
}

async fn run_chosen(inside: &Inside, chosen: Vec<Story>, jobs: usize) -> Result<ExitCode> {
    let started = Instant::now();
    let everything = chosen.len() == crate::stories::all().len();
    let cluster = Arc::new(Cluster::start(inside).await?);
    let (alone, shared): (Vec<_>, Vec<_>) = chosen
        .into_iter()
        .partition(|story| story.isolation == Isolation::Alone);
    let mut outcomes: Vec<Outcome> = stream::iter(&shared)
        .map(|story| play(&cluster, story))
        .buffer_unordered(jobs)
        .collect()
        .await;
    for story in &alone {
        outcomes.push(play(&cluster, story).await);
    }
    report::print_table(&outcomes, started.elapsed());
    let rights = rights::compare(&cluster).await?;
    println!("{rights}");
    let needed = !everything || rights.unneeded.is_empty();
    Ok(if needed && outcomes.iter().all(Outcome::passed) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Plays one story to its end, whatever that is.
async fn play(cluster: &Arc<Cluster>, story: &Story) -> Outcome {
    let started = Instant::now();
    let stage = match Stage::set(Arc::clone(cluster), story.name, story.scrapes).await {
        Ok(stage) => Arc::new(stage),
        Err(error) => return Outcome::new(story.name, started.elapsed(), Vec::new(), Err(error)),
    };
    let run = AssertUnwindSafe((story.play)(Arc::clone(&stage))).catch_unwind();
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
