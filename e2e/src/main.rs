//! The real cluster and the stories that run on it.
//!
//! A control plane, a service mesh, a proxy and a Prometheus run as plain processes in a network namespace of their own,
//! with simulated pods that really answer. `test` runs the stories, `up` leaves the cluster to a person.
#![allow(
    clippy::print_stdout,
    reason = "what the suite has to say goes to the terminal"
)]

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use bellwether_e2e::jenkins::{FakeJenkins, Settings};
use bellwether_e2e::run_folder::RunFolder;
use bellwether_e2e::story::{Choice, Story};
use bellwether_e2e::{cluster, demo, namespace, stories, story, tools};

/// The real cluster and the stories that run on it.
#[derive(Parser)]
#[command(version, about)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build what is missing of the cluster's parts and print the folder that holds them
    Tools,
    /// Start the cluster and leave it running until Ctrl-C, or while COMMAND runs
    Up {
        /// Run this inside, with KUBECONFIG and PATH set, and end the cluster with it
        #[arg(trailing_var_arg = true)]
        command: Vec<String>,
    },
    /// Show a good and a bad release of `examples/` as a timeline
    Demo,
    /// Run a fake Jenkins until Ctrl-C; user admin, password admin, token admin-token
    FakeJenkins {
        /// Where it listens
        #[arg(long, default_value = "127.0.0.1:8080")]
        listen: String,
        /// Path below the host, such as /jenkins
        #[arg(long, default_value = "")]
        context: String,
    },
    /// Run the stories
    Test(Test),
}

#[derive(clap::Args)]
struct Test {
    /// Only stories whose name contains one of these
    filter: Vec<String>,
    /// Only what the real cluster alone can show, a few minutes
    #[arg(long, conflicts_with = "filter")]
    quick: bool,
    /// Print the stories, in which runs they are played and why, and run none
    #[arg(long)]
    list: bool,
    /// How many stories run at a time, of those that bear others beside them
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    jobs: u8,
}

impl Test {
    fn stories(&self) -> Result<Vec<Story>> {
        let choice = match self.filter[..] {
            [] if self.quick => Choice::Quick,
            [] => Choice::All,
            _ => Choice::Named(&self.filter),
        };
        story::choose(stories::all(), choice)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        eprintln!("a TLS provider was installed before");
    }
    match run(Args::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<ExitCode> {
    // Names that no story has are refused before anything is built.
    let chosen = match &args.command {
        Command::Test(test) => test.stories()?,
        _ => Vec::new(),
    };
    if let Command::Test(Test { list: true, .. }) = args.command {
        story::print_names(&chosen);
        return Ok(ExitCode::SUCCESS);
    }
    if let Command::FakeJenkins { listen, context } = args.command {
        return fake_jenkins(&listen, context).await;
    }
    let Some(inside) = namespace::inside()? else {
        let tools = tools::provide(&story::needed(&chosen)).await?;
        if let Command::Tools = args.command {
            println!("{}", tools.display());
            return Ok(ExitCode::SUCCESS);
        }
        return namespace::enter(&RunFolder::create()?, &tools).await;
    };
    namespace::prepare(&inside).await?;
    match args.command {
        Command::Tools | Command::FakeJenkins { .. } => Ok(ExitCode::SUCCESS),
        Command::Demo => demo::show(&inside).await,
        Command::Up { command } => cluster::up(&inside, &command).await,
        Command::Test(Test { jobs, .. }) => story::run_all(&inside, chosen, jobs.into()).await,
    }
}

async fn fake_jenkins(listen: &str, context: String) -> Result<ExitCode> {
    let settings = Settings {
        context,
        ..Settings::default()
    };
    let jenkins = FakeJenkins::start(listen, settings).await?;
    println!("{}/", jenkins.url());
    tokio::signal::ctrl_c().await?;
    Ok(ExitCode::SUCCESS)
}
