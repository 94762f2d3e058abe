//! Promoting: the primary takes over exactly the analysed template. Finalising: traffic is back on it, the canary
//! goes.
//!
//! Invariant: until the primary's template is written, everything can still be called off; afterwards a bad verdict
//! or a primary that does not become ready leads to an undo, never to the ordinary rollback (W4).

use super::{
    capacity,
    change::{self, Change},
    checks::{self, Verdict},
    plan::Plan,
    pods, progressing, quarrel,
    reach::{self, Reach},
    retreat, rollback, silence, standing_orders, transfer,
};
use crate::{
    api::{FirstCallsStatus, HoldReason, NoticeKind, Outcome, Phase, RetirementKind},
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
    plan.tell(
        NoticeKind::Normal,
        "Promoting",
        format!("{} gets the analysed pod template", plan.spec.names.primary),
    );
    // What is known of requests to the primary was about the pods that are replaced.
    plan.next.transfer = None;
    plan.record();
    plan.act(Act::Promote {
        revision,
        replicas: Some(replicas),
    });
}

/// Whether the primary may get another template: its strategy keeps enough of its pods for its share, or the canary serves
/// alone meanwhile, with as many pods as the primary (I2).
fn gives_way(plan: &mut Plan<'_>) -> bool {
    let weight = plan.weight();
    if weight != Weight::FULL && capacity::primary_keeps_serving(plan, weight) {
        return true;
    }
    if !capacity::primary_keeps_serving(plan, Weight::ZERO) && !enough_pods(plan) {
        return false;
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
    if !plan.weight().is_zero() && capacity::primary_carries_all(plan) && !canary_fit(plan) {
        // Nothing that was not analysed and nothing without pods gets a share while the traffic returns.
        return plan.lower(Weight::ZERO);
    }
    match armed(plan) {
        Verdict::Bad(text) => return rollback::begin(plan, RetirementKind::UndoOnPrimary, &text),
        Verdict::Dark(_) | Verdict::Unreached(_) if capacity::primary_carries_all(plan) => {
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
    if !canary_fit(plan) && !weight.is_zero() && capacity::primary_carries_all(plan) {
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

/// Finalising: the canary is scaled away once no proxy sends there any more, and only then the promotion is over.
pub(super) fn finalise(plan: &mut Plan<'_>) {
    plan.mend_children();
    let primary_dead = plan.primary().is_none_or(|primary| primary.serving() == 0);
    if primary_dead && plan.target().is_some_and(|target| target.serving() > 0) {
        let text = format!("{} has no ready pod any more", plan.spec.names.primary);
        let split = capacity::best_split(plan);
        return primary_failed(plan, &text, split);
    }
    plan.route(Weight::ZERO);
    plan.point_apex(Serves::Primary);
    if plan.acting() || !plan.settled_at(Weight::ZERO) {
        return;
    }
    let current = plan.next.revision.current.as_ref();
    let overtaken = plan
        .target()
        .is_some_and(|target| target.up_to_date && Some(&target.revision) != current);
    if !overtaken && !primary_reached(plan) {
        return;
    }
    let Some(target) = plan.target() else {
        return succeed(plan);
    };
    let analysed = plan.next.revision.current.as_ref() == Some(&target.revision);
    if target.desired > 0 && analysed {
        if !silence::silent(plan, Serves::Target) {
            return;
        }
        if !quarrel::is_about(plan, &Act::ScaleTarget(0)) {
            return plan.act(Act::ScaleTarget(0));
        }
        // Whoever insists on pods that nobody calls keeps the promotion from nothing.
        return succeed(plan);
    }
    if target.gone() || !analysed {
        succeed(plan);
    }
}

/// Whether requests reach the primary's new pods, or nobody calls.
fn primary_reached(plan: &mut Plan<'_>) -> bool {
    if plan
        .next
        .transfer
        .as_ref()
        .is_some_and(|transfer| transfer.confirmed)
    {
        return true;
    }
    match reach::look(plan, Serves::Primary, Weight::FULL) {
        Reach::Reached => {
            transfer::confirm(plan);
            true
        }
        Reach::Idle => true,
        Reach::Wait => {
            plan.keep_holds(&[HoldReason::MetricsUnavailable, HoldReason::ReachUnknown]);
            false
        }
        Reach::Missing(text) => {
            plan.hold(HoldReason::NotReached, &text);
            let share = capacity::canary_share(plan);
            primary_failed(plan, &text, share);
            false
        }
        Reach::Unknown(reason, text) => {
            let text = plan.hold(reason, &text);
            plan.say(text);
            false
        }
    }
}

/// The primary was ready a moment ago, and has no pod now that it has all of the traffic: whoever serves goes on until it
/// is again. A primary that fails again and again under its traffic does not carry this revision.
fn primary_failed(plan: &mut Plan<'_>, text: &str, share: Weight) {
    if plan.next.transfer.is_none() {
        // The version before remembered no hand-over here.
        transfer::begin_anyhow(plan, Serves::Primary, Weight::ZERO);
    }
    transfer::give_up(plan, true);
    plan.towards_safety();
    plan.enter(Phase::Promoting);
    if transfer::failed(plan) {
        let failures = capacity::MAX_FAILURES;
        let text = format!("{text}, for the {failures}rd time under all of the traffic");
        return rollback::begin(plan, RetirementKind::UndoOnCanary, &text);
    }
    plan.say(text.to_owned());
    plan.stand_in(share);
}

fn succeed(plan: &mut Plan<'_>) {
    let short = plan
        .next
        .revision
        .current
        .as_ref()
        .map_or("", |r| r.get(..12).unwrap_or(r))
        .to_owned();
    let outcome = if standing_orders::skips_analysis(plan) {
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
    // Nobody called, or a newer revision came before it was known: the first callers tell.
    let transfer = plan.next.transfer.take();
    let reached = plan.spec.reach_assumed || transfer.is_some_and(|known| known.confirmed || known.assumed);
    plan.next.first_calls = (!reached).then(|| FirstCallsStatus::since(plan.now));
    plan.next.step = None;
    plan.clear_holds();
    plan.enter(Phase::Succeeded);
    plan.say(text.clone());
    plan.tell(NoticeKind::Normal, "Promoted", text);
}
