//! Initializing: the primary is set up beside the running workload, and takes over without losing a request.
//!
//! Order: primary ready, then the routes, then the apex Service, then the target is scaled away.

use super::{plan::Plan, reach};
use crate::{
    api::{HoldReason, NoticeKind, Phase},
    defect::{Defect, planted},
    rollout::{Act, Routes, Serves, Weight, Workload},
};

pub(super) fn decide(plan: &mut Plan<'_>) {
    let Some(target) = plan.target() else {
        return super::progressing::target_missing(plan);
    };
    if plan.next.phase.is_none() {
        plan.enter(Phase::Initializing);
        plan.tell(
            NoticeKind::Normal,
            "Initializing",
            format!(
                "setting up {} beside {}",
                plan.spec.names.primary, plan.spec.names.target
            ),
        );
        plan.say(format!("setting up {}", plan.spec.names.primary));
        plan.next.canary_weight = 0;
        plan.record();
    }
    plan.mend_children();
    if !primary_ready(plan, target) {
        return;
    }
    let dead = plan.primary().is_none_or(|primary| primary.serving() == 0);
    if dead && !planted(Defect::DoesNotAwaitThePrimary) {
        return primary_died(plan, target);
    }
    plan.say(format!("the traffic moves to {}", plan.spec.names.primary));
    if plan.weight().is_zero() {
        plan.route(Weight::ZERO);
    } else {
        plan.stand_in(Weight::ZERO);
    }
    if plan.acting() || !plan.settled_at(Weight::ZERO) {
        return;
    }
    plan.point_apex(Serves::Primary);
    if plan.acting() || !plan.drained() {
        return;
    }
    if target.desired > 0 {
        if !reach::silent(plan, Serves::Target) {
            return;
        }
        plan.act(Act::ScaleTarget(0));
        return;
    }
    if target.gone() {
        finish(plan);
    }
}

/// The primary was ready and is not any more: nothing is moved or scaled away for it, and the target gets back what
/// was moved already.
fn primary_died(plan: &mut Plan<'_>, target: &Workload) {
    let text = format!("{}: no pod is ready any more", plan.spec.names.primary);
    plan.say(text.clone());
    plan.hold(HoldReason::WorkloadNotReady, &text);
    if target.serving() > 0 {
        plan.stand_in(Weight::FULL);
    }
}

/// Creates the primary, follows the target while no traffic depends on it, and waits until it is ready.
fn primary_ready(plan: &mut Plan<'_>, target: &Workload) -> bool {
    let takes_traffic = matches!(&plan.seen.routes, Routes::Present { weight: Some(w), .. } if w.is_zero());
    match plan.primary() {
        None => {
            let replicas = Some(target.desired.max(1));
            plan.act(Act::Promote {
                revision: target.revision.clone(),
                replicas,
            });
            false
        }
        Some(primary) if primary.revision != target.revision && !takes_traffic => {
            plan.act(Act::Promote {
                revision: target.revision.clone(),
                replicas: None,
            });
            false
        }
        Some(_) if planted(Defect::DoesNotAwaitThePrimary) => true,
        Some(primary) if !takes_traffic && !primary.ready() => {
            let names = &plan.spec.names;
            let text = format!(
                "{}: {} of {} pods are ready",
                names.primary,
                primary.serving(),
                primary.desired
            );
            let since = plan.phase_since();
            if plan.elapsed(since, plan.spec.progress_deadline) {
                plan.hold(HoldReason::WorkloadNotReady, &text);
            }
            plan.say(format!("waiting for {text}"));
            false
        }
        Some(_) => true,
    }
}

fn finish(plan: &mut Plan<'_>) {
    let revision = plan.primary().map(|p| p.revision.clone());
    let mark = plan
        .target()
        .filter(|t| Some(&t.revision) == revision.as_ref())
        .and_then(|t| t.mark.clone());
    plan.next.revision.current.clone_from(&revision);
    plan.next.revision.promoted = revision;
    plan.next.revision.mark = mark;
    plan.clear_holds();
    plan.enter(Phase::Initialized);
    plan.say(format!(
        "{} serves; the next change of {} is released gradually",
        plan.spec.names.primary, plan.spec.names.target
    ));
    plan.tell(
        NoticeKind::Normal,
        "Initialized",
        format!("{} serves all traffic", plan.spec.names.primary),
    );
}
