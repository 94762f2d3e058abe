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
    Test {
        /// Only stories whose name contains one of these
        filter: Vec<String>,
        /// Print the names of the stories and run none
        #[arg(long)]
        list: bool,
        /// How many stories run at a time
        #[arg(long, default_value_t = 3)]
        jobs: usize,
    },
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
    if let Command::Test { list: true, .. } = args.command {
        story::print_names(&stories::all());
        return Ok(ExitCode::SUCCESS);
    }
    if let Command::FakeJenkins { listen, context } = args.command {
        return fake_jenkins(&listen, context).await;
    }
    let Some(inside) = namespace::inside()? else {
        let tools = tools::build().await?;
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
        Command::Test { filter, jobs, .. } => story::run_all(&inside, stories::all(), &filter, jobs).await,
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
