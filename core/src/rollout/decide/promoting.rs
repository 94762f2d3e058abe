//! Promoting: the primary takes over exactly the analysed template. Finalising: traffic is back on it, the canary
//! goes.
//!
//! Invariant: until the primary's template is written, everything can still be called off; afterwards a bad verdict
//! or a primary that does not become ready leads to an undo, never to the ordinary rollback (W4).

use super::{
    change::{self, Change},
    checks::{self, Verdict},
    orders,
    plan::Plan,
    progressing, retire, silence,
};
use crate::{
    api::{HoldReason, NoticeKind, Outcome, Phase, RetirementKind},
    defect::{Defect, planted},
    rollout::{Act, Serves, Weight, Workload},
};

/// The intent to promote; the primary follows in the next round.
pub(super) fn begin(plan: &mut Plan<'_>) {
    plan.next.hold = None;
    plan.enter(Phase::Promoting);
    plan.say(format!("{} takes the new revision over", plan.spec.names.primary));
}

pub(super) fn decide(plan: &mut Plan<'_>) {
    plan.mend_children();
    if plan.next.retirement.is_some() {
        return retire::proceed(plan);
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
            return retire::begin(plan, RetirementKind::RollBack, &text);
        }
        Verdict::Dark(text) => {
            plan.enter(Phase::Progressing);
            return progressing::went_dark(plan, &text);
        }
        Verdict::Unreached(text) => {
            plan.enter(Phase::Progressing);
            return progressing::retreat_for_now(plan, HoldReason::TrafficNotShifting, &text);
        }
        _ => {}
    }
    if !gives_way(plan) {
        return;
    }
    let wanted = plan.target().map_or(0, |t| t.desired);
    let replicas = plan.primary().map_or(wanted, |p| p.desired.max(wanted)).max(1);
    plan.tell(
        NoticeKind::Normal,
        "Promoting",
        format!("{} gets the analysed pod template", plan.spec.names.primary),
    );
    plan.record();
    plan.act(Act::Promote {
        revision,
        replicas: Some(replicas),
    });
}

/// Whether the primary may get another template. If its pods all go before new ones come (`Recreate`), the canary serves
/// meanwhile, with as many pods as the primary (I2).
fn gives_way(plan: &mut Plan<'_>) -> bool {
    let recreate = plan.target().is_some_and(|t| t.floor == 0 && t.desired > 0)
        || plan.primary().is_some_and(|p| p.floor == 0 && p.desired > 0);
    if !recreate {
        return true;
    }
    if !enough_pods(plan) {
        return false;
    }
    if plan.weight() != Weight::FULL {
        plan.raise(Weight::FULL);
        return false;
    }
    plan.route(Weight::FULL);
    !plan.acting() && plan.settled_at(Weight::FULL) && silence::silent(plan, Serves::Primary)
}

/// Whether the canary has as many ready pods as the primary. They have their time, if those that are there serve on.
fn enough_pods(plan: &mut Plan<'_>) -> bool {
    let wanted = plan.primary().map_or(0, |p| p.desired);
    let target = plan.target();
    let scarce = target.is_some_and(|t| t.desired < wanted);
    if !scarce && target.is_some_and(Workload::ready) {
        return true;
    }
    let serves = target.is_some_and(|t| t.serving() > 0);
    let since = plan.phase_since();
    if serves && !plan.elapsed(since, plan.spec.progress_deadline) {
        if scarce {
            plan.act(Act::ScaleTarget(wanted));
        }
        plan.route(plan.weight());
        plan.say(
            "promoting: waiting for the canary's pods, which serve alone while the primary is recreated",
        );
        return false;
    }
    plan.enter(Phase::Progressing);
    let text = "not all pods of the canary are ready, and it must serve alone while the primary is recreated";
    progressing::retreat_for_now(plan, HoldReason::WorkloadNotReady, text);
    false
}

/// The primary has the analysed template: wait until it is ready, then give it the traffic back.
fn taken_over(plan: &mut Plan<'_>, primary: &Workload) {
    if !plan.weight().is_zero() && plan.primary_carries_all() && !canary_fit(plan, primary) {
        // Nothing that was not analysed and nothing without pods gets a share while the traffic returns.
        return plan.lower(Weight::ZERO);
    }
    match armed(plan) {
        Verdict::Bad(text) => return retire::begin(plan, RetirementKind::UndoOnPrimary, &text),
        Verdict::Dark(_) | Verdict::Unreached(_) if plan.primary_carries_all() => {
            return plan.lower(Weight::ZERO);
        }
        _ => {}
    }
    if !primary.ready() {
        return await_primary(plan, primary);
    }
    plan.next.hold = None;
    let weight = plan.weight();
    if !may_descend(plan) {
        plan.route(weight);
        return;
    }
    let next = plan.spec.promotion_step.map_or(Weight::ZERO, |step| {
        Weight::saturating(i64::from(weight.percent()) - i64::from(step.percent()))
    });
    if let Some(step) = &mut plan.next.step {
        step.started_at = plan.now;
        step.last_check_at = None;
    }
    plan.say(format!("traffic returns to the primary: canary weight {next}"));
    if next.is_zero() {
        plan.enter(Phase::Finalising);
        plan.tell(
            NoticeKind::Normal,
            "TrafficReturned",
            "the primary is ready and serves all traffic",
        );
    }
    plan.raise(next);
}

