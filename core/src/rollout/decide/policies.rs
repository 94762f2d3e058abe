//! Policies that would not cover the primary: a set-up waits for them, before anything is written (I18).
//!
//! They are read and not watched, so what is mended shows a while later.

use chrono::{DateTime, TimeDelta, Utc};

use super::plan::Plan;
use crate::{
    api::{CanaryStatus, HoldReason, Phase},
    rollout::RolloutSpec,
};

/// How long after a look at the policies the next one comes, while they are in the way.
const LOOK_AGAIN: TimeDelta = TimeDelta::seconds(30);

/// Whether the policies are to be read before the next decision, after they were read at `read_at`: while a primary is set up, until
/// traffic moves, and where requests do not reach it.
#[must_use]
pub fn policies_wanted(
    spec: &RolloutSpec,
    status: &CanaryStatus,
    primary_exists: bool,
    read_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> bool {
    let sets_up = matches!(status.phase, None | Some(Phase::Initializing)) && !spec.deleting;
    let held = |reason| {
        status
            .hold
            .iter()
            .chain(&status.holds)
            .any(|hold| hold.reason == reason)
    };
    let unreached = held(HoldReason::NotReached);
    if !sets_up || (status.transfer.is_some() && !unreached) {
        return false;
    }
    let may_change = !primary_exists || unreached || held(HoldReason::PolicyNotCovering);
    // What was read in a future is from before the clock was set back.
    let old = |read_at: DateTime<Utc>| read_at > now || now - read_at >= LOOK_AGAIN;
    read_at.is_none_or(|read_at| may_change && old(read_at))
}

/// Whether every policy that selects the target's pods will select the primary's, or is accepted.
pub(super) fn cover(plan: &mut Plan<'_>) -> bool {
    let policies = &plan.seen.policies;
    let uncovered = policies.unaccepted(&plan.spec.accepted_policies);
    let names = &plan.spec.names;
    let text = if !uncovered.is_empty() {
        format!(
            "pods of {} are selected or let through by {}, and those of {} would not be, or the other way round; let them name the \
             pods of both, or accept it: kubectl annotate canary {} --overwrite bellwether.dev/accept-policies={}",
            names.target,
            uncovered.join(", "),
            names.primary,
            plan.spec.id.name,
            policies.uncovered.join(",")
        )
    } else {
        let unknown = policies.unknown(&plan.spec.accepted_policies);
        if unknown.is_empty() {
            return true;
        }
        format!(
            "whether policies cover {} is not known: {}; to go on whatever they are: kubectl annotate canary {} --overwrite \
             bellwether.dev/accept-policies=all",
            names.primary,
            unknown.join("; "),
            plan.spec.id.name
        )
    };
    plan.hold_for(HoldReason::PolicyNotCovering, &text);
    plan.say(text);
    plan.wake(plan.now + LOOK_AGAIN);
    false
}

/// Who may be in the way of requests to the primary; ends the sentence that they do not arrive.
pub(super) fn suspects(plan: &Plan<'_>) -> String {
    let uncovered = &plan.seen.policies.uncovered;
    if uncovered.is_empty() {
        return String::new();
    }
    format!("; {} would not select its pods", uncovered.join(", "))
}

/// What else selects the target's pods alone, and what was not looked at; ends the sentence that a primary is set up.
pub(super) fn companions(plan: &Plan<'_>) -> String {
    let (names, policies) = (&plan.spec.names, &plan.seen.policies);
    let mut text = String::new();
    if !policies.companions.is_empty() {
        let all = policies.companions.join(", ");
        text.push_str(&format!(
            "; for {} only, and not for {}: {all}",
            names.target, names.primary
        ));
    }
    if !policies.unread.is_empty() {
        text.push_str(&format!("; not looked at: {}", policies.unread.join(", ")));
    }
    text
}
