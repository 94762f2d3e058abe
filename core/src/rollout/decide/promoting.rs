//! Promoting: the primary takes over exactly the analysed template, and gets the traffic back.
//!
//! Invariant: until the primary's template is written, everything can still be called off; afterwards a bad verdict
//! or a primary that does not become ready leads to an undo, never to the ordinary rollback (W4).

use super::{
    capacity,
    change::{self, Change},
    checks::{self, Verdict},
    plan::Plan,
    pods, progressing, quarrel, retreat, rollback, silence, standing_orders, transfer,
};
use crate::{
    api::{HoldReason, NoticeKind, Phase, RetirementKind},
    defect::{Defect, planted},
    rollout::{Act, Serves, Weight, Workload},
};

pub(super) fn decide(plan: &mut Plan<'_>) {
    plan.mend_children();
    if plan.next.retirement.is_some() {
        return rollback::proceed(plan);
    }
    let current = plan.next.revision.current.clone().unwrap_or_default();
    match plan.primary() {
        Some(primary) if primary.revision == current => taken_over(plan, primary),
        _ => take_over(plan, current),
    }
}

/// The primary does not have the analysed template yet.
fn take_over(plan: &mut Plan<'_>, revision: String) {
    let there = plan.target().map(|t| t.revision.clone());
    let revision = there
        .clone()
        .filter(|_| planted(Defect::PromotesWhateverIsThere))
        .unwrap_or(revision);
    if there.as_ref() != Some(&revision) {
        // W1: what would be promoted is not what was analysed.
        plan.enter(Phase::Progressing);
        return match change::detect(plan) {
            Change::None => plan.say("the pod template changed before it was promoted"),
            _ => progressing::decide(plan),
        };
    }
    match armed(plan) {
        Verdict::Bad(text) => {
            plan.enter(Phase::Progressing);
            return rollback::begin(plan, RetirementKind::RollBack, &text);
        }
        Verdict::Dark(text) => {
            plan.enter(Phase::Progressing);
            return retreat::went_dark(plan, &text);
        }
        Verdict::Unreached(text) => {
            plan.enter(Phase::Progressing);
            return retreat::for_now(plan, HoldReason::TrafficNotShifting, &text);
        }
        _ => {}
    }
    if !gives_way(plan) {
        return;
    }
    let wanted = plan.target().map_or(0, |t| t.desired);
    let replicas = plan.primary().map_or(wanted, |p| p.desired.max(wanted)).max(1);
    let act = Act::Promote {
        revision,
        replicas: Some(replicas),
    };
    if quarrel::puts_off(plan, &act).is_none() {
        let primary = &plan.spec.names.primary;
        let object = format!("Deployment/{primary}");
        let tried = plan.seen.refused.iter().any(|write| write.object == object);
        if !tried {
            let text = format!("{primary} gets the analysed pod template");
            plan.tell(NoticeKind::Normal, "Promoting", text);
        }
        // What is known of requests to the primary was about the pods that are replaced.
        plan.next.transfer = None;
        plan.record();
    }
    plan.act(act);
}

/// Whether the primary may get another template: its strategy keeps enough of its pods for its share, or the canary serves
/// alone meanwhile, with as many pods as the primary (I2).
fn gives_way(plan: &mut Plan<'_>) -> bool {
    let weight = plan.weight();
    let share = if weight == Weight::FULL {
        Weight::ZERO
    } else {
        weight
    };
    if !capacity::primary_keeps_serving(plan, share) {
        if !enough_pods(plan) {
            return false;
        }
    } else if !weight.is_zero() && !capacity::canary_keeps(plan, weight) {
        plan.enter(Phase::Progressing);
        retreat::from_lost_pods(plan);
        return false;
    } else if weight != Weight::FULL {
        return true;
    }
    if weight != Weight::FULL {
        plan.stand_in(Weight::FULL);
        return false;
    }
    plan.route(Weight::FULL);
    !plan.acting() && plan.settled_at(Weight::FULL) && silence::silent(plan, Serves::Primary)
}

/// Whether the canary has as many ready pods as the primary. They have their time, if those that are there serve on.
fn enough_pods(plan: &mut Plan<'_>) -> bool {
    let wanted = capacity::full(plan);
    let target = plan.target();
    let scarce = target.is_some_and(|t| t.desired < wanted);
    if !scarce && target.is_some_and(capacity::canary_complete) {
        return true;
    }
    let serves = target.is_some_and(|t| t.serving() > 0);
    let since = plan.phase_since();
    if serves && !pods::time_is_up(plan, since, plan.spec.progress_deadline) {
        if scarce {
            plan.act(Act::ScaleTarget(wanted));
        }
        plan.route(plan.weight());
        plan.say("promoting: waiting for the canary's pods, which serve alone while the primary is replaced");
        return false;
    }
    plan.enter(Phase::Progressing);
    let text = "not all pods of the canary are ready, and it must serve alone while the primary is replaced";
    retreat::for_now(plan, HoldReason::WorkloadNotReady, text);
    false
}

