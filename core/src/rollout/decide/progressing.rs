//! Progressing: the new revision gets more traffic step by step, and is judged at each.

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    change::{self, Change},
    checks::{self, METRIC_HOLDS, Verdict},
    gates, orders,
    plan::Plan,
    rest, retire, silence,
};
use crate::{
    api::{GatePoint, HoldReason, NoticeKind, Outcome, Phase, RetirementKind, StepStatus, UnderWay},
    defect::{Defect, planted},
    rollout::{Act, Serves, Weight, Workload},
};

/// How often the traffic may be taken back for now, because pods vanish or requests do not arrive, before the release
/// is rolled back.
const MAX_RETREATS: i32 = 3;

pub(super) fn decide(plan: &mut Plan<'_>) {
    plan.mend_children();
    let Some(target) = plan.target() else {
        return target_missing(plan);
    };
    if plan.held_since(HoldReason::TargetNotFound).is_some() && !target.ready() {
        // It is there again, and its pods have all their time.
        let text = not_ready_text(plan, target);
        plan.clear_hold(&[HoldReason::TargetNotFound]);
        plan.hold(HoldReason::WorkloadNotReady, &text);
    }
    plan.clear_hold(&[HoldReason::TargetNotFound]);
    match change::detect(plan) {
        // A verdict that fell before stands; what comes back is noticed after it.
        Change::Promoted(_) if plan.next.retirement.is_none() => {
            let text = "the pod template was set back to the promoted revision";
            return retire::begin(plan, RetirementKind::Abort, text);
        }
        Change::New(revision) => return restart(plan, revision),
        _ => {}
    }
    if plan.next.retirement.is_some() {
        return retire::proceed(plan);
    }
    if gates::rejected(plan) {
        return;
    }
    if !gates::open(plan, GatePoint::ConfirmRollout) {
        // No pod is started for it; what traffic is left of a release that was overtaken goes back.
        take_back(plan);
        return send_away(plan, target);
    }
    if target.desired == 0 && plan.weight().is_zero() {
        return scale_up(plan);
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
        plan.lower(plan.least_weight().min(plan.weight()));
    }
}

/// Nobody has confirmed that its pods may run: those that a manifest with `replicas` started, or that an overtaken release
/// left, go once no request reaches them.
fn send_away(plan: &mut Plan<'_>, target: &Workload) {
    if target.desired == 0 {
        return plan.clear_hold(&[HoldReason::TrafficNotShifting, HoldReason::MetricsUnavailable]);
    }
    let elsewhere = plan.weight().is_zero()
        && plan.primary_carries_all()
        && plan.seen.apex.serves == Some(Serves::Primary);
    if !plan.acting() && target.up_to_date && elsewhere {
        silence::scale_away(plan);
    }
}

/// Starts the target's pods: as many as the primary has, unless the user already asked for some.
pub(super) fn scale_up(plan: &mut Plan<'_>) {
    if plan.target().is_some_and(|t| t.desired == 0) {
        plan.act(Act::ScaleTarget(plan.primary().map_or(1, |p| p.desired.max(1))));
    }
}

