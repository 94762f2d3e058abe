//! Somebody else keeps changing what this Canary writes: a robot that knows another truth, or another controller.
//!
//! What was written and is to be written again was undone by somebody. That is put right at once ten times; then the
//! quarrel about the field has a name, and a write is repeated once a minute. A write of another value, such as the next weight,
//! is no repair, and the quarrel goes on with it. Ten quiet minutes end it. What keeps traffic from pods that
//! are bad, or from nobody, is repeated sooner, and without end.

use std::cmp::Ordering;

use chrono::{DateTime, TimeDelta, Utc};

use super::plan::Plan;
use crate::{
    api::{HoldReason, NoticeKind},
    defect::{Defect, planted},
    rollout::{Act, Repeat, Serves, Weight, Workload},
};

/// How the hold of a quarrel begins.
const QUARREL: &str = "somebody keeps changing";
/// How often the same write is repeated at once.
const AT_ONCE: u32 = 10;
/// How long after a write that keeps callers from pods that are bad, or that nobody judged, it is repeated.
const SAFETY: TimeDelta = TimeDelta::seconds(5);
/// How long a quarrel is remembered.
pub const QUIET: TimeDelta = TimeDelta::minutes(10);

/// Drops what is to be repeated later, and what follows it; names the quarrel, and tells what is put right.
pub(super) fn slow_down(plan: &mut Plan<'_>) {
    if planted(Defect::QuarrelsWithoutEnd) {
        return;
    }
    put_off(plan);
    let (seen, now) = (plan.seen, plan.now);
    let known = |act: &Act| seen.repeats.iter().find(|repeat| repeat.act == *act);
    let repaired = |act: &Act| known(act).is_some_and(|repeat| now - repeat.last < QUIET);
    if plan.acts().iter().any(repaired) {
        tell_repair(plan);
    }
}

/// A quarrel that is over hides no other conflict: what is named next has its own words.
pub(super) fn end_what_is_over(plan: &mut Plan<'_>) {
    let (seen, now) = (plan.seen, plan.now);
    if !seen.repeats.iter().any(|repeat| is_worn(repeat, now)) {
        plan.end_hold_beginning(HoldReason::TargetConflict, QUARREL);
    }
}

fn put_off(plan: &mut Plan<'_>) {
    if plan.was_cut_short() && plan.acts().is_empty() {
        return;
    }
    let seen = plan.seen;
    // The first in the order of fields: two quarrels in turn would be a write each.
    let now = plan.now;
    let Some(worst) = seen.repeats.iter().find(|repeat| is_worn(repeat, now)) else {
        return;
    };
    plan.wake(worst.repaired.unwrap_or(worst.last) + QUIET);
    take_back_worn(plan);
    plan.hold_for(HoldReason::TargetConflict, &text(plan, &worst.act));
}

/// Writes that somebody undoes wait for their time.
fn take_back_worn(plan: &mut Plan<'_>) {
    let due = |act: &Act| puts_off(plan, act);
    let acts = plan.acts().iter().enumerate();
    let Some((at, first)) = acts.filter_map(|(at, act)| Some((at, due(act)?))).next() else {
        return;
    };
    if plan.is_towards_safety() {
        // Nothing is in the way of safety: only what somebody undoes waits.
        let waits: Vec<Act> = plan
            .acts()
            .iter()
            .filter(|act| due(act).is_some())
            .cloned()
            .collect();
        plan.take_back(&waits);
        return plan.wake(first);
    }
    // What follows in order relied on it.
    let waits = plan.acts().get(at..).unwrap_or_default().to_vec();
    plan.take_back(&waits);
    plan.wake(first);
}

/// Until when this write waits because it is undone again and again; `None` if it may be carried out.
pub(super) fn puts_off(plan: &Plan<'_>, act: &Act) -> Option<DateTime<Utc>> {
    let mut repeats = plan.seen.repeats.iter();
    let worn = repeats.find(|repeat| repeat.act == *act && is_worn(repeat, plan.now))?;
    Some(worn.last + pause(plan, act)).filter(|due| plan.now < *due)
}

/// Whether this write is undone again and again.
pub(super) fn is_about(plan: &Plan<'_>, act: &Act) -> bool {
    let mut repeats = plan.seen.repeats.iter();
    repeats.any(|repeat| repeat.act == *act && is_worn(repeat, plan.now))
}

