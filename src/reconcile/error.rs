//! Why a round failed: each variant with the reason that becomes a metric label, and with what to do next.

use super::{kinds::Kind, served::REMEDY};
use crate::{
    rollout::{Act, CanaryId},
    traffic::istio::RouteError,
};

/// What to do after a failed round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Somebody was faster: decide anew at once.
    Soon,
    /// Later, and later each time.
    Backoff,
}

/// A failed round.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A read of the API server failed.
    #[error("reading {what}: {source}")]
    Read {
        /// Which object.
        what: String,
        /// The client's error.
        source: Box<kube::Error>,
    },
    /// A write was refused or failed.
    #[error("{act}: {object}: {source}")]
    Write {
        /// Which act.
        act: &'static str,
        /// Kind and name of the object, see [`object_name`].
        object: String,
        /// The client's error.
        source: Box<kube::Error>,
    },
    /// The object of an act changed or vanished between decision and act.
    #[error("{act}: {what} is not as it was decided on")]
    Stale {
        /// Which act.
        act: &'static str,
        /// Which object.
        what: String,
    },
    /// A VirtualService could not be patched.
    #[error("VirtualService: {0}")]
    Route(#[from] RouteError),
    /// The primary cannot return to a revision, because no ReplicaSet has it any more.
    #[error("no ReplicaSet of {primary} has revision {revision}")]
    RevisionGone {
        /// The primary.
        primary: String,
        /// The revision.
        revision: String,
    },
    /// Something of ours could not be put into or read from JSON.
    #[error("{what}: {source}")]
    Json {
        /// What it was.
        what: &'static str,
        /// The error.
        source: serde_json::Error,
    },
    /// The API server did not store a field of a status: the CRD that it serves does not have it.
    #[error("the served CRD lacks {field}, and nothing is decided without it; {REMEDY}")]
    CrdOutdated {
        /// Kind and path of the field.
        field: String,
    },
    /// The round took too long.
    #[error("the round of {0} took longer than 30 s")]
    Timeout(CanaryId),
    /// Round after round writes something and none finds everything as it should be: a defect of ours, or somebody
    /// undoes every write.
    #[error("every round of {0} writes, and none finds what it wrote")]
    NoProgress(CanaryId),
    /// Somebody else decides, or this process may not decide any more.
    #[error("{0} is not written: this process does not lead")]
    NotLeading(CanaryId),
    /// The round panicked: a defect of ours.
    #[error("the round of {0} panicked")]
    Panicked(CanaryId),
}

impl Error {
    /// A stable name, for metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Error::Read { .. } => "ReadFailed",
            Error::Write { source, .. } if conflict(source) => "Conflict",
            Error::Write { .. } if self.refusal().is_some() => "WriteRefused",
            Error::Write { .. } => "WriteFailed",
            Error::Stale { .. } => "Stale",
            Error::Route(error) => error.reason(),
            Error::RevisionGone { .. } => "RevisionGone",
            Error::Json { .. } => "Json",
            Error::CrdOutdated { .. } => "CrdOutdated",
            Error::Timeout(_) => "Timeout",
            Error::NoProgress(_) => "NoProgress",
            Error::NotLeading(_) => "NotLeading",
            Error::Panicked(_) => "Panicked",
        }
    }

    /// Whether a guard refused a write, or what it was about is gone.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        match self {
            Error::Write { source, .. } => {
                conflict(source) || matches!(source.as_ref(), kube::Error::Api(status) if status.code == 404)
            }
            _ => false,
        }
    }

    /// Whether a write may have been carried out, or still be, although nobody told us.
    #[must_use]
    pub fn outcome_unknown(&self) -> bool {
        match self {
            Error::Write { source, .. } => match source.as_ref() {
                // Admission comes before anything is stored.
                kube::Error::Api(status) if status.message.contains(WEBHOOK_FAILED) => false,
                // A server that answers with an error of its own may have stored the object all the same.
                kube::Error::Api(status) => status.code >= 500,
                _ => true,
            },
            Error::Timeout(_) | Error::Panicked(_) => true,
            _ => false,
        }
    }

    /// What the API server says, in one line, if it refuses a write and would refuse it again: by policy, quota, validation or
    /// an admission webhook. Conflicts are none, nor is a server that cannot be reached or is too busy.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let Error::Write { source, .. } = self else {
            return None;
        };
        let kube::Error::Api(status) = source.as_ref() else {
            return None;
        };
        let lasting = match status.code {
            400 | 401 | 403 | 405 | 413 | 422 => !conflict(source),
            // Of its store's errors nobody can say what comes next.
            500 => !status.message.contains("etcdserver"),
            _ => false,
        };
        lasting.then(|| words(&status.message, status.code))
    }

    /// What to do next.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self.reason() {
            "Conflict" | "Stale" => Retry::Soon,
            _ => Retry::Backoff,
        }
    }
}

