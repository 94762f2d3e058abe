//! Why a round failed: each variant with the reason that becomes a metric label, and with what to do next.

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
    #[error("{act}: {source}")]
    Write {
        /// Which act.
        act: &'static str,
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
            Error::Write { .. } => "WriteFailed",
            Error::Stale { .. } => "Stale",
            Error::Route(error) => error.reason(),
            Error::RevisionGone { .. } => "RevisionGone",
            Error::Json { .. } => "Json",
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
                // A server that answers with an error of its own may have stored the object all the same.
                kube::Error::Api(status) => status.code >= 500,
                _ => true,
            },
            Error::Timeout(_) | Error::Panicked(_) => true,
            _ => false,
        }
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

/// A name for an act, for messages and logs.
#[must_use]
pub fn act_name(act: &Act) -> &'static str {
    match act {
        Act::Fence(_) => "fencing an object",
        Act::AddFinalizer => "adding the finalizer",
        Act::RemoveFinalizer => "removing the finalizer",
        Act::Apply(_) => "applying an object",
        Act::ApplyRoutes(_) => "applying the VirtualService",
        Act::Route(_) => "setting weights",
        Act::PointApex(_) => "pointing the Service",
        Act::Promote { .. } => "writing the primary",
        Act::Restore { .. } => "restoring the primary",
        Act::ScaleTarget(_) => "scaling the target",
        Act::ScalePrimary(_) => "scaling the primary",
        Act::Record(_) => "recording the status",
        Act::MergeRoutes => "merging the routes",
        Act::Release(_) => "releasing an object",
        Act::Delete(_) => "deleting an object",
    }
}
