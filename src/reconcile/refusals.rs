//! What the API server refuses of one Canary: remembered until a write of the same object succeeds, so that a decision can
//! name it.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::rollout::RefusedWrite;

/// How long a refusal that is not tried again counts. Retries come at least once a minute; what is not tried any more was
/// given up.
const LASTS: TimeDelta = TimeDelta::seconds(120);

/// Refused writes by object.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusals(BTreeMap<String, (RefusedWrite, DateTime<Utc>)>);

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
            object: object.to_owned(),
            message: String::new(),
            since: now,
            times: 0,
        };
        let (write, tried) = self.0.entry(object.to_owned()).or_insert((fresh, now));
        write.act = act;
        write.message = message;
        write.times = write.times.saturating_add(1);
        *tried = now;
        write.times
    }

    /// A write of `object` succeeded.
    pub(super) fn remove(&mut self, object: &str) {
        self.0.remove(object);
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
