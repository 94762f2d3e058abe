//! A decision in the making: the acts so far, the next status, and when to look again.

mod holds; // what holds a rollout back: a set
mod outbox; // facts to be told, and how rollouts ended

use chrono::{DateTime, TimeDelta, Utc};
use holds::Holds;

use super::{conditions, situation};
use crate::{
    api::{CanaryStatus, FirstCallsStatus, Phase, Retreat},
    defect::{Defect, planted},
    rollout::{Act, Decision, Observed, RolloutSpec, Sampling, Weight, Workload},
};

/// A decision in the making.
pub(super) struct Plan<'a> {
    pub(super) spec: &'a RolloutSpec,
    pub(super) seen: &'a Observed,
    pub(super) now: DateTime<Utc>,
    pub(super) next: CanaryStatus,
    recorded: CanaryStatus,
    holds: Holds,
    acts: Vec<Act>,
    wake_at: Option<DateTime<Utc>>,
    sampling: Sampling,
    safety: bool,
}

impl<'a> Plan<'a> {
    pub(super) fn new(spec: &'a RolloutSpec, seen: &'a Observed, now: DateTime<Utc>) -> Plan<'a> {
        let mut next = seen.status.clone();
        let retreated = next
            .hold
            .as_ref()
            .filter(|hold| hold.retreated && next.retreat.is_none());
        // The version before kept a retreat in its hold.
        next.retreat = retreated.map(Retreat::from).or(next.retreat.take());
        // The version before remembered a set-up without callers as a hand-over.
        if next.phase == Some(Phase::Initialized)
            && let Some(known) = next.transfer.take_if(|known| !known.assumed)
        {
            let unknown = (!known.reached).then(|| FirstCallsStatus::since(known.since));
            next.first_calls = next.first_calls.take().or(unknown);
        }
        Plan {
            spec,
            seen,
            now,
            next,
            recorded: seen.status.clone(),
            holds: Holds::of(&seen.status),
            acts: Vec::new(),
            wake_at: None,
            sampling: Sampling::Unwanted,
            safety: false,
        }
    }

    pub(super) fn act(&mut self, act: Act) {
        self.acts.push(act);
    }

    /// The acts so far.
    pub(super) fn acts(&self) -> &[Act] {
        &self.acts
    }

    /// Whether anything is to be written before the round can go on.
    pub(super) fn acting(&self) -> bool {
        !self.acts.is_empty()
    }

    /// Writes the next status at this point of the order, if it differs from what was written last.
    pub(super) fn record(&mut self) {
        self.settle_holds(false);
        self.write_status();
    }

    /// As [`Plan::record`], before everything else of this round: evidence relies on no act, and is not to be lost with one
    /// that fails.
    pub(super) fn record_first(&mut self) {
        let before = self.acts.len();
        self.record();
        if self.acts.len() > before {
            let record = self.acts.remove(before);
            self.acts.insert(0, record);
        }
    }

    fn write_status(&mut self) {
        self.next.observed_generation = Some(self.spec.generation);
        conditions::derive(&mut self.next, self.spec.generation, self.now);
        let told = self.seen.told;
        let mut unacknowledged = self.recorded.clone();
        unacknowledged.outbox.pending = self.next.outbox.pending.clone();
        if !self.at_rest() {
            // What begins now was decided by this epoch, and so was everything before that may still be on its way.
            self.next.epoch = Some(self.seen.epoch.clone());
        }
        let at_rest = self.next.phase.is_some_and(Phase::at_rest);
        let all_told = !self.recorded.outbox.pending.is_empty()
            && self.next.outbox.pending.iter().all(|notice| notice.seq <= told);
        if unacknowledged != self.next || (at_rest && all_told) {
            self.next.outbox.pending.retain(|notice| notice.seq > told);
            situation::note(&mut self.next, self.seen, self.recorded.outbox.seq);
            // It is no reason to write: an autoscaler changes it all day.
            let asked = self.primary().map(|primary| primary.desired).filter(|n| *n > 0);
            self.next.primary_replicas = asked.or(self.next.primary_replicas);
            self.recorded = self.next.clone();
            self.acts.push(Act::Record(Box::new(self.next.clone())));
        }
    }

    /// Whether no rollout, set-up or hand-back is under way: what is written then follows from the Canary alone.
    pub(super) fn at_rest(&self) -> bool {
        let phase = self.next.phase.is_none_or(Phase::at_rest);
        phase && self.next.canary_weight == 0 && !self.spec.deleting
    }

    /// Ends the round. Counts are evidence of the present step from `evidence_from` on.
    pub(super) fn close(mut self, evidence_from: Option<DateTime<Utc>>) -> Decision {
        let only_looked = self.acts.iter().all(|act| matches!(act, Act::Record(_)));
        self.settle_holds(only_looked);
        self.write_status();
        let sampling = match self.sampling {
            Sampling::Unwanted if self.was_cut_short() => Sampling::AsBefore,
            wanted => wanted,
        };
        // What takes traffic from pods is tried for each object, whatever became of the one before (I16).
        let fencing = self.acts.iter().any(|act| matches!(act, Act::Fence(_)));
        let returning = self.is_towards_safety();
        // A fence that fails ends the round: what follows would be taken for fenced.
        let independent = returning && !fencing;
        let urgent = self.next.canary_weight > 0 || returning;
        let fell = self.next.retirement.is_some() && self.seen.status.retirement.is_none();
        let verdict = fell.then(|| {
            let mut status = Box::new(self.recorded.clone());
            status.canary_weight = self.seen.status.canary_weight;
            status
        });
        Decision {
            independent,
            verdict,
            acts: self.acts,
            wake_at: self.wake_at,
            sampling,
            evidence_from,
            urgent,
        }
    }

    /// Looks again at `at` at the latest. An instant that is over wakes nobody: what is decided now would be decided again,
    /// at once and for ever.
    pub(super) fn wake(&mut self, at: DateTime<Utc>) {
        if at <= self.now {
            return;
        }
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// This round takes traffic from pods that do not serve, or from a release: nothing is in the way of that.
    pub(super) fn towards_safety(&mut self) {
        self.safety = true;
    }

    /// Whether this round takes traffic away from pods, or a withdrawal or retreat is under way.
    pub(super) fn is_towards_safety(&self) -> bool {
        self.safety || self.next.retirement.is_some() || self.next.retreat.is_some()
    }

    /// Takes `acts` back. If the routes stay as they are, so does what the status says of them, and what relies on that.
    pub(super) fn take_back(&mut self, acts: &[Act]) {
        let routes = |act: &Act| matches!(act, Act::Route(_) | Act::ApplyRoutes(_));
        if !acts.iter().any(routes) {
            return self.acts.retain(|act| !acts.contains(act));
        }
        // What was recorded before everything else relies on no act.
        let mut at = 0;
        let mut unrecorded = false;
        self.acts.retain(|act| {
            at += 1;
            if matches!(act, Act::Record(_)) && (at > 1 || acts.contains(act)) {
                unrecorded = true;
                return false;
            }
            let relies = unrecorded && !routes(act) && !matches!(act, Act::PointApex(_));
            !relies && !acts.contains(act)
        });
        let kept = match self.acts.first() {
            Some(Act::Record(status)) => (**status).clone(),
            _ => self.seen.status.clone(),
        };
        self.next = kept.clone();
        self.holds.taken_back(&kept);
        self.recorded = kept;
    }

    /// Asks for samples of the metrics.
    pub(super) fn sample(&mut self) {
        self.sampling = Sampling::Wanted;
    }

    /// Asks for a sample twice a minute, where nothing but a first caller can change anything.
    pub(super) fn sample_now_and_then(&mut self) {
        if self.sampling != Sampling::Wanted {
            self.sampling = Sampling::Occasional;
        }
    }

    /// The sentence in `status.message`.
    pub(super) fn say(&mut self, message: impl Into<String>) {
        self.next.message = Some(message.into());
    }

    pub(super) fn enter(&mut self, phase: Phase) {
        if self.next.phase != Some(phase) {
            self.next.phase = Some(phase);
            self.next.last_transition_time = Some(self.now);
        }
    }

    /// Since when the present phase lasts.
    pub(super) fn phase_since(&self) -> DateTime<Utc> {
        self.next.last_transition_time.unwrap_or(self.now)
    }

    /// Whether the target has the template of the present rollout.
    pub(super) fn runs_analysed(&self) -> bool {
        let target = self.target().map(|target| &target.revision);
        target.is_some() && target == self.next.revision.current.as_ref()
    }

    /// The canary's intended share.
    pub(super) fn weight(&self) -> Weight {
        Weight::saturating(i64::from(self.next.canary_weight))
    }

    pub(super) fn target(&self) -> Option<&'a Workload> {
        self.seen.target.as_ref()
    }

    pub(super) fn primary(&self) -> Option<&'a Workload> {
        self.seen.primary.as_ref()
    }

    /// When `span` from `since` is over; looks again then.
    pub(super) fn elapsed(&mut self, since: DateTime<Utc>, span: TimeDelta) -> bool {
        let at = since + span;
        if self.now < at {
            if !planted(Defect::ForgetsDeadlines) {
                self.wake(at);
            }
            return false;
        }
        true
    }
}
