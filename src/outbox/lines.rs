//! The facts that wait for one sink: a line per Canary, each told in order, none waiting for another. Pure; time is passed
//! in.
//!
//! Invariant: a line holds what stands in the status of its Canary and nothing else, so it is as short as that is.

use std::{collections::BTreeMap, time::Duration};

use super::Fact;
use crate::{api::Notice, rollout::CanaryId};

/// The facts of one Canary.
#[derive(Debug, Default)]
struct Line {
    uid: String,
    /// Oldest first.
    waiting: Vec<Notice>,
    /// Number of the newest fact that was told or given up.
    passed: i64,
    /// Failures in a row.
    failures: u32,
    /// When the oldest fact may be sent; before that, when one was sent last.
    due: Duration,
    /// Number of the fact that is under way. It may have gone from the status since.
    under_way: Option<i64>,
}

impl Line {
    /// What waits, without what is under way.
    fn settled(&self) -> impl Iterator<Item = &Notice> {
        let under_way = self.under_way;
        self.waiting
            .iter()
            .filter(move |notice| under_way != Some(notice.seq))
    }
}

/// What came of a look at the status of a Canary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Put {
    /// Whether there is something new to tell.
    pub(super) new: bool,
    /// Facts that will not be told any more: the status had no room for them.
    pub(super) crowded: usize,
}

/// What becomes of a fact that could not be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It will be sent again.
    Again,
    /// The status has no room for it any more.
    Crowded,
    /// Its Canary is gone.
    Gone,
}

/// The facts that wait for one sink.
#[derive(Debug, Default)]
pub(super) struct Lines(BTreeMap<CanaryId, Line>);

impl Lines {
    /// The facts in the status of `canary` are these. One that goes while it is under way is not lost yet.
    pub(super) fn put(&mut self, canary: &CanaryId, uid: &str, pending: &[Notice]) -> Put {
        let line = self.0.entry(canary.clone()).or_default();
        if line.uid != uid {
            *line = Line {
                uid: uid.to_owned(),
                ..Line::default()
            };
        }
        let passed = line.passed;
        let wanted = || pending.iter().filter(|notice| notice.seq > passed);
        let known = line.waiting.iter().map(|notice| notice.seq);
        if wanted().map(|notice| notice.seq).eq(known) {
            return Put::default();
        }
        let still = |known: &Notice| pending.iter().any(|notice| notice.seq == known.seq);
        let crowded = line.settled().filter(|known| !still(known)).count();
        line.waiting = wanted().cloned().collect();
        Put {
            new: line.under_way.is_none() && !line.waiting.is_empty(),
            crowded,
        }
    }

    /// The fact to be sent next, which is then under way: of the line whose turn it is for longest.
    pub(super) fn take(&mut self, now: Duration) -> Option<Fact> {
        let idle = self
            .0
            .iter_mut()
            .filter(|(_, line)| line.under_way.is_none() && line.due <= now);
        let (canary, line) = idle
            .filter(|(_, line)| !line.waiting.is_empty())
            .min_by_key(|(_, line)| line.due)?;
        let notice = line.waiting.first()?.clone();
        line.under_way = Some(notice.seq);
        Some(Fact {
            canary: canary.clone(),
            uid: line.uid.clone(),
            notice,
        })
    }

    /// When something may be sent, if nothing else happens.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let waiting = self.0.values();
        waiting
            .filter(|line| line.under_way.is_none() && !line.waiting.is_empty())
            .map(|line| line.due)
            .min()
    }

    /// `fact` was told or given up; returns whether it was the last of its line.
    pub(super) fn pass(&mut self, fact: &Fact, now: Duration) -> bool {
        let Some(line) = self.under_way(fact) else {
            return false;
        };
        line.under_way = None;
        line.failures = 0;
        line.due = now;
        line.passed = line.passed.max(fact.notice.seq);
        let passed = line.passed;
        line.waiting.retain(|notice| notice.seq > passed);
        line.waiting.is_empty()
    }

    /// `fact` could not be told; returns how often that happened in a row.
    pub(super) fn fail(&mut self, fact: &Fact) -> u32 {
        let Some(line) = self.under_way(fact) else {
            return 1;
        };
        line.failures = line.failures.saturating_add(1);
        line.failures
    }

    /// What failed may be sent again at `due`, if it still waits.
    pub(super) fn retry(&mut self, fact: &Fact, due: Duration) -> Fate {
        let Some(line) = self.under_way(fact) else {
            return Fate::Gone;
        };
        line.under_way = None;
        line.due = due;
        if line.waiting.iter().any(|notice| notice.seq == fact.notice.seq) {
            Fate::Again
        } else {
            Fate::Crowded
        }
    }

    /// Facts that the Canary had before it went and came again under the same name are nobody's any more.
    fn under_way(&mut self, fact: &Fact) -> Option<&mut Line> {
        self.0
            .get_mut(&fact.canary)
            .filter(|line| line.uid == fact.uid && line.under_way == Some(fact.notice.seq))
    }

    /// Number of the newest fact of `canary` that was told or given up.
    pub(super) fn passed(&self, canary: &CanaryId) -> i64 {
        self.0.get(canary).map_or(0, |line| line.passed)
    }

    /// Forgets `canary`; returns how many facts it still had. One that is under way is not lost yet.
    pub(super) fn forget(&mut self, canary: &CanaryId) -> usize {
        self.0.remove(canary).map_or(0, |line| line.settled().count())
    }

    /// How many facts wait.
    pub(super) fn len(&self) -> usize {
        self.0.values().map(|line| line.waiting.len()).sum()
    }
}
