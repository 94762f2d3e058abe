//! Which Canary is looked at next. Two lanes: those whose traffic is at risk pass before routine work. A Canary is
//! never looked at twice at once; what comes while it is, is looked at afterwards.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use crate::{clock::Clock, metrics::QueueMetrics, rollout::CanaryId};

/// The lanes of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Traffic is at risk.
    Urgent,
    /// Anything else.
    Routine,
}

impl Lane {
    /// As metrics name it.
    fn name(self) -> &'static str {
        match self {
            Lane::Urgent => "urgent",
            Lane::Routine => "routine",
        }
    }
}

/// The state of the queue: pure, driven by the time it is given.
#[derive(Default)]
struct Lanes {
    urgent: VecDeque<CanaryId>,
    routine: VecDeque<CanaryId>,
    /// Who waits, and since when.
    queued: HashMap<CanaryId, Duration>,
    running: HashSet<CanaryId>,
    again: HashMap<CanaryId, Lane>,
    /// Timers run on the clock that nobody sets.
    due: HashMap<CanaryId, (Duration, Lane)>,
    timers: BTreeSet<(Duration, CanaryId)>,
}

impl Lanes {
    fn push(&mut self, id: CanaryId, lane: Lane, now: Duration) {
        if self.running.contains(&id) {
            let entry = self.again.entry(id).or_insert(lane);
            if lane == Lane::Urgent {
                *entry = lane;
            }
            return;
        }
        if !self.queued.contains_key(&id) {
            self.queued.insert(id.clone(), now);
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

    /// The next one, its lane, and how long it has waited.
    fn pop(&mut self, now: Duration) -> Option<(CanaryId, Lane, Duration)> {
        while let Some((at, id)) = self.timers.first().cloned() {
            if at > now {
                break;
            }
            let lane = self.due.get(&id).map_or(Lane::Routine, |(_, lane)| *lane);
            self.set_timer(&id, None, lane);
            // What is due waits since then.
            self.push(id, lane, at);
        }
        let urgent = self.urgent.pop_front().map(|id| (id, Lane::Urgent));
        let (id, lane) = urgent.or_else(|| Some((self.routine.pop_front()?, Lane::Routine)))?;
        let since = self.queued.remove(&id).unwrap_or(now);
        self.running.insert(id.clone());
        Some((id, lane, now.saturating_sub(since)))
    }

    fn next_timer(&self) -> Option<Duration> {
        self.timers.first().map(|(at, _)| *at)
    }

    fn done(&mut self, id: &CanaryId, now: Duration) {
        self.running.remove(id);
        if let Some(lane) = self.again.remove(id) {
            self.push(id.clone(), lane, now);
        }
    }
}

/// The queue.
pub struct Queue {
    lanes: Mutex<Lanes>,
    changed: Notify,
    clock: Arc<dyn Clock>,
    metrics: QueueMetrics,
}

impl Queue {
    /// An empty queue.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, metrics: QueueMetrics) -> Queue {
        Queue {
            lanes: Mutex::default(),
            changed: Notify::new(),
            clock,
            metrics,
        }
    }

    /// Changes the lanes, and tells how full they are.
    fn change<T>(&self, change: impl FnOnce(&mut Lanes, Duration) -> T) -> T {
        let now = self.clock.monotonic();
        let mut lanes = self.lock();
        let changed = change(&mut lanes, now);
        self.metrics.depth(Lane::Urgent.name(), lanes.urgent.len());
        self.metrics.depth(Lane::Routine.name(), lanes.routine.len());
        changed
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at `id` as soon as a worker is free.
    pub fn push(&self, id: CanaryId, lane: Lane) {
        self.change(|lanes, now| lanes.push(id, lane, now));
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
        self.change(|lanes, now| lanes.done(id, now));
        self.changed.notify_one();
    }

    /// The next Canary to look at; waits until there is one.
    pub async fn next(&self) -> CanaryId {
        loop {
            let (now, found, timer, more) = self.change(|lanes, now| {
                let found = lanes.pop(now);
                let more = !lanes.queued.is_empty() || !lanes.timers.is_empty();
                (now, found, lanes.next_timer(), more)
            });
            if let Some((id, lane, waited)) = found {
                self.metrics.waited(lane.name(), waited);
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

    fn popped(lanes: &mut Lanes, now: u64) -> Option<CanaryId> {
        lanes.pop(at(now)).map(|(id, _, _)| id)
    }

    #[test]
    fn whoever_is_due_waits_since_then() {
        let mut lanes = Lanes::default();
        lanes.push(id("a"), Lane::Routine, at(1));
        lanes.push(id("a"), Lane::Urgent, at(3));
        lanes.set_timer(&id("b"), Some(at(4)), Lane::Routine);
        assert_eq!(
            lanes.pop(at(6)),
            Some((id("a"), Lane::Urgent, Duration::from_secs(5)))
        );
        assert_eq!(
            lanes.pop(at(6)),
            Some((id("b"), Lane::Routine, Duration::from_secs(2)))
        );
    }

    #[test]
    fn urgent_passes_routine() {
        let mut lanes = Lanes::default();
        lanes.push(id("a"), Lane::Routine, at(0));
        lanes.push(id("b"), Lane::Routine, at(0));
        lanes.push(id("b"), Lane::Urgent, at(0));
        assert_eq!(popped(&mut lanes, 0), Some(id("b")));
        assert_eq!(popped(&mut lanes, 0), Some(id("a")));
        assert_eq!(popped(&mut lanes, 0), None);
    }

    #[test]
    fn never_twice_at_once_and_never_lost() {
        let mut lanes = Lanes::default();
        lanes.push(id("a"), Lane::Routine, at(0));
        assert_eq!(popped(&mut lanes, 0), Some(id("a")));
        lanes.push(id("a"), Lane::Routine, at(0));
        assert_eq!(popped(&mut lanes, 0), None);
        lanes.done(&id("a"), at(0));
        assert_eq!(popped(&mut lanes, 0), Some(id("a")));
    }

    #[test]
    fn timer_fires_once_at_its_instant_and_the_latest_wins() {
        let mut lanes = Lanes::default();
        lanes.set_timer(&id("a"), Some(at(5)), Lane::Routine);
        lanes.set_timer(&id("a"), Some(at(9)), Lane::Routine);
        assert_eq!(popped(&mut lanes, 8), None);
        assert_eq!(lanes.next_timer(), Some(at(9)));
        assert_eq!(popped(&mut lanes, 9), Some(id("a")));
        lanes.done(&id("a"), at(0));
        assert_eq!(popped(&mut lanes, 99), None);
    }
}