/// A newer revision overtakes the one being analysed: traffic away first, then the analysis starts anew.
fn restart(plan: &mut Plan<'_>, revision: String) {
    take_back(plan);
    let short = revision.get(..12).unwrap_or(&revision).to_owned();
    plan.remember(Outcome::Superseded, &format!("overtaken by revision {short}"));
    let weight = plan.next.canary_weight;
    rest::begin(plan, revision);
    plan.next.canary_weight = weight;
    let confirmed = gates::open(plan, GatePoint::ConfirmRollout);
    plan.record();
    if confirmed {
        scale_up(plan);
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

/// No traffic yet, or none any more after a retreat: wait for pods, or for the end of the hold.
fn at_zero(plan: &mut Plan<'_>, target: &Workload) {
    plan.route_home();
    let skips = orders::skips_analysis(plan);
    // What only metrics can end holds nothing that is not measured any more.
    let retreat = plan.next.hold.clone().filter(|h| h.retreated);
    let retreat = retreat.filter(|h| !(skips && METRIC_HOLDS.contains(&h.reason)));
    if let Some(hold) = &retreat
        && matches!(hold.reason, HoldReason::NoData | HoldReason::MetricsUnavailable)
    {
        plan.say(format!("retreated to the primary, held: {}", hold.message));
        if !checks::sees_again(plan, hold.since) {
            return;
        }
    }
    if retreat.is_none() && plan.next.hold.is_some() && !target.ready() {
        // It waited for something else, maybe for days, with pods that were ready: their time begins now.
        let text = not_ready_text(plan, target);
        plan.hold(HoldReason::WorkloadNotReady, &text);
    }
    let since = retreat.as_ref().map_or_else(|| pods_since(plan), |h| h.since);
    let dark = retreat
        .as_ref()
        .is_some_and(|h| h.reason == HoldReason::Dark && !h.resumes);
    if dark || !target.ready() {
        let text = not_ready_text(plan, target);
        let message = retreat.as_ref().map_or(text, |h| h.message.clone());
        if plan.elapsed(since, plan.spec.progress_deadline) {
            let verdict = format!(
                "{message} (progressDeadlineSeconds {})",
                plan.spec.progress_deadline.num_seconds()
            );
            return retire::begin(plan, RetirementKind::RollBack, &verdict);
        }
        if retreat.is_none() {
            // Starting pods are no hold worth an event; the deadline tells if they never come.
            plan.say("waiting for the new revision's pods");
        }
        return;
    }
    plan.clear_hold(&[HoldReason::WorkloadNotReady]);
    if skips || unready_primary(plan).is_none() {
        plan.clear_hold(&[HoldReason::PrimaryNotReady]);
    }
    if skips {
        plan.clear_hold(&METRIC_HOLDS);
    } else if !gates::open(plan, GatePoint::PreRollout) {
        return;
    }
    if orders::promote_unanalysed(plan, target) || orders::paused(plan) || skips || !may_step(plan) {
        return;
    }
    let paused = retreat
        .filter(|h| matches!(h.reason, HoldReason::Dark | HoldReason::TrafficNotShifting))
        .is_some_and(|h| !plan.elapsed(h.since, pause(plan)));
    if paused || !primary_ready(plan) {
        return;
    }
    plan.next.hold = None;
    raise(plan, present_step(plan));
}

/// Since when the canary's pods may take their time: since the release came to them, or since they stopped being ready
/// while it waited for something else.
fn pods_since(plan: &Plan<'_>) -> DateTime<Utc> {
    let stopped = plan.held_since(HoldReason::WorkloadNotReady);
    stopped.unwrap_or(plan.phase_since())
}

fn not_ready_text(plan: &Plan<'_>, target: &Workload) -> String {
    let updated = target.updated.min(target.serving()).max(0);
    format!(
        "{}: {updated} of {} pods of the new revision are ready",
        plan.spec.names.target, target.desired
    )
}

/// What is wrong with the primary, unless it lets a step be taken: all of its pods are ready, so that it could take
/// everything back; or none is (or it is gone altogether), so that every step makes things better and the release may be
/// the fix.
fn unready_primary(plan: &Plan<'_>) -> Option<String> {
    let primary = plan
        .primary()
        .filter(|p| p.serving() < p.desired || p.desired == 0)?;
    let none_serves = primary.desired > 0 && primary.serving() == 0;
    (!none_serves).then(|| {
        format!(
            "{}: {} of {} pods are ready; no step before all are",
            plan.spec.names.primary,
            primary.serving(),
            primary.desired
        )
    })
}

/// Whether the primary lets a step be taken; if not, it says so.
fn primary_ready(plan: &mut Plan<'_>) -> bool {
    let Some(text) = unready_primary(plan) else {
        plan.clear_hold(&[HoldReason::PrimaryNotReady]);
        return true;
    };
    plan.hold(HoldReason::PrimaryNotReady, &text);
    plan.say(plan.hold_message());
    false
}

/// Goes to step `index`: intent first, then the routes.
fn raise(plan: &mut Plan<'_>, index: usize) {
    raise_to(plan, index, plan.spec.steps.weight(index));
}

/// Goes to step `index` with this weight, which is the step's own unless the primary cannot carry the rest.
fn raise_to(plan: &mut Plan<'_>, index: usize, weight: Weight) {
    let old = plan.next.step.take();
    plan.next.step = Some(StepStatus {
        index: i32::try_from(index).unwrap_or(i32::MAX),
        started_at: plan.now,
        // After a retreat the canary's traffic begins anew; otherwise it has run since the first step.
        traffic_since: old
            .as_ref()
            .filter(|_| !plan.weight().is_zero())
            .map_or(plan.now, |s| s.traffic_since),
        last_check_at: None,
        retreats: old.map_or(0, |s| s.retreats),
    });
    let steps = plan.spec.steps.last() + 1;
    plan.enter(Phase::Progressing);
    plan.say(format!("step {} of {steps}: weight {weight}", index + 1));
    plan.tell(
        NoticeKind::Normal,
        "WeightAdvanced",
        format!("step {} of {steps}: weight {weight}", index + 1),
    );
    plan.sample();
    plan.raise(weight);
}

/// The canary has traffic: watch its pods, its routes and its metrics.
fn under_traffic(plan: &mut Plan<'_>, target: &Workload) {
    let weight = plan.weight();
    if plan.next.step.is_none() {
        // Overtaken while the primary could not take all traffic back at once.
        return overtaken_under_traffic(plan, target);
    }
    if orders::promote_unanalysed(plan, target) {
        return;
    }
    let full = plan
        .primary()
        .map_or(target.desired, |p| p.desired)
        .min(target.desired);
    if !target.carries(weight, full) && !planted(Defect::OverlooksVanishedPods) {
        return retreat_without_pods(plan, target);
    }
    if plan.seen.routes.weight() != Some(weight) {
        return restore_weight(plan, weight);
    }
    if orders::skips_analysis(plan) {
        return await_promotion(plan, target);
    }
    match checks::evaluate(plan) {
        Verdict::Wait if planted(Defect::RaisesWithoutEvidence) => passed(plan),
        Verdict::Wait | Verdict::Failed => {}
        Verdict::Bad(text) => retire::begin(plan, RetirementKind::RollBack, &text),
        Verdict::Dark(text) => went_dark(plan, &text),
        Verdict::Unreached(text) => retreat_for_now(plan, HoldReason::TrafficNotShifting, &text),
        Verdict::Blind(reason, text) => blind(plan, reason, &text),
        Verdict::Pass => passed(plan),
    }
}

/// A newer revision has traffic already, because the primary cannot carry all of it: as much goes back as the primary
/// can take. If some must stay, the analysis begins with the first step that is not below it.
fn overtaken_under_traffic(plan: &mut Plan<'_>, target: &Workload) {
    plan.lower(plan.least_weight().min(plan.weight()));
    let weight = plan.weight();
    if plan.acting() || weight.is_zero() {
        return;
    }
    if !target.ready() {
        if plan.elapsed(pods_since(plan), plan.spec.progress_deadline) {
            let text = not_ready_text(plan, target);
            plan.hold(HoldReason::WorkloadNotReady, &text);
        }
        return;
    }
    plan.clear_hold(&[HoldReason::WorkloadNotReady]);
    if orders::promote_unanalysed(plan, target)
        || orders::paused(plan)
        || !gates::thawed(plan, UnderWay::Hold)
    {
        return;
    }
    let skips = orders::skips_analysis(plan);
    if !skips && !gates::open(plan, GatePoint::PreRollout) {
        return;
    }
    if skips {
        // Without further analysis it stays where it is, and what is measured there can take it back.
        raise_to(plan, step_from(plan, weight), weight);
    } else {
        begin_under_traffic(plan);
    }
}

/// The analysis of what has traffic already begins with the first step that is not below it.
fn begin_under_traffic(plan: &mut Plan<'_>) {
    let weight = plan.weight();
    let index = step_from(plan, weight);
    raise_to(plan, index, plan.spec.steps.weight(index).max(weight));
}

/// The first step that is not below `weight`, or the last.
fn step_from(plan: &Plan<'_>, weight: Weight) -> usize {
    let mut steps = plan.spec.steps.weights().iter();
    let index = steps.position(|step| *step >= weight);
    index.unwrap_or(plan.spec.steps.last())
}

/// The routes were changed by someone, or our own write after the intent was lost: the step's clock starts again, so
/// that its evidence is of this weight alone (I5).
fn restore_weight(plan: &mut Plan<'_>, weight: Weight) {
    let fresh = plan.next.step.as_ref().is_some_and(|s| s.started_at == plan.now);
    if !fresh && let Some(step) = &mut plan.next.step {
        step.started_at = plan.now;
        step.last_check_at = None;
    }
    if !plan.repair() {
        return;
    }
    plan.record();
    plan.route(weight);
}

fn retreat_without_pods(plan: &mut Plan<'_>, target: &Workload) {
    let text = format!(
        "{} of {} pods of the canary can serve, too few for weight {}",
        target.serving(),
        target.desired,
        plan.weight()
    );
    retreat_for_now(plan, HoldReason::Dark, &text);
}

/// Takes the traffic back, to try the same step again after a pause that grows each time; at the fourth time the
/// release is rolled back.
pub(super) fn retreat_for_now(plan: &mut Plan<'_>, reason: HoldReason, text: &str) {
    let retreats = plan.next.step.as_ref().map_or(0, |s| s.retreats) + 1;
    if let Some(step) = &mut plan.next.step {
        step.retreats = retreats;
    }
    if retreats > MAX_RETREATS {
        let text = format!("{text}, for the {retreats}th time");
        return retire::begin(plan, RetirementKind::RollBack, &text);
    }
    retreat(plan, reason, text, true);
}

/// How long the traffic stays away after a retreat: an interval, doubled with every further one.
fn pause(plan: &Plan<'_>) -> TimeDelta {
    let retreats = plan
        .next
        .step
        .as_ref()
        .map_or(1, |s| s.retreats)
        .clamp(1, MAX_RETREATS);
    plan.spec.interval * (1 << (retreats - 1))
}

/// Requests do not reach the canary any more: without traffic nothing can show that it recovered, so this hold ends
/// only with a newer revision, or in a rollback.
pub(super) fn went_dark(plan: &mut Plan<'_>, text: &str) {
    retreat(plan, HoldReason::Dark, text, false);
}

/// Takes the traffic back to the primary, at once; the rollout is held, not failed.
fn retreat(plan: &mut Plan<'_>, reason: HoldReason, text: &str, resumes: bool) {
    let least = plan.least_weight().min(plan.weight());
    if !least.is_zero() {
        // The primary cannot take it: as much as it can goes back, the rest stays where it is served.
        plan.lower(least);
        plan.hold(reason, text);
        plan.say(format!(
            "held at weight {least}, the primary cannot take it: {text}"
        ));
        return;
    }
    plan.lower(Weight::ZERO);
    if plan.next.hold.as_ref().is_some_and(|h| h.retreated) {
        plan.next.hold = None;
    }
    plan.hold(reason, text);
    if let Some(hold) = &mut plan.next.hold {
        hold.retreated = true;
        hold.resumes = resumes;
    }
    plan.say(format!("retreated to the primary, held: {text}"));
    plan.tell(
        NoticeKind::Warning,
        "Retreated",
        format!("all traffic is back on the primary: {text}"),
    );
}

fn blind(plan: &mut Plan<'_>, reason: HoldReason, text: &str) {
    plan.hold(reason, text);
    plan.say(format!(
        "held at weight {}: {}",
        plan.weight(),
        plan.hold_message()
    ));
    let since = plan.held_since(reason).unwrap_or(plan.now);
    if reason == HoldReason::NoData && checks::dark_since(plan, since) {
        let text = format!(
            "no request reached the canary at weight {} since {}",
            plan.weight(),
            since.format("%T")
        );
        return retreat_for_now(plan, HoldReason::Dark, &text);
    }
    if reason == HoldReason::NoData && checks::silent_at_full(plan, since) {
        // With the primary idle nothing tells a dark canary from callers that are away; going back costs nothing then.
        let text = "no request reaches the canary, which should get all of them";
        return retreat_for_now(plan, HoldReason::NoData, text);
    }
    if reason == HoldReason::TrafficNotShifting || !checks::blind_for_both(plan) {
        return;
    }
    if plan.elapsed(since, plan.spec.max_blind) {
        retreat(plan, reason, text, true);
    }
}

fn passed(plan: &mut Plan<'_>) {
    plan.clear_hold(&METRIC_HOLDS);
    if orders::paused(plan) || !primary_ready(plan) {
        return;
    }
    if !step_left(plan) && !has_analysed_template(plan) {
        return;
    }
    plan.clear_hold(&[HoldReason::WorkloadNotReady]);
    if !may_step(plan) {
        return;
    }
    if !next_step(plan) && gates::open(plan, GatePoint::ConfirmPromotion) {
        plan.tell(
            NoticeKind::Normal,
            "AnalysisPassed",
            "every step passed; the primary takes the revision over",
        );
        super::promoting::begin(plan);
    }
}

/// Whether the target has the template that was analysed. A paused Deployment, or one that its controller has not seen, may
/// have another one that no pod runs: it is no new revision yet, and what is promoted is only what was analysed (W1).
fn has_analysed_template(plan: &mut Plan<'_>) -> bool {
    let analysed = plan.next.revision.current.as_ref();
    let Some(target) = plan.target().filter(|t| Some(&t.revision) != analysed) else {
        return true;
    };
    let why = if target.paused {
        ", because it is paused"
    } else {
        ""
    };
    let text = format!(
        "{} has another pod template than the analysed one, and has not rolled it out{why}",
        plan.spec.names.target
    );
    plan.hold(HoldReason::WorkloadNotReady, &text);
    plan.say(plan.hold_message());
    false
}

/// Without further analysis there is no further step either: what the release waits for, it waits for where it is. What
/// is measured meanwhile can take it back, and what is not measured holds nothing.
fn await_promotion(plan: &mut Plan<'_>, target: &Workload) {
    plan.clear_hold(&METRIC_HOLDS);
    plan.clear_hold(&[HoldReason::PrimaryNotReady]);
    match checks::evaluate(plan) {
        Verdict::Bad(text) => return retire::begin(plan, RetirementKind::RollBack, &text),
        Verdict::Dark(text) => return went_dark(plan, &text),
        Verdict::Unreached(text) => return retreat_for_now(plan, HoldReason::TrafficNotShifting, &text),
        Verdict::Wait | Verdict::Failed | Verdict::Blind(..) | Verdict::Pass => {}
    }
    if !orders::paused(plan) {
        await_pods(plan, target);
    }
}

/// Pods have their time there as well.
fn await_pods(plan: &mut Plan<'_>, target: &Workload) {
    if target.ready() {
        return plan.clear_hold(&[HoldReason::WorkloadNotReady]);
    }
    let text = not_ready_text(plan, target);
    plan.hold(HoldReason::WorkloadNotReady, &text);
    if plan.elapsed(pods_since(plan), plan.spec.progress_deadline) {
        retire::begin(plan, RetirementKind::RollBack, &text);
    }
}

/// Whether freezes let a step be taken: the first step is the beginning of a release, the others are under way.
pub(super) fn may_step(plan: &mut Plan<'_>) -> bool {
    let first = plan.next.step.is_none();
    gates::thawed(plan, if first { UnderWay::Finish } else { UnderWay::Hold })
}

/// Somebody orders the next step, whatever the evidence; it was not refused, so that no freeze and no closed gate is in
/// the way, and the pods can carry it (I2).
pub(super) fn advance(plan: &mut Plan<'_>) {
    plan.next.hold = None;
    if plan.weight().is_zero() {
        if gates::open(plan, GatePoint::ConfirmRollout) && gates::open(plan, GatePoint::PreRollout) {
            raise(plan, present_step(plan));
        }
    } else if plan.next.step.is_none() {
        begin_under_traffic(plan);
    } else if !next_step(plan) && gates::open(plan, GatePoint::ConfirmPromotion) {
        super::promoting::begin(plan);
    }
    plan.record();
}

fn present_step(plan: &Plan<'_>) -> usize {
    let step = plan.next.step.as_ref();
    step.map_or(0, |step| usize::try_from(step.index).unwrap_or(0))
}

fn step_left(plan: &Plan<'_>) -> bool {
    let last = plan.spec.steps.last();
    present_step(plan) < last && plan.weight() < plan.spec.steps.weight(last)
}

/// Takes the next step; returns whether there was one left.
fn next_step(plan: &mut Plan<'_>) -> bool {
    let left = step_left(plan);
    if left {
        let index = present_step(plan);
        raise(plan, index + 1 + usize::from(planted(Defect::SkipsAStep)));
    }
    left
}
