//! How a rehearsal ended.

use serde::Serialize;

use crate::api::{CanaryStatus, Phase};

/// The ways in which a rehearsal ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// The release was promoted.
    Promoted,
    /// The release was rolled back, or its promotion was undone.
    RolledBack,
    /// Something holds it back at the end.
    Held,
    /// There is no verdict: it takes longer, was withdrawn by its author, or the Canary is gone.
    Undecided,
}

impl Outcome {
    /// Exit code of the process: 0 promoted, 3 rolled back, 4 held or undecided.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Outcome::Promoted => 0,
            Outcome::RolledBack => 3,
            Outcome::Held | Outcome::Undecided => 4,
        }
    }

    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Outcome::Promoted => "promoted",
            Outcome::RolledBack => "rolled back",
            Outcome::Held => "held",
            Outcome::Undecided => "undecided",
        }
    }
}

/// The verdict.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// How it ended.
    pub outcome: Outcome,
    /// Exit code of the process.
    pub exit_code: u8,
    /// Seconds from the ship of the release to the decision, or to the end of the rehearsal without one.
    pub after_seconds: f64,
    /// Why, in one sentence.
    pub reason: String,
    /// What holds it: the reason of `status.hold`; null without a hold.
    pub hold: Option<String>,
}

/// The verdict of what a Canary (`None` if it is gone) came to. A release that was rolled back, for the reason
/// `rolled_back`, stays so whatever its author does afterwards.
#[must_use]
pub fn of(status: Option<&CanaryStatus>, rolled_back: Option<String>, after_seconds: f64) -> Verdict {
    let (outcome, reason) = match status {
        None => (
            Outcome::Undecided,
            "the Canary was deleted and the service handed back to the Deployment".to_owned(),
        ),
        Some(status) => judged(status),
    };
    let (outcome, reason) = match rolled_back {
        Some(why) if !matches!(outcome, Outcome::RolledBack | Outcome::Promoted) => {
            // The outcome says this much.
            let why = why.strip_prefix("rolled back: ").unwrap_or(&why);
            (Outcome::RolledBack, why.to_owned())
        }
        _ => (outcome, reason),
    };
    let hold = status.and_then(|status| status.hold.as_ref());
    let outcome_held = matches!(outcome, Outcome::Held);
    Verdict {
        outcome,
        exit_code: outcome.exit_code(),
        after_seconds,
        reason,
        hold: hold.filter(|_| outcome_held).map(|hold| hold.reason.to_string()),
    }
}

fn judged(status: &CanaryStatus) -> (Outcome, String) {
    let said = status.message.clone().unwrap_or_default();
    let ended = status.history.first().map(|past| past.message.clone());
    match (status.phase, &status.hold) {
        (Some(Phase::Succeeded), _) => (Outcome::Promoted, said),
        (Some(Phase::Failed), _) => (Outcome::RolledBack, ended.unwrap_or(said)),
        (_, Some(hold)) => {
            let retreated = if hold.retreated {
                "; the traffic is back on the primary"
            } else {
                ""
            };
            (
                Outcome::Held,
                format!("{}: {}{retreated}", hold.reason, hold.message),
            )
        }
        (Some(Phase::Initialized), None) => (Outcome::Undecided, said),
        (Some(phase), None) => (Outcome::Undecided, format!("still {phase}: {said}")),
        (None, None) => (
            Outcome::Undecided,
            "the controller wrote no status of it".to_owned(),
        ),
    }
}
