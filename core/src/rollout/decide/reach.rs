//! Whether requests reach pods that they were handed over to.
//!
//! Invariant: nobody is taken for idle, or for reached, because nothing tells of the pods.

use chrono::{DateTime, TimeDelta, Utc};

use super::{plan::Plan, samples, side, standing_orders};
use crate::{
    api::{HoldReason, Phase, TransferStatus},
    defect::{Defect, planted},
    judge::{Counts, Reading, Sample, has_requests},
    rollout::{HandBack, Serves, Weight},
};

/// Requests that must be expected before their absence means anything.
pub(super) const EXPECTED: f64 = 10.0;
/// How long requests may take to arrive: those that are under way are counted when they end.
const ARRIVAL: TimeDelta = TimeDelta::seconds(60);
/// How long nobody may call before a service is taken to be idle; and at least three windows of the count.
const IDLE: TimeDelta = TimeDelta::seconds(60);
/// For how long a caller that was seen last may still be there.
const CALLERS: TimeDelta = TimeDelta::minutes(10);
/// How long so few requests are waited for that their absence means nothing.
const THIN: TimeDelta = TimeDelta::minutes(10);
/// Share of the requests that are refused where something is in the way of all.
pub(super) const NEARLY_ALL: f64 = 0.9;
/// By how much more often requests may be refused than before.
const REFUSED_MORE: f64 = 0.1;

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
        .filter(|s| s.at - side::window(s) >= from && s.at <= plan.now)
    else {
        let latest = plan.seen.sample.as_deref().map(side::window).unwrap_or_default();
        let due = from.max(plan.seen.sampled_since) + latest;
        return if samples::overdue(plan, due) {
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
    let (new, old) = (side::count(sample, to), side::count(sample, side::other(to)));
    if matches!(new, Reading::Error(_)) || matches!(old, Reading::Error(_)) {
        return Reach::Unknown(
            HoldReason::MetricsUnavailable,
            unknown(sample.unanswered().unwrap_or_default()),
        );
    }
    if share != Weight::FULL {
        note_pause(plan);
    }
    if let Some(reach) = answered(plan, sample, to, from, transfer) {
        return reach;
    }
    let unread = [Serves::Target, Serves::Primary]
        .into_iter()
        .find_map(|side| side::unread(plan, sample, side, "requests arrive"));
    if let Some(text) = unread {
        // No request of pods that nobody reads is no proof that there are none.
        return if plan.elapsed(from, IDLE.max(side::window(sample) * 3)) {
            Reach::Unknown(HoldReason::ReachUnknown, text)
        } else {
            Reach::Wait
        };
    }
    let called = sample.seen.canary.is_called() || sample.seen.primary.is_called();
    // A sample tells of its whole window: what it counts may have come before.
    let reached_at = sample.traffic.reached_at;
    let reached_since = reached_at.is_some_and(|at| at - side::window(sample) >= from);
    let calls_seen = called || has_requests(old) || reached_since;
    let recently = sample
        .traffic
        .reached_at
        .is_some_and(|at| sample.at - at < CALLERS);
    // Most is still sent to the old side: what arrives there now tells who calls. Callers of a moment ago who are seen nowhere
    // may as well fail: at pods that proxies were told nothing of, or at two sides that do not answer.
    let called_before =
        recently || (transfer.rate.is_some_and(|rate| rate > 0.0) && sample.at - transfer.since < CALLERS);
    let left = share != Weight::FULL && !has_requests(old) && !called && !called_before;
    let idle = transfer.rate == Some(0.0) || (transfer.rate.is_none() && !recently);
    if (idle && !calls_seen) || left {
        let quiet = IDLE.max(side::window(sample) * 3);
        return if plan.elapsed(from, quiet) {
            nobody_calls(transfer)
        } else {
            Reach::Wait
        };
    }
    // Callers who come and go may come again; those who fail are counted by their own proxies.
    let pause = share == Weight::FULL && transfer.intermittent && !calls_seen;
    let expected = expected(sample, to, (share, from), transfer);
    if expected >= EXPECTED && !pause && plan.elapsed(from, ARRIVAL) {
        let name = side::name(plan, to);
        // Where all of the traffic moved, callers who went home look the same.
        if share == Weight::FULL {
            miss_perhaps(plan);
        } else {
            miss(plan);
        }
        return Reach::Missing(format!(
            "no request reaches {name}, though it has {share} of the traffic since {} and {expected:.0} were expected; look at \
             NetworkPolicies, AuthorizationPolicies, Sidecars and ports that name the pods or Services of before",
            transfer.since.format("%T")
        ));
    }
    if plan.elapsed(from, THIN) {
        if !calls_seen && (transfer.rate.is_none() || pause) {
            // Who called before has not for ten minutes, on either side.
            return nobody_calls(transfer);
        }
        let text = "too few requests arrive to tell whether they reach the pods that are to take over";
        return Reach::Unknown(HoldReason::ReachUnknown, text.to_owned());
    }
    Reach::Wait
}

/// Whether nobody called within the window: counters were read twice, and stand still.
pub(super) fn is_quiet(sample: &Sample) -> bool {
    let sides = [&sample.traffic.canary, &sample.traffic.primary];
    let counted = sides.iter().any(|side| side.value().is_some());
    let called = sample.seen.canary.is_called() || sample.seen.primary.is_called();
    let silent = |side: &&Reading| !matches!(side, Reading::Error(_)) && !has_requests(side);
    counted && !called && sides.iter().all(silent)
}

/// Notes that callers come and go: nobody calls while at least a part of the traffic is where it was before.
pub(super) fn note_pause(plan: &mut Plan<'_>) {
    if plan.seen.sample.as_deref().is_some_and(is_quiet)
        && let Some(transfer) = &mut plan.next.transfer
    {
        transfer.intermittent = true;
    }
}

/// How many requests are to be expected at `to` since `from`.
fn expected(
    sample: &Sample,
    to: Serves,
    (share, from): (Weight, DateTime<Utc>),
    transfer: &TransferStatus,
) -> f64 {
    let rest = f64::from(share.complement().percent());
    let rate = if rest > 0.0 {
        let window = sample.traffic.window.as_secs_f64().max(1.0);
        let old = side::count(sample, side::other(to));
        old.value().unwrap_or(0.0) / window * 100.0 / rest
    } else {
        transfer.rate.unwrap_or(0.0)
    };
    rate * f64::from(share.percent()) / 100.0 * (sample.at - from).as_seconds_f64()
}

/// Nobody calls: that is no proof where requests were known not to arrive before.
fn nobody_calls(transfer: &TransferStatus) -> Reach {
    if !transfer.missed {
        return Reach::Idle;
    }
    let text = "requests did not arrive before, and nobody calls now who could show that they do; nothing is scaled away";
    Reach::Unknown(HoldReason::ReachUnknown, text.to_owned())
}

/// What the requests say that arrived at the new side: that callers are answered, or refused much more often than before. Calls
/// of those whom the mesh does not know, such as probes and scrapes, say nothing. `None` if there are none of callers, or if those
/// that are counted may be of pods that are gone.
fn answered(
    plan: &mut Plan<'_>,
    sample: &Sample,
    to: Serves,
    from: DateTime<Utc>,
    transfer: &TransferStatus,
) -> Option<Reach> {
    let (new, old) = (side::seen(sample, to), side::seen(sample, side::other(to)));
    if new.is_current() != Some(true) {
        return None;
    }
    let Some(callers) = new.counts().map(Counts::of_callers) else {
        return has_requests(side::count(sample, to)).then_some(Reach::Reached);
    };
    // Who skipped the analysis, or wants a rejected template as it is, takes the errors of the revision itself; who is denied
    // reaches no application.
    let skipped = plan.next.phase == Some(Phase::Finalising) && standing_orders::skips_analysis(plan);
    let as_it_is = plan.spec.deleting && plan.spec.hand_back == Some(HandBack::AsIs);
    // Some callers may arrive, and others not at all: only their own proxies count those.
    let lost = new.called.as_ref().map(Counts::of_callers);
    if let Some(lost) = lost.filter(|lost| lost.requests >= EXPECTED && !skipped && !as_it_is) {
        let others = old.called.as_ref().map(Counts::of_callers);
        let others = others
            .filter(|others| others.requests >= EXPECTED)
            .and_then(|others| others.refused_share());
        let before = match (others, transfer.lost.or(transfer.refused)) {
            (Some(now), Some(then)) => Some(now.max(then)),
            (one, other) => one.or(other),
        };
        let now = lost.refused_share().unwrap_or_default();
        if now > refused_at_most(before, lost.requests) {
            miss(plan);
            return Some(Reach::Missing(refused_text(
                plan,
                to,
                "that callers send to",
                now,
                before,
            )));
        }
    }
    if !callers.any() {
        return None;
    }
    let refused = if skipped || as_it_is {
        callers.denied + callers.absent
    } else {
        callers.refused()
    };
    let refused = refused / callers.requests;
    // Where nothing was measured before, those that still get traffic are the measure; if nobody does, only what refuses
    // nearly everything is known to be in the way.
    let before = transfer.refused.or_else(|| old.refused_share());
    if refused <= refused_at_most(before, callers.requests) {
        return Some(Reach::Reached);
    }
    if callers.requests < EXPECTED && !plan.elapsed(from, THIN) {
        return Some(Reach::Wait);
    }
    miss(plan);
    Some(Reach::Missing(refused_text(
        plan,
        to,
        "that reach",
        refused,
        before,
    )))
}

/// Up to which share of so many requests may be refused where `before` was: more by [`REFUSED_MORE`], or by three standard errors
/// of a binomial share if that is more.
fn refused_at_most(before: Option<f64>, requests: f64) -> f64 {
    before.map_or(NEARLY_ALL, |before| {
        let chance = 3.0 * (before * (1.0 - before).max(0.0) / requests.max(1.0)).sqrt();
        before + REFUSED_MORE.max(chance)
    })
}

fn refused_text(plan: &Plan<'_>, to: Serves, which: &str, now: f64, before: Option<f64>) -> String {
    let before = before.map_or(String::new(), |before| {
        format!(", and {:.0} % were before", before * 100.0)
    });
    format!(
        "{:.0} % of the requests {which} {} are refused{before}; look at AuthorizationPolicies and NetworkPolicies that name the \
         pods of before",
        now * 100.0,
        side::name(plan, to)
    )
}

/// Whether callers whom the mesh knows are counted at the primary, whatever becomes of their requests.
pub(super) fn has_callers(plan: &Plan<'_>) -> bool {
    let sample = plan.seen.sample.as_deref();
    let counts = sample.and_then(|sample| sample.seen.primary.counts());
    counts.is_some_and(|counts| counts.of_callers().any())
}

/// Requests are known not to arrive: from now on only requests that do are a proof, and nobody is taken for idle.
pub(super) fn miss(plan: &mut Plan<'_>) {
    if let Some(transfer) = &mut plan.next.transfer {
        transfer.missed = true;
    }
}

/// No request arrives, and nobody is left who could tell whether anybody calls: that shows where the traffic was before.
fn miss_perhaps(plan: &mut Plan<'_>) {
    if let Some(transfer) = &mut plan.next.transfer {
        transfer.perhaps_missed = true;
    }
}

/// Why nothing is handed over without metrics.
pub(super) fn unknown(why: &str) -> String {
    format!("without metrics nobody knows whether requests arrive, and nothing is scaled away: {why}")
}
