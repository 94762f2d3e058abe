//! What is remembered in this process alone, and harmless to lose: since when things look as they do, how often a repair or a failure happened.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, Utc};

use super::{refusals::Refusals, watch_health::WatchHealth};
use crate::{
    freeze::{Freezing, Thaw},
    rollout::{self, Act, CanaryId, Field, RefusedWrite, Repeat},
    workload::policies::Policies,
};

/// What is remembered of one Canary.
#[derive(Clone, Debug, Default)]
struct Entry {
    uid: String,
    generation: i64,
    routing: Option<(String, DateTime<Utc>)>,
    template: Option<(String, DateTime<Utc>)>,
    repeats: BTreeMap<Field, Repeat>,
    failures: u32,
    unsettled: u32,
    unsettled_at: Option<DateTime<Utc>>,
    unrestorable: Option<String>,
    policies: Option<(DateTime<Utc>, Policies)>,
    writing_rounds: u32,
    refusals: Refusals,
    thaw: Thaw,
}

/// What is remembered of every Canary.
#[derive(Default)]
pub struct Local {
    entries: Mutex<BTreeMap<CanaryId, Entry>>,
    /// Watches that fail.
    pub watches: WatchHealth,
    outdated: Mutex<Option<String>>,
}

fn since(slot: &mut Option<(String, DateTime<Utc>)>, value: String, now: DateTime<Utc>) -> DateTime<Utc> {
    match slot {
        // An instant that is still to come is from before the clock was set back, and would be waited for.
        Some((known, since)) if *known == value && *since <= now => *since,
        _ => {
            *slot = Some((value, now));
            now
        }
    }
}

impl Local {
    fn with<T>(&self, id: &CanaryId, f: impl FnOnce(&mut Entry) -> T) -> T {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        f(entries.entry(id.clone()).or_default())
    }