/// Whether the canary still runs what was analysed, with enough pods for its weight.
fn canary_fit(plan: &Plan<'_>, primary: &Workload) -> bool {
    plan.target().is_some_and(|target| {
        let full = primary.desired.min(target.desired);
        plan.runs_analysed() && target.carries(plan.weight(), full)
    })
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
    if orders::skips_analysis(plan) {
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
    if plan.elapsed(since, plan.spec.progress_deadline) {
        let deadline = plan.spec.progress_deadline.num_seconds();
        let text = format!("{text} after {deadline} s (progressDeadlineSeconds)");
        return retire::begin(plan, RetirementKind::UndoOnCanary, &text);
    }
    let weight = plan.weight();
    let canary_ready = plan
        .target()
        .is_some_and(|t| t.ready() && Some(&t.revision) == plan.next.revision.current.as_ref());
    if !canary_ready && !weight.is_zero() && plan.primary_carries_all() {
        // The canary is edited or loses pods: the primary's analysed pods take its share.
        plan.lower(Weight::ZERO);
    } else if canary_ready
        && !primary.carries(weight.complement(), primary.desired)
        && outnumbers(plan, primary)
    {
        plan.raise(Weight::FULL);
    } else {
        plan.route(weight);
    }
}

/// Whether the canary serves with at least as many pods as the primary: fewer would fall over under all of its traffic.
fn outnumbers(plan: &Plan<'_>, primary: &Workload) -> bool {
    plan.target()
        .is_some_and(|target| target.serving() >= primary.serving())
}

/// Evidence stays armed while the canary has traffic; what is missing does not stop a promotion that was earned.
fn armed(plan: &mut Plan<'_>) -> Verdict {
    let judged = plan.next.step.is_some() && plan.runs_analysed();
    if plan.weight().is_zero() || !judged || orders::skips_analysis(plan) {
        return Verdict::Wait;
    }
    match checks::evaluate(plan) {
        evidence @ (Verdict::Bad(_) | Verdict::Dark(_) | Verdict::Unreached(_)) => evidence,
        _ => Verdict::Wait,
    }
}

/// Finalising: the canary is scaled away once no proxy sends there any more, and only then the promotion is over.
pub(super) fn finalise(plan: &mut Plan<'_>) {
    plan.mend_children();
    let primary_dead = plan.primary().is_none_or(|primary| primary.serving() == 0);
    if primary_dead && plan.target().is_some_and(|target| target.serving() > 0) {
        // It was ready a moment ago; whoever serves goes on until it is again.
        plan.enter(Phase::Promoting);
        plan.say(format!("{} has no ready pod any more", plan.spec.names.primary));
        plan.raise(Weight::FULL);
        return;
    }
    plan.route(Weight::ZERO);
    plan.point_apex(Serves::Primary);
    if plan.acting() || !plan.settled_at(Weight::ZERO) {
        return;
    }
    let Some(target) = plan.target() else {
        return succeed(plan);
    };
    let analysed = plan.next.revision.current.as_ref() == Some(&target.revision);
    if target.desired > 0 && analysed {
        if silence::silent(plan, Serves::Target) {
            plan.act(Act::ScaleTarget(0));
        }
        return;
    }
    if target.gone() || !analysed {
        succeed(plan);
    }
}

fn succeed(plan: &mut Plan<'_>) {
    let short = plan
        .next
        .revision
        .current
        .as_ref()
        .map_or("", |r| r.get(..12).unwrap_or(r))
        .to_owned();
    let outcome = if orders::skips_analysis(plan) {
        Outcome::FastPromoted
    } else {
        Outcome::Promoted
    };
    let text = format!("revision {short} is promoted; the primary serves all traffic");
    let current = plan.next.revision.current.clone();
    let before = std::mem::replace(&mut plan.next.revision.promoted, current);
    if before != plan.next.revision.promoted {
        plan.next.revision.previous = before;
    }
    plan.remember(outcome, &text);
    plan.next.step = None;
    plan.clear_hold(&[HoldReason::WorkloadNotReady]);
    plan.enter(Phase::Succeeded);
    plan.say(text.clone());
    plan.tell(NoticeKind::Normal, "Promoted", text);
}
