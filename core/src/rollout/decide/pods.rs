//! The pods of a release: how they are started, since when they may take their time, and what is said while some are missing.
//!
//! Invariant: no deadline of pods falls while nothing can be known of them, or right after hands were off.

use chrono::{DateTime, TimeDelta, Utc};

use super::{capacity, plan::Plan};
use crate::{
    api::HoldReason,
    rollout::{Act, Workload},
};

/// Starts the target's pods, or more of them: as many as the primary has, unless those that the user asked for are enough
/// for every step. Returns whether there is anything to start.
pub(super) fn start_pods(plan: &mut Plan<'_>) -> bool {
    let wanted = capacity::canary_wants(plan);
    if let Some(wanted) = wanted {
        plan.act(Act::ScaleTarget(wanted));
    }
    wanted.is_some()
}

/// Since when the canary's pods may take their time: since the release came to them, or since they stopped being ready
/// while it waited for something else.
pub(super) fn pods_since(plan: &Plan<'_>) -> DateTime<Utc> {
    let stopped = plan.held_since(HoldReason::WorkloadNotReady);
    stopped.unwrap_or(plan.phase_since())
}

pub(super) fn not_ready_text(plan: &Plan<'_>, target: &Workload) -> String {
    let updated = target.updated.min(target.serving()).max(0);
    format!(
        "{}: {updated} of {} pods of the new revision are ready",
        plan.spec.names.target, target.desired
    )
}

/// Whether pods had their time: `limit` since `since`, or since this Canary was worked on again. Looks again then.
pub(super) fn time_is_up(plan: &mut Plan<'_>, since: DateTime<Utc>, limit: TimeDelta) -> bool {
    if !are_watched(plan) {
        return false;
    }
    let since = plan.next.resumed_at.map_or(since, |resumed| resumed.max(since));
    plan.elapsed(since, limit)
}

/// A watch that brings nothing may hide that pods are gone: nothing is handed over, scaled away or judged on what may be
/// out of date.
pub(super) fn are_watched(plan: &mut Plan<'_>) -> bool {
    let Some(broken) = &plan.seen.broken_watch else {
        return true;
    };
    let text = format!(
        "the watch of {} is broken since {}: {}",
        broken.kind,
        broken.since.format("%T"),
        broken.message
    );
    let text = plan.hold(HoldReason::WatchBroken, &text);
    plan.say(text);
    false
}
