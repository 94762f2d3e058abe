//! Terminating: the service is handed back without losing a request (I12).
//!
//! Order: a template that may serve, target ready, a small share of the traffic, and when requests arrive, apex Service to it
//! and routes to the apex Service; when no request reaches the primary any more our objects go.

use chrono::TimeDelta;

use super::{
    capacity,
    plan::Plan,
    reach::{self, Reach},
    rollback, silence, transfer,
};
use crate::{
    api::{HoldReason, NoticeKind, Outcome, Phase, RetirementKind},
    defect::{Defect, planted},
    rollout::{Act, Child, HandBack, Routes, Serves, Weight, Workload},
};

/// What the primary keeps while it is found out whether requests reach the target.
const FIRST_SHARE: i64 = 95;
/// How long a deletion waits for what nobody can tell; the deadline for pods, if that is longer.
const BOUND: TimeDelta = TimeDelta::minutes(10);
/// How long after it was given up a write may be carried out: the API server's own time for a request (its flag
/// `--request-timeout`, 1 minute by default).
const LATEST: TimeDelta = TimeDelta::minutes(1);

pub(super) fn decide(plan: &mut Plan<'_>) {
    if !plan.seen.finalizer {
        return;
    }
    if undo_is_under_way(plan) {
        // The primary has a revision that it must not keep: first it returns to the promoted one, or its time is over.
        return rollback::proceed(plan);
    }
    if plan.next.phase != Some(Phase::Terminating) {
        plan.enter(Phase::Terminating);
        plan.next.transfer = None;
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
    if ours && !planted(Defect::HandsBackTooSoon) && !(released(plan) && hand_back(plan)) {
        return;
    }
    if !merge_routes(plan) {
        return;
    }
    if serving && !silence::silent(plan, Serves::Primary) {
        return;
    }
    if !is_settled(plan) || !remove_children(plan) {
        return;
    }
    if plan.all_told() {
        plan.act(Act::RemoveFinalizer);
    }
}

fn undo_is_under_way(plan: &Plan<'_>) -> bool {
    let undo = plan.next.retirement.as_ref().is_some_and(|retirement| {
        matches!(
            retirement.kind,
            RetirementKind::UndoOnCanary | RetirementKind::UndoOnPrimary
        )
    });
    undo && plan.next.phase == Some(Phase::Promoting)
        && plan.seen.conflict.is_none()
        && plan.target().is_some()
        && plan.primary().is_some()
}

/// Whether the target's template may serve. A deletion does not ship what was rejected, while there is a primary: somebody
/// decides. Meanwhile whoever serves has the traffic.
fn released(plan: &mut Plan<'_>) -> bool {
    let (Some(target), Some(primary)) = (plan.target(), plan.primary()) else {
        return true;
    };
    if !is_rejected(plan, target) {
        return true;
    }
    let promoted = plan.next.revision.promoted.clone().unwrap_or_default();
    let restorable = primary.revision == promoted && primary.edited_by.is_none();
    match plan.spec.hand_back {
        Some(HandBack::AsIs) => return true,
        Some(HandBack::Promoted) if restorable => {
            plan.say(format!("{} gets the promoted template", plan.spec.names.target));
            plan.act(Act::HandBack { revision: promoted });
            return false;
        }
        _ => {}
    }
    let short = |revision: &str| revision.get(..12).unwrap_or(revision).to_owned();
    let names = &plan.spec.names;
    let choice = if restorable {
        "says whether the workload serves as it is (as-is), or gets the promoted template first (promoted)"
    } else {
        "as-is lets it serve all the same; the promoted template is nowhere any more"
    };
    let text = format!(
        "{} has revision {}, which was rejected, and {} serves revision {}: annotation bellwether.dev/hand-back {choice}",
        names.target,
        short(&target.revision),
        names.primary,
        short(&primary.revision)
    );
    let text = plan.hold(HoldReason::HandBackUnreleased, &text);
    plan.say(text);
    if primary.serving() == 0 && target.serving() > 0 {
        plan.stand_in(Weight::FULL);
        plan.point_apex(Serves::Target);
    } else {
        plan.lower(capacity::kept_weight(plan));
        plan.point_apex(Serves::Primary);
    }
    false
}

/// Whether the verdict on this template was no: in this release, in one before, or in what is being taken back.
fn is_rejected(plan: &Plan<'_>, target: &Workload) -> bool {
    let known = &plan.next.revision;
    if planted(Defect::ShipsRejectedTemplates)
        || known.promoted.is_none()
        || known.promoted.as_ref() == Some(&target.revision)
    {
        return false;
    }
    let taken_back = plan.next.retirement.is_some() && known.current.as_ref() == Some(&target.revision);
    let rejected = known
        .rejected
        .iter()
        .any(|known| known.revision == target.revision);
    let last = plan
        .next
        .history
        .iter()
        .find(|past| past.revision == target.revision);
    let failed = last.is_some_and(|past| !matches!(past.outcome, Outcome::Promoted | Outcome::FastPromoted));
    taken_back || rejected || failed
}

/// Whether requests are known to reach the target, by a small share of them; or nobody calls; or nobody can tell within the
/// bound. What is known not to arrive goes back, and is tried again later.
fn is_reached(plan: &mut Plan<'_>) -> bool {
    let routes = matches!(plan.seen.routes, Routes::Present { split: true, .. });
    if !routes || plan.primary().is_none_or(|primary| primary.serving() == 0) {
        return true;
    }
    // The routes lead to Services that somebody may have deleted.
    plan.mend_children();
    let Some(known) = plan.next.transfer.clone() else {
        // What a release sends there already needs no other proof.
        if plan.seen.routes.weight().is_some_and(|weight| !weight.is_zero()) {
            return true;
        }
        return capacity::canary_keeps(plan, Weight::FULL) && try_share(plan);
    };
    if known.reached {
        return true;
    }
    if !capacity::canary_keeps(plan, Weight::FULL) {
        // Endpoints follow pods after a moment.
        plan.say(format!(
            "handing back: waiting for the endpoints of {}",
            plan.spec.names.target
        ));
        return false;
    }
    let share = Weight::saturating(i64::from(known.old_share)).complement();
    if share.is_zero() {
        plan.keep_holds(&[HoldReason::NotReached]);
        plan.route(Weight::ZERO);
        return transfer::may_try_again(plan) && try_share(plan);
    }
    if plan.weight() == share {
        plan.route(share);
    } else {
        plan.stand_in(share);
    }
    if plan.acting() || !plan.settled_at(share) {
        plan.keep_holds(&[HoldReason::NotReached]);
        return false;
    }
    match reach::look(plan, Serves::Target, share) {
        Reach::Reached | Reach::Idle => {}
        Reach::Wait => {
            plan.keep_holds(&[HoldReason::NotReached]);
            return false;
        }
        Reach::Missing(text) => {
            go_back(plan, &text);
            return false;
        }
        // What was known not to arrive is not taken to arrive because nobody can tell any more.
        Reach::Unknown(reason, text) => {
            let bound = BOUND.max(plan.spec.progress_deadline);
            if known.attempts > 0 || !plan.elapsed(known.since, bound) {
                let text = plan.hold(reason, &text);
                plan.say(text);
                return false;
            }
        }
    }
    if let Some(transfer) = &mut plan.next.transfer {
        transfer.reached = true;
    }
    plan.clear_holds();
    plan.record();
    true
}

/// The first share of the traffic goes to the target: the intent first.
fn try_share(plan: &mut Plan<'_>) -> bool {
    transfer::begin_anyhow(plan, Serves::Target, Weight::saturating(FIRST_SHARE));
    plan.stand_in(Weight::saturating(FIRST_SHARE).complement());
    false
}

/// Requests do not reach the target: they go back to the primary.
fn go_back(plan: &mut Plan<'_>, text: &str) {
    plan.lower(Weight::ZERO);
    transfer::give_up(plan, true);
    plan.clear_holds();
    let text = plan.hold(HoldReason::NotReached, text);
    plan.say(text);
}

/// The target's pods take over behind the apex Service. A missing target blocks nothing.
fn hand_back(plan: &mut Plan<'_>) -> bool {
    let Some(target) = plan.target() else { return true };
    // A release may be under way on a few pods, and all of the traffic needs as many as the primary has.
    let enough = capacity::full(plan);
    // Somebody's manifest may point the Service at the target before we did.
    let split = matches!(plan.seen.routes, Routes::Present { split: true, .. });
    let reached = plan
        .next
        .transfer
        .as_ref()
        .is_some_and(|transfer| transfer.reached);
    let handed_over = plan.seen.apex.serves == Some(Serves::Target) && (reached || !split);
    if target.desired == 0 || (!handed_over && target.desired < enough) {
        plan.act(Act::ScaleTarget(enough));
        return false;
    }
    if plan.primary().is_none() && plan.seen.apex.serves.is_none() {
        // Both went as they were to: a Service that is made again would be deleted again, for ever.
        return true;
    }
    let rolled_out =
        target.up_to_date && target.available >= target.desired && target.updated >= target.desired;
    let somebody_serves = plan.primary().is_some_and(|primary| primary.serving() > 0);
    if !rolled_out {
        await_target(plan, target, somebody_serves);
        return false;
    }
    if !handed_over && !is_reached(plan) {
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

/// Whether no write can still be under way. No mark fences an object that does not exist: routes that are created late would lead
/// requests to Services that are gone, and nobody would remove them.
fn is_settled(plan: &mut Plan<'_>) -> bool {
    let Some(given_up) = plan.seen.unsettled_at else {
        return true;
    };
    let settled = plan.elapsed(given_up, LATEST) || planted(Defect::DoesNotAwaitLateWrites);
    if !settled {
        plan.say("handed back; a write whose outcome is unknown may still be carried out");
    }
    settled
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
