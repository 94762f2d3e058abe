//! The command line: one file per subcommand, no logic.

mod crd;
mod rehearse;
mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    /// Print the CustomResourceDefinitions as YAML
    Crd,
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
            Command::Crd => crd::print().map(|()| ExitCode::SUCCESS),
        }
    }
}
