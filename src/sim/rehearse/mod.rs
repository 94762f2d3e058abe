//! `bellwether rehearse`: a release on the simulated cluster, under the real controller, in virtual time.
//!
//! Files and a description of the release go in, a timeline and a verdict come out. One seed is one rehearsal, in every
//! form of output.

mod actions; // what a person or a mishap does
mod before; // the objects that are there before the Canary
pub mod bounds; // exact confidence bounds
pub mod input; // the files: read, checked, completed
pub mod pace; // how long a rollout may take, and how fast it is shown
pub mod play; // one rehearsal
pub mod release; // how a release behaves
pub mod render; // how a rehearsal looks
pub mod repeat; // many seeds, and what they say of a policy
pub mod report; // the JSON document
pub mod schema; // what the API server would refuse
pub mod story; // what happens meanwhile
pub mod timeline; // what happened
pub mod units; // values as people write them
pub mod verdict; // how it ended
pub mod view; // what of the world is shown

use std::{
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use chrono::TimeDelta;
use input::{Place, Source};
use play::Setup;
use release::Release;
use report::Report;
use story::{Act, Story};
use timeline::Entry;

use crate::paint::Paint;

/// What is to be rehearsed, and how it is to be shown.
#[derive(Clone, Debug)]
pub struct Request {
    /// Files and folders with the objects; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// The namespace of objects that name none.
    pub namespace: Option<String>,
    /// The release that is shipped.
    pub release: Release,
    /// The release that serves before.
    pub present: Release,
    /// What happens meanwhile.
    pub acts: Vec<Act>,
    /// A file with a story instead of `release` and `acts`.
    pub story: Option<PathBuf>,
    /// Requests a second; 50, or what the story says, if absent.
    pub rps: Option<f64>,
    /// The labels by which the controller tells the primary's pods from the workload's; its default if empty.
    pub selector_labels: Vec<String>,
    /// Time between two scrapes of Prometheus; 15 s if absent.
    pub scrape: Option<TimeDelta>,
    /// The seed of all chance.
    pub seed: u64,
    /// Play that many seeds and tell the odds.
    pub repeat: Option<u64>,
    /// How it is shown.
    pub form: Form,
}

/// How a rehearsal is shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// A line per event.
    Plain,
    /// A timeline to watch.
    Live {
        /// Virtual seconds in a real second; 0 is at once; a speed that suits the Canary if absent.
        speed: Option<f64>,
        /// Colours, or none.
        paint: Paint,
    },
    /// One JSON document.
    Json,
}

/// Requests a second, if nobody says otherwise.
const RPS: f64 = 50.0;
/// Time between two scrapes, if nobody says otherwise: the default of `--scrape-interval-seconds`.
const SCRAPE: TimeDelta = TimeDelta::seconds(15);

/// Why nothing was rehearsed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Files, story or objects that cannot be used, a line for each thing that is wrong.
    #[error("{0}")]
    BadInput(String),
    /// The output cannot be written, or no runtime can be made.
    #[error("the rehearsal cannot be shown")]
    Io(#[from] io::Error),
    /// The document cannot be put into JSON.
    #[error("the rehearsal cannot be put into JSON")]
    Json(#[from] serde_json::Error),
}

/// Rehearses, writing to `out`; returns the exit code of the process. `progress` is told how many of how many seeds
/// are done.
///
/// # Errors
/// As [`Error`] says.
pub fn rehearse(
    request: &Request,
    out: &mut dyn Write,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<u8, Error> {
    let setup = set_up(request, &input::read(&request.files)?)?;
    if let Some(runs) = request.repeat {
        let odds = repeat::repeat(&setup, request.seed, runs, progress)?;
        if request.form == Form::Json {
            writeln!(out, "{}", serde_json::to_string_pretty(&odds)?)?;
        } else {
            write_lines(out, &render::opening(&setup, request.seed))?;
            write_lines(out, &odds.lines())?;
        }
        return Ok(0);
    }
    match request.form {
        Form::Plain => plain(&setup, request.seed, out),
        Form::Live { speed, paint } => live(&setup, request.seed, (speed, paint), out),
        Form::Json => json(&setup, request.seed, out),
    }
}

fn set_up(request: &Request, sources: &[Source]) -> Result<Setup, Error> {
    let scrape = request.scrape.unwrap_or(SCRAPE);
    let place = Place {
        namespace: request.namespace.clone(),
        scrape,
    };
    let input = input::parse(sources, &place);
    let told = request.story.as_deref().map(|path| {
        let wrong = |problem: String| Error::BadInput(format!("--story {}: {problem}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        Story::parse(&text).map_err(wrong)
    });
    // What is wrong with the files and with the story is told at once.
    let (input, told) = match (input, told.transpose()) {
        (Ok(input), Ok(told)) => (input, told),
        (Err(files), Err(story)) => return Err(Error::BadInput(format!("{files}\n{story}"))),
        (Err(error), _) | (_, Err(error)) => return Err(error),
    };
    let story = told.unwrap_or_else(|| Story {
        release: request.release.clone(),
        rps: None,
        acts: request.acts.clone(),
    });
    Ok(Setup {
        input,
        release: story.release,
        present: request.present.behaviour(&Default::default()),
        acts: story.acts,
        rps: request.rps.or(story.rps).unwrap_or(RPS),
        selector_labels: request.selector_labels.clone(),
        scrape,
    })
}

fn write_lines(out: &mut dyn Write, lines: &[String]) -> io::Result<()> {
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))
}

fn plain(setup: &Setup, seed: u64, out: &mut dyn Write) -> Result<u8, Error> {
    write_lines(out, &render::opening(setup, seed))?;
    let ending = play::play(setup, seed, &mut |entry| match render::plain(entry) {
        Some(line) => writeln!(out, "{line}"),
        None => Ok(()),
    })?;
    write_lines(out, &render::closing(&ending, Paint::default()))?;
    Ok(ending.verdict.exit_code)
}

fn live(
    setup: &Setup,
    seed: u64,
    (speed, paint): (Option<f64>, Paint),
    out: &mut dyn Write,
) -> Result<u8, Error> {
    let speed = speed.unwrap_or_else(|| pace::speed(&setup.input.spec));
    let limits = render::Limits::of(&setup.input.spec);
    write_lines(out, &render::opening(setup, seed))?;
    for line in render::header() {
        writeln!(out, "{}", paint.dim(&line))?;
    }
    let mut shown = 0.0;
    let ending = play::play(setup, seed, &mut |entry: &Entry| {
        if speed > 0.0 {
            // Virtual time stands still meanwhile.
            std::thread::sleep(Duration::from_secs_f64(
                (entry.at_seconds - shown).max(0.0) / speed,
            ));
        }
        shown = entry.at_seconds;
        if let Some(line) = render::live(entry, limits, paint) {
            writeln!(out, "{line}")?;
        }
        out.flush()
    })?;
    write_lines(out, &render::closing(&ending, paint))?;
    Ok(ending.verdict.exit_code)
}

fn json(setup: &Setup, seed: u64, out: &mut dyn Write) -> Result<u8, Error> {
    let mut timeline = Vec::new();
    let ending = play::play(setup, seed, &mut |entry| {
        timeline.push(entry.clone());
        Ok(())
    })?;
    let code = ending.verdict.exit_code;
    let report = Report::of(setup, seed, timeline, ending);
    writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    Ok(code)
}
