//! Orders about a release: `abort`, `pause`, `resume`, `advance`, `skip-analysis`, `undo`, `retry`, and `approve` and
//! `reject` of a gate.

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use super::{
    PATIENCE,
    backend::{BackendFlags, Ordered},
    block_on,
    exit::Exit,
    output::{Output, note, short, write},
    within,
};
use crate::api::{AbortAction, Verb};

/// Order something about the release of a Canary, on record with who and why.
#[derive(Debug, Parser)]
#[command(after_help = "The Canary's answer is waited for, 30 s at most.")]
pub(super) struct Order {
    /// The Canary
    canary: String,

    /// The revision that is meant, or its beginning; the present one if absent
    #[arg(long, value_name = "DIGEST")]
    revision: Option<String>,

    /// Instead: the promotion that is meant; by the hook API the one that is running, if absent
    #[arg(long, value_name = "NAME", conflicts_with = "revision")]
    promotion: Option<String>,

    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// Makes the order unique: with the same key it is heeded once
    #[arg(long, value_name = "TEXT")]
    key: Option<String>,

    /// How the outcome is printed
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,

    #[command(flatten)]
    backend: BackendFlags,
}

/// Call the present release off and take the traffic back.
#[derive(Debug, Parser)]
pub(super) struct Abort {
    /// What becomes of the release; what the promotion's policy says, or rollback, if absent
    #[arg(long, value_enum)]
    action: Option<Action>,

    #[command(flatten)]
    order: Order,
}

/// Say yes or no at a gate, for one revision, on record with who and why.
#[derive(Debug, Parser)]
pub(super) struct Settle {
    /// Name of the gate
    #[arg(long, value_name = "NAME")]
    gate: String,

    #[command(flatten)]
    order: Order,
}

impl Settle {
    pub(super) fn run(self, verb: Verb) -> anyhow::Result<ExitCode> {
        self.order.give(verb, None, Some(&self.gate))
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Action {
    /// It is rolled back
    Rollback,
    /// It is paused where it is
    Pause,
    /// It goes on by itself
    None,
}

impl Abort {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let action = self.action.map(|action| match action {
            Action::Rollback => AbortAction::Rollback,
            Action::Pause => AbortAction::Pause,
            Action::None => AbortAction::None,
        });
        self.order.give(Verb::Abort, action, None)
    }
}

impl Order {
    pub(super) fn run(self, verb: Verb) -> anyhow::Result<ExitCode> {
        self.give(verb, None, None)
    }

    fn give(self, verb: Verb, action: Option<AbortAction>, gate: Option<&str>) -> anyhow::Result<ExitCode> {
        let chance = format!("{:032x}", fastrand::u128(..));
        let order = Ordered {
            canary: &self.canary,
            verb,
            gate,
            revision: self.revision.as_deref(),
            promotion: self.promotion.as_deref(),
            action,
            reason: self.reason.as_deref(),
            key: self.key.as_deref().unwrap_or(&chance),
        };
        block_on(async {
            let ordering = async { self.backend.open().await?.order(&order).await };
            let answer = within(PATIENCE, "answer", ordering).await?;
            let text = |field: &str| answer[field].as_str();
            let outcome = text("outcome");
            if self.output.document() {
                self.output.print(&answer)?;
            } else if let Some(outcome) = outcome {
                let about = match text("promotion") {
                    Some(promotion) => format!("promotion {promotion}"),
                    None => format!("revision {}", short(text("revision").unwrap_or_default())),
                };
                write(&format!("{verb:?} of {about}: {outcome}\n"))?;
            }
            let Some(outcome) = outcome else {
                let command = text("command").unwrap_or_default();
                note(&format!("{verb:?} is ordered ({command}), and not answered yet"));
                return Ok(Exit::Timeout);
            };
            let refused = outcome.starts_with("refused");
            Ok(if refused { Exit::BadInput } else { Exit::Done })
        })
    }
}
