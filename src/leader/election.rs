//! The rules of the election: what to do next with the Lease, and until when one may decide. Pure.
//!
//! As in client-go, nobody's clock is compared with another's: a Lease of somebody else is expired when this process has
//! seen it unchanged for its whole duration.

use std::time::Duration;

use super::{Claim, Epoch};

/// How long everything takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a Lease lasts without renewal.
    pub lease: Duration,
    /// How long after its last successful renewal a leader goes on deciding; less than `lease`.
    pub renew_deadline: Duration,
    /// Pause between two attempts.
    pub retry: Duration,
}

impl Default for Timing {
    /// 12 s, 8 s, 1.5 s: a renewal is seen up to a retry late, and its absence up to another one, so that somebody else decides
    /// 15 s after a crash. client-go's 15 s, 10 s and 2 s make that 19 s.
    fn default() -> Timing {
        Timing {
            lease: Duration::from_secs(12),
            renew_deadline: Duration::from_secs(8),
            retry: Duration::from_millis(1500),
        }
    }
}

/// A Lease as the API server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; empty if nobody does.
    pub holder: String,
    /// How often it changed hands.
    pub transitions: i64,
    /// How long it lasts without renewal.
    pub duration: Duration,
    /// `resourceVersion`.
    pub version: String,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Read it.
    Look,
    /// Make it; there is none.
    Create(Record),
    /// Write it, if its version is still that of the record.
    Write(Record),
    /// Give it back.
    Release(Record),
}

/// The state of one candidate.
#[derive(Debug)]
pub struct Election {
    me: String,
    timing: Timing,
    /// The Lease as last seen (`None`: there is none), and since when it is as it is.
    seen: Option<(Option<Record>, Duration)>,
    /// Whether it must be read before the next write.
    look: bool,
    /// The Lease that this process holds.
    held: Option<Record>,
    /// When this process asked for the last renewal that is known to have succeeded.
    renewed: Option<Duration>,
}

impl Election {
    /// A candidate who knows nothing yet.
    #[must_use]
    pub fn new(me: &str, timing: Timing) -> Election {
        Election {
            me: me.to_owned(),
            timing,
            seen: None,
            look: true,
            held: None,
            renewed: None,
        }
    }

    /// What to do at `now`.
    #[must_use]
    pub fn step(&self, now: Duration) -> Step {
        let Some((seen, since)) = self.seen.as_ref().filter(|_| !self.look) else {
            return Step::Look;
        };
        let mine = |transitions: i64, version: &str| Record {
            holder: self.me.clone(),
            transitions,
            duration: self.timing.lease,
            version: version.to_owned(),
        };
        match seen {
            None => Step::Create(mine(1, "")),
            Some(lease) if self.held.is_some() => Step::Write(mine(lease.transitions, &lease.version)),
            Some(lease) if lease.holder.is_empty() || now >= *since + lease.duration => {
                Step::Write(mine(lease.transitions + 1, &lease.version))
            }
            Some(_) => Step::Look,
        }
    }

    /// The API server answered `step`, asked at the instant `asked`, with this Lease, at `now`.
    pub fn saw(&mut self, step: &Step, lease: Option<Record>, asked: Duration, now: Duration) {
        self.look = false;
        let mine = lease.as_ref().filter(|lease| lease.holder == self.me);
        let same_term = |held: &Record| mine.is_some_and(|mine| mine.transitions == held.transitions);
        if !self.held.as_ref().is_some_and(same_term) {
            self.renewed = None;
        }
        if mine.is_some() && matches!(step, Step::Create(_) | Step::Write(_)) {
            self.renewed = Some(asked);
        }
        // Read and not written: somebody's name is ours because a write of ours succeeded whose answer was lost. When
        // that was, nobody knows; so it gives no right to decide, but may be renewed at once.
        self.held = mine.cloned();
        if self.seen.as_ref().is_none_or(|(seen, _)| *seen != lease) {
            self.seen = Some((lease, now));
        }
    }

    /// A request failed: whether it was carried out is not known.
    pub fn failed(&mut self) {
        self.look = true;
    }

    /// The right to decide at `now`, if there is one.
    #[must_use]
    pub fn claim(&self, now: Duration) -> Option<Claim> {
        let (held, renewed) = (self.held.as_ref()?, self.renewed?);
        let until = renewed + self.timing.renew_deadline;
        (now < until).then(|| Claim {
            epoch: Epoch::new(held.transitions, &held.holder),
            until,
        })
    }

    /// What to do next so that the Lease is not held by this process, whether or not its right to decide has ended.
    #[must_use]
    pub fn release(&self) -> Option<Step> {
        if self.look {
            // A write whose outcome is not known may have made it ours, or left another version behind.
            return Some(Step::Look);
        }
        self.held.clone().map(Step::Release)
    }

