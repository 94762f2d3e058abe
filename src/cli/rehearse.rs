//! `bellwether rehearse`: from arguments to a request.

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use chrono::TimeDelta;
use clap::{Parser, ValueEnum};

use crate::{
    paint::Paint,
    sim::rehearse::{
        self, Error, Form, Request,
        release::Release,
        story::{acceptable_rps, metrics_down},
        units,
    },
};

/// Rehearse a release without a cluster.
///
/// The real controller runs on a simulated cluster in virtual time: the files are applied, the Canary is set up, a
/// new image with the described behaviour is shipped, and everything is followed to its verdict. What no file has (the
/// Deployment, the Service) is assumed.
///
/// Exit codes: 0 promoted, 3 rolled back, 4 held or undecided, 2 bad input. With --repeat 0, whatever the odds.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:
  bellwether rehearse examples/canary.yaml
  bellwether rehearse examples/ --errors 5%
  bellwether rehearse canary.yaml --errors 1.5% --repeat 1000
  kustomize build overlays/prod | bellwether rehearse - --namespace prod
  kubectl get canary,deployment,service shop -o yaml | bellwether rehearse - --never-ready

docs/rehearse.md tells what is modelled and how stories are written.")]
pub(super) struct Rehearse {
    /// Files or folders with what would be applied: one Canary, and its Deployment, Service, VirtualService, Freeze; - is
    /// standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Namespace of the objects that name none; that of the Canary, or default, if absent
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,

    /// Share of the new release's requests that it answers with 500, in percent, such as 2%
    #[arg(long, value_name = "PERCENT", value_parser = units::percent, help_heading = "The new release")]
    errors: Option<f64>,

    /// Latency of the new release, in ms or s, such as p99=800ms or mean=20ms; the present one has p99=37ms
    #[arg(long, value_name = "LATENCY", value_parser = units::latency, help_heading = "The new release")]
    latency: Option<f64>,

    /// Time from readiness to a crash of the new release's pods, such as 3m
    #[arg(long, value_name = "DURATION", value_parser = units::duration, help_heading = "The new release")]
    crash_after: Option<TimeDelta>,

    /// Pods of the new release never become ready
    #[arg(long, help_heading = "The new release")]
    never_ready: bool,

    /// Requests a second; 50 if neither this nor the story says
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, value_parser = rps, help_heading = "The world")]
    rps: Option<f64>,

    /// Prometheus is down from when to when after the ship, such as 5m..10m; may be repeated
    #[arg(long, value_name = "FROM..TO", value_parser = units::span, help_heading = "The world")]
    metrics_down: Vec<(TimeDelta, TimeDelta)>,

    /// Share of the present release's requests that it answers with 500, in percent, such as 0.3%
    #[arg(long, value_name = "PERCENT", value_parser = units::percent, help_heading = "The world")]
    present_errors: Option<f64>,

    /// Latency of the present release, in ms or s, such as p99=200ms
    #[arg(long, value_name = "LATENCY", value_parser = units::latency, help_heading = "The world")]
    present_latency: Option<f64>,

    /// Labels by which the primary's pods are told from the workload's, as bellwether run has them
    #[arg(
        long,
        value_name = "LABELS",
        value_delimiter = ',',
        help_heading = "The world"
    )]
    selector_labels: Vec<String>,

    /// Time between two scrapes of Prometheus, such as 30s; 15s if absent
    #[arg(long, value_name = "DURATION", value_parser = scrape, help_heading = "The world")]
    scrape_interval: Option<TimeDelta>,

    /// A story in YAML instead of flags: how the release behaves, and what happens when
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["errors", "latency", "crash_after", "never_ready", "metrics_down"],
        help_heading = "The world"
    )]
    story: Option<PathBuf>,

    /// The seed of all chance: the same seed is the same rehearsal
    #[arg(long, value_name = "NUMBER", default_value_t = 1, help_heading = "Play")]
    seed: u64,

    /// Play so many seeds, on all cores, of the described release and of a healthy one, and tell how often each is
    /// promoted and rolled back
    #[arg(
        long,
        value_name = "TIMES",
        value_parser = clap::value_parser!(u64).range(1..=1_000_000),
        help_heading = "Play"
    )]
    repeat: Option<u64>,

    /// Virtual seconds shown in a real second, in a terminal; 0 is at once; about 18 real seconds in all if absent
    #[arg(long, value_name = "NUMBER", value_parser = speed, help_heading = "Output")]
    speed: Option<f64>,

    /// Form of the output; text is a timeline to watch in a terminal and a line per event in a pipe
    #[arg(
        short,
        long,
        value_name = "FORM",
        value_enum,
        default_value = "text",
        help_heading = "Output"
    )]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Output {
    /// For people
    Text,
    /// One JSON document
    Json,
}

fn rps(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|rps| acceptable_rps(*rps));
    number.ok_or_else(|| "must lie in 0 to 10000 requests a second".to_owned())
}

fn scrape(text: &str) -> Result<TimeDelta, String> {
    let interval = units::duration(text)?;
    if interval < TimeDelta::seconds(1) || interval > TimeDelta::minutes(5) {
        return Err(format!("{text:?} must lie in 1s to 5m"));
    }
    Ok(interval)
}

fn speed(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|speed| (0.0..=1e6).contains(speed));
    number.ok_or_else(|| "must be 0, or virtual seconds in a real second".to_owned())
}

impl Rehearse {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let (terminal, watched) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        let progress = |done: u64, all: u64| {
            if watched && (done.is_multiple_of(10) || done == all) {
                let end = if done == all { "\r\x1b[K" } else { "" };
                // Progress that cannot be shown is no reason to stop.
                let _ = write!(io::stderr(), "\r{done} of {all} rehearsals{end}");
            }
        };
        let request = self.request(terminal);
        let mut out = io::stdout().lock();
        match rehearse::rehearse(&request, &mut out, &progress) {
            Ok(code) => Ok(ExitCode::from(code)),
            Err(Error::BadInput(problem)) => {
                for line in problem.lines() {
                    writeln!(io::stderr(), "bellwether: {line}")?;
                }
                Ok(ExitCode::from(2))
            }
            // Whoever reads has seen enough.
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::FAILURE),
            Err(error) => Err(error.into()),
        }
    }

    fn request(self, terminal: bool) -> Request {
        let mut acts: Vec<_> = self.metrics_down.into_iter().flat_map(metrics_down).collect();
        acts.sort_by_key(|act| act.at);
        Request {
            files: self.files,
            namespace: self.namespace,
            release: Release {
                errors: self.errors,
                latency: self.latency,
                never_ready: self.never_ready,
                crash_after: self.crash_after,
                ..Release::default()
            },
            present: Release {
                errors: self.present_errors,
                latency: self.present_latency,
                ..Release::default()
            },
            acts,
            story: self.story,
            rps: self.rps,
            selector_labels: self.selector_labels,
            scrape: self.scrape_interval,
            seed: self.seed,
            repeat: self.repeat,
            form: match self.output {
                Output::Json => Form::Json,
                Output::Text if terminal => Form::Live {
                    speed: self.speed,
                    paint: Paint::for_stdout(),
                },
                Output::Text => Form::Plain,
            },
        }
    }
}