    /// Changes what is remembered of `id`, if anything is: it may have been forgotten in the same round.
    fn known(&self, id: &CanaryId, f: impl FnOnce(&mut Entry)) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get_mut(id) {
            f(entry);
        }
    }

    /// Since when the routing of `id` looks like `routing`.
    pub fn routing_since(&self, id: &CanaryId, routing: String, now: DateTime<Utc>) -> DateTime<Utc> {
        self.with(id, |entry| since(&mut entry.routing, routing, now))
    }

    /// Since when the target of `id` has the template `digest`.
    pub fn template_since(&self, id: &CanaryId, digest: String, now: DateTime<Utc>) -> DateTime<Utc> {
        self.with(id, |entry| since(&mut entry.template, digest, now))
    }

    /// What is remembered is of the object with this `uid`. If it was of another one of the same name, that is forgotten;
    /// returns whether it was.
    pub fn is_of(&self, id: &CanaryId, uid: &str) -> bool {
        self.with(id, |entry| {
            if entry.uid == uid {
                return false;
            }
            let another = !entry.uid.is_empty();
            *entry = Entry {
                uid: uid.to_owned(),
                ..Entry::default()
            };
            another
        })
    }

    /// This write was carried out: again, if it is the last one of its field, because somebody undid it.
    pub fn carried_out(&self, id: &CanaryId, act: &Act, now: DateTime<Utc>) {
        let Some(field) = act.field() else { return };
        self.with(id, |entry| {
            // What the primary gets has a ReplicaSet from then on.
            if let Act::Promote { revision, .. } | Act::Restore { revision } = act
                && entry.unrestorable.as_ref() == Some(revision)
            {
                entry.unrestorable = None;
            }
            let repeat = rollout::repeated(entry.repeats.get(&field), act, now);
            entry.repeats.insert(field, repeat);
        });
    }

    /// The last write of each field.
    #[must_use]
    pub fn repeats(&self, id: &CanaryId, now: DateTime<Utc>) -> Vec<Repeat> {
        self.with(id, |entry| {
            for repeat in entry.repeats.values_mut() {
                repeat.last = repeat.last.min(now);
                repeat.repaired = repeat.repaired.map(|at| at.min(now));
            }
            entry.repeats.values().cloned().collect()
        })
    }

    /// The specification is another one: what is written now, is written for it.
    pub fn respecified(&self, id: &CanaryId, generation: i64) {
        self.with(id, |entry| {
            if entry.generation != generation {
                entry.generation = generation;
                entry.repeats.clear();
            }
        });
    }

    /// Counts a failed round; returns how many there were in a row.
    pub fn failed(&self, id: &CanaryId) -> u32 {
        self.with(id, |entry| {
            entry.failures = entry.failures.saturating_add(1);
            entry.failures
        })
    }

    /// A round went well.
    pub fn succeeded(&self, id: &CanaryId) {
        self.known(id, |entry| entry.failures = 0);
    }

    /// A write of `id` may have been carried out, or still be, although nobody told us.
    pub fn unsettled(&self, id: &CanaryId, now: DateTime<Utc>) {
        self.with(id, |entry| {
            entry.unsettled = entry.unsettled.saturating_add(1);
            entry.unsettled_at = Some(now);
        });
    }

    /// When the latest write of `id` was given up whose outcome is unknown.
    #[must_use]
    pub fn unsettled_at(&self, id: &CanaryId, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.with(id, |entry| {
            entry.unsettled_at = entry.unsettled_at.map(|at| at.min(now));
            entry.unsettled_at
        })
    }

    /// How many writes of `id` had an unknown outcome.
    #[must_use]
    pub fn unsettled_writes(&self, id: &CanaryId) -> u32 {
        self.with(id, |entry| entry.unsettled)
    }

    /// No ReplicaSet of the primary of `id` has this revision.
    pub fn cannot_restore(&self, id: &CanaryId, revision: &str) {
        self.with(id, |entry| entry.unrestorable = Some(revision.to_owned()));
    }

    /// The revision that the primary of `id` cannot return to.
    #[must_use]
    pub fn unrestorable(&self, id: &CanaryId) -> Option<String> {
        self.with(id, |entry| entry.unrestorable.clone())
    }

    /// These policies were read for the set-up of `id`.
    pub fn read_policies(&self, id: &CanaryId, at: DateTime<Utc>, found: Policies) {
        self.with(id, |entry| entry.policies = Some((at, found)));
    }

    /// The policies that were read for the set-up of `id`, and when.
    #[must_use]
    pub fn policies(&self, id: &CanaryId) -> Option<(DateTime<Utc>, Policies)> {
        self.with(id, |entry| entry.policies.clone())
    }

    /// The API server refused a write of `object`; returns how often in a row it did.
    pub fn refused(
        &self,
        id: &CanaryId,
        act: &'static str,
        object: &str,
        message: String,
        now: DateTime<Utc>,
    ) -> u32 {
        self.with(id, |entry| entry.refusals.add(act, object, message, now))
    }

    /// The API server carried out a write of `object`.
    pub fn accepted(&self, id: &CanaryId, object: &str) {
        self.known(id, |entry| entry.refusals.remove(object));
    }

    /// The API server carried out a fence of `object`.
    pub fn fenced(&self, id: &CanaryId, object: &str) {
        self.known(id, |entry| entry.refusals.remove_fence(object));
    }

    /// What the API server refuses of `id`, oldest first.
    #[must_use]
    pub fn refusals(&self, id: &CanaryId, now: DateTime<Utc>) -> Vec<RefusedWrite> {
        self.with(id, |entry| entry.refusals.present(now))
    }

    /// When a refusal of `id` is no news any more unless it is tried again.
    #[must_use]
    pub fn refusals_end(&self, id: &CanaryId) -> Option<DateTime<Utc>> {
        self.with(id, |entry| entry.refusals.ends_at())
    }

    /// What freezes mean for `id`, one of `canaries`, if they mean `state` for everybody.
    #[must_use]
    pub fn thawed(&self, id: &CanaryId, state: Freezing, canaries: usize, now: DateTime<Utc>) -> Freezing {
        self.with(id, |entry| entry.thaw.look(state, &id.to_string(), canaries, now))
    }

    /// Counts a round that wrote something; returns how many there were in a row.
    pub fn wrote(&self, id: &CanaryId) -> u32 {
        self.with(id, |entry| {
            entry.writing_rounds = entry.writing_rounds.saturating_add(1);
            entry.writing_rounds
        })
    }

    /// A round found nothing to write.
    pub fn rested(&self, id: &CanaryId) {
        self.known(id, |entry| entry.writing_rounds = 0);
    }

    /// Notes which field the served CRD lacks, or that it lacks none.
    pub fn crd_outdated(&self, field: Option<String>) {
        *self.outdated.lock().unwrap_or_else(PoisonError::into_inner) = field;
    }

    /// The field that the served CRD is known to lack.
    #[must_use]
    pub fn lacking(&self) -> Option<String> {
        self.outdated
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Forgets `id`.
    pub fn forget(&self, id: &CanaryId) {
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> CanaryId {
        CanaryId {
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
        }
    }

    #[test]
    fn what_is_remembered_goes_with_the_object() {
        let (local, id) = (Local::default(), id());
        assert!(!local.is_of(&id, "first"));
        local.unsettled(&id, DateTime::UNIX_EPOCH);
        assert!(!local.is_of(&id, "first"));
        assert_eq!(local.unsettled_writes(&id), 1);
        assert!(local.is_of(&id, "second"), "another object of the same name");
        assert_eq!(local.unsettled_writes(&id), 0);
    }

    #[test]
    fn what_is_remembered_of_a_future_begins_anew() {
        let (local, id) = (Local::default(), id());
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        assert_eq!(local.routing_since(&id, "a".to_owned(), at(100)), at(100));
        assert_eq!(
            local.routing_since(&id, "a".to_owned(), at(40)),
            at(40),
            "the clock was set back"
        );
        assert_eq!(local.routing_since(&id, "a".to_owned(), at(50)), at(40));
    }

    #[test]
    fn revision_that_the_primary_got_again_can_be_restored_again() {
        let (local, id) = (Local::default(), id());
        local.cannot_restore(&id, "a");
        let promote = |revision: &str| Act::Promote {
            revision: revision.to_owned(),
            replicas: None,
        };
        local.carried_out(&id, &promote("b"), DateTime::UNIX_EPOCH);
        assert_eq!(local.unrestorable(&id).as_deref(), Some("a"));
        local.carried_out(&id, &promote("a"), DateTime::UNIX_EPOCH);
        assert_eq!(local.unrestorable(&id), None);
    }
}
