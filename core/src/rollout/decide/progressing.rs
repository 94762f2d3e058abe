//! Progressing: the new revision gets more traffic step by step, and is judged at each.

use super::{
    advance, capacity,
    change::{self, Change},
    checks::{self, Verdict},
    gates,
    plan::Plan,
    pods, release, retreat, rollback, silence, standing_orders,
    steps::{self, present_step},
    transition::{self, Transition},
};
use crate::{
    api::{HoldReason, Outcome, Phase, RetirementKind, Retreat},
    defect::{Defect, planted},
    rollout::{Serves, Weight, Workload},
};

pub(super) fn decide(plan: &mut Plan<'_>) {
    plan.mend_children();
    let Some(target) = plan.target() else {
        return target_missing(plan);
    };
    if plan.held_since(HoldReason::TargetNotFound).is_some() && !target.ready() {
        // It is there again, and its pods have all their time.
        let text = pods::not_ready_text(plan, target);
        plan.hold(HoldReason::WorkloadNotReady, &text);
    }
    match change::detect(plan) {
        // A verdict that fell before stands; what comes back is noticed after it.
        Change::Promoted(_) if plan.next.retirement.is_none() => {
            let text = "the pod template was set back to the promoted revision";
            return rollback::begin(plan, RetirementKind::Abort, text);
        }
        Change::New(revision) => return restart(plan, revision),
        _ => {}
    }
    if plan.next.retirement.is_some() {
        return rollback::proceed(plan);
    }
    if let Some(verdict) = gates::rejected(plan) {
        return rollback::begin(plan, RetirementKind::RollBack, &verdict);
    }
    if transition::may(plan, Transition::StartPods).is_none() {
        // No pod is started for it; what traffic is left of a release that was overtaken goes back.
        take_back(plan);
        return send_away(plan, target);
    }
    if plan.weight().is_zero() && pods::start_pods(plan) {
        return;
    }
    if plan.weight().is_zero() {
        at_zero(plan, target);
    } else {
        under_traffic(plan, target);
    }
}

/// As much traffic as the primary can take goes back to it.
fn take_back(plan: &mut Plan<'_>) {
    if plan.weight().is_zero() {
        plan.route_home();
    } else {
        plan.lower(capacity::kept_weight(plan));
    }
}

/// Nobody has confirmed that its pods may run: those that a manifest with `replicas` started, or that an overtaken release
/// left, go once no request reaches them.
fn send_away(plan: &mut Plan<'_>, target: &Workload) {
    let elsewhere = plan.weight().is_zero()
        && capacity::primary_carries_all(plan)
        && plan.seen.apex.serves == Some(Serves::Primary);
    if target.desired > 0 && !plan.acting() && target.up_to_date && elsewhere {
        silence::scale_away(plan);
    }
}

/// A newer revision overtakes the one being analysed: traffic away first, then the analysis starts anew.
fn restart(plan: &mut Plan<'_>, revision: String) {
    take_back(plan);
    let short = revision.get(..12).unwrap_or(&revision).to_owned();
    plan.remember(Outcome::Superseded, &format!("overtaken by revision {short}"));
    let weight = plan.next.canary_weight;
    release::begin(plan, revision);
    plan.next.canary_weight = weight;
    let confirmed = transition::may(plan, Transition::StartPods).is_some();
    plan.record();
    if confirmed && weight == 0 {
        pods::start_pods(plan);
    }
}

/// The workload is gone, and its pods with it: what was sent to them goes to a primary that serves.
pub(super) fn target_missing(plan: &mut Plan<'_>) {
    let setting_up = plan.next.phase.is_none_or(|phase| phase == Phase::Initializing);
    let sent = !plan.weight().is_zero()
        || plan
            .seen
            .routes
            .weight()
            .map_or(!setting_up, |weight| !weight.is_zero());
    let serves = plan.primary().is_some_and(|primary| primary.serving() > 0);
    if sent && serves {
        plan.lower(Weight::ZERO);
    }
    plan.next.step = None;
    let target = &plan.spec.names.target;
    let text = if serves {
        format!("Deployment {target} does not exist; the primary serves")
    } else {
        format!("Deployment {target} does not exist")
    };
    plan.hold(HoldReason::TargetNotFound, &text);
    plan.say(text);
}

