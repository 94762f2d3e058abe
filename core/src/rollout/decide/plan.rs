//! A decision in the making: the acts so far, the next status, and the order of writes.
//!
//! Invariant: towards risk the status is recorded before the act ([`Plan::raise`]); towards safety after it
//! ([`Plan::lower`]).

use chrono::{DateTime, TimeDelta, Utc};

use super::{conditions, facts, stand};
use crate::{
    api::{CanaryStatus, Hold, HoldReason, Notice, NoticeKind, Outcome, PastRollout, Phase},
    defect::{Defect, planted},
    rollout::{Act, Child, Decision, Observed, RolloutSpec, Routes, Serves, Weight, Workload},
};

/// How long a Canary that goes waits for its facts to be told.
const TELLING_LIMIT: TimeDelta = TimeDelta::seconds(60);
/// Repairs of somebody else's edits within a minute.
const REPAIR_LIMIT: usize = 6;
/// Rollouts that are remembered.
const HISTORY_LIMIT: usize = 10;

/// A decision in the making.
pub(super) struct Plan<'a> {
    pub(super) spec: &'a RolloutSpec,
    pub(super) seen: &'a Observed,
    pub(super) now: DateTime<Utc>,
    pub(super) next: CanaryStatus,
    recorded: CanaryStatus,
    acts: Vec<Act>,
    wake_at: Option<DateTime<Utc>>,
    sampling: bool,
    repair: bool,
}

