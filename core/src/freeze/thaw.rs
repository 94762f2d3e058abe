//! The end of a freeze. Hundreds of releases may wait for it, and must not all start pods in the same second: each begins a
//! little later than the end, at an instant of its own. Releases under way go on at once.

use chrono::{DateTime, TimeDelta, Utc};

use super::Freezing;

/// Over how much time the releases of all Canaries begin at most.
const LONGEST: TimeDelta = TimeDelta::seconds(60);
/// Time between one release and the next, as far as that leads.
const APART: TimeDelta = TimeDelta::milliseconds(200);

/// What one Canary has seen of freezes.
#[derive(Clone, Debug, Default)]
pub struct Thaw {
    /// The freeze that was in force at the last look.
    last: Option<String>,
    /// Until when the end of the last freeze is waited for.
    until: Option<DateTime<Utc>>,
}

impl Thaw {
    /// What freezes mean for `canary`, one of `canaries`, if they mean `state` for everybody: when the last one is over, a
    /// release begins at an instant that only its name and their number decide, at most a minute later.
    pub fn look(&mut self, state: Freezing, canary: &str, canaries: usize, now: DateTime<Utc>) -> Freezing {
        if state.frozen.is_some() {
            self.last.clone_from(&state.frozen);
            self.until = None;
            return state;
        }
        let Some(last) = &self.last else {
            return state;
        };
        let until = *self.until.get_or_insert_with(|| now + delay(canary, canaries));
        if now >= until {
            *self = Thaw::default();
            return state;
        }
        Freezing {
            frozen: Some(format!(
                "over ({last}); releases that waited begin one after the other, this one at {} UTC",
                until.format("%H:%M:%S")
            )),
            holds: false,
            changes_at: state.changes_at.into_iter().chain([until]).min(),
        }
    }
}

/// How long after the end of a freeze `canary`, one of `canaries`, begins.
fn delay(canary: &str, canaries: usize) -> TimeDelta {
    let all = i32::try_from(canaries).unwrap_or(i32::MAX);
    let span = APART
        .checked_mul(all)
        .unwrap_or(LONGEST)
        .min(LONGEST)
        .num_milliseconds();
    // FNV-1a: the same in every process.
    let hash = canary.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let part = i64::try_from(hash >> 33).unwrap_or_default();
    TimeDelta::milliseconds(part % span.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn frozen() -> Freezing {
        Freezing {
            frozen: Some("Freeze weekend: nobody is there".to_owned()),
            holds: true,
            changes_at: Some(at(100)),
        }
    }

    /// How long after the end of a freeze a release may begin.
    fn begins(canary: &str, canaries: usize) -> TimeDelta {
        let mut thaw = Thaw::default();
        assert_eq!(thaw.look(frozen(), canary, canaries, at(99)), frozen());
        let first = thaw.look(Freezing::default(), canary, canaries, at(100));
        let Some(until) = first.changes_at else {
            return TimeDelta::zero();
        };
        assert!(
            first.frozen.is_some() && !first.holds,
            "releases under way go on at once"
        );
        let just_before = until - TimeDelta::milliseconds(1);
        let still = thaw.look(Freezing::default(), canary, canaries, just_before);
        assert_eq!(still, first, "the instant does not move");
        assert_eq!(
            thaw.look(Freezing::default(), canary, canaries, until),
            Freezing::default()
        );
        until - at(100)
    }

    #[test]
    fn three_hundred_releases_begin_over_a_minute() {
        let delays: Vec<i64> = (0..300)
            .map(|n| begins(&format!("team-{}/shop-{n}", n % 7), 300).num_seconds())
            .collect();
        assert!(delays.iter().all(|delay| (0..60).contains(delay)));
        for ten in 0..6 {
            let within = delays.iter().filter(|delay| **delay / 10 == ten).count();
            assert!(
                (25..=80).contains(&within),
                "{within} of 300 in the {ten}th ten seconds"
            );
        }
    }

    #[test]
    fn single_release_does_not_wait() {
        assert!(begins("n/shop", 1) < TimeDelta::milliseconds(200));
    }

    #[test]
    fn without_a_freeze_before_nothing_is_waited_for() {
        let mut thaw = Thaw::default();
        assert_eq!(
            thaw.look(Freezing::default(), "n/shop", 300, at(0)),
            Freezing::default()
        );
    }

    #[test]
    fn freeze_that_begins_meanwhile_is_in_force() {
        let mut thaw = Thaw::default();
        thaw.look(frozen(), "n/shop", 300, at(0));
        thaw.look(Freezing::default(), "n/shop", 300, at(1));
        assert_eq!(thaw.look(frozen(), "n/shop", 300, at(2)), frozen());
    }
}