/// How the API server words that it could not ask an admission webhook.
const WEBHOOK_FAILED: &str = "failed calling webhook";
/// Characters of the API server's own words that are kept.
const WORDS: usize = 300;

/// A message of the API server as one bounded line.
fn words(message: &str, code: u16) -> String {
    let plain = message.split(|c: char| c.is_control() || c.is_whitespace());
    let plain: Vec<&str> = plain.filter(|word| !word.is_empty()).collect();
    if plain.is_empty() {
        return format!("HTTP status {code}");
    }
    plain.join(" ").chars().take(WORDS).collect()
}

/// Kind and name of an object, as a person would type them.
#[must_use]
pub fn object_name(kind: Kind, name: &str) -> String {
    format!("{kind:?}/{name}")
}

/// Whether a guard refused the write: a conflict, or a JSON Patch whose test failed.
fn conflict(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => {
            // How the API server words a JSON Patch that does not fit; ours test what they were decided on first.
            let unfit = status
                .message
                .starts_with("the server rejected our request due to an error in our request");
            status.code == 409 || (status.code == 422 && unfit)
        }
        _ => false,
    }
}

/// How a fence is called.
pub const FENCING: &str = "fencing an object";

/// A name for an act, for messages and logs.
#[must_use]
pub fn act_name(act: &Act) -> &'static str {
    match act {
        Act::Fence(_) => FENCING,
        Act::AddFinalizer => "adding the finalizer",
        Act::RemoveFinalizer => "removing the finalizer",
        Act::Apply(_) => "applying an object",
        Act::ApplyRoutes(_) => "applying the VirtualService",
        Act::Route(_) => "setting weights",
        Act::PointApex(_) => "pointing the Service",
        Act::Promote { .. } => "writing the primary",
        Act::Restore { .. } => "restoring the primary",
        Act::HandBack { .. } => "giving the target the promoted template",
        Act::ScaleTarget(_) => "scaling the target",
        Act::ScalePrimary(_) => "scaling the primary",
        Act::Record(_) => "recording the status",
        Act::MergeRoutes => "merging the routes",
        Act::Release(_) => "releasing an object",
        Act::Delete(_) => "deleting an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: u16, message: &str) -> Error {
        let status = kube::core::Status::failure(message, "").with_code(code);
        Error::Write {
            act: "setting weights",
            object: object_name(Kind::VirtualService, "shop"),
            source: Box::new(kube::Error::Api(Box::new(status))),
        }
    }

    #[test]
    fn refusal_bears_the_words_of_the_server_in_one_bounded_line() {
        let quota = "deployments.apps \"shop\" is forbidden:\n exceeded quota:\u{1b}[31m pods";
        assert_eq!(
            answered(403, quota).refusal().as_deref(),
            Some("deployments.apps \"shop\" is forbidden: exceeded quota: [31m pods")
        );
        let long = answered(422, &"long ".repeat(200)).refusal().unwrap();
        assert_eq!(long.chars().count(), WORDS);
        assert_eq!(answered(400, "").refusal().as_deref(), Some("HTTP status 400"));
    }

    #[test]
    fn webhook_that_is_down_refuses_and_leaves_nothing_unknown() {
        let message =
            "Internal error occurred: failed calling webhook \"validation.istio.io\": connection refused";
        let error = answered(500, message);
        assert_eq!(error.refusal().as_deref(), Some(message));
        assert_eq!(error.reason(), "WriteRefused");
        assert!(!error.outcome_unknown());
        assert!(answered(500, "no more words").outcome_unknown());
    }

    #[test]
    fn conflicts_and_servers_that_are_away_refuse_nothing() {
        let unfit = "the server rejected our request due to an error in our request";
        let cases = [
            (409, "the object has been modified"),
            (422, unfit),
            (404, "not found"),
            (429, "too many requests"),
            (500, "etcdserver: request timed out"),
            (503, "apiserver is shutting down"),
            (504, "timeout"),
        ];
        for (code, message) in cases {
            assert_eq!(answered(code, message).refusal(), None, "{code} {message}");
        }
    }
}
