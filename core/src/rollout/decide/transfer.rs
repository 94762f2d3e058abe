//! Handing traffic over to other pods outside of a release's steps: when the primary takes a service over, and when it takes
//! its traffic back with a new template.
//!
//! Ready pods are no proof that requests reach them: a policy, a port or a proxy may be in the way. So nothing is scaled away
//! before requests are known to arrive, or both sides are known to be idle. What cannot be known is a named hold, which ends
//! by knowledge or by somebody's `advance` (I13). What does not arrive goes back (I15).

use chrono::TimeDelta;

use super::{
    capacity,
    plan::Plan,
    reach::{self, Reach},
    samples, side,
};
use crate::{
    api::{HoldReason, Phase, TransferStatus},
    judge::{Reading, Sample, Seen, has_requests},
    rollout::{Serves, Weight},
};

/// Pauses before the next attempt.
const RETRY: [TimeDelta; 3] = [
    TimeDelta::minutes(1),
    TimeDelta::minutes(5),
    TimeDelta::minutes(15),
];

/// Whether the primary failed under all of the traffic as often as it may.
pub(super) fn failed(plan: &Plan<'_>) -> bool {
    let transfer = plan.next.transfer.as_ref();
    transfer.is_some_and(|known| known.attempts >= capacity::MAX_FAILURES)
}

/// Begins a hand-over to `to`: `old_share` of the traffic stays where it is for now. Until it is known how many requests there
/// are, nothing begins; returns whether it has.
pub(super) fn begin(plan: &mut Plan<'_>, to: Serves, old_share: Weight) -> bool {
    if plan.spec.reach_assumed || plan.next.transfer.as_ref().is_some_and(|known| known.assumed) {
        begin_anyhow(plan, to, old_share);
        return true;
    }
    plan.sample();
    let now = plan.now;
    let Some(sample) = plan.seen.sample.clone().filter(|sample| sample.at <= now) else {
        blind(plan, "no sample of the metrics arrives");
        return false;
    };
    let Some(rate) = rate(&sample) else {
        blind(plan, sample.unanswered().unwrap_or_default());
        return false;
    };
    start(plan, to, old_share, rate);
    true
}

/// As [`begin`], where the traffic must move whatever is known.
pub(super) fn begin_anyhow(plan: &mut Plan<'_>, to: Serves, old_share: Weight) {
    let rate = plan.seen.sample.as_deref().and_then(rate).unwrap_or(None);
    start(plan, to, old_share, rate);
}

/// What was measured before the first attempt stays the measure while samples still contain the one that failed.
fn start(plan: &mut Plan<'_>, to: Serves, old_share: Weight, rate: Option<f64>) {
    let before = plan.next.transfer.as_ref();
    let assumed = before.is_some_and(|known| known.assumed);
    let known = plan.next.transfer.clone().filter(|known| known.attempts > 0);
    let attempts = known.as_ref().map_or(0, |known| known.attempts);
    let spoilt = known.as_ref().is_some_and(|known| {
        let sample = plan.seen.sample.as_deref();
        sample.is_none_or(|sample| sample.at - side::window(sample) < known.since + plan.spec.drain)
    });
    let earlier = known
        .as_ref()
        .and_then(|known| known.rate)
        .filter(|rate| spoilt && *rate > 0.0);
    // Whoever calls again where the traffic was before did call all the while.
    let missed = known.as_ref().is_some_and(|known| {
        known.missed || (known.perhaps_missed && !spoilt && rate.is_some_and(|rate| rate > 0.0))
    });
    let rate = earlier.or(rate);
    // Where the first callers were turned away nothing is known of before: the target shows it.
    let measured = known.clone().filter(|_| plan.next.first_calls.is_none());
    let refused = measured
        .as_ref()
        .and_then(|known| known.refused)
        .or_else(|| share_before(plan, to, Seen::refused_share).filter(|_| !spoilt));
    let lost = measured
        .and_then(|known| known.lost)
        .or_else(|| share_before(plan, to, Seen::lost_share).filter(|_| !spoilt));
    let intermittent = known.is_some_and(|known| known.intermittent)
        || (!spoilt && plan.seen.sample.as_deref().is_some_and(reach::is_quiet));
    plan.next.transfer = Some(TransferStatus {
        old_share: i32::from(old_share.percent()),
        since: plan.now,
        rate,
        attempts,
        reached: false,
        confirmed: false,
        refused,
        lost,
        intermittent,
        assumed,
        missed,
        perhaps_missed: false,
        forced: false,
    });
}

/// The share that the pods of before keep, as recorded.
pub(super) fn old_share(plan: &Plan<'_>) -> Option<Weight> {
    let transfer = plan.next.transfer.as_ref()?;
    Some(Weight::saturating(i64::from(transfer.old_share)))
}

/// The next share of the same attempt. Of the requests that arrived until now it is known how many are to be expected.
pub(super) fn go_on(plan: &mut Plan<'_>, old_share: Weight, found: &Reach) {
    let counted = plan.seen.sample.as_deref().and_then(rate).flatten();
    let now = plan.now;
    let Some(transfer) = &mut plan.next.transfer else {
        return;
    };
    transfer.old_share = i32::from(old_share.percent());
    transfer.since = now;
    transfer.reached = *found == Reach::Reached;
    transfer.missed &= !transfer.reached;
    transfer.rate = match found {
        Reach::Reached => counted
            .filter(|rate| *rate > 0.0)
            .or(transfer.rate.filter(|rate| *rate > 0.0)),
        // Nobody calls any more, whoever did before.
        _ => Some(0.0),
    };
}