impl<'a> Plan<'a> {
    pub(super) fn new(spec: &'a RolloutSpec, seen: &'a Observed, now: DateTime<Utc>) -> Plan<'a> {
        Plan {
            spec,
            seen,
            now,
            next: seen.status.clone(),
            recorded: seen.status.clone(),
            acts: Vec::new(),
            wake_at: None,
            sampling: false,
            repair: false,
        }
    }

    pub(super) fn act(&mut self, act: Act) {
        self.acts.push(act);
    }

    /// Whether anything is to be written before the round can go on.
    pub(super) fn acting(&self) -> bool {
        !self.acts.is_empty()
    }

    /// Writes the next status at this point of the order, if it differs from what was written last.
    pub(super) fn record(&mut self) {
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
            stand::note(&mut self.next, self.seen, self.recorded.outbox.seq);
            self.recorded = self.next.clone();
            self.acts.push(Act::Record(Box::new(self.next.clone())));
        }
    }

    /// Whether no rollout, set-up or hand-back is under way: what is written then follows from the Canary alone.
    pub(super) fn at_rest(&self) -> bool {
        let phase = self.next.phase.is_none_or(Phase::at_rest);
        phase && self.next.canary_weight == 0 && !self.spec.deleting
    }

    /// Ends the round.
    pub(super) fn finish(mut self) -> Decision {
        self.record();
        let urgent = self.next.canary_weight > 0 || self.next.retirement.is_some();
        Decision {
            acts: self.acts,
            wake_at: self.wake_at,
            sampling: self.sampling,
            urgent,
            repair: self.repair,
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

    /// Asks for samples of the metrics.
    pub(super) fn sample(&mut self) {
        self.sampling = true;
    }

    /// Whether every fact was told, or could not be for so long that nothing waits for it any more. Looks again soon.
    pub(super) fn all_told(&mut self) -> bool {
        let newest = self.next.outbox.pending.last();
        let Some(newest) = newest.filter(|notice| notice.seq > self.seen.told) else {
            return true;
        };
        let given_up = self.elapsed(newest.at, TELLING_LIMIT);
        self.wake(self.now + TimeDelta::seconds(1));
        given_up
    }

    /// The sentence in `status.message`.
    pub(super) fn say(&mut self, message: impl Into<String>) {
        self.next.message = Some(message.into());
    }

    /// Puts a fact into the outbox.
    pub(super) fn tell(&mut self, kind: NoticeKind, reason: &str, message: impl Into<String>) {
        let outbox = &mut self.next.outbox;
        outbox.seq += 1;
        let (seq, message) = (outbox.seq, message.into());
        outbox.pending.push(Notice {
            seq,
            kind,
            reason: reason.to_owned(),
            message,
            at: self.now,
            stand: None,
        });
        facts::make_room(&mut outbox.pending, self.recorded.outbox.seq);
    }

    pub(super) fn enter(&mut self, phase: Phase) {
        if self.next.phase != Some(phase) {
            self.next.phase = Some(phase);
            self.next.last_transition_time = Some(self.now);
        }
    }

    /// What was planned so far puts somebody else's edit right. Against a robot that keeps writing there is a limit:
    /// then nothing is written, and the hold has a name. Returns whether the round may go on.
    pub(super) fn repair(&mut self) -> bool {
        if self.repairs_too_often() {
            self.acts.clear();
            let text = "somebody keeps changing this Canary's objects; they are put right at most six times a minute";
            self.hold(HoldReason::TargetConflict, text);
            self.say(text);
            self.wake(self.now + TimeDelta::seconds(60));
            return false;
        }
        self.repair = true;
        let told = self
            .next
            .outbox
            .pending
            .last()
            .is_some_and(|notice| notice.reason == "DriftRepaired");
        if !told {
            let text = "routes or objects were not as this Canary intends them, and are put right";
            self.tell(NoticeKind::Warning, "DriftRepaired", text);
        }
        true
    }

    /// Whether somebody else's edits were put right as often as they may be within a minute.
    pub(super) fn repairs_too_often(&self) -> bool {
        self.seen.repairs >= REPAIR_LIMIT
    }

    /// Since when the present phase lasts.
    pub(super) fn phase_since(&self) -> DateTime<Utc> {
        self.next.last_transition_time.unwrap_or(self.now)
    }

    /// Names what holds the rollout back. While the reason stays, so does the first message: numbers that change
    /// with every look would cost a write each.
    pub(super) fn hold(&mut self, reason: HoldReason, message: &str) {
        if self.next.hold.as_ref().is_some_and(|h| h.reason == reason) {
            return;
        }
        self.tell(NoticeKind::Warning, &format!("Held{reason}"), message);
        let message = message.to_owned();
        self.next.hold = Some(Hold {
            reason,
            since: self.now,
            message,
            retreated: false,
            resumes: true,
        });
    }

    /// Holds for `reason` unless something else holds it already, for two holds in turn would be a write each; the same
    /// reason with another text is a new hold. Returns whether it is the hold.
    pub(super) fn hold_beside(&mut self, beside: &[HoldReason], reason: HoldReason, message: &str) -> bool {
        let present = self.next.hold.as_ref();
        if present.is_some_and(|hold| !beside.contains(&hold.reason)) {
            return false;
        }
        if present.is_some_and(|hold| hold.message != message) {
            self.next.hold = None;
        }
        self.hold(reason, message);
        true
    }

    /// What the present hold says.
    pub(super) fn hold_message(&self) -> String {
        self.next
            .hold
            .as_ref()
            .map(|h| h.message.clone())
            .unwrap_or_default()
    }

    /// Ends a hold of one of these reasons.
    pub(super) fn clear_hold(&mut self, reasons: &[HoldReason]) {
        if self
            .next
            .hold
            .as_ref()
            .is_some_and(|h| reasons.contains(&h.reason))
        {
            self.next.hold = None;
        }
    }

    /// Whether the target has the template of the present rollout.
    pub(super) fn runs_analysed(&self) -> bool {
        let target = self.target().map(|target| &target.revision);
        target.is_some() && target == self.next.revision.current.as_ref()
    }

    /// Since when the rollout is held for `reason`.
    pub(super) fn held_since(&self, reason: HoldReason) -> Option<DateTime<Utc>> {
        self.next
            .hold
            .as_ref()
            .filter(|h| h.reason == reason)
            .map(|h| h.since)
    }

    /// The canary's intended share.
    pub(super) fn weight(&self) -> Weight {
        Weight::saturating(i64::from(self.next.canary_weight))
    }

    /// Towards risk: the intent goes into the status first, then the routes follow.
    pub(super) fn raise(&mut self, weight: Weight) {
        if planted(Defect::RaisesBeforeItRecords) {
            self.route(weight);
        }
        self.next.canary_weight = i32::from(weight.percent());
        self.record();
        self.route(weight);
    }

    /// Towards safety: the routes first; the caller records afterwards (or `finish` does).
    pub(super) fn lower(&mut self, weight: Weight) {
        if planted(Defect::RecordsBeforeItLowers) {
            self.next.canary_weight = i32::from(weight.percent());
            self.record();
        }
        self.route(weight);
        self.next.canary_weight = i32::from(weight.percent());
    }

    /// Makes the routes carry `weight`, if they do not.
    pub(super) fn route(&mut self, weight: Weight) {
        match &self.seen.routes {
            Routes::Missing
            | Routes::Present {
                owned: true,
                in_shape: false,
                ..
            } => {
                self.acts.push(Act::ApplyRoutes(weight));
            }
            Routes::Present { weight: present, .. } if *present != Some(weight) => {
                self.acts.push(Act::Route(weight));
            }
            _ => {}
        }
    }

    /// Makes the routes lead to the primary alone; what somebody else sends to the canary stays there while the primary
    /// cannot take it.
    pub(super) fn route_home(&mut self) {
        let elsewhere = self.seen.routes.weight().is_some_and(|weight| !weight.is_zero());
        if !elsewhere || self.least_weight().is_zero() {
            self.route(Weight::ZERO);
        }
    }

    /// Whether the routes carry `weight`, and have done so long enough that every proxy follows (I2). Looks again
    /// when they will have.
    pub(super) fn settled_at(&mut self, weight: Weight) -> bool {
        if self.seen.routes.weight() != Some(weight) {
            return false;
        }
        self.drained()
    }

    /// Whether routes and apex Service are as they are for long enough that every proxy follows.
    pub(super) fn drained(&mut self) -> bool {
        let at = self.seen.routing_since + self.spec.drain;
        if self.now < at {
            self.wake(at);
            return false;
        }
        true
    }

    /// Creates or mends Services and DestinationRules; also the apex Service's content if it exists.
    pub(super) fn mend_children(&mut self) {
        for child in &self.seen.drifted {
            if *child != Child::ApexService || self.seen.apex.serves.is_some() {
                self.acts.push(Act::Apply(*child));
            }
        }
    }

    /// Makes the apex Service select `serves`.
    pub(super) fn point_apex(&mut self, serves: Serves) {
        if self.seen.apex.serves != Some(serves) {
            self.acts.push(Act::PointApex(serves));
        }
    }

    /// Whether the primary can take all traffic at once; it never can without a ready pod.
    pub(super) fn primary_carries_all(&self) -> bool {
        self.seen
            .primary
            .as_ref()
            .is_some_and(|p| p.serving() > 0 && p.serving() * 2 >= p.desired)
    }

    /// The least weight of the canary that the primary's ready pods leave (I6): zero unless most of them are gone and
    /// the canary has some.
    pub(super) fn least_weight(&self) -> Weight {
        let canary_serves = self.seen.target.as_ref().is_some_and(|t| t.serving() > 0);
        if self.primary_carries_all() || !canary_serves {
            return Weight::ZERO;
        }
        let share = self
            .seen
            .primary
            .as_ref()
            .map_or(0, |p| i64::from(p.serving()) * 100 / i64::from(p.desired.max(1)));
        Weight::saturating(100 - share)
    }

    pub(super) fn target(&self) -> Option<&'a Workload> {
        self.seen.target.as_ref()
    }

    pub(super) fn primary(&self) -> Option<&'a Workload> {
        self.seen.primary.as_ref()
    }

    /// Remembers how a rollout ended.
    pub(super) fn remember(&mut self, outcome: Outcome, message: &str) {
        let revision = self.next.revision.current.clone().unwrap_or_default();
        let started_at = self.next.revision.started_at;
        let past = PastRollout {
            revision,
            outcome,
            message: message.to_owned(),
            started_at,
            ended_at: self.now,
        };
        self.next.history.insert(0, past);
        self.next.history.truncate(HISTORY_LIMIT);
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
