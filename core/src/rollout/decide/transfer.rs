//! Handing traffic over to other pods outside of a release's steps: when the primary takes a service over, and when it takes
//! its traffic back with a new template.
//!
//! Ready pods are no proof that requests reach them: a policy, a port or a proxy may be in the way. So nothing is scaled away
//! before requests are known to arrive, or both sides are known to be idle. What cannot be known is a named hold, which ends
//! by knowledge or by somebody's `advance` (I13). What does not arrive goes back (I15).

use chrono::{DateTime, TimeDelta, Utc};

use super::{orders, plan::Plan};
use crate::{
    api::{HoldReason, Phase, TransferStatus},
    defect::{Defect, planted},
    judge::{Counts, Reading, Sample, Seen, has_requests},
    rollout::{Serves, Weight},
};

/// Requests that must be expected before their absence means anything.
const EXPECTED: f64 = 10.0;
/// How long requests may take to arrive: those that are under way are counted when they end.
const ARRIVAL: TimeDelta = TimeDelta::seconds(60);
/// How long nobody may call before a service is taken to be idle; and at least three windows of the count.
const IDLE: TimeDelta = TimeDelta::seconds(60);
/// For how long a caller that was seen last may still be there.
const CALLERS: TimeDelta = TimeDelta::minutes(10);
/// How long so few requests are waited for that their absence means nothing.
const THIN: TimeDelta = TimeDelta::minutes(10);
/// How long samples may be missing before that has a name.
const SAMPLE_GRACE: TimeDelta = TimeDelta::seconds(30);
/// Share of the requests that are refused where something is in the way of all.
const NEARLY_ALL: f64 = 0.9;
/// By how much more often requests may be refused than before.
const REFUSED_MORE: f64 = 0.1;
/// Pauses before the next attempt.
const RETRY: [TimeDelta; 3] = [
    TimeDelta::minutes(1),
    TimeDelta::minutes(5),
    TimeDelta::minutes(15),
];

