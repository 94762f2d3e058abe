//! The command line: one file per subcommand, no logic.

mod backend; // the Kubernetes API, or the hook API
mod completions;
mod crd;
mod events;
mod exit; // what commands end with
mod explain;
mod get;
mod hook;
mod live; // what is seen of a wait
mod metrics;
mod order;
mod output; // how answers are printed
mod promote;
mod rehearse;
mod run;

use std::{path::Path, process::ExitCode, time::Duration};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::api::Verb;
use exit::{Exit, Failure};

/// Progressive delivery for Kubernetes: every change of a Deployment is released gradually, judged, and promoted or
/// rolled back.
#[derive(Debug, Parser)]
#[command(name = "bellwether", version, max_term_width = 100)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<run::Run>),
    Rehearse(Box<rehearse::Rehearse>),
    Promote(Box<promote::Promote>),
    Wait(promote::Wait),
    Get(get::Get),
    Explain(explain::Explain),
    History(get::History),
    Abort(Box<order::Abort>),
    /// Take no further step until the release is resumed
    Pause(Box<order::Order>),
    /// Go on after a pause
    Resume(Box<order::Order>),
    /// Take the next step now, whatever the evidence
    Advance(Box<order::Order>),
    /// Promote now, without further analysis
    SkipAnalysis(Box<order::Order>),
    /// Return the primary to the revision that was promoted before
    Undo(Box<order::Order>),
    /// Release a revision that failed once more
    Retry(Box<order::Order>),
    /// Open a gate for the present release
    Approve(Box<order::Settle>),
    /// Reject the present release at a gate: it is rolled back
    Reject(Box<order::Settle>),
    Crd(crd::Crd),
    Completions(completions::Completions),
}

/// Reads the arguments of the process and does what they say; errors go to standard error.
#[must_use]
pub fn main() -> ExitCode {
    let program = std::env::args_os().next().unwrap_or_default();
    let mut command = command(Path::new(&program));
    let matches = command.get_matches_mut();
    let args = Args::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit());
    args.run().unwrap_or_else(|error| {
        output::note(&format!("{error:#}"));
        Exit::of(&error).into()
    })
}

/// The command as it was called: a plugin of kubectl says so in its usage texts.
fn command(program: &Path) -> clap::Command {
    let command = Args::command().after_long_help(exit::table());
    if program
        .file_stem()
        .is_some_and(|name| name == "kubectl-bellwether")
    {
        command.bin_name("kubectl bellwether")
    } else {
        command
    }
}

/// The first of these variables that says something; pipelines set variables to nothing where they mean none.
fn env(names: &[&str]) -> Option<String> {
    let set = |name: &&str| std::env::var(name).ok().filter(|value| !value.is_empty());
    names.iter().find_map(set)
}

/// How long the hook API, or the API server, may be out of reach if nothing is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What answers too late ends the command with a code of its own.
async fn within<T>(
    span: Duration,
    what: &str,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::time::timeout(span, Box::pin(work))
        .await
        .unwrap_or_else(|_| {
            let text = format!("no {what} within {} s", span.as_secs());
            Err(Failure::with(Exit::Timeout, text))
        })
}

/// Runs an asynchronous command.
fn block_on(command: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<ExitCode> {
    let exit = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(command)?;
    Ok(exit.into())
}

impl Args {
    fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Run(run) => run.run().map(|()| ExitCode::SUCCESS),
            Command::Rehearse(rehearse) => rehearse.run(),
            Command::Promote(promote) => promote.run(),
            Command::Wait(wait) => wait.run(),
            Command::Get(get) => get.run(),
            Command::Explain(explain) => explain.run(),
            Command::History(history) => history.run(),
            Command::Abort(abort) => abort.run(),
            Command::Pause(order) => order.run(Verb::Pause),
            Command::Resume(order) => order.run(Verb::Resume),
            Command::Advance(order) => order.run(Verb::Advance),
            Command::SkipAnalysis(order) => order.run(Verb::SkipAnalysis),
            Command::Undo(order) => order.run(Verb::Undo),
            Command::Retry(order) => order.run(Verb::Retry),
            Command::Approve(settle) => settle.run(Verb::Approve),
            Command::Reject(settle) => settle.run(Verb::Reject),
            Command::Crd(crd) => crd.print().map(|()| ExitCode::SUCCESS),
            Command::Completions(completions) => completions.run(Args::command()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_no_command_contradict_each_other() {
        command(Path::new("/usr/bin/bellwether")).debug_assert();
    }

    #[test]
    fn plugin_of_kubectl_says_so_in_its_usage() {
        for (program, usage) in [
            (
                "/usr/local/bin/kubectl-bellwether",
                "Usage: kubectl bellwether get",
            ),
            ("/usr/local/bin/bellwether", "Usage: bellwether get"),
        ] {
            let told = command(Path::new(program))
                .try_get_matches_from([program, "get", "--help"])
                .unwrap_err();
            assert!(told.to_string().contains(usage), "{told}");
        }
    }
}