/// No traffic yet, or none any more after a retreat: wait for pods, or for the end of what it waits for.
fn at_zero(plan: &mut Plan<'_>, target: &Workload) {
    plan.route_home();
    let skips = standing_orders::skips_analysis(plan);
    if skips {
        // What only metrics can end holds nothing that is not measured any more.
        retreat::end_blind(plan);
    }
    if !retreat::sees_again(plan) || !pods_ready(plan, target) {
        return transition::keep_all(plan);
    }
    if skips {
        return promote_unanalysed(plan);
    }
    let permit = transition::may(plan, Transition::FirstTraffic);
    if !retreat::paused(plan)
        && let Some(permit) = permit
    {
        advance::raise(plan, permit, present_step(plan));
    }
}

/// Whether all pods of the release are ready; if they do not get so in their time, it is rolled back.
fn pods_ready(plan: &mut Plan<'_>, target: &Workload) -> bool {
    let retreat = plan.next.retreat.clone();
    let for_good = retreat.as_ref().is_some_and(|retreat| !retreat.resumes);
    if !for_good && capacity::canary_complete(target) {
        return true;
    }
    let blind = retreat.as_ref().is_some_and(retreat::is_blind);
    let retreat = retreat.filter(|_| !blind);
    if blind || (retreat.is_none() && plan.was_held()) {
        // It waited for something else, maybe for days, with pods that were ready: their time begins now.
        let text = pods::not_ready_text(plan, target);
        plan.hold(HoldReason::WorkloadNotReady, &text);
    }
    let since = retreat
        .as_ref()
        .map_or_else(|| pods::pods_since(plan), |r| r.since);
    if pods::time_is_up(plan, since, plan.spec.progress_deadline) {
        let message = retreat.map_or_else(
            || pods::not_ready_text(plan, target),
            |Retreat { message, .. }| message,
        );
        let deadline = plan.spec.progress_deadline.num_seconds();
        let verdict = format!("{message} (progressDeadlineSeconds {deadline})");
        rollback::begin(plan, RetirementKind::RollBack, &verdict);
    } else if retreat.is_none() {
        // Starting pods are no hold worth an event; the deadline tells if they never come.
        plan.say("waiting for the new revision's pods");
    }
    false
}

/// The canary has traffic: watch its pods, its routes and its metrics.
fn under_traffic(plan: &mut Plan<'_>, target: &Workload) {
    let weight = plan.weight();
    if plan.next.step.is_none() {
        // Overtaken while the primary could not take all traffic back at once.
        return overtaken_under_traffic(plan, target);
    }
    if standing_orders::skips_analysis(plan) && capacity::canary_complete(target) && promoted_unanalysed(plan)
    {
        return;
    }
    if !capacity::canary_keeps(plan, weight) && !planted(Defect::OverlooksVanishedPods) {
        return retreat::from_lost_pods(plan);
    }
    name_dead_primary(plan);
    if plan.seen.routes.weight() != Some(weight) {
        // The verdict first: routes that are written twice in a round are both times written as they were read.
        if let Verdict::Bad(text) = checks::evaluate(plan) {
            return rollback::begin(plan, RetirementKind::RollBack, &text);
        }
        advance::restore_weight(plan, weight);
        return transition::keep_all(plan);
    }
    let skips = standing_orders::skips_analysis(plan);
    match checks::evaluate(plan) {
        Verdict::Bad(text) => return rollback::begin(plan, RetirementKind::RollBack, &text),
        Verdict::Dark(text) => return retreat::went_dark(plan, &text),
        Verdict::Unreached(text) => return retreat::for_now(plan, HoldReason::TrafficNotShifting, &text),
        // Without further analysis there is no further step either. What is measured meanwhile can take the release back,
        // and what is not measured holds nothing.
        _ if skips => transition::keep_all(plan),
        Verdict::Wait if planted(Defect::RaisesWithoutEvidence) => passed(plan),
        Verdict::Wait => {
            plan.keep_holds(&checks::METRIC_HOLDS);
            transition::keep_all(plan);
        }
        Verdict::Failed => transition::keep_all(plan),
        Verdict::Blind(reason, text) => {
            transition::keep_all(plan);
            retreat::blind(plan, reason, &text);
        }
        Verdict::Pass => passed(plan),
    }
    if plan.next.retirement.is_none() && !plan.acting() {
        pods_have_their_time(plan, target);
    }
}

