//! The clock: the only place that asks for the time, so that everything else takes it as an argument.
//!
//! Kubernetes' own timestamps are converted here and nowhere else.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

/// A source of the present time. Tests and the simulation bring their own.
pub trait Clock: Send + Sync {
    /// The present time.
    fn now(&self) -> DateTime<Utc>;

    /// Time since some beginning of this process; nobody sets it, and it never goes back.
    fn monotonic(&self) -> Duration;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    began: Instant,
}

impl Default for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that may ask")]
    fn default() -> SystemClock {
        SystemClock {
            began: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that may ask")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn monotonic(&self) -> Duration {
        self.began.elapsed()
    }
}

/// `instant` cut to whole seconds, the precision of timestamps in Kubernetes objects.
#[must_use]
pub fn whole_seconds(instant: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(instant.timestamp(), 0).unwrap_or(instant)
}
