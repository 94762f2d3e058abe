//! Virtual time: tokio's, which a simulation pauses, beside a calendar.

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use crate::clock::Clock;

/// When every simulation begins: 2026-01-01 00:00:00 UTC.
const EPOCH: i64 = 1_767_225_600;

/// A clock that began at [`SimClock::epoch`] when it was made.
#[derive(Clone, Copy, Debug)]
pub struct SimClock {
    began: Instant,
    skew: TimeDelta,
}

impl SimClock {
    /// A clock that begins now.
    #[must_use]
    pub fn start() -> SimClock {
        SimClock {
            began: Instant::now(),
            skew: TimeDelta::zero(),
        }
    }

    /// The same clock, set wrong by `skew`.
    #[must_use]
    pub fn skewed(self, skew: TimeDelta) -> SimClock {
        SimClock { skew, ..self }
    }

    /// When it began.
    #[must_use]
    pub fn epoch() -> DateTime<Utc> {
        DateTime::from_timestamp(EPOCH, 0).unwrap_or_default()
    }

    /// The instant of tokio's time that is `at`.
    #[must_use]
    pub fn instant(&self, at: DateTime<Utc>) -> Instant {
        self.began + (at - SimClock::epoch()).to_std().unwrap_or_default()
    }
}

impl Clock for SimClock {
    fn monotonic(&self) -> std::time::Duration {
        self.began.elapsed()
    }

    fn now(&self) -> DateTime<Utc> {
        SimClock::epoch() + TimeDelta::from_std(self.began.elapsed()).unwrap_or_default() + self.skew
    }
}