/// Whether the field is not put right at once any more.
fn is_worn(repeat: &Repeat, now: DateTime<Utc>) -> bool {
    repeat.times >= AT_ONCE && is_fresh(repeat, now)
}

/// Whether somebody undid the field not long ago.
fn is_fresh(repeat: &Repeat, now: DateTime<Utc>) -> bool {
    repeat.repaired.is_some_and(|at| now - at < QUIET)
}

fn tell_repair(plan: &mut Plan<'_>) {
    let last = plan.next.outbox.pending.last();
    if last.is_none_or(|notice| notice.reason != "DriftRepaired") {
        let text = "routes or objects were not as this Canary intends them, and are put right";
        plan.tell(NoticeKind::Warning, "DriftRepaired", text);
    }
}

/// How long to wait before a write is repeated once more.
fn pause(plan: &Plan<'_>, act: &Act) -> TimeDelta {
    let withdrawn = plan.next.retirement.is_some() || plan.next.retreat.is_some();
    match act {
        Act::PointApex(_) if plan.seen.apex.endpoints == 0 => TimeDelta::seconds(1),
        Act::Route(_) | Act::ApplyRoutes(_) if withdrawn => SAFETY,
        Act::Route(weight) | Act::ApplyRoutes(weight) if leads_astray(plan, *weight) => SAFETY,
        // Callers must not stay with what was not judged, or was rejected.
        Act::Route(Weight::ZERO) | Act::ApplyRoutes(Weight::ZERO) | Act::PointApex(Serves::Primary)
            if serves_unreleased(plan) =>
        {
            SAFETY
        }
        _ => TimeDelta::seconds(60),
    }
}

/// Whether the routes as they are send more than `weight` to pods that nobody released, or more than the rest to no pod at all.
fn leads_astray(plan: &Plan<'_>, weight: Weight) -> bool {
    let serves = |workload: Option<&Workload>| workload.is_some_and(|w| w.serving() > 0);
    match plan.seen.routes.weight().map(|routed| routed.cmp(&weight)) {
        Some(Ordering::Greater) => serves_unreleased(plan) || !serves(plan.target()),
        Some(Ordering::Less) => !serves(plan.primary()),
        _ => false,
    }
}

/// Whether pods of the target serve a template that was not released: neither promoted, nor on the primary by now.
fn serves_unreleased(plan: &Plan<'_>) -> bool {
    let runs = plan.primary().map(|primary| &primary.revision);
    let released =
        |revision| Some(revision) == plan.next.revision.promoted.as_ref() || Some(revision) == runs;
    let mut target = plan.seen.target.iter();
    plan.next.revision.promoted.is_some()
        && target.any(|target| target.serving() > 0 && !released(&target.revision))
}

fn text(plan: &Plan<'_>, act: &Act) -> String {
    let names = &plan.spec.names;
    let what = match act {
        Act::Route(_) | Act::ApplyRoutes(_) | Act::MergeRoutes => format!("VirtualService {}", names.apex),
        Act::PointApex(_) => format!("spec.selector of Service {}", names.apex),
        Act::ScaleTarget(_) => format!("spec.replicas of Deployment {}", names.target),
        Act::ScalePrimary(_) => format!("spec.replicas of Deployment {}", names.primary),
        Act::Promote { .. } | Act::Restore { .. } => format!("Deployment {}", names.primary),
        Act::HandBack { .. } => format!("spec.template of Deployment {}", names.target),
        _ => "an object of this Canary".to_owned(),
    };
    // Not how often: it depends on what serves at the moment, and a text that changes is a write of the status.
    format!(
        "{QUARREL} {what}; it was put right {AT_ONCE} times, and is less often from now on, until it stays for \
         ten minutes"
    )
}

/// What is to be remembered of a field after `act` was carried out. The same write as before is a repair, for somebody undid it.
#[must_use]
pub fn repeated(known: Option<&Repeat>, act: &Act, now: DateTime<Utc>) -> Repeat {
    let (times, repaired) = known
        .filter(|known| is_fresh(known, now))
        .map_or((0, None), |known| (known.times, known.repaired));
    let repair = known.is_some_and(|known| known.act == *act && now - known.last < QUIET);
    Repeat {
        act: act.clone(),
        times: times + u32::from(repair),
        last: now,
        repaired: if repair { Some(now) } else { repaired },
    }
}
