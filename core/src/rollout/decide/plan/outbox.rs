//! Facts to be told, and how rollouts ended.

use chrono::TimeDelta;

use super::{super::facts, Plan};
use crate::api::{Notice, NoticeKind, Outcome, PastRollout};

/// How long a Canary that goes waits for its facts to be told.
const TELLING_LIMIT: TimeDelta = TimeDelta::seconds(60);
/// Rollouts that are remembered.
const HISTORY_LIMIT: usize = 10;

impl Plan<'_> {
    /// Puts a fact into the outbox.
    pub(in super::super) fn tell(&mut self, kind: NoticeKind, reason: &str, message: impl Into<String>) {
        let outbox = &mut self.next.outbox;
        outbox.seq += 1;
        let (seq, message) = (outbox.seq, message.into());
        outbox.pending.push(Notice {
            seq,
            kind,
            reason: reason.to_owned(),
            message,
            at: self.now,
            situation: None,
        });
        facts::make_room(&mut outbox.pending, self.recorded.outbox.seq);
    }

    /// Whether every fact was told, or could not be for so long that nothing waits for it any more. Looks again soon.
    pub(in super::super) fn all_told(&mut self) -> bool {
        let newest = self.next.outbox.pending.last();
        let Some(newest) = newest.filter(|notice| notice.seq > self.seen.told) else {
            return true;
        };
        let given_up = self.elapsed(newest.at, TELLING_LIMIT);
        self.wake(self.now + TimeDelta::seconds(1));
        given_up
    }

    /// Remembers how a rollout ended.
    pub(in super::super) fn remember(&mut self, outcome: Outcome, message: &str) {
        let revision = self.next.revision.current.clone().unwrap_or_default();
        let started_at = self.next.revision.started_at;
        let past = PastRollout {
            revision,
            outcome,
            message: message.to_owned(),
            started_at,
            ended_at: self.now,
        };
        self.next.history.insert(0, past);
        self.next.history.truncate(HISTORY_LIMIT);
    }
}
