//! Orders that stand: a release that is paused, and an analysis that is skipped.

use super::plan::Plan;
use crate::{
    api::{CanaryStatus, HoldReason, Intervention, Verb},
    rollout::RolloutSpec,
};

/// Whether the present revision is to be promoted without further analysis.
pub(super) fn skips_analysis(plan: &Plan<'_>) -> bool {
    analysis_is_skipped(plan.spec, &plan.next)
}

/// Whether the specification or somebody's order skips the analysis of the present revision.
#[must_use]
pub fn analysis_is_skipped(spec: &RolloutSpec, status: &CanaryStatus) -> bool {
    spec.skip_analysis || status.interventions.iter().any(|known| skips(known, status))
}

/// Whether this order skips the analysis of the present rollout.
pub(super) fn skips(known: &Intervention, status: &CanaryStatus) -> bool {
    known.verb == Verb::SkipAnalysis
        && known.refused.is_none()
        && Some(&known.revision) == status.revision.current.as_ref()
        && status.revision.started_at.is_none_or(|since| known.at >= since)
}

/// Names the pause, if somebody ordered one; returns whether no further step may be taken.
pub(super) fn paused(plan: &mut Plan<'_>) -> bool {
    let Some(pause) = plan.next.pause.clone() else {
        return false;
    };
    let why = if pause.reason.is_empty() {
        String::new()
    } else {
        format!(": {}", pause.reason)
    };
    let text = format!("paused by {}{why}", pause.by);
    plan.hold_for(HoldReason::Paused, &text);
    plan.say(format!("held at weight {}: {text}", plan.weight()));
    true
}
