//! Log lines that clients can cause: a flood of them must be no flood of lines.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Time between two lines of a kind.
const PAUSE: Duration = Duration::from_secs(10);

/// Lines of one kind.
pub(super) struct RateLimitedLog(Mutex<State>);

struct State {
    told: Option<Instant>,
    untold: u64,
}

impl RateLimitedLog {
    pub(super) const fn new() -> RateLimitedLog {
        RateLimitedLog(Mutex::new(State {
            told: None,
            untold: 0,
        }))
    }

    /// Whether it is time for a line, and how many were left out since the last one.
    pub(super) fn turn(&self) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if state.told.is_some_and(|told| now < told + PAUSE) {
            state.untold += 1;
            return None;
        }
        state.told = Some(now);
        Some(std::mem::take(&mut state.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn flood_is_one_line_and_the_next_says_how_many_were_left_out() {
        let log = RateLimitedLog::new();
        assert_eq!(log.turn(), Some(0));
        for _ in 0..1000 {
            assert_eq!(log.turn(), None);
        }
        tokio::time::advance(PAUSE).await;
        assert_eq!(log.turn(), Some(1000));
        assert_eq!(log.turn(), None);
    }
}
