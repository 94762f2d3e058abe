//! What the API server refuses of one Canary: remembered until a write of the same object succeeds, so that a decision can
//! name it. Fences are counted apart from all else: that a mark can be written on an object tells nothing of what is refused
//! of it.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::error::FENCING;
use crate::rollout::RefusedWrite;

/// How long a refusal that is not tried again counts. Retries come at least once a minute; what is not tried any more was
/// given up.
const LASTS: TimeDelta = TimeDelta::seconds(120);

/// An object, and whether the writes are fences.
type Key = (String, bool);

/// Refused writes, and when each was tried last.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusals(BTreeMap<Key, (RefusedWrite, DateTime<Utc>)>);

impl Refusals {
    /// A write of `object` was refused; returns how often in a row.
    pub(super) fn add(
        &mut self,
        act: &'static str,
        object: &str,
        message: String,
        now: DateTime<Utc>,
    ) -> u32 {
        let fresh = RefusedWrite {
            act,
            fence: act == FENCING,
            object: object.to_owned(),
            message: String::new(),
            since: now,
            times: 0,
        };
        // Where other writes are refused still, a fence that is not tried any more is no matter of the past.
        if let Some((_, tried)) = self.0.get_mut(&(object.to_owned(), true)) {
            *tried = now;
        }
        let key = (object.to_owned(), fresh.fence);
        let (write, tried) = self.0.entry(key).or_insert((fresh, now));
        write.act = act;
        write.message = message;
        write.times = write.times.saturating_add(1);
        *tried = now;
        write.times
    }

    /// A write of `object` succeeded.
    pub(super) fn remove(&mut self, object: &str) {
        self.remove_fence(object);
        self.0.remove(&(object.to_owned(), false));
    }

    /// A fence of `object` succeeded.
    pub(super) fn remove_fence(&mut self, object: &str) {
        self.0.remove(&(object.to_owned(), true));
    }

    /// What is refused at `now`, oldest first.
    pub(super) fn present(&mut self, now: DateTime<Utc>) -> Vec<RefusedWrite> {
        self.0.retain(|_, (_, tried)| {
            *tried = (*tried).min(now);
            now - *tried < LASTS
        });
        let mut all: Vec<_> = self.0.values().map(|(write, _)| write.clone()).collect();
        all.sort_by_key(|write| write.since);
        all
    }

    /// When the first of them counts no more unless it is tried again.
    pub(super) fn ends_at(&self) -> Option<DateTime<Utc>> {
        self.0.values().map(|(_, tried)| *tried + LASTS).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn refusal_is_counted_until_a_write_of_its_object_succeeds() {
        let mut refusals = Refusals::default();
        let quota = || "exceeded quota".to_owned();
        assert_eq!(
            refusals.add("writing the primary", "Deployment/a", quota(), at(10)),
            1
        );
        refusals.add("setting weights", "VirtualService/b", "denied".to_owned(), at(5));
        assert_eq!(
            refusals.add("scaling the primary", "Deployment/a", quota(), at(20)),
            2
        );
        let present = refusals.present(at(21));
        let seen: Vec<_> = present
            .iter()
            .map(|write| (write.object.as_str(), write.act, write.since, write.times))
            .collect();
        assert_eq!(
            seen,
            [
                ("VirtualService/b", "setting weights", at(5), 1),
                ("Deployment/a", "scaling the primary", at(10), 2),
            ]
        );
        refusals.remove("Deployment/a");
        assert_eq!(refusals.present(at(22)).len(), 1);
        assert_eq!(
            refusals.add("writing the primary", "Deployment/a", quota(), at(30)),
            1
        );
    }

    #[test]
    fn fence_that_succeeds_ends_no_refusal_of_another_write_of_its_object() {
        let mut refusals = Refusals::default();
        let failed = || "an error on the server".to_owned();
        let seen = |refusals: &mut Refusals, now: i64| -> Vec<_> {
            let present = refusals.present(at(now)).into_iter();
            present
                .map(|write| (write.act, write.fence, write.times))
                .collect()
        };
        refusals.add(FENCING, "Deployment/a", failed(), at(0));
        for second in [1, 2, 3] {
            refusals.add("writing the primary", "Deployment/a", failed(), at(second));
            assert_eq!(seen(&mut refusals, 4)[0], (FENCING, true, 1));
        }
        refusals.remove_fence("Deployment/a");
        assert_eq!(seen(&mut refusals, 4), [("writing the primary", false, 3)]);
        refusals.add(FENCING, "Deployment/a", failed(), at(5));
        refusals.add("writing the primary", "Deployment/a", failed(), at(120));
        assert_eq!(
            seen(&mut refusals, 130).len(),
            2,
            "all of the object is refused still"
        );
        refusals.remove("Deployment/a");
        assert_eq!(seen(&mut refusals, 130), []);
    }

    #[test]
    fn what_is_not_tried_any_more_is_forgotten_in_time() {
        let mut refusals = Refusals::default();
        refusals.add("setting weights", "VirtualService/b", "denied".to_owned(), at(0));
        refusals.add("setting weights", "VirtualService/b", "denied".to_owned(), at(60));
        assert_eq!(refusals.ends_at(), Some(at(180)));
        assert_eq!(refusals.present(at(179)).len(), 1);
        assert_eq!(refusals.present(at(180)), []);
        assert_eq!(refusals.ends_at(), None);
    }
}
