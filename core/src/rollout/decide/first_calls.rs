//! A service that nobody called when the primary took it over: its first callers tell whether requests arrive.
//!
//! Invariant: a primary whose first callers are turned away gives the service back to the target, as in a set-up in which
//! requests do not arrive. What the application answers by itself is no reason: it was reached.

use chrono::TimeDelta;

use super::{capacity, plan::Plan, policies, reach, side, transfer};
use crate::{
    api::{FirstCallsStatus, HoldReason, Phase},
    judge::{Counts, Reading, Seen},
    rollout::{Act, Serves, Weight},
};

/// Share of the callers' requests that do not arrive, from which on somebody is taken to be kept away.
const LOST: f64 = 0.5;
/// For how long few callers must find the same before it counts.
const FEW: TimeDelta = TimeDelta::minutes(10);

/// What the first callers found.
enum First {
    /// This many are answered, and hardly one is not.
    Answered(f64),
    /// This share of so many requests, from 0 to 1, is turned away, or does not arrive.
    Refused(f64, f64),
}

/// Looks for the first callers while nobody is known to have called; returns whether the target gets the service back.
pub(super) fn watch(plan: &mut Plan<'_>) -> bool {
    if plan.spec.reach_assumed {
        plan.next.first_calls = None;
    }
    let Some(known) = plan.next.first_calls.clone() else {
        return false;
    };
    plan.sample_now_and_then();
    // What the latest callers found stays named until others find something else.
    plan.keep_holds(&[HoldReason::NotReached]);
    let from = plan.seen.routing_since + plan.spec.drain;
    let counted = known.counted_at;
    let Some(sample) = plan.seen.sample.clone().filter(|sample| {
        let new = counted.is_none_or(|counted| sample.at > counted);
        new && sample.at - side::window(sample) >= from && sample.at <= plan.now
    }) else {
        return false;
    };
    match first(side::seen(&sample, Serves::Primary)) {
        None => false,
        Some(First::Answered(requests)) => {
            plan.end_holds(&[HoldReason::NotReached]);
            let answered = known.answered.saturating_add(requests.round() as i32);
            let proven = f64::from(answered) >= reach::EXPECTED;
            plan.next.first_calls = (!proven).then_some(FirstCallsStatus {
                answered,
                counted_at: Some(sample.at),
                ..known
            });
            false
        }
        Some(First::Refused(share, requests)) => {
            let text = format!(
                "{:.0} % of {requests:.0} requests to {}, which nobody called before, are turned away or do not arrive{}",
                share * 100.0,
                plan.spec.names.primary,
                policies::suspects(plan)
            );
            let long = plan
                .held_since(HoldReason::NotReached)
                .is_some_and(|since| sample.at - since >= FEW);
            if requests < reach::EXPECTED && !long {
                let text = plan.hold(HoldReason::NotReached, &text);
                plan.say(text);
                return false;
            }
            let rate = requests / sample.traffic.window.as_secs_f64().max(1.0);
            give_back(plan, &text, rate)
        }
    }
}

/// What is told by requests that callers sent, and by those that arrived at the pods. Of pods that are not known to be scraped it is
/// not known what arrived.
fn first(seen: &Seen) -> Option<First> {
    let arrived = seen.arrived.as_ref().map(Counts::of_callers).unwrap_or_default();
    let called = seen.called.as_ref().map(Counts::of_callers).unwrap_or_default();
    let failed = (called.bad + called.disconnects).min(called.requests);
    let (lost, least) = match (&seen.arrived, &seen.pods) {
        (Some(_), _) => ((called.requests - arrived.requests).clamp(0.0, failed), LOST),
        // Nobody ever called these pods, or their proxies do not count requests.
        (None, Reading::Value(pods)) if *pods > 0.0 => (failed, reach::NEARLY_ALL),
        (None, _) => (0.0, LOST),
    };
    if called.any() && lost > called.requests * least {
        return Some(First::Refused(lost / called.requests, called.requests));
    }
    if arrived.any() && arrived.denied > arrived.requests * reach::NEARLY_ALL {
        return Some(First::Refused(
            arrived.denied / arrived.requests,
            arrived.requests,
        ));
    }
    let current = seen.is_current() == Some(true);
    let answered = (arrived.requests - arrived.denied).max(called.requests - called.refused());
    (current && answered >= 0.5).then_some(First::Answered(answered))
}

/// The target gets pods, and the service as soon as they serve. One that has another template is no better: it is released
/// in the usual way, and the reason is named. So it is where somebody mends the primary.
fn give_back(plan: &mut Plan<'_>, text: &str, rate: f64) -> bool {
    let promoted = plan.next.revision.promoted.as_ref();
    let same = plan
        .target()
        .is_some_and(|target| Some(&target.revision) == promoted)
        && plan
            .primary()
            .is_some_and(|primary| Some(&primary.revision) == promoted && primary.edited_by.is_none());
    if !same {
        let text = plan.hold(HoldReason::NotReached, text);
        plan.say(text);
        return false;
    }
    plan.towards_safety();
    transfer::begin_anyhow(plan, Serves::Primary, Weight::ZERO);
    transfer::give_up(plan, true);
    reach::miss(plan);
    // The primary serves on until the target has the pods.
    transfer::force(plan, Weight::ZERO);
    if let Some(transfer) = &mut plan.next.transfer {
        transfer.rate = Some((rate * 100.0).round() / 100.0);
        // What is refused now is no measure of what was before: until the target shows it, hardly anything may be.
        (transfer.refused, transfer.lost) = (Some(0.0), Some(0.0));
    }
    plan.clear_holds();
    plan.enter(Phase::Initializing);
    let text = plan.hold(HoldReason::NotReached, text);
    plan.say(text);
    plan.record();
    plan.act(Act::ScaleTarget(capacity::full(plan)));
    true
}