    /// How long to wait before the next step.
    #[must_use]
    pub fn pause(&self) -> Duration {
        // Held without a right to decide: the renewal is due at once.
        if self.held.is_some() && self.renewed.is_none() && !self.look {
            Duration::ZERO
        } else {
            self.timing.retry
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn record(holder: &str, transitions: i64, version: &str) -> Record {
        Record {
            holder: holder.to_owned(),
            transitions,
            duration: s(15),
            version: version.to_owned(),
        }
    }

    /// client-go's.
    fn timing() -> Timing {
        Timing {
            lease: s(15),
            renew_deadline: s(10),
            retry: s(2),
        }
    }

    /// A candidate that looked and took a Lease that nobody held, at 0 s.
    fn leader() -> Election {
        let mut a = Election::new("a", timing());
        assert_eq!(a.step(s(0)), Step::Look);
        a.saw(&Step::Look, None, s(0), s(0));
        let step = a.step(s(0));
        assert_eq!(step, Step::Create(record("a", 1, "")));
        a.saw(&step, Some(record("a", 1, "7")), s(0), s(1));
        a
    }

    #[test]
    fn a_lease_that_is_not_there_is_made_and_gives_the_right_from_when_it_was_asked_for() {
        let a = leader();
        assert_eq!(a.claim(s(9)).map(|claim| claim.until), Some(s(10)));
        assert_eq!(a.claim(s(10)), None);
        assert_eq!(a.step(s(2)), Step::Write(record("a", 1, "7")));
    }

    #[test]
    fn somebody_elses_lease_is_taken_over_only_when_seen_unchanged_for_its_duration() {
        let mut b = Election::new("b", timing());
        b.saw(&Step::Look, Some(record("a", 4, "7")), s(100), s(101));
        assert_eq!(b.step(s(115)), Step::Look);
        b.saw(&Step::Look, Some(record("a", 4, "8")), s(115), s(115));
        assert_eq!(b.step(s(129)), Step::Look);
        b.saw(&Step::Look, Some(record("a", 4, "8")), s(129), s(129));
        let step = b.step(s(130));
        assert_eq!(step, Step::Write(record("b", 5, "8")));
        assert_eq!(b.claim(s(130)), None);
        b.saw(&step, Some(record("b", 5, "9")), s(130), s(131));
        assert_eq!(b.claim(s(131)).map(|c| c.epoch), Some(Epoch::new(5, "b")));
    }

    #[test]
    fn a_lease_that_was_given_back_is_taken_at_once() {
        let mut b = Election::new("b", timing());
        b.saw(&Step::Look, Some(record("", 4, "7")), s(1), s(1));
        assert_eq!(b.step(s(1)), Step::Write(record("b", 5, "7")));
    }

    #[test]
    fn a_renewal_whose_answer_is_lost_gives_no_longer_right_before_the_next_one() {
        let mut a = leader();
        a.failed();
        assert_eq!(a.step(s(4)), Step::Look);
        // It had been carried out.
        a.saw(&Step::Look, Some(record("a", 1, "8")), s(8), s(8));
        assert_eq!(a.claim(s(9)).map(|claim| claim.until), Some(s(10)));
        let step = a.step(s(9));
        assert_eq!(step, Step::Write(record("a", 1, "8")));
        a.saw(&step, Some(record("a", 1, "9")), s(9), s(9));
        assert_eq!(a.claim(s(18)).map(|claim| claim.until), Some(s(19)));
    }

    #[test]
    fn an_acquisition_whose_answer_is_lost_gives_no_right_and_is_renewed_at_once() {
        let mut a = Election::new("a", timing());
        a.saw(&Step::Look, None, s(0), s(0));
        a.failed();
        a.saw(&Step::Look, Some(record("a", 1, "7")), s(6), s(6));
        assert_eq!(a.claim(s(6)), None);
        assert_eq!(a.pause(), Duration::ZERO);
        assert_eq!(a.step(s(6)), Step::Write(record("a", 1, "7")));
    }

    #[test]
    fn a_lease_that_somebody_else_has_now_is_lost() {
        let mut a = leader();
        a.failed();
        a.saw(&Step::Look, Some(record("b", 2, "9")), s(3), s(3));
        assert_eq!(a.claim(s(3)), None);
        assert_eq!(a.release(), None, "there is nothing to give back");
    }

    #[test]
    fn a_lease_is_given_back_as_it_is_even_if_the_answer_to_its_last_renewal_was_lost() {
        let mut a = leader();
        assert_eq!(a.release(), Some(Step::Release(record("a", 1, "7"))));
        a.failed();
        assert_eq!(a.release(), Some(Step::Look));
        a.saw(&Step::Look, Some(record("a", 1, "8")), s(3), s(3));
        let step = Step::Release(record("a", 1, "8"));
        assert_eq!(a.release(), Some(step.clone()));
        a.saw(&step, Some(record("", 1, "9")), s(3), s(3));
        assert_eq!(a.release(), None);
    }

    #[test]
    fn the_right_ends_before_anybody_may_take_over() {
        // b reads at once what a wrote; nobody can read it earlier.
        let a = leader();
        let mut b = Election::new("b", timing());
        b.saw(&Step::Look, Some(record("a", 1, "7")), s(0), s(0));
        for second in 0..40 {
            let taking = matches!(b.step(s(second)), Step::Write(_));
            assert!(!(taking && a.claim(s(second)).is_some()), "both at {second} s");
        }
    }
}
