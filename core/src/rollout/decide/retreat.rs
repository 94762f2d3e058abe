//! Retreats: the traffic goes back to the primary for now, and the release is held, not failed.
//!
//! Invariant: every retreat is counted or has a deadline, so that none is repeated for ever.

use chrono::TimeDelta;

use super::{capacity, checks, missing, plan::Plan, rollback};
use crate::api::{HoldReason, NoticeKind, RetirementKind, Retreat};

/// How often the traffic may be taken back for now, because pods vanish or requests do not arrive, before the release
/// is rolled back.
const MAX_RETREATS: i32 = 3;
/// The longest pause after a retreat for want of metrics.
const LONGEST_PAUSE: TimeDelta = TimeDelta::hours(1);

/// Takes the traffic back, to try the same step again after a pause that grows each time; at the fourth time the
/// release is rolled back.
pub(super) fn for_now(plan: &mut Plan<'_>, reason: HoldReason, text: &str) {
    if !capacity::kept_weight(plan).is_zero() {
        // The primary cannot take it: what cannot be done is not counted.
        return retreat(plan, reason, text, true);
    }
    let retreats = plan.next.step.as_ref().map_or(0, |s| s.retreats) + 1;
    if let Some(step) = &mut plan.next.step {
        step.retreats = retreats;
    }
    if retreats > MAX_RETREATS {
        let text = format!("{text}, for the {retreats}th time");
        return rollback::begin(plan, RetirementKind::RollBack, &text);
    }
    retreat(plan, reason, text, true);
}

/// The canary has fewer pods than its weight needs.
pub(super) fn from_lost_pods(plan: &mut Plan<'_>) {
    let (serving, desired) = plan
        .target()
        .map_or((0, 0), |target| (target.serving(), target.desired));
    let text = format!(
        "{serving} of {desired} pods of the canary can serve, too few for weight {}",
        plan.weight()
    );
    for_now(plan, HoldReason::Dark, &text);
}

/// Takes the traffic back without counting it, for it is no try of the release: it begins again once requests, or answers, come.
fn uncounted(plan: &mut Plan<'_>, reason: HoldReason, text: &str) {
    let returns = capacity::kept_weight(plan).is_zero();
    if let Some(step) = plan.next.step.as_mut().filter(|_| returns) {
        step.blind_retreats += 1;
    }
    retreat(plan, reason, text, true);
}

/// Requests do not reach the canary any more: without traffic nothing can show that it recovered, so this ends only with a
/// newer revision, or in a rollback.
pub(super) fn went_dark(plan: &mut Plan<'_>, text: &str) {
    retreat(plan, HoldReason::Dark, text, false);
}

/// Takes the traffic back to the primary, at once; the rollout is held, not failed.
fn retreat(plan: &mut Plan<'_>, reason: HoldReason, text: &str, resumes: bool) {
    let least = capacity::kept_weight(plan);
    plan.lower(least);
    if !least.is_zero() {
        // The primary cannot take it: as much as it can goes back, the rest stays where it is served.
        let text = plan.hold(reason, text);
        plan.say(format!(
            "held at weight {least}, the primary cannot take it: {text}"
        ));
        return;
    }
    plan.clear_holds();
    plan.next.retreat = Some(Retreat {
        reason,
        since: plan.now,
        message: text.to_owned(),
        resumes,
    });
    plan.say(format!("retreated to the primary, held: {text}"));
    plan.tell(
        NoticeKind::Warning,
        "Retreated",
        format!("all traffic is back on the primary: {text}"),
    );
}

/// Whether a retreat is for want of metrics alone.
pub(super) fn is_blind(retreat: &Retreat) -> bool {
    matches!(
        retreat.reason,
        HoldReason::NoData | HoldReason::MetricsUnavailable
    )
}

/// Nothing is measured any more: a retreat that only metrics can end is over.
pub(super) fn end_blind(plan: &mut Plan<'_>) {
    let ends = |r: &Retreat| is_blind(r) || r.reason == HoldReason::TrafficNotShifting;
    if plan.next.retreat.as_ref().is_some_and(ends) {
        plan.next.retreat = None;
    }
}

/// Whether the release did not retreat for want of metrics, or they are back.
pub(super) fn sees_again(plan: &mut Plan<'_>) -> bool {
    let Some(retreat) = plan.next.retreat.clone().filter(is_blind) else {
        return true;
    };
    plan.say(format!("retreated to the primary, held: {}", retreat.message));
    checks::sees_again(plan, &retreat)
}

/// Whether the pause after a retreat is not over: an interval, doubled with every further one. Those for want of metrics are counted
/// apart, for they are no tries of the release.
pub(super) fn paused(plan: &mut Plan<'_>) -> bool {
    let Some(retreat) = plan.next.retreat.clone() else {
        return false;
    };
    let (retreats, blind) = plan
        .next
        .step
        .as_ref()
        .map_or((1, 0), |s| (s.retreats, s.blind_retreats));
    let doubled = |times: i32| plan.spec.interval * (1 << (times.max(1) - 1));
    let pause = match retreat.reason {
        HoldReason::Dark | HoldReason::TrafficNotShifting => doubled(retreats.min(MAX_RETREATS)),
        HoldReason::MetricsUnavailable | HoldReason::NoData if blind > 0 => {
            doubled(blind.min(16)).min(LONGEST_PAUSE)
        }
        _ => return false,
    };
    !plan.elapsed(retreat.since, pause)
}

/// The metrics of the present step are missing: the weight is held, and goes back if nothing was measured for `maxBlind`, or
/// if requests are known to be missing.
pub(super) fn blind(plan: &mut Plan<'_>, reason: HoldReason, text: &str) {
    let text = plan.hold(reason, text);
    plan.say(format!("held at weight {}: {text}", plan.weight()));
    let since = plan.held_since(reason).unwrap_or(plan.now);
    if reason == HoldReason::NoData && missing::dark_since(plan, since) {
        let text = format!(
            "no request reached the canary at weight {} since {}",
            plan.weight(),
            since.format("%T")
        );
        return for_now(plan, HoldReason::Dark, &text);
    }
    if reason == HoldReason::NoData && missing::silent_at_full(plan, since) {
        // With the primary idle nothing tells a dark canary from callers that are away; going back costs nothing then. One that
        // was reached before is taken for one whose callers went home.
        let text = "no request reaches the canary, which should get all of them";
        if missing::was_reached(plan) {
            uncounted(plan, HoldReason::NoData, text);
        } else {
            for_now(plan, HoldReason::NoData, text);
        }
        return;
    }
    if reason == HoldReason::TrafficNotShifting {
        return;
    }
    // The deadline hangs on the last evidence, not on the hold: two reasons in turn would begin anew each time.
    let since = checks::blind_since(plan).unwrap_or(since);
    if !plan.elapsed(since, plan.spec.max_blind) || plan.weight().is_zero() {
        return;
    }
    if checks::blind_for_both(plan) || reason == HoldReason::MetricsUnavailable {
        uncounted(plan, reason, &text);
    } else if missing::requests_expected(plan) || missing::requests_arrive(plan) {
        for_now(plan, reason, &text);
    }
}
