//! What Jenkins says to a trigger, a stop or a cancellation. Pure.

use serde::{Deserialize, Serialize};

use super::{Error, ItemId, JobPath, error::shortened, link};

/// What became of a trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Triggered {
    /// A new item is in the queue.
    Queued(ItemId),
    /// Merged with an item that was pending, with the same parameters.
    Merged(ItemId),
    /// It was taken, but the item is not told.
    Untold,
    /// Sent back to the job: either refused by something in Jenkins, or taken by a core too old to tell.
    SentBack,
    /// Nothing is in the queue.
    Refused(Refusal),
}

/// Why there will be no build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
pub enum Refusal {
    /// No such job, or the user may not read it.
    #[error("no such job, or no permission to read it")]
    NoSuchJob,
    /// The job, or a folder above it, is disabled, or it is no job.
    #[error("the job takes no builds")]
    Disabled,
    /// Parameters are missing from the job, which would drop them.
    #[error("the job does not declare the parameters {}", names.join(", "))]
    Undeclared {
        /// Their names.
        names: Vec<String>,
    },
    /// The job cannot take this value.
    #[error("{value:?} is no choice of the parameter {name}")]
    NotAChoice {
        /// Name of the parameter.
        name: String,
        /// The value.
        value: String,
    },
    /// The mark is a parameter whose values Jenkins does not show, so no build could be found by it.
    #[error("values of the parameter {name} cannot be read back")]
    HiddenMark {
        /// Name of the parameter.
        name: String,
    },
    /// The job has no parameters at all.
    #[error("the job is not parameterized")]
    NotParameterized,
    /// The user may not build it.
    #[error("no permission to build: {text}")]
    Forbidden {
        /// Beginning of the answer.
        text: String,
    },
    /// Only another method is allowed there.
    #[error("the job cannot be triggered by a POST")]
    MethodNotAllowed,
    /// Something in Jenkins decided against it.
    #[error("Jenkins refused to schedule the build")]
    Vetoed,
    /// The request is wrong in another way.
    #[error("bad request: {text}")]
    BadRequest {
        /// Beginning of the answer.
        text: String,
    },
}

impl Refusal {
    /// A word for metrics and events.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Refusal::NoSuchJob => "NoSuchJob",
            Refusal::Disabled => "Disabled",
            Refusal::Undeclared { .. } => "Undeclared",
            Refusal::NotAChoice { .. } => "NotAChoice",
            Refusal::HiddenMark { .. } => "HiddenMark",
            Refusal::NotParameterized => "NotParameterized",
            Refusal::Forbidden { .. } => "Forbidden",
            Refusal::MethodNotAllowed => "MethodNotAllowed",
            Refusal::Vetoed => "Vetoed",
            Refusal::BadRequest { .. } => "BadRequest",
        }
    }
}

/// What became of a stop or a cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halted {
    /// Taken. Whether it has an effect, the item or the build will show.
    Taken,
    /// The item or the build is not there any more.
    Gone,
    /// The user may not.
    Denied,
}

/// An answer as far as it matters here.
pub(super) struct Heard<'a> {
    /// HTTP status.
    pub(super) code: u16,
    /// `Location`.
    pub(super) location: Option<&'a str>,
    /// Body.
    pub(super) text: &'a str,
}

/// What every request can meet: no access, no Jenkins, a login page.
pub(super) fn trouble(heard: &Heard<'_>) -> Option<Error> {
    let text = || shortened(heard.text);
    match (heard.code, heard.location) {
        (401, _) => Some(Error::Unauthorized),
        (403, _) if asks_for_crumb(heard) => Some(Error::Crumb),
        (429 | 500..=599, _) => Some(Error::Server {
            code: heard.code,
            text: text(),
        }),
        (300..=399, Some(to)) if link::is_login(to) => Some(Error::LoginPage(shortened(to))),
        _ => None,
    }
}

/// Whether a crumb was missing or out of date.
pub(super) fn asks_for_crumb(heard: &Heard<'_>) -> bool {
    heard.code == 403 && heard.text.contains("No valid crumb")
}

/// What an answer to a trigger of `job` means; `base` are the names of the context path.
pub(super) fn read_trigger(heard: &Heard<'_>, job: &JobPath, base: &[&str]) -> Result<Triggered, Error> {
    let not_parameterized = heard.text.contains("is not parameterized");
    let text = || shortened(heard.text);
    let refused = |why| Ok(Triggered::Refused(why));
    let to = heard.location.unwrap_or_default();
    // Older cores throw.
    if not_parameterized && matches!(heard.code, 400 | 500) {
        return refused(Refusal::NotParameterized);
    }
    if let Some(error) = trouble(heard) {
        return Err(error);
    }
    match heard.code {
        201 => Ok(link::item_of(to, base).map_or(Triggered::Untold, Triggered::Queued)),
        301 | 302 | 303 | 307 | 308 => match link::item_of(to, base) {
            Some(item) => Ok(Triggered::Merged(item)),
            None if to == "." || link::job_of(to, base).is_some_and(|sent| sent.is_same(job)) => {
                Ok(Triggered::SentBack)
            }
            None => Err(Error::Redirected(shortened(to))),
        },
        400 => refused(Refusal::BadRequest { text: text() }),
        403 => refused(Refusal::Forbidden { text: text() }),
        404 => refused(Refusal::NoSuchJob),
        405 => refused(Refusal::MethodNotAllowed),
        409 => refused(Refusal::Disabled),
        code => Err(Error::Status { code, text: text() }),
    }
}

/// What an answer to a stop or a cancellation means.
pub(super) fn read_halt(heard: &Heard<'_>) -> Result<Halted, Error> {
    if let Some(error) = trouble(heard) {
        return Err(error);
    }
    match heard.code {
        // A stop sends back to the page of the build, also when nothing runs; old cores do so after a cancellation too.
        200 | 204 | 301..=303 => Ok(Halted::Taken),
        404 => Ok(Halted::Gone),
        403 | 422 => Ok(Halted::Denied),
        code => Err(Error::Status {
            code,
            text: shortened(heard.text),
        }),
    }
}

#[cfg(test)]
mod tests;
