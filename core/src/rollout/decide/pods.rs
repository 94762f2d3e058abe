//! The pods of a release: how they are started, since when they may take their time, and what is said while some are missing.

use chrono::{DateTime, Utc};

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
