//! What holds a rollout back: a set, computed anew each round, with one entry of each reason.
//!
//! Whatever finds a reason names it each round ([`Plan::hold`]); a reason that nobody names any more is over. A round that
//! writes something ends before every rule was asked, so what held before it stays until a round that only looks.
//! Invariant: a reason keeps its time and its first message as long as it stays, so that a number in a message costs no
//! write.

use chrono::{DateTime, Utc};

use super::Plan;
use crate::api::{CanaryStatus, Hold, HoldReason, NoticeKind};

/// Reasons in the order in which a person should know of them.
const URGENCY: [HoldReason; 26] = [
    HoldReason::InvalidSpec,
    HoldReason::Suspended,
    HoldReason::TargetConflict,
    HoldReason::TargetNotFound,
    HoldReason::RouteInvalid,
    HoldReason::RouteElsewhere,
    HoldReason::RoutesUnavailable,
    HoldReason::HandBackUnreleased,
    HoldReason::PromotionFailed,
    HoldReason::Dark,
    HoldReason::NotReached,
    HoldReason::WorkloadNotReady,
    HoldReason::PrimaryNotReady,
    HoldReason::TrafficNotShifting,
    HoldReason::MetricsUnavailable,
    HoldReason::NoData,
    HoldReason::ReachUnknown,
    HoldReason::PolicyNotCovering,
    HoldReason::CapacityLimited,
    HoldReason::WriteRefused,
    HoldReason::WatchBroken,
    HoldReason::WorkloadPaused,
    HoldReason::Paused,
    HoldReason::AwaitingApproval,
    HoldReason::AwaitingJob,
    HoldReason::Frozen,
];

fn urgency(reason: HoldReason) -> usize {
    URGENCY
        .iter()
        .position(|known| *known == reason)
        .unwrap_or(URGENCY.len())
}

/// The holds of a round.
pub(super) struct Holds {
    before: Vec<Hold>,
    named: Vec<Hold>,
    cut_short: bool,
}

impl Holds {
    /// The holds of `status`, none of them named yet. A status of the version before has one at most.
    pub(super) fn of(status: &CanaryStatus) -> Holds {
        let before = status.all_holds().to_vec();
        Holds {
            before,
            named: Vec::new(),
            cut_short: false,
        }
    }

    /// The same round, if it was to go on from `status` after all: what it named holds, and what it ended by going on is not
    /// over, so that what it named again held all the time.
    pub(super) fn taken_back(&mut self, status: &CanaryStatus) {
        self.before = status.all_holds().to_vec();
        for named in &mut self.named {
            if let Some(known) = self.before.iter().find(|hold| hold.reason == named.reason) {
                *named = known.clone();
            }
        }
    }

    fn find(&self, reason: HoldReason) -> Option<&Hold> {
        let mut known = self.named.iter().chain(&self.before);
        known.find(|hold| hold.reason == reason)
    }
}

