//! Watches that fail. One that fails for long leaves decisions with objects as they were: that is told, and nothing is
//! raised or scaled away meanwhile.
//!
//! A quiet watch brings nothing for hours, so its silence tells nothing: only errors do. They come again every few seconds
//! while a watch is broken, so a watch without a further error works again.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};

use super::kinds::Kind;
use crate::rollout::BrokenWatch;

/// How long a watch may fail before it is broken.
const PATIENCE: TimeDelta = TimeDelta::seconds(60);
/// How long after its last error a watch works again; longer than a try to connect and the pause before it.
const CALM: TimeDelta = TimeDelta::seconds(45);
/// How long a stream must have stood to have worked: a proxy that ends quiet ones takes nothing away.
const STOOD: TimeDelta = TimeDelta::seconds(20);

/// Errors of a watch that brought nothing between them.
struct Streak {
    since: DateTime<Utc>,
    last: DateTime<Utc>,
    message: String,
    told: bool,
}

impl Streak {
    fn broken(&self, now: DateTime<Utc>) -> bool {
        now - self.since > PATIENCE && now - self.last < CALM
    }
}

/// How every watch fares.
#[derive(Default)]
pub struct WatchHealth(Mutex<BTreeMap<Kind, Streak>>);

impl WatchHealth {
    fn streaks(&self) -> std::sync::MutexGuard<'_, BTreeMap<Kind, Streak>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The watch of `kind` brought something. Returns whether it was broken.
    pub fn heard(&self, kind: Kind) -> bool {
        self.streaks().remove(&kind).is_some_and(|streak| streak.told)
    }

    /// The watch of `kind` failed, or a stream of it that had `begun`. Returns whether it is broken from now on.
    pub fn failed(&self, kind: Kind, message: String, begun: bool, now: DateTime<Utc>) -> bool {
        let mut streaks = self.streaks();
        let fresh = || Streak {
            since: now,
            last: now,
            message: String::new(),
            told: false,
        };
        let streak = streaks.entry(kind).or_insert_with(fresh);
        if now - streak.last >= if begun { STOOD } else { CALM } {
            *streak = fresh();
        }
        streak.last = now;
        streak.message = message;
        let news = now - streak.since > PATIENCE && !streak.told;
        streak.told |= news;
        news
    }

    /// The kind whose watch is broken longest at `now`.
    #[must_use]
    pub fn broken(&self, now: DateTime<Utc>) -> Option<BrokenWatch> {
        let streaks = self.streaks();
        let broken = streaks.iter().filter(|(_, streak)| streak.broken(now));
        let (kind, streak) = broken.min_by_key(|(kind, streak)| (streak.since, **kind))?;
        Some(BrokenWatch {
            kind: format!("{kind:?}"),
            since: streak.since,
            message: streak.message.chars().take(300).collect(),
        })
    }

    /// When the next of the watches that are broken at `now` works again if nothing further is heard of it.
    #[must_use]
    pub fn calm_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let streaks = self.streaks();
        let broken = streaks.values().filter(|streak| streak.broken(now));
        broken.map(|streak| streak.last + CALM).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    /// Fails every three seconds up to `until`; returns when it was told to be broken.
    fn fails(health: &WatchHealth, kind: Kind, from: i64, until: i64) -> Vec<i64> {
        let tries = (from..=until).step_by(3);
        tries
            .filter(|s| health.failed(kind, "connection refused".to_owned(), false, at(*s)))
            .collect()
    }

    #[test]
    fn watch_that_fails_for_a_minute_is_broken_and_told_once() {
        let health = WatchHealth::default();
        assert!(fails(&health, Kind::Deployment, 0, 60).is_empty());
        assert_eq!(health.broken(at(60)), None);
        assert_eq!(fails(&health, Kind::Deployment, 63, 90), [63]);
        let broken = health.broken(at(90)).unwrap();
        assert_eq!((broken.kind.as_str(), broken.since), ("Deployment", at(0)));
        assert_eq!(broken.message, "connection refused");
        assert!(health.heard(Kind::Deployment), "whoever waits is woken");
        assert_eq!(health.broken(at(91)), None);
        assert!(!health.heard(Kind::Deployment));
    }

    #[test]
    fn single_failures_of_a_quiet_watch_are_no_matter() {
        let health = WatchHealth::default();
        for hour in 0..100 {
            let now = at(hour * 3600);
            assert!(!health.failed(Kind::Service, "the stream ended".to_owned(), true, now));
            assert_eq!(health.broken(now), None);
        }
    }

    #[test]
    fn watch_without_a_further_error_works_again() {
        let health = WatchHealth::default();
        fails(&health, Kind::EndpointSlice, 0, 90);
        fails(&health, Kind::Service, 30, 96);
        let broken = |s: i64| health.broken(at(s)).map(|broken| broken.kind);
        assert_eq!(
            broken(97).as_deref(),
            Some("EndpointSlice"),
            "the one that is broken longest"
        );
        assert_eq!(health.calm_at(at(97)), Some(at(135)));
        assert_eq!(health.calm_at(at(135)), Some(at(141)), "never what is over");
        assert_eq!(broken(135).as_deref(), Some("Service"));
        assert_eq!(broken(141), None);
    }

    #[test]
    fn proxy_that_ends_quiet_streams_breaks_no_watch_and_one_that_ends_all_does() {
        let told = |pause: usize| {
            let health = WatchHealth::default();
            let mut ends = (0..600).step_by(pause);
            ends.any(|s| health.failed(Kind::Service, "reset".to_owned(), true, at(s)))
        };
        assert_eq!(
            [1, 3, 15, 30, 44, 60].map(told),
            [true, true, true, false, false, false]
        );
    }
}
