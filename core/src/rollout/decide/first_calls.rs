//! A service that nobody called when the primary took it over: its first callers tell whether requests arrive.
//!
//! Invariant: a primary whose first callers are turned away gives the service back to the target, as in a set-up in which
//! requests do not arrive. What the application answers by itself is no reason: it was reached.

use chrono::TimeDelta;

use super::{capacity, plan::Plan, policies, reach, side, transfer};
use crate::{
    api::{HoldReason, NoticeKind, Phase},
    judge::{Counts, Seen},
    rollout::{Act, Serves, Weight},
};

/// Share of the callers' requests that do not arrive, from which on somebody is taken to be kept away.
const LOST: f64 = 0.5;
/// How long so few requests are waited for that nearly nothing can be told by them.
const FEW: TimeDelta = TimeDelta::minutes(10);

/// What the first callers found.
enum First {
    /// Enough of them are answered.
    Answered,
    /// This share of so many requests, from 0 to 1, is turned away, or does not arrive.
    Refused(f64, f64),
}

/// Looks for the first callers while nobody is known to have called; returns whether the target gets the service back.
pub(super) fn watch(plan: &mut Plan<'_>) -> bool {
    if plan.next.uncalled_since.is_none() || plan.spec.reach_assumed {
        return false;
    }
    plan.sample_now_and_then();
    // What few callers found stays named until more is known.
    plan.keep_holds(&[HoldReason::ReachUnknown]);
    let from = plan.seen.routing_since + plan.spec.drain;
    let Some(sample) = plan
        .seen
        .sample
        .clone()
        .filter(|sample| sample.at - side::window(sample) >= from && sample.at <= plan.now)
    else {
        return false;
    };
    let (share, requests) = match first(side::seen(&sample, Serves::Primary)) {
        None => return false,
        Some(First::Answered) => {
            plan.next.uncalled_since = None;
            plan.end_holds(&[HoldReason::ReachUnknown]);
            return false;
        }
        Some(First::Refused(share, requests)) => (share, requests),
    };
    let text = format!(
        "{:.0} % of the first {requests:.0} requests since {} took the service over are turned away or do not arrive{}",
        share * 100.0,
        plan.spec.names.primary,
        policies::suspects(plan)
    );
    let long = plan
        .held_since(HoldReason::ReachUnknown)
        .is_some_and(|since| sample.at - since >= FEW);
    if requests < reach::EXPECTED && !long {
        let text = plan.hold(HoldReason::ReachUnknown, &text);
        plan.say(text);
        return false;
    }
    let rate = requests / sample.traffic.window.as_secs_f64().max(1.0);
    give_back(plan, &text, rate)
}

/// What is told by requests that callers sent, and by those that arrived at the pods.
fn first(seen: &Seen) -> Option<First> {
    let arrived = seen.arrived.as_ref().map(Counts::of_callers).unwrap_or_default();
    let called = seen.called.as_ref().map(Counts::of_callers).unwrap_or_default();
    let lost = (called.requests - arrived.requests).clamp(0.0, called.refused());
    if called.any() && lost > called.requests * LOST {
        return Some(First::Refused(lost / called.requests, called.requests));
    }
    if arrived.any() && arrived.denied > arrived.requests * reach::NEARLY_ALL {
        return Some(First::Refused(
            arrived.denied / arrived.requests,
            arrived.requests,
        ));
    }
    let answered = (arrived.requests - arrived.denied).max(called.requests - called.refused());
    (answered >= reach::EXPECTED).then_some(First::Answered)
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
    transfer::begin_anyhow(plan, Serves::Primary, Weight::ZERO);
    transfer::give_up(plan, true);
    transfer::miss(plan);
    if let Some(transfer) = &mut plan.next.transfer {
        transfer.rate = Some((rate * 100.0).round() / 100.0);
        // What is refused now is no measure of what was before.
        transfer.refused = None;
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
