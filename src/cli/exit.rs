//! What a command ends with: one table for every command. The hook API names the same codes, and its refusals have theirs
//! here.

use std::{fmt, process::ExitCode};

use serde_json::Value;

/// What a command ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Promoted, or done.
    Done = 0,
    /// Any error that has no code of its own.
    Error = 1,
    /// Bad input, or an order that was refused.
    BadInput = 2,
    /// Rolled back.
    RolledBack = 3,
    /// Held, or nothing decided it.
    Held = 4,
    /// Called off.
    Aborted = 5,
    /// Something newer took its place.
    Superseded = 6,
    /// The wait was too long.
    Timeout = 7,
    /// Could not be carried out.
    Failed = 8,
    /// SIGHUP ended it, as a terminal that is closed does.
    HungUp = 129,
    /// SIGINT ended it.
    Interrupted = 130,
    /// SIGTERM ended it, as a CI server does that aborts a build.
    Terminated = 143,
}

/// Every code and what it says.
const TABLE: [(Exit, &str); 12] = [
    (Exit::Done, "promoted, or done"),
    (Exit::Error, "error"),
    (Exit::BadInput, "bad input, or an order that was refused"),
    (Exit::RolledBack, "rolled back"),
    (Exit::Held, "held, frozen, or undecided"),
    (Exit::Aborted, "aborted"),
    (Exit::Superseded, "superseded by a newer promotion"),
    (
        Exit::Timeout,
        "the wait was too long, or nothing answered in time",
    ),
    (
        Exit::Failed,
        "failed: it could not be carried out, or another promotion is not over",
    ),
    (Exit::HungUp, "ended by SIGHUP; what was started goes on"),
    (
        Exit::Interrupted,
        "ended by SIGINT (Ctrl-C); what was started goes on",
    ),
    (Exit::Terminated, "ended by SIGTERM; what was started goes on"),
];

impl Exit {
    /// The code.
    pub(super) fn code(self) -> u8 {
        self as u8
    }

    /// What a document of the hook API names.
    pub(super) fn named(code: i64) -> Option<Exit> {
        let known = TABLE.iter().find(|(exit, _)| i64::from(exit.code()) == code);
        known.map(|(exit, _)| *exit)
    }

    /// What belongs to a refusal of the hook API, by its stable code.
    pub(super) fn of_problem(code: &str) -> Exit {
        match code {
            "bad_request" | "body_too_large" | "key_reused" => Exit::BadInput,
            "conflict" => Exit::Failed,
            "frozen" => Exit::Held,
            _ => Exit::Error,
        }
    }

    /// The end of a command by a signal.
    pub(super) fn signalled() -> impl Future<Output = (Exit, &'static str)> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind, exit, name| async move {
            match signal(kind) {
                Ok(mut signal) => {
                    signal.recv().await;
                    (exit, name)
                }
                // Nobody can be told: the signal does what it always does.
                Err(_) => std::future::pending().await,
            }
        };
        async move {
            tokio::select! {
                ended = listen(SignalKind::hangup(), Exit::HungUp, "SIGHUP") => ended,
                ended = listen(SignalKind::interrupt(), Exit::Interrupted, "SIGINT") => ended,
                ended = listen(SignalKind::terminate(), Exit::Terminated, "SIGTERM") => ended,
            }
        }
    }

    /// What belongs to an error of a command.
    pub(super) fn of(error: &anyhow::Error) -> Exit {
        let known = error.downcast_ref::<Failure>();
        known.map_or(Exit::Error, |failure| failure.exit)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// The table for people.
pub(super) fn table() -> String {
    let mut text = "Exit codes of every command:".to_owned();
    for (exit, meaning) in TABLE {
        text.push_str(&format!("\n  {:<3}  {meaning}", exit.code()));
    }
    text
}

/// An error that has a code of its own.
#[derive(Debug)]
pub(super) struct Failure {
    exit: Exit,
    text: String,
}

impl Failure {
    /// An error with this code.
    pub(super) fn with(exit: Exit, text: impl Into<String>) -> anyhow::Error {
        let text = text.into();
        Failure { exit, text }.into()
    }

    /// What was given cannot be used.
    pub(super) fn input(text: impl Into<String>) -> anyhow::Error {
        Failure::with(Exit::BadInput, text)
    }

    /// What the hook API refused, in its own words.
    pub(super) fn of_problem(problem: &Value) -> anyhow::Error {
        let text = |field: &str| problem[field].as_str().unwrap_or_default();
        let other = problem["other"].as_str();
        let other = other.map_or(String::new(), |path| format!(" ({path})"));
        // Of a promotion that is over and forgotten the result counts.
        let result = problem["exitCode"].as_i64().and_then(Exit::named);
        let exit = result.unwrap_or_else(|| Exit::of_problem(text("code")));
        Failure::with(exit, format!("{}{other}", text("detail")))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::PromotionPhase, hook_api::view};

    #[test]
    fn results_of_promotions_have_the_codes_of_the_hook_api() {
        for (phase, exit) in [
            (PromotionPhase::Promoted, Exit::Done),
            (PromotionPhase::RolledBack, Exit::RolledBack),
            (PromotionPhase::Aborted, Exit::Aborted),
            (PromotionPhase::Superseded, Exit::Superseded),
            (PromotionPhase::Failed, Exit::Failed),
        ] {
            let code = view::exit_code(phase).map(i64::from).unwrap();
            assert_eq!(Exit::named(code), Some(exit), "{phase}");
        }
        assert_eq!(Exit::named(9), None);
    }

    #[test]
    fn documentation_has_the_same_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/command-line.md");
        let docs = std::fs::read_to_string(path).unwrap();
        for (exit, meaning) in TABLE {
            let row = format!("| {} | {meaning} |", exit.code());
            assert!(docs.contains(&row), "{row} is not in {path}");
        }
    }
}
