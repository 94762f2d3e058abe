//! Which Canary is looked at next. Two lanes: those whose traffic is at risk pass before routine work. A Canary is
//! never looked at twice at once; what comes while it is, is looked at afterwards.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use crate::{clock::Clock, rollout::CanaryId};

/// The lanes of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Traffic is at risk.
    Urgent,
    /// Anything else.
    Routine,
}

/// The state of the queue: pure, driven by the time it is given.
#[derive(Default)]
struct Lanes {
    urgent: VecDeque<CanaryId>,
    routine: VecDeque<CanaryId>,
    queued: HashSet<CanaryId>,
    running: HashSet<CanaryId>,
    again: HashMap<CanaryId, Lane>,
    /// Timers run on the clock that nobody sets.
    due: HashMap<CanaryId, (Duration, Lane)>,
    timers: BTreeSet<(Duration, CanaryId)>,
}

impl Lanes {
    fn push(&mut self, id: CanaryId, lane: Lane) {
        if self.running.contains(&id) {
            let entry = self.again.entry(id).or_insert(lane);
            if lane == Lane::Urgent {
                *entry = lane;
            }
            return;
        }
        if self.queued.insert(id.clone()) {
            match lane {
                Lane::Urgent => self.urgent.push_back(id),
                Lane::Routine => self.routine.push_back(id),
            }
        } else if lane == Lane::Urgent && !self.urgent.contains(&id) {
            self.routine.retain(|other| *other != id);
            self.urgent.push_back(id);
        }
    }

    /// The one timer of `id`; the latest call wins.
    fn set_timer(&mut self, id: &CanaryId, at: Option<Duration>, lane: Lane) {
        if let Some((old, _)) = self.due.remove(id) {
            self.timers.remove(&(old, id.clone()));
        }
        if let Some(at) = at {
            self.due.insert(id.clone(), (at, lane));
            self.timers.insert((at, id.clone()));
        }
    }

    fn pop(&mut self, now: Duration) -> Option<CanaryId> {
        while let Some((at, id)) = self.timers.first().cloned() {
            if at > now {
                break;
            }
            let lane = self.due.get(&id).map_or(Lane::Routine, |(_, lane)| *lane);
            self.set_timer(&id, None, lane);
            self.push(id, lane);
        }
        let id = self.urgent.pop_front().or_else(|| self.routine.pop_front())?;
        self.queued.remove(&id);
        self.running.insert(id.clone());
        Some(id)
    }

    fn next_timer(&self) -> Option<Duration> {
        self.timers.first().map(|(at, _)| *at)
    }

    fn done(&mut self, id: &CanaryId) {
        self.running.remove(id);
        if let Some(lane) = self.again.remove(id) {
            self.push(id.clone(), lane);
        }
    }
}

/// The queue.
pub struct Queue {
    lanes: Mutex<Lanes>,
    changed: Notify,
    clock: Arc<dyn Clock>,
}

impl Queue {
    /// An empty queue.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Queue {
        Queue {
            lanes: Mutex::default(),
            changed: Notify::new(),
            clock,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at `id` as soon as a worker is free.
    pub fn push(&self, id: CanaryId, lane: Lane) {
        self.lock().push(id, lane);
        self.changed.notify_one();
    }

    /// Looks at `id` at `at`, or not by time if `None`; replaces its earlier timer.
    pub fn at(&self, id: &CanaryId, at: Option<DateTime<Utc>>, lane: Lane) {
        // Both clocks are read once: whoever sets the calendar later moves no timer.
        let (calendar, now) = (self.clock.now(), self.clock.monotonic());
        let at = at.map(|at| now + (at - calendar).to_std().unwrap_or_default());
        self.lock().set_timer(id, at, lane);
        self.changed.notify_one();
    }

    /// The look at `id` is over.
    pub fn done(&self, id: &CanaryId) {
        self.lock().done(id);
        self.changed.notify_one();
    }

    /// The next Canary to look at; waits until there is one.
    pub async fn next(&self) -> CanaryId {
        loop {
            let now = self.clock.monotonic();
            let (found, timer, more) = {
                let mut lanes = self.lock();
                let found = lanes.pop(now);
                let more = !lanes.queued.is_empty() || !lanes.timers.is_empty();
                (found, lanes.next_timer(), more)
            };
            if let Some(id) = found {
                if more {
                    self.changed.notify_one();
                }
                return id;
            }
            let changed = self.changed.notified();
            match timer {
                None => changed.await,
                Some(at) => {
                    let span = at.saturating_sub(now).max(Duration::from_millis(1));
                    // Elapsing is the other way to go on; either leads to another look.
                    let _: Result<(), _> = tokio::time::timeout(span, changed).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> CanaryId {
        CanaryId {
            namespace: "n".into(),
            name: name.into(),
        }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn urgent_passes_routine() {
        let mut lanes = Lanes::default();
        lanes.push(id("a"), Lane::Routine);
        lanes.push(id("b"), Lane::Routine);
        lanes.push(id("b"), Lane::Urgent);
        assert_eq!(lanes.pop(at(0)), Some(id("b")));
        assert_eq!(lanes.pop(at(0)), Some(id("a")));
        assert_eq!(lanes.pop(at(0)), None);
    }

    #[test]
    fn never_twice_at_once_and_never_lost() {
        let mut lanes = Lanes::default();
        lanes.push(id("a"), Lane::Routine);
        assert_eq!(lanes.pop(at(0)), Some(id("a")));
        lanes.push(id("a"), Lane::Routine);
        assert_eq!(lanes.pop(at(0)), None);
        lanes.done(&id("a"));
        assert_eq!(lanes.pop(at(0)), Some(id("a")));
    }

    #[test]
    fn timer_fires_once_at_its_instant_and_the_latest_wins() {
        let mut lanes = Lanes::default();
        lanes.set_timer(&id("a"), Some(at(5)), Lane::Routine);
        lanes.set_timer(&id("a"), Some(at(9)), Lane::Routine);
        assert_eq!(lanes.pop(at(8)), None);
        assert_eq!(lanes.next_timer(), Some(at(9)));
        assert_eq!(lanes.pop(at(9)), Some(id("a")));
        lanes.done(&id("a"));
        assert_eq!(lanes.pop(at(99)), None);
    }
}
