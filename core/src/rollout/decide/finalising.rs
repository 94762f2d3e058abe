//! Finalising: the traffic is back on the primary, which has the promoted template; the canary goes.
//!
//! Invariant: the promotion is over only when requests are known to reach the primary, or nobody calls.

use super::{
    capacity,
    plan::Plan,
    promoting::{is_known_unreached, overtaken_text},
    quarrel,
    reach::{self, Reach},
    rollback, silence, standing_orders, transfer,
};
use crate::{
    api::{FirstCallsStatus, HoldReason, NoticeKind, Outcome, Phase, RetirementKind},
    rollout::{Act, Serves, Weight},
};

/// The canary is scaled away once no proxy sends there any more, and only then the promotion is over.
pub(super) fn decide(plan: &mut Plan<'_>) {
    plan.mend_children();
    let (serving, desired) = plan
        .primary()
        .map_or((0, 0), |primary| (primary.serving(), primary.desired));
    let target_serves = plan.target().is_some_and(|target| target.serving() > 0);
    let scarce = !capacity::primary_carries_all(plan) && target_serves;
    let canary_can = plan.runs_analysed() && capacity::canary_carries(plan, Weight::FULL);
    if scarce && (serving == 0 || canary_can) {
        let names = &plan.spec.names;
        let text = format!("{serving} of {desired} pods of {} can serve", names.primary);
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
    if (!overtaken || is_known_unreached(plan)) && !primary_reached(plan) {
        return;
    }
    let Some(target) = plan.target() else {
        return succeed(plan);
    };
    let analysed = plan.next.revision.current.as_ref() == Some(&target.revision);
    if target.desired > 0 && analysed {
        if scarce {
            let text = format!(
                "{serving} of {desired} pods of {} can serve; those of {} stay until more do",
                plan.spec.names.primary, plan.spec.names.target
            );
            plan.hold(HoldReason::PrimaryNotReady, &text);
            return plan.say(text);
        }
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
            if plan.runs_analysed() {
                let share = capacity::canary_share(plan);
                primary_failed(plan, &text, share);
            } else {
                // Nobody else has what was analysed.
                plan.enter(Phase::Promoting);
                rollback::begin(plan, RetirementKind::UndoOnCanary, &overtaken_text(plan));
            }
            false
        }
        Reach::Unknown(reason, text) => {
            let text = plan.hold(reason, &text);
            plan.say(text);
            false
        }
    }
}

/// The primary was ready a moment ago, and has too few pods now that it has all of the traffic: whoever serves goes on until it
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
