//! Initializing: the primary is set up beside the running workload, and takes over without losing a request.
//!
//! Order: primary ready, then a small share of the traffic, then all of it once requests are known to arrive, then the apex
//! Service; then the target is scaled away.

mod primary; // the primary that is set up

use primary::{primary_died, primary_ready};

use super::{
    capacity,
    plan::Plan,
    pods, policies, quarrel,
    reach::{self, Reach},
    silence,
    transfer::{self, old_share},
    transition,
};
use crate::{
    api::{FirstCallsStatus, HoldReason, NoticeKind, Phase},
    defect::{Defect, planted},
    rollout::{Act, Serves, Weight, Workload},
};

/// What the target keeps while it is found out whether requests reach the primary.
const FIRST_SHARE: i64 = 95;

pub(super) fn decide(plan: &mut Plan<'_>) {
    let Some(target) = plan.target() else {
        return super::progressing::target_missing(plan);
    };
    if plan.next.phase.is_none() {
        plan.enter(Phase::Initializing);
        let text = format!(
            "setting up {} beside {}{}",
            plan.spec.names.primary,
            plan.spec.names.target,
            policies::companions(plan)
        );
        plan.tell(NoticeKind::Normal, "Initializing", text);
        plan.say(format!("setting up {}", plan.spec.names.primary));
        plan.record();
    }
    // The share of the canary speaks of releases; this is none.
    plan.next.canary_weight = 0;
    if !carried_over(plan) {
        return;
    }
    if pushed_meanwhile(plan, target) {
        return;
    }
    give_back(plan, target);
    plan.mend_children();
    if !primary_ready(plan, target) {
        return;
    }
    let dead = plan.primary().is_none_or(|primary| primary.serving() == 0);
    if dead && !planted(Defect::DoesNotAwaitThePrimary) {
        return primary_died(plan, target);
    }
    hand_over(plan, target);
}

/// Before anything is written, what cannot be carried over, who leads to the Service from elsewhere, and which policies would not
/// cover the primary is named, all of it. What is under way already goes on.
fn carried_over(plan: &mut Plan<'_>) -> bool {
    if plan.next.transfer.is_some() {
        return true;
    }
    let fits = transition::routes_fit(plan);
    policies::cover(plan) && fits
}

/// The service was to be given back to the target, and before that had any of it, another template was pushed: it is released
/// like any other, with its gates and its analysis.
fn pushed_meanwhile(plan: &mut Plan<'_>, target: &Workload) -> bool {
    let promoted = plan.next.revision.promoted.as_ref();
    let another = promoted.is_some() && promoted != Some(&target.revision) && target.up_to_date;
    let primary_has_it =
        plan.seen.routes.weight() == Some(Weight::ZERO) && plan.seen.apex.serves != Some(Serves::Target);
    // A primary that followed the target already has nothing released any more: the set-up goes on with that.
    let keeps = |primary: &Workload| primary.serving() > 0 && Some(&primary.revision) == promoted;
    let serves = plan.primary().is_some_and(keeps);
    if !another || !primary_has_it || !serves {
        return false;
    }
    plan.next.transfer = None;
    plan.clear_holds();
    plan.enter(Phase::Initialized);
    plan.say(format!(
        "{} keeps the service: {} has another template now",
        plan.spec.names.primary, plan.spec.names.target
    ));
    true
}

/// While the target has all of the traffic after an attempt, that is put right before everything else: a write that was lost
/// or refused leaves it with pods that do not serve.
fn give_back(plan: &mut Plan<'_>, target: &Workload) {
    if old_share(plan) == Some(Weight::FULL) && target.serving() > 0 {
        plan.route(Weight::FULL);
        plan.point_apex(Serves::Target);
        if plan.acting() {
            plan.towards_safety();
        }
    }
}

fn hand_over(plan: &mut Plan<'_>, target: &Workload) {
    let Some(share) = old_share(plan) else {
        return begin(plan);
    };
    if target.serving() == 0 && !share.is_zero() {
        // Nobody serves there any more, and the primary does.
        plan.towards_safety();
        transfer::force(plan, Weight::ZERO);
        plan.say(format!(
            "the traffic moves to {}: nobody else serves",
            plan.spec.names.primary
        ));
        return follow(plan);
    }
    if share == Weight::FULL {
        return try_again(plan);
    }
    plan.route(share);
    if plan.acting() || !plan.settled_at(share) {
        plan.keep_holds(&[HoldReason::NotReached]);
        return;
    }
    if !share.is_zero() {
        return try_share(plan, share);
    }
    take_over(plan, target);
}