/// All of the traffic goes to whoever serves, because the other side has no pod: it goes back when that has some.
pub(super) fn force(plan: &mut Plan<'_>, old_share: Weight) {
    let now = plan.now;
    if let Some(transfer) = &mut plan.next.transfer {
        transfer.old_share = i32::from(old_share.percent());
        transfer.since = now;
        transfer.reached = false;
        transfer.forced = true;
    }
}

/// The attempt failed, or is broken off: everything stays where it was before, and the next attempt comes after a pause.
pub(super) fn give_up(plan: &mut Plan<'_>, failed: bool) {
    let now = plan.now;
    if let Some(transfer) = &mut plan.next.transfer {
        transfer.old_share = i32::from(Weight::FULL.percent());
        transfer.since = now;
        transfer.attempts += i32::from(failed);
        transfer.reached = false;
        transfer.forced = false;
    }
}

/// Whether the pause after the failed attempts is over; looks again then.
pub(super) fn may_try_again(plan: &mut Plan<'_>) -> bool {
    let Some(known) = plan.next.transfer.clone() else {
        return true;
    };
    if known.attempts > 0 {
        // Whether anybody calls meanwhile tells what it meant that no request arrived.
        plan.sample();
        let window = plan.seen.sample.as_deref().map(side::window).unwrap_or_default();
        let counted = plan.seen.sample.as_ref().map(|sample| sample.at - window);
        if counted.is_some_and(|from| from >= known.since + plan.spec.drain) {
            reach::note_pause(plan);
        }
    }
    known.attempts == 0 || known.assumed || plan.elapsed(known.since, retry_after(known.attempts))
}

/// The pods are replaced that somebody's word was about. That is recorded before they are.
pub(super) fn forget_word(plan: &mut Plan<'_>) {
    if let Some(transfer) = plan.next.transfer.as_mut().filter(|known| known.assumed) {
        (transfer.assumed, transfer.reached) = (false, false);
        plan.record();
    }
}

/// All of the traffic was known to arrive: it is not asked again while the other pods go.
pub(super) fn confirm(plan: &mut Plan<'_>) {
    if let Some(transfer) = &mut plan.next.transfer {
        transfer.reached = true;
        transfer.confirmed = true;
        transfer.missed = false;
    }
}

/// The `share` of the requests while nothing had moved yet, of those who served.
fn share_before(plan: &Plan<'_>, to: Serves, share: impl Fn(&Seen) -> Option<f64>) -> Option<f64> {
    let sample = plan.seen.sample.as_deref()?;
    // Where the pods are replaced under their traffic, both are the same.
    let share = [side::other(to), to]
        .into_iter()
        .find_map(|side| share(side::seen(sample, side)))?;
    Some((share * 100.0).round() / 100.0)
}

/// Requests a second of both sides: nothing if they cannot be counted, and an unknown rate if there are none now: that may be
/// because nothing was read twice yet, or because the traffic has moved already.
fn rate(sample: &Sample) -> Option<Option<f64>> {
    let traffic = &sample.traffic;
    if [&traffic.canary, &traffic.primary]
        .iter()
        .any(|side| matches!(side, Reading::Error(_)))
    {
        return None;
    }
    let count = |side: &Reading| side.value().filter(|count| *count >= 0.0).unwrap_or(0.0);
    let together = count(&traffic.canary) + count(&traffic.primary);
    let seconds = traffic.window.as_secs_f64();
    let known = has_requests(&Reading::Value(together)) && seconds > 0.0;
    Some(known.then(|| (together / seconds * 100.0).round() / 100.0))
}

/// Without metrics nothing is handed over; that has a name after a while.
fn blind(plan: &mut Plan<'_>, why: &str) {
    let since = plan.phase_since();
    let named = plan.held_since(HoldReason::MetricsUnavailable).is_some();
    if named || samples::overdue(plan, since) {
        let text = reach::unknown(why);
        plan.hold(HoldReason::MetricsUnavailable, &text);
        plan.say(text);
    }
}

/// The pause before the next attempt after `attempts` that failed.
pub(super) fn retry_after(attempts: i32) -> TimeDelta {
    let last = RETRY.len() - 1;
    let at = usize::try_from(attempts - 1).unwrap_or(0).min(last);
    RETRY[at]
}

/// Whether the Canary waits for knowledge about requests, and nothing else, so that somebody may say how it is.
pub(super) fn waits(plan: &Plan<'_>) -> bool {
    let for_knowledge = [
        HoldReason::MetricsUnavailable,
        HoldReason::ReachUnknown,
        HoldReason::TrafficNotShifting,
        HoldReason::NotReached,
    ];
    let handed_over = match plan.next.phase {
        Some(Phase::Initializing | Phase::Promoting | Phase::Finalising | Phase::Terminating) => true,
        Some(phase) => phase.at_rest() || plan.next.retirement.is_some(),
        None => false,
    };
    let first_callers = plan.next.first_calls.is_some() && plan.held_since(HoldReason::NotReached).is_some();
    (first_callers && plan.at_rest())
        || handed_over
            && for_knowledge
                .iter()
                .any(|reason| plan.held_since(*reason).is_some())
}

/// Somebody says that requests arrive where they are routed.
pub(super) fn assume(plan: &mut Plan<'_>) {
    plan.next.first_calls = None;
    if plan.next.transfer.is_none() {
        let share = plan.weight();
        begin_anyhow(plan, Serves::Primary, share);
    }
    if let Some(transfer) = &mut plan.next.transfer {
        transfer.assumed = true;
        transfer.reached = true;
        transfer.missed = false;
    }
    plan.clear_holds();
}