/// The primary has the analysed template: wait until it is ready, then give it the traffic back.
fn taken_over(plan: &mut Plan<'_>, primary: &Workload) {
    let unfit = !plan.weight().is_zero() && !canary_fit(plan);
    if unfit && capacity::primary_carries_all(plan) {
        // Nothing that was not analysed and nothing without pods gets a share while the traffic returns.
        if !is_known_unreached(plan) {
            return plan.lower(Weight::ZERO);
        }
        if !plan.runs_analysed() {
            return rollback::begin(plan, RetirementKind::UndoOnCanary, &overtaken_text(plan));
        }
    }
    match armed(plan) {
        Verdict::Bad(text) => return rollback::begin(plan, RetirementKind::UndoOnPrimary, &text),
        Verdict::Dark(_) | Verdict::Unreached(_) if primary_may_take_all(plan) => {
            return plan.lower(Weight::ZERO);
        }
        _ => {}
    }
    if !primary.ready() {
        return await_primary(plan, primary);
    }
    let weight = plan.weight();
    if !weight.is_zero() && !transfer::may_try_again(plan) {
        return stay_on_canary(plan);
    }
    if !may_descend(plan) {
        plan.route(weight);
        return;
    }
    let next = plan.spec.promotion_step.map_or(Weight::ZERO, |step| {
        Weight::saturating(i64::from(weight.percent()) - i64::from(step.percent()))
    });
    if let Some(step) = &mut plan.next.step {
        step.started_at = plan.now;
        step.weight_since = Some(plan.now);
        step.last_check_at = None;
    }
    plan.clear_holds();
    plan.say(format!("traffic returns to the primary: canary weight {next}"));
    if next.is_zero() {
        // What somebody said was about the pods that were replaced, unless these had failed before.
        plan.next.transfer = plan
            .next
            .transfer
            .take()
            .filter(|known| !known.assumed || known.attempts > 0);
        transfer::begin_anyhow(plan, Serves::Primary, Weight::ZERO);
        plan.enter(Phase::Finalising);
        plan.tell(
            NoticeKind::Normal,
            "TrafficReturned",
            "the primary is ready and serves all traffic",
        );
    }
    plan.stand_in(next);
}

/// The primary failed under all of the traffic a moment ago: until the next attempt the canary serves as much as its pods
/// carry, and gets more of them.
fn stay_on_canary(plan: &mut Plan<'_>) {
    plan.keep_holds(&[HoldReason::NotReached]);
    let wanted = capacity::full(plan);
    if plan.runs_analysed() && plan.target().is_some_and(|target| target.desired < wanted) {
        return plan.act(Act::ScaleTarget(wanted));
    }
    let share = capacity::canary_share(plan);
    if canary_fit(plan) && share > plan.weight() {
        return plan.stand_in(share);
    }
    plan.route(plan.weight());
}

/// Whether requests are known not to arrive at the primary, which is ready with this revision.
pub(super) fn is_known_unreached(plan: &Plan<'_>) -> bool {
    let transfer = plan.next.transfer.as_ref();
    transfer
        .is_some_and(|known| known.attempts > 0 && !known.assumed && (known.missed || known.perhaps_missed))
}

/// Whether the primary has the pods for all of the traffic, and requests are not known to get lost on their way there.
fn primary_may_take_all(plan: &Plan<'_>) -> bool {
    capacity::primary_carries_all(plan) && !is_known_unreached(plan)
}

/// Why a promotion is undone whose canary cannot take the traffic any more.
pub(super) fn overtaken_text(plan: &Plan<'_>) -> String {
    let names = &plan.spec.names;
    format!(
        "requests do not arrive at {}, and {} has another template by now",
        names.primary, names.target
    )
}

/// Whether the canary still runs what was analysed, with enough pods for its weight.
fn canary_fit(plan: &Plan<'_>) -> bool {
    plan.runs_analysed() && capacity::canary_carries(plan, plan.weight())
}

/// Whether the primary may get the next part of the traffic: the first at once, every other after an interval with a check
/// of its own, for afterwards nothing can tell any more that the release is bad.
fn may_descend(plan: &mut Plan<'_>) -> bool {
    let Some(step) = plan.next.step.clone() else {
        return true;
    };
    let first = step.started_at < plan.phase_since();
    if first || plan.spec.promotion_step.is_none() || plan.weight().is_zero() {
        return true;
    }
    if standing_orders::skips_analysis(plan) {
        return plan.elapsed(step.started_at, plan.spec.interval);
    }
    checks::checked(plan)
}

fn await_primary(plan: &mut Plan<'_>, primary: &Workload) {
    let names = &plan.spec.names;
    let text = format!(
        "{}: {} of {} pods of the new revision are ready",
        names.primary,
        primary.updated.min(primary.serving()),
        primary.desired
    );
    plan.say(format!("promoting: waiting for {}", names.primary));
    let since = plan.phase_since();
    if pods::time_is_up(plan, since, plan.spec.progress_deadline) {
        let deadline = plan.spec.progress_deadline.num_seconds();
        let text = format!("{text} after {deadline} s (progressDeadlineSeconds)");
        return rollback::begin(plan, RetirementKind::UndoOnCanary, &text);
    }
    let weight = plan.weight();
    if !plan.runs_analysed() && !weight.is_zero() {
        let text = format!(
            "{} is not ready, and pods of {} serve meanwhile whose template was not analysed",
            names.primary, names.target
        );
        plan.hold(HoldReason::PrimaryNotReady, &text);
    }
    if !canary_fit(plan) && !weight.is_zero() && primary_may_take_all(plan) {
        // The canary is edited or loses pods: the primary's analysed pods take its share.
        plan.lower(Weight::ZERO);
    } else if plan.runs_analysed()
        && !capacity::primary_carries_rest(plan, weight)
        && capacity::canary_carries(plan, Weight::FULL)
    {
        plan.stand_in(Weight::FULL);
    } else {
        plan.route(weight);
    }
}

/// Evidence stays armed while the canary has traffic; what is missing does not stop a promotion that was earned.
fn armed(plan: &mut Plan<'_>) -> Verdict {
    let judged = plan.next.step.is_some() && plan.runs_analysed();
    if plan.weight().is_zero() || !judged || standing_orders::skips_analysis(plan) {
        return Verdict::Wait;
    }
    match checks::evaluate(plan) {
        evidence @ (Verdict::Bad(_) | Verdict::Dark(_) | Verdict::Unreached(_)) => evidence,
        _ => Verdict::Wait,
    }
}
