//! How often to ask. Pure, but for chance.

use std::time::Duration;

use crate::jitter::Jitter;

const EAGER: Duration = Duration::from_secs(2);
const EAGER_FOR: Duration = Duration::from_secs(30);
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(15);

/// How long to wait before the next question about something that has been waited for since `waited`: 2 s in the first
/// 30 s, then 5 to 15 s.
#[must_use]
pub fn pause(waited: Duration, jitter: &Jitter) -> Duration {
    if waited < EAGER_FOR {
        return EAGER;
    }
    // A spread lies between half of its span and all of it.
    let width = LONGEST - SHORTEST;
    (SHORTEST + jitter.spread(2 * width)).saturating_sub(width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eager_at_first_then_spread_between_5_and_15_seconds() {
        let jitter = Jitter::seeded(1);
        let s = Duration::from_secs;
        assert_eq!(pause(s(0), &jitter), s(2));
        assert_eq!(pause(Duration::from_millis(29_999), &jitter), s(2));
        let later: Vec<Duration> = (0..200).map(|_| pause(s(30), &jitter)).collect();
        assert!(later.iter().all(|pause| (s(5)..=s(15)).contains(pause)));
        assert!(later.iter().any(|pause| *pause < s(7)));
        assert!(later.iter().any(|pause| *pause > s(13)));
    }
}
