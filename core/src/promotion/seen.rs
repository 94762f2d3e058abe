//! What a decision about promotions sees, and what it says.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    api::{
        CanaryStatus, CommandSpec, CommandStatus, LedgerEntry, OnClientLost, Policy, PromotionPhase,
        PromotionSpec, PromotionStatus, Requester, Requesters,
    },
    rollout::{Order, Requests},
};

/// Default of `policy.deadlineSeconds`.
pub(super) const DEADLINE: i64 = 3600;
/// Default of `policy.clientLostSeconds`.
const CLIENT_LOST: i64 = 300;

/// A Promotion.
#[derive(Clone, Debug)]
pub struct SeenPromotion {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When a client last asked for it.
    pub client_seen_at: Option<DateTime<Utc>>,
    /// What it asks for.
    pub spec: PromotionSpec,
    /// What became of it.
    pub status: PromotionStatus,
    /// Why this version cannot follow it, if it cannot read all of it: a newer version may have written it. Of the rest of it
    /// only who asks and what became of it are known then, as far as they can be told.
    pub unreadable: Option<Unreadable>,
}

/// Why an object cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// What cannot be read and why, in a sentence.
    pub problem: String,
    /// Whether what became of it cannot be read either, so that nothing may be written over it.
    pub status_too: bool,
    /// Whether who asks cannot be read in full either.
    pub requester_too: bool,
}

/// In which form a command came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A Command.
    Command,
    /// An Approval.
    Approval,
}

/// A Command or an Approval.
#[derive(Clone, Debug)]
pub struct SeenCommand {
    /// In which form it came.
    pub form: Form,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// What it orders; of an Approval, `Approve` or `Reject`.
    pub spec: CommandSpec,
    /// The gate that it decides on.
    pub gate: Option<String>,
    /// What became of it.
    pub status: CommandStatus,
    /// What of it cannot be read, in a sentence; the rest of it does not count then.
    pub unreadable: Option<String>,
}

/// The workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Digest of its pod template.
    pub revision: String,
    /// Image by name of the container.
    pub images: BTreeMap<String, String>,
}

/// Everything about the Promotions of one Canary.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// The Canary's status.
    pub canary: &'a CanaryStatus,
    /// Whether the Canary is being deleted.
    pub deleting: bool,
    /// The workload, if it exists.
    pub target: Option<Target>,
    /// Its Promotions.
    pub promotions: Vec<SeenPromotion>,
    /// Its Commands and Approvals.
    pub commands: Vec<SeenCommand>,
    /// Why nothing may be released now.
    pub frozen: Option<String>,
    /// Why nothing of the Canary may be touched at all, so that no order is heeded either.
    pub hands_off: Option<String>,
    /// Why no order is heeded at present: its routes cannot be used.
    pub deaf: Option<String>,
    /// Whether a write to the workload that was sent before, and of which nobody knows what became of it, is refused by now.
    pub fenced: bool,
}

/// One guarded write.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Write the status of a Promotion.
    Record(String, Box<PromotionStatus>),
    /// Give the workload these images, for a Promotion.
    Ship(String, BTreeMap<String, String>),
    /// Write the status of a Command or an Approval.
    Answer(Form, String, CommandStatus),
    /// Delete a Promotion that has been over for long, after what became of it is kept.
    Forget(String, Option<LedgerEntry>),
    /// Delete a Command or an Approval that was answered long ago.
    ForgetCommand(Form, String),
}

impl Act {
    /// Whether it answers an order.
    #[must_use]
    pub fn answers(&self) -> bool {
        matches!(self, Act::Answer(..))
    }
}

/// What to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Writes, in order.
    pub acts: Vec<Act>,
    /// Orders for the rollout that were not heeded or refused yet, oldest first.
    pub orders: Vec<Order>,
    /// Orders that the Canary's status has heeded or refused and must still remember: whoever gave them has not been told.
    pub untold: BTreeSet<String>,
    /// When to look again even if nothing changes.
    pub wake_at: Option<DateTime<Utc>>,
    /// Who asks for a release.
    pub requests: Requests,
}

impl Decision {
    pub(super) fn wake(&mut self, at: DateTime<Utc>) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }
}

impl SeenPromotion {
    pub(super) fn finished(&self) -> bool {
        self.status.phase.is_some_and(PromotionPhase::finished)
    }

    /// Who asked for it, by every name that is known: the client, whoever started its build, and those behind that.
    pub(super) fn requesters(&self) -> Requesters {
        let Requester {
            authenticated_as,
            user,
            on_behalf_of,
            ..
        } = &self.spec.requester;
        let names = [authenticated_as, user].into_iter().flatten();
        let mut names: Requesters = names.chain(on_behalf_of).cloned().collect();
        let hidden = |unreadable: &Unreadable| unreadable.requester_too || names.is_empty();
        if self.unreadable.as_ref().is_some_and(hidden) {
            names.merge(&Requesters::unknown());
        }
        names
    }

    /// Id of an order of the Promotion itself, for this purpose.
    pub(super) fn order(&self, purpose: &str) -> String {
        format!("{purpose}/{}", self.uid)
    }

    pub(super) fn deadline(&self) -> DateTime<Utc> {
        self.created_at + TimeDelta::seconds(self.spec.policy.deadline_seconds.unwrap_or(DEADLINE))
    }

    /// When its client counts as lost, if that matters: so long after it was last heard of.
    pub(super) fn client_lost_at(&self) -> Option<DateTime<Utc>> {
        let policy = &self.spec.policy;
        let span = client_lost_after(policy)?;
        Some(
            self.client_seen_at
                .unwrap_or(self.created_at)
                .max(self.created_at)
                + span,
        )
    }

    /// Whether it may still change the workload.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.finished() && self.status.revision.is_none()
    }

    pub(super) fn running(&self) -> bool {
        self.status.phase == Some(PromotionPhase::Running)
    }
}

/// How long a client may be silent, if it matters.
#[must_use]
pub fn client_lost_after(policy: &Policy) -> Option<TimeDelta> {
    let seconds = policy.client_lost_seconds.unwrap_or(CLIENT_LOST);
    (policy.on_client_lost != OnClientLost::Continue).then(|| TimeDelta::seconds(seconds))
}