impl Plan<'_> {
    /// Names what holds the rollout back; returns the message that is told of it.
    pub(in super::super) fn hold(&mut self, reason: HoldReason, message: &str) -> String {
        let known = self.holds.find(reason).cloned();
        let hold = known.unwrap_or_else(|| {
            self.tell(NoticeKind::Warning, &format!("Held{reason}"), message);
            Hold {
                reason,
                since: self.now,
                message: message.to_owned(),
                retreated: false,
                resumes: true,
            }
        });
        let message = hold.message.clone();
        if !self.holds.named.iter().any(|named| named.reason == reason) {
            self.holds.named.push(hold);
        }
        message
    }

    /// As [`Plan::hold`], where another message is another hold: it waits for something else now.
    pub(in super::super) fn hold_for(&mut self, reason: HoldReason, message: &str) {
        if self
            .holds
            .find(reason)
            .is_some_and(|hold| hold.message != message)
        {
            self.end_holds(&[reason]);
        }
        self.hold(reason, message);
    }

    /// These were not looked into: those that held before still do.
    pub(in super::super) fn keep_holds(&mut self, reasons: &[HoldReason]) {
        for reason in reasons {
            let before = self.holds.before.iter().find(|hold| hold.reason == *reason);
            let kept = before.filter(|_| !self.is_named(*reason)).cloned();
            self.holds.named.extend(kept);
        }
    }

    fn is_named(&self, reason: HoldReason) -> bool {
        self.holds.named.iter().any(|hold| hold.reason == reason)
    }

    /// These are over, whatever else this round comes to.
    pub(in super::super) fn end_holds(&mut self, reasons: &[HoldReason]) {
        let stays = |hold: &Hold| !reasons.contains(&hold.reason);
        self.holds.before.retain(stays);
        self.holds.named.retain(stays);
    }

    /// The hold of this reason is over, unless its message begins like this.
    pub(in super::super) fn end_holds_but(&mut self, reason: HoldReason, beginning: &str) {
        if self
            .holds
            .find(reason)
            .is_some_and(|hold| !hold.message.starts_with(beginning))
        {
            self.end_holds(&[reason]);
        }
    }

    /// The hold of this reason is over if its message begins like this.
    pub(in super::super) fn end_hold_beginning(&mut self, reason: HoldReason, beginning: &str) {
        if self
            .holds
            .find(reason)
            .is_some_and(|hold| hold.message.starts_with(beginning))
        {
            self.end_holds(&[reason]);
        }
    }

    /// The hold with this very message is over.
    pub(in super::super) fn end_hold_saying(&mut self, reason: HoldReason, message: &str) {
        if self
            .holds
            .find(reason)
            .is_some_and(|hold| hold.message == message)
        {
            self.end_holds(&[reason]);
        }
    }

    /// Something else begins: what held before does not any more. What the API server refuses, it refuses whatever begins.
    pub(in super::super) fn clear_holds(&mut self) {
        let refused = |hold: &Hold| hold.reason == HoldReason::WriteRefused;
        self.holds.before.retain(refused);
        self.holds.named.retain(refused);
        self.next.retreat = None;
    }

    /// The round ends before every rule is asked.
    pub(in super::super) fn cut_short(&mut self) {
        self.holds.cut_short = true;
    }

    /// The round goes on to every rule after all. If it did not before, pods have all their time from now on: who suspended a
    /// release to mend its pods had none to wait for them.
    pub(in super::super) fn goes_on(&mut self) {
        self.holds.cut_short = false;
        // What cannot be carried over is named in rounds that go on, by the same reason.
        let unusable = Some(HoldReason::RouteInvalid).filter(|_| self.seen.uncarried.is_empty());
        let hands_off = [
            Some(HoldReason::Suspended),
            Some(HoldReason::InvalidSpec),
            Some(HoldReason::RoutesUnavailable),
            unusable,
        ];
        let mut hands_off = hands_off.into_iter().flatten();
        let held = hands_off.any(|reason| self.held_since(reason).is_some());
        if held {
            self.next.resumed_at = Some(self.now);
        }
        if held {
            self.holds
                .before
                .retain(|hold| hold.reason != HoldReason::WorkloadNotReady);
        }
    }

    /// Whether the round ends before every rule is asked.
    pub(in super::super) fn was_cut_short(&self) -> bool {
        self.holds.cut_short
    }

    /// Since when the rollout is held for `reason`, if it was before this round or is now.
    pub(in super::super) fn held_since(&self, reason: HoldReason) -> Option<DateTime<Utc>> {
        self.holds.find(reason).map(|hold| hold.since)
    }

    /// Whether anything held the rollout before this round.
    pub(in super::super) fn was_held(&self) -> bool {
        !self.holds.before.is_empty()
    }

    /// Writes the holds into the next status. After a round that `only_looked`, what was not named is over.
    pub(super) fn settle_holds(&mut self, only_looked: bool) {
        let mut all = self.holds.named.clone();
        if !only_looked || self.holds.cut_short {
            let rest = self.holds.before.iter();
            all.extend(rest.filter(|hold| !self.is_named(hold.reason)).cloned());
        }
        for hold in &mut all {
            (hold.retreated, hold.resumes) = (false, true);
        }
        if let Some(retreat) = &self.next.retreat {
            all.retain(|hold| hold.reason != retreat.reason);
            all.push(Hold {
                reason: retreat.reason,
                since: retreat.since,
                message: retreat.message.clone(),
                retreated: true,
                resumes: retreat.resumes,
            });
        }
        all.sort_by_key(|hold| urgency(hold.reason));
        self.next.hold = all.first().cloned();
        // A single hold stands in `hold` alone: most rollouts never have two.
        self.next.holds = if all.len() > 1 { all } else { Vec::new() };
    }
}