/// Whether requests reach the pods that they were handed over to.
#[derive(Debug, PartialEq)]
pub(super) enum Reach {
    /// They do, or somebody said so.
    Reached,
    /// Nobody calls the service.
    Idle,
    /// It is too early to tell.
    Wait,
    /// They are missing; a sentence.
    Missing(String),
    /// Nobody can tell; the hold and a sentence.
    Unknown(HoldReason, String),
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
        blind(plan, &error_of(&sample));
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
    let assumed = plan.next.transfer.as_ref().is_some_and(|known| known.assumed);
    let known = plan.next.transfer.clone().filter(|known| known.attempts > 0);
    let attempts = known.as_ref().map_or(0, |known| known.attempts);
    let spoilt = known.as_ref().is_some_and(|known| {
        let sample = plan.seen.sample.as_deref();
        sample.is_none_or(|sample| sample.at - window(sample) < known.since + plan.spec.drain)
    });
    let earlier = known
        .as_ref()
        .and_then(|known| known.rate)
        .filter(|rate| spoilt && *rate > 0.0);
    let rate = earlier.or(rate);
    let refused = known
        .and_then(|known| known.refused)
        .or_else(|| refused_before(plan, to).filter(|_| !spoilt));
    plan.next.transfer = Some(TransferStatus {
        old_share: i32::from(old_share.percent()),
        since: plan.now,
        rate,
        attempts,
        reached: false,
        confirmed: false,
        refused,
        assumed,
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
    known.attempts == 0 || plan.elapsed(known.since, retry_after(known.attempts))
}

/// All of the traffic was known to arrive: it is not asked again while the other pods go.
pub(super) fn confirm(plan: &mut Plan<'_>) {
    if let Some(transfer) = &mut plan.next.transfer {
        transfer.reached = true;
        transfer.confirmed = true;
    }
}

/// The share of requests that were refused while nothing had moved yet, by those who served.
fn refused_before(plan: &Plan<'_>, to: Serves) -> Option<f64> {
    let sample = plan.seen.sample.as_deref()?;
    let (old, new) = match to {
        Serves::Primary => (&sample.seen.canary, &sample.seen.primary),
        Serves::Target => (&sample.seen.primary, &sample.seen.canary),
    };
    // Where the pods are replaced under their traffic, both are the same.
    let share = refused_share(old).or_else(|| refused_share(new))?;
    Some((share * 100.0).round() / 100.0)
}

fn refused_share(side: &Seen) -> Option<f64> {
    let counts = counts_of(side).filter(|counts| counts.requests >= 0.5)?;
    Some(counts.refused() / counts.requests)
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

fn error_of(sample: &Sample) -> String {
    let sides = [&sample.traffic.canary, &sample.traffic.primary];
    let error = sides.iter().find_map(|side| match side {
        Reading::Error(text) => Some(text.clone()),
        _ => None,
    });
    error.unwrap_or_default()
}

/// Without metrics nothing is handed over; that has a name after a while.
fn blind(plan: &mut Plan<'_>, why: &str) {
    let since = plan.seen.sampled_since.max(plan.phase_since());
    let named = plan.held_since(HoldReason::MetricsUnavailable).is_some();
    if named || plan.elapsed(since, SAMPLE_GRACE) {
        let text = unknown(why);
        plan.hold(HoldReason::MetricsUnavailable, &text);
        plan.say(text);
    }
}

fn unknown(why: &str) -> String {
    format!("without metrics nobody knows whether requests arrive, and nothing is scaled away: {why}")
}

/// Whether requests reach `to`, which has `share` of the traffic since the hand-over began.
pub(super) fn look(plan: &mut Plan<'_>, to: Serves, share: Weight) -> Reach {
    let Some(transfer) = plan.next.transfer.clone() else {
        return Reach::Reached;
    };
    if transfer.assumed || plan.spec.reach_assumed || planted(Defect::TakesReadyForReached) {
        return Reach::Reached;
    }
    let from = transfer.since.max(plan.seen.routing_since) + plan.spec.drain;
    if !plan.elapsed(from, TimeDelta::zero()) {
        return Reach::Wait;
    }
    plan.sample();
    let Some(sample) = plan
        .seen
        .sample
        .clone()
        .filter(|s| s.at - window(s) >= from && s.at <= plan.now)
    else {
        let latest = plan.seen.sample.as_deref().map(window).unwrap_or_default();
        let due = from.max(plan.seen.sampled_since) + latest;
        return if plan.elapsed(due, SAMPLE_GRACE) {
            Reach::Unknown(
                HoldReason::MetricsUnavailable,
                unknown("no sample of the metrics arrives"),
            )
        } else {
            Reach::Wait
        };
    };
    arrived(plan, &sample, to, (share, from), &transfer)
}

fn arrived(
    plan: &mut Plan<'_>,
    sample: &Sample,
    to: Serves,
    (share, from): (Weight, DateTime<Utc>),
    transfer: &TransferStatus,
) -> Reach {
    let (new, old) = match to {
        Serves::Primary => (&sample.traffic.primary, &sample.traffic.canary),
        Serves::Target => (&sample.traffic.canary, &sample.traffic.primary),
    };
    if matches!(new, Reading::Error(_)) || matches!(old, Reading::Error(_)) {
        return Reach::Unknown(HoldReason::MetricsUnavailable, unknown(&error_of(sample)));
    }
    if let Some(reach) = answered(plan, sample, to, from, transfer) {
        return reach;
    }
    if let Some(text) = unmeasured(plan, sample) {
        // No request of pods that nobody reads is no proof that there are none.
        return if plan.elapsed(from, IDLE.max(window(sample) * 3)) {
            Reach::Unknown(HoldReason::ReachUnknown, text)
        } else {
            Reach::Wait
        };
    }
    let called = is_called(&sample.seen.canary) || is_called(&sample.seen.primary);
    let calls_seen = called || has_requests(old) || sample.traffic.reached_at.is_some_and(|at| at >= from);
    let rest = f64::from(share.complement().percent());
    // Most is still sent to the old side: what arrives there now tells who calls.
    let left = rest > 0.0 && !has_requests(old) && !called;
    let recently = sample
        .traffic
        .reached_at
        .is_some_and(|at| sample.at - at < CALLERS);
    let idle = transfer.rate == Some(0.0) || (transfer.rate.is_none() && !recently);
    if (idle && !calls_seen) || left {
        let quiet = IDLE.max(window(sample) * 3);
        return if plan.elapsed(from, quiet) {
            Reach::Idle
        } else {
            Reach::Wait
        };
    }
    let seconds = (sample.at - from).as_seconds_f64();
    let rate = if rest > 0.0 {
        let window = sample.traffic.window.as_secs_f64().max(1.0);
        old.value().unwrap_or(0.0) / window * 100.0 / rest
    } else {
        transfer.rate.unwrap_or(0.0)
    };
    let expected = rate * f64::from(share.percent()) / 100.0 * seconds;
    if expected >= EXPECTED && plan.elapsed(from, ARRIVAL) {
        let names = &plan.spec.names;
        let name = match to {
            Serves::Primary => &names.primary,
            Serves::Target => &names.target,
        };
        return Reach::Missing(format!(
            "no request reaches {name}, though it has {share} of the traffic since {} and {expected:.0} were expected; look at \
             NetworkPolicies, AuthorizationPolicies, Sidecars and ports that name the pods or Services of before",
            transfer.since.format("%T")
        ));
    }
    if plan.elapsed(from, THIN) {
        if !calls_seen && transfer.rate.is_none() {
            // Who called before has not for ten minutes, on either side.
            return Reach::Idle;
        }
        let text = "too few requests arrive to tell whether they reach the pods that are to take over";
        return Reach::Unknown(HoldReason::ReachUnknown, text.to_owned());
    }
    Reach::Wait
}

/// The side whose pods serve and are not read, each of them, by the source of the metrics; a sentence.
fn unmeasured(plan: &Plan<'_>, sample: &Sample) -> Option<String> {
    let names = &plan.spec.names;
    let sides = [
        (plan.target(), &sample.seen.canary, &names.target),
        (plan.primary(), &sample.seen.primary, &names.primary),
    ];
    sides.into_iter().find_map(|(workload, seen, name)| {
        let ready = workload.map_or(0, |workload| workload.serving().unsigned_abs());
        (ready > 0 && seen.is_measured(ready) == Some(false)).then(|| {
            format!(
                "not every pod of {name} is scraped (neither up nor a series of Istio's tells of it), so nobody knows whether \
                 requests arrive"
            )
        })
    })
}

/// What the pods' own proxies counted; where none of them tells anything, what the callers' proxies did.
fn counts_of(side: &Seen) -> Option<&Counts> {
    side.arrived
        .as_ref()
        .or(side.called.as_ref().filter(|counts| counts.requests >= 0.5))
}

/// Whether callers' proxies count requests that no proxy of the pods tells of.
fn is_called(side: &Seen) -> bool {
    side.called.as_ref().is_some_and(|counts| counts.requests >= 0.5)
}

/// What the requests say that arrived at the new side: that callers are answered, or refused much more often than before. Calls
/// of those whom the mesh does not know, such as probes and scrapes, say nothing. `None` if there are none of callers.
fn answered(
    plan: &mut Plan<'_>,
    sample: &Sample,
    to: Serves,
    from: DateTime<Utc>,
    transfer: &TransferStatus,
) -> Option<Reach> {
    let spec = plan.spec;
    let names = &spec.names;
    let (side, old, counted, name) = match to {
        Serves::Primary => (
            &sample.seen.primary,
            &sample.seen.canary,
            &sample.traffic.primary,
            &names.primary,
        ),
        Serves::Target => (
            &sample.seen.canary,
            &sample.seen.primary,
            &sample.traffic.canary,
            &names.target,
        ),
    };
    let Some(counts) = counts_of(side) else {
        return has_requests(counted).then_some(Reach::Reached);
    };
    if counts.requests - counts.strangers < 0.5 {
        return None;
    }
    // Who skipped the analysis takes the errors of the revision itself; who is denied reaches no application.
    let skipped = plan.next.phase == Some(Phase::Finalising) && orders::skips_analysis(plan);
    let refused = if skipped { counts.denied } else { counts.refused() };
    let refused = refused / counts.requests;
    // Where nothing was measured before, those that still get traffic are the measure; if nobody does, only what refuses
    // nearly everything is known to be in the way.
    let before = transfer.refused.or_else(|| refused_share(old));
    let bound = before.map_or(NEARLY_ALL, |before| before + REFUSED_MORE);
    if refused <= bound {
        return Some(Reach::Reached);
    }
    if counts.requests < EXPECTED && !plan.elapsed(from, THIN) {
        return Some(Reach::Wait);
    }
    Some(Reach::Missing(format!(
        "{:.0} % of the requests that reach {} are refused, and {:.0} % were before; look at AuthorizationPolicies that name the \
         pods of before",
        refused * 100.0,
        name,
        before.unwrap_or(0.0) * 100.0
    )))
}

fn window(sample: &Sample) -> TimeDelta {
    TimeDelta::from_std(sample.traffic.window).unwrap_or_default()
}

/// Whether callers whom the mesh knows are counted at the primary, whatever becomes of their requests.
pub(super) fn has_callers(plan: &Plan<'_>) -> bool {
    let sample = plan.seen.sample.as_deref();
    let counts = sample.and_then(|sample| counts_of(&sample.seen.primary));
    counts.is_some_and(|counts| counts.requests - counts.strangers >= 0.5)
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
    ];
    let handed_over = match plan.next.phase {
        Some(Phase::Initializing | Phase::Finalising | Phase::Terminating) => true,
        Some(phase) => phase.at_rest() || plan.next.retirement.is_some(),
        None => false,
    };
    handed_over
        && for_knowledge
            .iter()
            .any(|reason| plan.held_since(*reason).is_some())
}

/// Somebody says that requests arrive where they are routed.
pub(super) fn assume(plan: &mut Plan<'_>) {
    if plan.next.transfer.is_none() {
        let share = plan.weight();
        begin_anyhow(plan, Serves::Primary, share);
    }
    if let Some(transfer) = &mut plan.next.transfer {
        transfer.assumed = true;
        transfer.reached = true;
    }
    plan.clear_holds();
}
