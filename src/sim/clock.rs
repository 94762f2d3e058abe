//! Virtual time: tokio's, which a simulation pauses, beside a calendar.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use crate::clock::Clock;

/// When every simulation begins: 2026-01-01 00:00:00 UTC.
const EPOCH: i64 = 1_767_225_600;

/// A clock that began at [`SimClock::epoch`] when it was made.
#[derive(Clone, Copy, Debug)]
pub struct SimClock {
    began: Instant,
    /// By how many milliseconds it is wrong. Clocks are copied into everything that tells the time, and are few: one is
    /// never given back.
    skew: &'static AtomicI64,
}

/// By how much a clock is wrong that is right.
static RIGHT: AtomicI64 = AtomicI64::new(0);

impl SimClock {
    /// A clock that begins now.
    #[must_use]
    pub fn start() -> SimClock {
        SimClock {
            began: Instant::now(),
            skew: &RIGHT,
        }
    }

    /// The same clock, set wrong by `skew`. It can be set anew.
    #[must_use]
    pub fn skewed(self, skew: TimeDelta) -> SimClock {
        let skew = Box::leak(Box::new(AtomicI64::new(skew.num_milliseconds())));
        SimClock { skew, ..self }
    }

    /// Sets a clock that may be wrong, wrong by `skew`, with all of its copies.
    pub fn set(&self, skew: TimeDelta) {
        if !std::ptr::eq(self.skew, &RIGHT) {
            self.skew.store(skew.num_milliseconds(), Ordering::Relaxed);
        }
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
        SimClock::epoch()
            + TimeDelta::from_std(self.began.elapsed()).unwrap_or_default()
            + TimeDelta::milliseconds(self.skew.load(Ordering::Relaxed))
    }
}
