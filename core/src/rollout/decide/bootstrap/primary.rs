//! The primary that is set up: made of the target's template, followed while no traffic depends on it, and waited for.

use super::super::{
    capacity,
    plan::Plan,
    silence,
    transfer::{self, old_share},
};
use crate::{
    api::HoldReason,
    defect::{Defect, planted},
    rollout::{Act, Serves, Weight, Workload},
};

/// The primary was ready and is not any more: nothing is moved or scaled away for it, and the target gets back what
/// was moved already. A primary that dies under its traffic is tried again ever later.
pub(super) fn primary_died(plan: &mut Plan<'_>, target: &Workload) {
    let text = format!("{}: no pod is ready any more", plan.spec.names.primary);
    plan.say(text.clone());
    plan.hold(HoldReason::WorkloadNotReady, &text);
    if moved(plan) && target.serving() > 0 {
        plan.towards_safety();
        transfer::give_up(plan, true);
        super::follow(plan);
        plan.point_apex(Serves::Target);
    }
}

/// Whether the primary has a share of the traffic, as recorded.
fn moved(plan: &Plan<'_>) -> bool {
    old_share(plan).is_some_and(|share| share != Weight::FULL)
}

/// Creates the primary, follows the target while no traffic depends on it, and waits until it is ready.
pub(super) fn primary_ready(plan: &mut Plan<'_>, target: &Workload) -> bool {
    let takes_traffic = old_share(plan).map_or_else(
        || plan.seen.routes.weight() == Some(Weight::ZERO),
        |share| share != Weight::FULL,
    );
    match plan.primary() {
        // Whoever has pods has the traffic until there is a primary again, which may be refused.
        None if moved(plan) && target.serving() > 0 => {
            primary_died(plan, target);
            false
        }
        None => {
            let replicas = Some(capacity::full(plan));
            plan.act(Act::Promote {
                revision: target.revision.clone(),
                replicas,
            });
            false
        }
        // What was pushed meanwhile does not serve, and the primary does: it takes over, and the push is the first release.
        Some(primary) if primary.ready() && target.serving() == 0 => true,
        // Whoever serves has the traffic, also with pods of a template that is being replaced.
        Some(primary) if plan.next.transfer.is_some() && primary.serving() > 0 && target.serving() == 0 => {
            true
        }
        Some(primary) if primary.revision != target.revision && !takes_traffic => {
            if left_alone(plan, target, primary) {
                transfer::forget_word(plan);
                plan.act(Act::Promote {
                    revision: target.revision.clone(),
                    replicas: None,
                });
            }
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

/// Whether no request reaches the primary any more, after it had a share and gave it back: its pods may be replaced, whatever
/// proxies know of them. If only they serve, they go on.
fn left_alone(plan: &mut Plan<'_>, target: &Workload, primary: &Workload) -> bool {
    if plan.next.transfer.is_none() || (target.serving() == 0 && primary.serving() == 0) {
        return true;
    }
    if target.serving() == 0 {
        let text = format!(
            "{}: no pod is ready, and some of {} are",
            plan.spec.names.target, plan.spec.names.primary
        );
        super::held(plan, HoldReason::WorkloadNotReady, &text);
        return false;
    }
    plan.route(Weight::FULL);
    !plan.acting() && plan.settled_at(Weight::FULL) && silence::silent(plan, Serves::Primary)
}