/// Nothing serves what the canary has not got yet: every step makes that better, and whatever keeps the release from one is not
/// the only thing to know.
fn name_dead_primary(plan: &mut Plan<'_>) {
    let weight = plan.weight();
    if weight != Weight::FULL && plan.primary().is_none_or(|primary| primary.serving() == 0) {
        let text = format!(
            "no pod of {} serves, and what the canary does not get of the traffic goes there; the next step of the release, or \
             bellwether advance, takes more of it away",
            plan.spec.names.primary
        );
        plan.end_holds_but(HoldReason::PrimaryNotReady, "no pod of ");
        plan.hold(HoldReason::PrimaryNotReady, &text);
    }
}

/// Under traffic pods have their time as well: a release of which some keep crashing takes no step, and is rolled back.
fn pods_have_their_time(plan: &mut Plan<'_>, target: &Workload) {
    if capacity::canary_complete(target) || !plan.runs_analysed() {
        return;
    }
    let text = pods::not_ready_text(plan, target);
    plan.hold(HoldReason::WorkloadNotReady, &text);
    if plan.next.pause.is_none()
        && pods::time_is_up(plan, pods::pods_since(plan), plan.spec.progress_deadline)
    {
        rollback::begin(plan, RetirementKind::RollBack, &text);
    }
}

/// A newer revision has traffic already, because the primary cannot carry all of it: as much goes back as the primary
/// can take. If some must stay, the analysis begins with the first step that is not below it.
fn overtaken_under_traffic(plan: &mut Plan<'_>, target: &Workload) {
    plan.lower(capacity::kept_weight(plan));
    let weight = plan.weight();
    if plan.acting() || weight.is_zero() {
        return;
    }
    if !capacity::canary_complete(target) {
        // Once named it stays so: the hold itself does not begin their time anew.
        let named = plan.held_since(HoldReason::WorkloadNotReady).is_some();
        if named || pods::time_is_up(plan, pods::pods_since(plan), plan.spec.progress_deadline) {
            let text = pods::not_ready_text(plan, target);
            plan.hold(HoldReason::WorkloadNotReady, &text);
        }
        return transition::keep_all(plan);
    }
    if standing_orders::skips_analysis(plan) {
        if promoted_unanalysed(plan) {
            return;
        }
        // Without further analysis it stays where it is, and what is measured there can take it back.
        return advance::stay_at(plan, weight);
    }
    if let Some(permit) = transition::may(plan, Transition::AnalyseInPlace) {
        advance::begin_under_traffic(plan, permit);
    }
}

fn promote_unanalysed(plan: &mut Plan<'_>) {
    promoted_unanalysed(plan);
}

/// Promotes what is not to be analysed, if its pods are there and the last gate is open; returns whether it does.
fn promoted_unanalysed(plan: &mut Plan<'_>) -> bool {
    let permit = transition::may(plan, Transition::PromoteUnanalysed);
    let promotes = permit.is_some();
    if let Some(permit) = permit {
        advance::begin_promotion(plan, permit);
    }
    promotes
}

fn passed(plan: &mut Plan<'_>) {
    if steps::step_left(plan) {
        if let Some(permit) = transition::may(plan, Transition::Step) {
            advance::next_step(plan, permit);
        }
    } else if let Some(permit) = transition::may(plan, Transition::Promote) {
        plan.tell(
            crate::api::NoticeKind::Normal,
            "AnalysisPassed",
            "every step passed; the primary takes the revision over",
        );
        advance::begin_promotion(plan, permit);
    }
}
