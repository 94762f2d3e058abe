//! Late writes. A write may reach the API server long after whoever sent it gave up waiting for the answer, died, or lost
//! the right to decide; by then something else may have been decided.
//!
//! Every write is guarded by the resourceVersion it was decided on. So a new epoch (another leader, another process, or
//! the same one after a write whose outcome is unknown) first writes its name on every object that traffic depends on,
//! and on the Canary; from then on a late write of an earlier epoch is refused (I10). Objects of a Canary at rest need
//! none of this: what was decided there is decided by everybody. Only the workload is fenced where a promotion gives it other
//! images, so that none arrive after the promotion's end.

use chrono::{DateTime, TimeDelta, Utc};

use super::plan::Plan;
use crate::{
    defect::{Defect, planted},
    rollout::{Act, Child, Observed, RefusedWrite, RolloutSpec},
};

/// How long a refused fence is tried before the release goes on without: what refuses at random accepts a late write.
const PATIENCE: TimeDelta = TimeDelta::seconds(30);

/// The process of an epoch.
fn process(epoch: &str) -> &str {
    epoch.split('+').next().unwrap_or_default()
}

/// Whether everything carries the present epoch; if not, plans that first.
pub(super) fn fenced(plan: &mut Plan<'_>) -> bool {
    if planted(Defect::DoesNotFence) {
        return true;
    }
    if plan.next.epoch.as_ref() == Some(&plan.seen.epoch) {
        return true;
    }
    if plan.at_rest() {
        return plan.seen.requests.shipping.is_none() || workload_is_fenced(plan);
    }
    if plan.spec.deleting && plan.seen.existing.is_empty() {
        // Everything is handed back, and only the finalizer is left to go. It may be on its way already, and a mark that is
        // put on an object now would stay behind.
        return true;
    }
    if plan.next.epoch.as_deref().map(process) != Some(process(&plan.seen.epoch))
        && let Some(step) = &mut plan.next.step
    {
        // The clock of another process may be set otherwise: what passes begins anew, so that it is evidence of this step
        // alone. What is bad does not: a process that dies sooner than a check is due would never find it.
        step.started_at = plan.now;
    }
    let seen = plan.seen;
    for child in &seen.unfenced {
        if !is_refused(plan.spec, seen, *child, plan.now) {
            plan.act(Act::Fence(*child));
        }
    }
    plan.next.epoch = Some(plan.seen.epoch.clone());
    if plan.acting() {
        plan.cut_short();
    }
    !plan.acting()
}

/// The same for the workload alone, of a Canary at rest.
fn workload_is_fenced(plan: &mut Plan<'_>) -> bool {
    if refuses_late_writes(plan.spec, plan.seen, Child::Target, plan.now) {
        return true;
    }
    plan.act(Act::Fence(Child::Target));
    plan.cut_short();
    false
}

/// Whether a write to `child` of an earlier epoch is refused by now: everything was fenced in the present one, it bears that one's
/// name, or it cannot be written at all.
#[must_use]
pub fn refuses_late_writes(spec: &RolloutSpec, seen: &Observed, child: Child, now: DateTime<Utc>) -> bool {
    let all_are = seen.status.epoch.as_ref() == Some(&seen.epoch);
    all_are || !seen.unfenced.contains(&child) || is_refused(spec, seen, child, now)
}

/// Whether fences of this workload or Service are refused again and again, so that a late write is refused as well: the round must
/// not wait for it, or nobody would watch the release. Of the routes every late write counts. Where only another write is refused,
/// a late one may be accepted.
fn is_refused(spec: &RolloutSpec, seen: &Observed, child: Child, now: DateTime<Utc>) -> bool {
    let names = &spec.names;
    let object = match child {
        Child::ApexService => format!("Service/{}", names.apex),
        Child::PrimaryDeployment => format!("Deployment/{}", names.primary),
        Child::Target => format!("Deployment/{}", names.target),
        _ => return false,
    };
    let mut refused = seen.refused.iter();
    let lasts = |write: &RefusedWrite| write.times >= 2 && now - write.since >= PATIENCE;
    refused.any(|write| write.fence && write.object == object && lasts(write))
}
