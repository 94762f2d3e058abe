//! Whether pods that lost their traffic really get none. A VirtualService says what proxies should do; while the mesh's
//! control plane is down or slow they go on as before, and pods scaled away then would take requests with them (I2).
//!
//! Invariant: no pods of a side are scaled away or re-pointed while requests are known to reach it.

use chrono::TimeDelta;

use super::{
    plan::Plan,
    pods, samples,
    side::{self, count, seen, window},
};
use crate::{
    api::HoldReason,
    defect::{Defect, planted},
    judge::{Reading, Sample, has_requests},
    rollout::{Act, Serves, Weight},
};

/// Windows of the request count after which requests that still arrive are worth an event; before, they may be the last
/// ones before the change, scraped late.
const PATIENCE: i32 = 3;
/// How long a deletion waits for what nobody can tell; the deadline for pods, if that is longer.
const DELETION: TimeDelta = TimeDelta::minutes(10);
/// How long requests of callers that the mesh does not know keep pods.
const STRANGERS: TimeDelta = TimeDelta::minutes(5);
/// For how long requests that were counted make it strange that none can be counted any more.
const MEMORY: TimeDelta = TimeDelta::minutes(10);

/// Pods of the target that nobody needs go when no request reaches them, but not in a quarrel with whoever wants them, and not
/// in the round that takes the callers' Service or the routes from them.
pub(super) fn scale_away(plan: &mut Plan<'_>) {
    if !plan.acting() && plan.settled_at(Weight::ZERO) && silent(plan, Serves::Target) {
        plan.act(Act::ScaleTarget(0));
    }
}

/// Whether no request reaches `side`, counted over a whole window since the routes are as they are and proxies had
/// time to follow.
pub(super) fn silent(plan: &mut Plan<'_>, side: Serves) -> bool {
    if planted(Defect::DoesNotListenForSilence) {
        return true;
    }
    let from = plan.seen.routing_since + plan.spec.drain;
    if !plan.elapsed(from, TimeDelta::zero()) || !(plan.spec.deleting || pods::are_watched(plan)) {
        return false;
    }
    plan.sample();
    let now = plan.now;
    let counted = plan
        .seen
        .sample
        .clone()
        .filter(|s| s.at - window(s) >= from && s.at <= now);
    let Some(sample) = counted else {
        return blind(plan, plan.seen.sample.as_deref().map(window).unwrap_or_default());
    };
    let (unreported, unread) = (unreported(&sample, side), unread(plan, &sample, side));
    match count(&sample, side) {
        Reading::Error(_) => blind(plan, window(&sample)),
        Reading::Value(count) if count.is_nan() => blind(plan, window(&sample)),
        reading if has_requests(reading) && !only_strangers(plan, &sample, side) && !assumed(plan) => {
            if sample.at >= from + window(&sample) * PATIENCE {
                still_reached(plan, side, reading.value().unwrap_or_default());
            }
            false
        }
        _ if unreported.is_some() && !assumed(plan) => {
            if sample.at >= from + window(&sample) * PATIENCE {
                still_reached(plan, side, unreported.unwrap_or_default());
            }
            false
        }
        Reading::NoData if unread.is_some() => {
            let text = unread.unwrap_or_default();
            if plan.spec.deleting || reached_lately(&sample) {
                blind(plan, window(&sample))
            } else {
                unknown(plan, HoldReason::ReachUnknown, &text, window(&sample))
            }
        }
        _ if chance(plan, &sample, side) => {
            // What the windows are counted from stays until they are over.
            plan.keep_holds(&[HoldReason::TrafficNotShifting]);
            false
        }
        _ => true,
    }
}

/// Requests that callers' proxies count, where none of the pods' own proxies tells anything.
fn unreported(sample: &Sample, side: Serves) -> Option<f64> {
    let seen = seen(sample, side);
    let counts = seen
        .called
        .as_ref()
        .filter(|_| seen.arrived.is_none() && seen.is_called());
    counts.map(|counts| counts.requests)
}

/// Whether nobody calls who is known to the mesh: probes, scrapes and health checks call pods whatever the routes say. They
/// may be a gateway without a proxy for a while.
fn only_strangers(plan: &mut Plan<'_>, sample: &Sample, side: Serves) -> bool {
    let strangers = seen(sample, side)
        .arrived
        .as_ref()
        .is_some_and(|counts| !counts.of_callers().any());
    strangers && plan.elapsed(plan.seen.routing_since, STRANGERS)
}

/// Why no growth can be told of pods that serve, if they are not read, each of them: that is no count of none. Pods without a
/// series of Istio's had no request if `up` says that they are read.
fn unread(plan: &Plan<'_>, sample: &Sample, side: Serves) -> Option<String> {
    side::unread(
        plan,
        sample,
        side,
        "requests still arrive; nothing is scaled away",
    )
}

/// Whether requests were counted a moment ago: a Prometheus that lost its memory, or a scrape that broke, looks like this.
fn reached_lately(sample: &Sample) -> bool {
    let at = sample.traffic.reached_at;
    at.is_some_and(|at| sample.at - at < MEMORY)
}

/// Whether one window without a request says too little: requests arrived where none should have, so proxies are known not
/// to follow, and with little traffic a window may be empty by chance. Then it takes as many as it took to name it.
fn chance(plan: &Plan<'_>, sample: &Sample, side: Serves) -> bool {
    let named = plan.held_since(HoldReason::TrafficNotShifting);
    let last = match side {
        Serves::Target => named.max(sample.traffic.reached_at.filter(|_| named.is_some())),
        Serves::Primary => named,
    };
    last.is_some_and(|last| sample.at < last + window(sample) * PATIENCE)
}

fn still_reached(plan: &mut Plan<'_>, side: Serves, requests: f64) {
    let workload = side::name(plan, side);
    let text = format!(
        "{workload} should get no requests any more and had {requests:.0}; it is not scaled away while proxies do not follow the \
         routes, or somebody calls it directly"
    );
    let text = plan.hold(HoldReason::TrafficNotShifting, &text);
    plan.say(text);
}

/// Nothing can be counted: that is named after a while. What nobody knows takes no pod away, but for somebody's word, or the
/// bound of a deletion.
fn blind(plan: &mut Plan<'_>, window: TimeDelta) -> bool {
    let text = "without metrics nobody knows whether requests still arrive; nothing is scaled away";
    unknown(plan, HoldReason::MetricsUnavailable, text, window)
}

/// As [`blind`], with another reason.
fn unknown(plan: &mut Plan<'_>, reason: HoldReason, text: &str, window: TimeDelta) -> bool {
    if trusted(plan) {
        return true;
    }
    let from = (plan.seen.routing_since + plan.spec.drain).max(plan.seen.sampled_since);
    let named = plan.held_since(reason).is_some();
    if named || samples::overdue(plan, from + window) {
        let text = plan.hold(reason, text);
        plan.say(text);
    }
    false
}

/// Whether somebody said that requests arrive where they are routed.
fn assumed(plan: &Plan<'_>) -> bool {
    let transfer = plan.next.transfer.as_ref();
    plan.spec.reach_assumed || transfer.is_some_and(|transfer| transfer.assumed)
}

/// Whether routes are trusted without metrics: by somebody's word, or by a deletion that has waited long enough since its
/// last change of the routes.
fn trusted(plan: &mut Plan<'_>) -> bool {
    if assumed(plan) {
        return true;
    }
    let bound = DELETION.max(plan.spec.progress_deadline);
    plan.spec.deleting && plan.elapsed(plan.seen.routing_since.max(plan.phase_since()), bound)
}
