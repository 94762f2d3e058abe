//! Policies that would not cover the primary: a set-up waits for them, before anything is written (I18).
//!
//! They are read and not watched, so what is mended shows a while later.

use chrono::TimeDelta;

use super::plan::Plan;
use crate::api::HoldReason;

/// How long after a look at the policies the next one comes, while they are in the way.
const LOOK_AGAIN: TimeDelta = TimeDelta::seconds(30);

/// Whether every policy that selects the target's pods will select the primary's, or is accepted.
pub(super) fn cover(plan: &mut Plan<'_>) -> bool {
    let uncovered = plan.seen.policies.unaccepted(&plan.spec.accepted_policies);
    if uncovered.is_empty() {
        return true;
    }
    let names = &plan.spec.names;
    let text = format!(
        "pods of {} are selected or let through by {}, and those of {} would not be; let the policies name both, or accept it: \
         annotation bellwether.dev/accept-policies={}",
        names.target,
        uncovered.join(", "),
        names.primary,
        uncovered.join(",")
    );
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