/// The first share goes to the primary. What was set up by the version before may have all of the traffic there already.
fn begin(plan: &mut Plan<'_>) {
    if !pods::are_watched(plan) {
        return;
    }
    let moved = plan.seen.routes.weight() == Some(Weight::ZERO);
    let share = if moved { Weight::ZERO } else { first_share(plan) };
    if begin_with(plan, share) {
        plan.say(format!("the traffic moves to {}", plan.spec.names.primary));
        follow(plan);
    }
}

/// Begins an attempt. Where the target serves nobody, nothing is waited for.
fn begin_with(plan: &mut Plan<'_>, share: Weight) -> bool {
    let serves = plan.target().is_some_and(|target| target.serving() > 0);
    if serves {
        return transfer::begin(plan, Serves::Primary, share);
    }
    transfer::begin_anyhow(plan, Serves::Primary, share);
    transfer::force(plan, share);
    true
}

/// What the target keeps at first: nothing if none of its pods serves.
fn first_share(plan: &Plan<'_>) -> Weight {
    let serves = plan.target().is_some_and(|target| target.serving() > 0);
    Weight::saturating(if serves { FIRST_SHARE } else { 0 })
}

/// Records the share, then routes it.
fn follow(plan: &mut Plan<'_>) {
    plan.record();
    if let Some(share) = old_share(plan) {
        plan.route(share);
    }
}

fn try_share(plan: &mut Plan<'_>, share: Weight) {
    if !same_template(plan) {
        // What was pushed meanwhile serves at the target already: the primary follows before it gets more.
        transfer::give_up(plan, false);
        return follow(plan);
    }
    let found = reach::look(plan, Serves::Primary, share.complement());
    match found {
        Reach::Reached | Reach::Idle if !capacity::primary_carries_rest(plan, Weight::ZERO) => {
            let text = format!(
                "{}: too few pods are ready for all of the traffic",
                plan.spec.names.primary
            );
            held(plan, HoldReason::WorkloadNotReady, &text);
        }
        Reach::Reached | Reach::Idle if !pods::are_watched(plan) => {
            plan.keep_holds(&[HoldReason::NotReached]);
        }
        Reach::Reached | Reach::Idle => move_on(plan, &found),
        Reach::Wait => plan.keep_holds(&[HoldReason::NotReached]),
        Reach::Missing(text) => go_back(plan, &text),
        Reach::Unknown(reason, text) => held(plan, reason, &text),
    }
}

fn held(plan: &mut Plan<'_>, reason: HoldReason, text: &str) {
    let text = plan.hold(reason, text);
    plan.say(text);
}

fn same_template(plan: &Plan<'_>) -> bool {
    let primary = plan.primary().map(|primary| &primary.revision);
    plan.target()
        .is_none_or(|target| !target.up_to_date || Some(&target.revision) == primary)
}

/// All of the traffic goes to the primary.
fn move_on(plan: &mut Plan<'_>, found: &Reach) {
    transfer::go_on(plan, Weight::ZERO, found);
    plan.clear_holds();
    plan.say(format!("the traffic moves to {}", plan.spec.names.primary));
    follow(plan);
}

/// Requests do not reach the primary: they go back to the target, both sides keep their pods, and it is tried again later.
/// A target without a pod that serves is no better.
fn go_back(plan: &mut Plan<'_>, text: &str) {
    if plan.target().is_none_or(|target| target.serving() == 0) {
        if plan.target().is_some_and(|target| target.desired == 0) {
            plan.act(Act::ScaleTarget(capacity::full(plan)));
        }
        return held(plan, HoldReason::NotReached, text);
    }
    let forced = plan.next.transfer.as_ref().is_some_and(|known| known.forced);
    if forced && !capacity::target_carries_more(plan) {
        // The target's pods are on their way: a few of them do not take what many have.
        return held(plan, HoldReason::NotReached, text);
    }
    let text = format!("{text}{}", policies::suspects(plan));
    plan.towards_safety();
    transfer::give_up(plan, true);
    plan.clear_holds();
    held(plan, HoldReason::NotReached, &text);
    follow(plan);
    plan.point_apex(Serves::Target);
}

