//! The command line: one file per subcommand, no logic.

mod cluster;
mod crd;
mod events;
mod get;
mod hook;
mod order;
mod promote;
mod rehearse;
mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::api::Verb;

/// Progressive delivery for Kubernetes: every change of a Deployment is released gradually, judged, and promoted or
/// rolled back.
#[derive(Debug, Parser)]
#[command(name = "bellwether", version, max_term_width = 100)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the controller
    Run(Box<run::Run>),
    /// Rehearse a release without a cluster
    Rehearse(Box<rehearse::Rehearse>),
    /// Start a promotion of a Canary, and wait for its verdict
    Promote(Box<promote::Promote>),
    /// Wait for the verdict of a promotion
    Wait(promote::Wait),
    /// Show Canaries and where their rollouts stand
    Get(get::Get),
    /// Show the last rollouts of a Canary
    History(get::History),
    /// Call the present release off and take the traffic back
    Abort(order::Order),
    /// Take no further step until the release is resumed
    Pause(order::Order),
    /// Go on after a pause
    Resume(order::Order),
    /// Take the next step now, whatever the evidence
    Advance(order::Order),
    /// Promote now, without further analysis
    SkipAnalysis(order::Order),
    /// Return the primary to the revision that was promoted before
    Undo(order::Order),
    /// Release a revision that failed once more
    Retry(order::Order),
    /// Print the CustomResourceDefinitions as YAML
    Crd(crd::Crd),
}

impl Args {
    /// Runs the subcommand; returns the exit code.
    ///
    /// # Errors
    /// What kept it from its work.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Run(run) => run.run().map(|()| ExitCode::SUCCESS),
            Command::Rehearse(rehearse) => rehearse.run(),
            Command::Promote(promote) => promote.run(),
            Command::Wait(wait) => wait.run(),
            Command::Get(get) => get.run(),
            Command::History(history) => history.run(),
            Command::Abort(order) => order.run(Verb::Abort),
            Command::Pause(order) => order.run(Verb::Pause),
            Command::Resume(order) => order.run(Verb::Resume),
            Command::Advance(order) => order.run(Verb::Advance),
            Command::SkipAnalysis(order) => order.run(Verb::SkipAnalysis),
            Command::Undo(order) => order.run(Verb::Undo),
            Command::Retry(order) => order.run(Verb::Retry),
            Command::Crd(crd) => crd.print().map(|()| ExitCode::SUCCESS),
        }
    }
}
