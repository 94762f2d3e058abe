//! A service that nobody called when the primary took it over: its first callers tell whether requests arrive.
//!
//! Invariant: a primary whose first callers are turned away gives the service back to the target, as in a set-up in which
//! requests do not arrive.

use super::{capacity, plan::Plan, policies, reach, side, transfer};
use crate::{
    api::{HoldReason, NoticeKind, Phase},
    judge::Seen,
    rollout::{Act, Serves},
};

/// What the first callers found.
enum First {
    /// They are answered.
    Answered,
    /// This share of so many requests, from 0 to 1, is turned away, or does not arrive.
    Refused(f64, f64),
}

/// Looks for the first callers while nobody has called; returns whether the target gets the service back.
pub(super) fn watch(plan: &mut Plan<'_>) -> bool {
    let known = plan.next.transfer.as_ref();
    let waits = known.is_some_and(|known| !known.reached && !known.assumed);
    if plan.next.phase != Some(Phase::Initialized) || !waits || plan.spec.reach_assumed {
        return false;
    }
    plan.sample_now_and_then();
    let from = plan.seen.routing_since + plan.spec.drain;
    let Some(sample) = plan
        .seen
        .sample
        .clone()
        .filter(|sample| sample.at - side::window(sample) >= from && sample.at <= plan.now)
    else {
        return false;
    };
    match first(side::seen(&sample, Serves::Primary)) {
        None => false,
        Some(First::Answered) => {
            plan.next.transfer = None;
            false
        }
        Some(First::Refused(share, requests)) => {
            let text = format!(
                "{:.0} % of the first {requests:.0} requests since {} took the service over are refused or do not arrive{}",
                share * 100.0,
                plan.spec.names.primary,
                policies::suspects(plan)
            );
            let rate = requests / sample.traffic.window.as_secs_f64().max(1.0);
            give_back(plan, &text, rate)
        }
    }
}

/// What is told by requests that arrived at the pods; where none did, by those that callers sent.
fn first(seen: &Seen) -> Option<First> {
    let arrived = seen.arrived.as_ref();
    let counts = arrived
        .filter(|counts| counts.requests - counts.strangers >= 0.5)
        .or(seen.called.as_ref())?;
    if counts.requests - counts.strangers < 0.5 {
        return None;
    }
    let refused = counts.refused() / counts.requests;
    if refused <= reach::NEARLY_ALL {
        return Some(First::Answered);
    }
    (counts.requests >= reach::EXPECTED).then_some(First::Refused(refused, counts.requests))
}

/// The target gets pods, and the service as soon as they serve. One that has another template is no better: it is released
/// in the usual way, and the reason is named.
fn give_back(plan: &mut Plan<'_>, text: &str, rate: f64) -> bool {
    let promoted = plan.next.revision.promoted.as_ref();
    let same = plan
        .target()
        .is_some_and(|target| Some(&target.revision) == promoted);
    if !same {
        let text = plan.hold(HoldReason::NotReached, text);
        plan.say(text);
        return false;
    }
    plan.towards_safety();
    transfer::give_up(plan, true);
    if let Some(transfer) = &mut plan.next.transfer {
        transfer.rate = Some((rate * 100.0).round() / 100.0);
    }
    plan.clear_holds();
    plan.enter(Phase::Initializing);
    let text = plan.hold(HoldReason::NotReached, text);
    plan.say(text.clone());
    plan.tell(NoticeKind::Warning, "NotReached", text);
    plan.record();
    plan.act(Act::ScaleTarget(capacity::full(plan)));
    true
}