/// The target has all of the traffic again: after a pause the next attempt begins.
fn try_again(plan: &mut Plan<'_>) {
    plan.keep_holds(&[HoldReason::NotReached]);
    if !pods::are_watched(plan) || !transition::routes_fit(plan) || !transfer::may_try_again(plan) {
        return;
    }
    let share = first_share(plan);
    if begin_with(plan, share) {
        follow(plan);
    }
}

/// The primary has all of the traffic: the apex Service follows, and the target goes when no request reaches it any more.
fn take_over(plan: &mut Plan<'_>, target: &Workload) {
    let known = plan.next.transfer.clone();
    if known.as_ref().is_some_and(|transfer| transfer.forced) && capacity::target_carries_more(plan) {
        // It had to move while nobody served here, and whether requests arrive there was not asked.
        plan.towards_safety();
        transfer::give_up(plan, false);
        plan.say(format!(
            "{} serves again, and has the traffic again",
            plan.spec.names.target
        ));
        follow(plan);
        return plan.point_apex(Serves::Target);
    }
    if known.is_some_and(|transfer| transfer.reached) {
        match reach::look(plan, Serves::Primary, Weight::FULL) {
            Reach::Reached | Reach::Idle => {}
            Reach::Wait => return plan.keep_holds(&[HoldReason::NotReached]),
            Reach::Missing(text) => return go_back(plan, &text),
            Reach::Unknown(reason, text) => return held(plan, reason, &text),
        }
    } else if !idle_still(plan) {
        return;
    }
    if plan.primary().is_none_or(|primary| !primary.ready()) {
        return lost_pods(plan);
    }
    if !pods::are_watched(plan) {
        return plan.keep_holds(&[HoldReason::NotReached]);
    }
    plan.point_apex(Serves::Primary);
    if plan.acting() || !plan.drained() {
        return;
    }
    if target.desired > 0 {
        if !capacity::primary_carries_rest(plan, Weight::ZERO) {
            let text = format!(
                "{}: too few pods are ready for all of the traffic",
                plan.spec.names.primary
            );
            return held(plan, HoldReason::WorkloadNotReady, &text);
        }
        if !silence::silent(plan, Serves::Target) {
            return;
        }
        if !quarrel::is_about(plan, &Act::ScaleTarget(0)) {
            return plan.act(Act::ScaleTarget(0));
        }
        // Whoever insists on pods that nobody calls keeps the set-up from nothing.
        return finish(plan);
    }
    if target.gone() {
        finish(plan);
    }
}

/// Some of the primary's pods are gone since it has all of the traffic: if the target has more, it goes back there.
fn lost_pods(plan: &mut Plan<'_>) {
    let text = format!("{}: not all pods are ready", plan.spec.names.primary);
    let better = same_template(plan) && capacity::target_carries_more(plan);
    if better && !capacity::primary_carries_rest(plan, Weight::ZERO) {
        plan.towards_safety();
        transfer::give_up(plan, true);
        follow(plan);
        plan.point_apex(Serves::Target);
    }
    held(plan, HoldReason::WorkloadNotReady, &text);
}

/// Nobody was known to call when the traffic moved: whoever calls now is to arrive.
fn idle_still(plan: &mut Plan<'_>) -> bool {
    match reach::look(plan, Serves::Primary, Weight::FULL) {
        Reach::Reached => {
            if let Some(transfer) = &mut plan.next.transfer {
                transfer.reached = true;
                transfer.missed = false;
            }
            true
        }
        Reach::Idle => true,
        Reach::Wait => {
            plan.keep_holds(&[HoldReason::NotReached]);
            // Known to be idle for a minute already; only a caller that shows up makes it worth waiting.
            !reach::has_callers(plan)
                && plan
                    .next
                    .transfer
                    .as_ref()
                    .is_some_and(|known| known.rate == Some(0.0) && !known.missed)
        }
        Reach::Missing(text) => {
            go_back(plan, &text);
            false
        }
        Reach::Unknown(reason, text) => {
            held(plan, reason, &text);
            false
        }
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
    // Somebody's word is remembered until the pods are gone that it was about.
    let transfer = plan.next.transfer.take();
    let reached = plan.spec.reach_assumed || transfer.as_ref().is_some_and(|known| known.reached);
    plan.next.first_calls = (!reached).then(|| FirstCallsStatus::since(plan.now));
    plan.next.transfer = transfer.filter(|known| known.assumed);
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
