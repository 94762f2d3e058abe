//! Terminating: the service is handed back without losing a request (I12).
//!
//! Order: target ready, apex Service to it, routes to the apex Service, and when no request reaches the primary any more
//! our objects go.

use super::{plan::Plan, reach};
use crate::{
    api::{HoldReason, NoticeKind, Phase},
    defect::{Defect, planted},
    rollout::{Act, Child, Routes, Serves, Weight, Workload},
};

pub(super) fn decide(plan: &mut Plan<'_>) {
    if !plan.seen.finalizer {
        return;
    }
    if plan.next.phase != Some(Phase::Terminating) {
        plan.enter(Phase::Terminating);
        plan.say(format!("handing the service back to {}", plan.spec.names.target));
        plan.tell(
            NoticeKind::Normal,
            "Terminating",
            format!("handing the service back to {}", plan.spec.names.target),
        );
        plan.record();
    }
    // What is in the way keeps nobody from handing back what we took over.
    let taken_over = plan.seen.primary.is_some() && plan.seen.existing.contains(&Child::PrimaryDeployment);
    let ours = plan.seen.target.is_some() && (taken_over || plan.seen.conflict.is_none());
    let serving = ours && plan.seen.primary.is_some();
    if ours && !planted(Defect::HandsBackTooSoon) && !hand_back(plan) {
        return;
    }
    if !merge_routes(plan) {
        return;
    }
    if serving && !reach::silent(plan, Serves::Primary) {
        return;
    }
    if !remove_children(plan) {
        return;
    }
    if plan.all_told() {
        plan.act(Act::RemoveFinalizer);
    }
}

/// The target's pods take over behind the apex Service. A missing target blocks nothing.
fn hand_back(plan: &mut Plan<'_>) -> bool {
    let Some(target) = plan.target() else { return true };
    // A release may be under way on a few pods, and all of the traffic needs as many as the primary has.
    let enough = plan.primary().map_or(1, |primary| primary.desired.max(1));
    let handed_over = plan.seen.apex.serves == Some(Serves::Target);
    if target.desired == 0 || (!handed_over && target.desired < enough) {
        plan.act(Act::ScaleTarget(enough));
        return false;
    }
    let rolled_out =
        target.up_to_date && target.available >= target.desired && target.updated >= target.desired;
    let somebody_serves = plan.primary().is_some_and(|primary| primary.serving() > 0);
    if !rolled_out {
        await_target(plan, target, somebody_serves);
        return false;
    }
    plan.point_apex(Serves::Target);
    if !plan.acting() && plan.seen.apex.endpoints < target.desired.min(target.available) {
        let text = format!(
            "handing back: Service {} leads to {} of {} pods; does it select another label than the workload has?",
            plan.spec.names.apex, plan.seen.apex.endpoints, target.desired
        );
        if plan.elapsed(plan.phase_since(), plan.spec.progress_deadline) {
            plan.hold(HoldReason::WorkloadNotReady, &text);
        }
        plan.say(text);
    }
    !plan.acting() && plan.seen.apex.endpoints >= target.desired.min(target.available) && plan.drained()
}

/// The target is not ready: the primary serves until it is, also what was handed over already if no pod is left there. If
/// nobody serves, whatever becomes ready shall be found. Until then nothing of ours goes.
fn await_target(plan: &mut Plan<'_>, target: &Workload, primary_serves: bool) {
    let text = format!(
        "handing back: {} of {} pods of {} are ready; nothing goes until all are",
        target.available, target.desired, plan.spec.names.target
    );
    let since = plan.phase_since();
    if plan.elapsed(since, plan.spec.progress_deadline) {
        plan.hold(HoldReason::WorkloadNotReady, &text);
    }
    plan.say(text);
    if !primary_serves {
        plan.point_apex(Serves::Target);
    } else if target.serving() == 0 {
        let split = matches!(plan.seen.routes, Routes::Present { split: true, .. });
        if split && plan.seen.routes.weight() != Some(Weight::ZERO) {
            plan.lower(Weight::ZERO);
        }
        plan.point_apex(Serves::Primary);
    }
}

/// Routes lead to the apex Service alone, or are removed where nothing can need them.
fn merge_routes(plan: &mut Plan<'_>) -> bool {
    match plan.seen.routes {
        Routes::Present { split: true, .. } => {
            plan.act(Act::MergeRoutes);
            false
        }
        Routes::Unavailable(ref why) => {
            let text = format!("Istio's resources cannot be read: {why}");
            plan.hold(HoldReason::RoutesUnavailable, &text);
            plan.say(text);
            false
        }
        _ => plan.drained(),
    }
}

fn remove_children(plan: &mut Plan<'_>) -> bool {
    let left_behind = |child: &Child| *child == Child::CanaryRule && planted(Defect::LeavesAnObjectBehind);
    let removes_routes = plan.spec.revert_on_deletion || !plan.spec.has_gateways;
    for child in plan.seen.existing.iter().filter(|child| !left_behind(child)) {
        let act = match child {
            Child::Routes if !removes_routes => Act::Release(*child),
            Child::ApexService if !plan.spec.revert_on_deletion => Act::Release(*child),
            child if plan.seen.adopted.contains(child) => Act::Release(*child),
            _ => Act::Delete(*child),
        };
        plan.act(act);
    }
    !plan.acting()
}
