//! Orders about one revision: abort, pause, resume, advance, skip its analysis, undo, retry.
//!
//! Invariants: an order acts on the revision that it names or on none (W41); it is recorded with who and why in the same
//! write as its effect, so that it is heeded once, whatever dies in between.

use super::{
    advance, capacity, gates,
    plan::Plan,
    release, requesters, rollback,
    standing_orders::{skips, skips_analysis},
    steps, transfer, withdrawal,
};
use crate::{
    api::{GateState, HoldReason, Intervention, NoticeKind, Pause, Phase, RetirementKind, UnderWay, Verb},
    rollout::{Order, Workload},
};

/// How many orders are remembered.
const LIMIT: usize = 16;

/// Refuses the orders that are new, aborts first and otherwise the oldest, until one is heeded; returns whether one was.
/// What is refused is written down, and keeps nobody from deciding about the release in the same round.
pub(super) fn heed(plan: &mut Plan<'_>) -> bool {
    while let Some(order) = next_order(plan) {
        if !make_room(plan) {
            return false;
        }
        let refused = refusal(plan, order);
        let heeded = refused.is_none();
        note(plan, order, refused);
        if heeded {
            carry_out(plan, order);
            plan.cut_short();
            return true;
        }
    }
    false
}

/// As [`heed`], while the Canary is deleted: somebody may say that requests arrive; everything else ends with it.
pub(super) fn heed_advance(plan: &mut Plan<'_>) -> bool {
    let known = |order: &&Order| plan.next.interventions.iter().any(|known| known.id == order.id);
    let mut new = plan.seen.orders.iter().filter(|order| !known(order));
    let advance = new.find(|order| order.verb == Verb::Advance);
    let Some(order) = advance.filter(|_| transfer::waits(plan)) else {
        return false;
    };
    if !make_room(plan) {
        return false;
    }
    note(plan, order, None);
    carry_out(plan, order);
    plan.cut_short();
    true
}

fn next_order<'a>(plan: &Plan<'a>) -> Option<&'a Order> {
    let known = |order: &&Order| plan.next.interventions.iter().any(|known| known.id == order.id);
    let mut new = plan.seen.orders.iter().filter(|order| !known(order));
    // Whoever calls a release off does not wait for whoever gave many orders before.
    let abort = new.clone().find(|order| order.verb == Verb::Abort);
    abort.or_else(|| new.next())
}

/// Writes down what becomes of the order; the record comes with the effect.
fn note(plan: &mut Plan<'_>, order: &Order, refused: Option<String>) {
    let short = order.revision.get(..12).unwrap_or(&order.revision);
    let why = if order.reason.is_empty() {
        String::new()
    } else {
        format!(": {}", order.reason)
    };
    let (kind, reason, text) = match &refused {
        None => (
            NoticeKind::Normal,
            format!("Ordered{:?}", order.verb),
            match &order.gate {
                Some(gate) => format!(
                    "{} ordered {:?} of gate {gate} for revision {short}{why}",
                    order.by, order.verb
                ),
                None => format!("{} ordered {:?} of revision {short}{why}", order.by, order.verb),
            },
        ),
        Some(problem) => (
            NoticeKind::Warning,
            "OrderRefused".to_owned(),
            format!("{:?} ordered by {}: {problem}", order.verb, order.by),
        ),
    };
    plan.tell(kind, &reason, text);
    plan.next.interventions.push(Intervention {
        id: order.id.clone(),
        verb: order.verb,
        gate: order.gate.clone(),
        revision: order.revision.clone(),
        by: order.by.clone(),
        reason: order.reason.clone(),
        at: plan.now,
        refused,
    });
}

/// Forgets the oldest orders of too many, but none of which somebody has not been told yet, for it would be heeded again,
/// and not the one that skips the present analysis. Returns whether there is room for another one.
fn make_room(plan: &mut Plan<'_>) -> bool {
    let seen = plan.seen;
    let told = |known: &Intervention| {
        !seen.untold.contains(&known.id) && !seen.orders.iter().any(|order| order.id == known.id)
    };
    while plan.next.interventions.len() >= LIMIT {
        let next = &plan.next;
        let old = |known: &Intervention| told(known) && !skips(known, next);
        let Some(oldest) = next.interventions.iter().position(old) else {
            return false;
        };
        plan.next.interventions.remove(oldest);
    }
    true
}

/// Why an order cannot be heeded now.
fn refusal(plan: &Plan<'_>, order: &Order) -> Option<String> {
    let revision = &plan.next.revision;
    let meant = |known: &Option<String>, what: &str| {
        let known = known.as_deref().unwrap_or("none");
        let there = known.get(..12).unwrap_or(known);
        (known != order.revision)
            .then(|| format!("it names another revision than the {what} one, which is {there}"))
    };
    match order.verb {
        // A hand-over of a release is meant by its revision; of others there is one alone.
        Verb::Advance if transfer::waits(plan) && hands_release_over(plan) => {
            meant(&revision.current, "present")
        }
        Verb::Advance if transfer::waits(plan) => None,
        Verb::Abort
        | Verb::Pause
        | Verb::Resume
        | Verb::Advance
        | Verb::SkipAnalysis
        | Verb::Approve
        | Verb::Reject => meant(&revision.current, "present").or_else(|| of_release(plan, order)),
        Verb::Undo => meant(&revision.promoted, "promoted")
            .or_else(|| standing_in(plan))
            .or_else(|| (!at_rest(plan)).then(|| "a release is under way; abort it first".to_owned()))
            .or_else(|| {
                let none = revision.previous.is_none();
                none.then(|| "no revision is known that was promoted before it".to_owned())
            }),
        Verb::Retry => meant(&revision.current, "present")
            .or_else(|| standing_in(plan))
            .or_else(|| (!at_rest(plan)).then(|| "a release is under way".to_owned()))
            .or_else(|| {
                plan.seen
                    .frozen(UnderWay::Finish)
                    .map(|why| format!("frozen: {why}"))
            })
            .or_else(|| {
                let there = plan
                    .target()
                    .is_some_and(|target| target.revision == order.revision);
                (!there).then(|| "the workload has another revision".to_owned())
            })
            .or_else(|| {
                let promoted = revision.promoted.as_ref() == Some(&order.revision);
                promoted.then(|| "it is promoted already".to_owned())
            }),
    }
}

/// Whether what waits for knowledge about requests is about the present revision: its promotion, or what became of it.
fn hands_release_over(plan: &Plan<'_>) -> bool {
    let promotes = matches!(plan.next.phase, Some(Phase::Promoting | Phase::Finalising));
    promotes || plan.next.retirement.is_some() || !plan.weight().is_zero()
}

/// After a promotion that failed the canary may serve; nothing is released or undone before the primary does again.
fn standing_in(plan: &Plan<'_>) -> Option<String> {
    let ended = plan.next.phase.is_some_and(Phase::at_rest);
    let primary = &plan.spec.names.primary;
    (ended && !plan.weight().is_zero()).then(|| {
        format!(
            "the promotion failed, and the canary serves until {primary} does again; release another revision, or mend {primary}"
        )
    })
}

/// Why an order about the release that is under way cannot be heeded.
fn of_release(plan: &Plan<'_>, order: &Order) -> Option<String> {
    let phase = plan.next.phase;
    let running = matches!(
        phase,
        Some(Phase::Waiting | Phase::Progressing | Phase::WaitingPromotion | Phase::Promoting)
    );
    let undone = plan.next.retirement.as_ref().map(|retirement| retirement.kind);
    if matches!(
        undone,
        Some(RetirementKind::UndoOnCanary | RetirementKind::UndoOnPrimary)
    ) {
        return Some("the undo of the promotion is under way".to_owned());
    }
    if !running || undone.is_some() {
        return Some("no release is under way".to_owned());
    }
    if phase == Some(Phase::Promoting) && order.verb != Verb::Abort {
        return Some("the primary takes the revision over already".to_owned());
    }
    match order.verb {
        Verb::Abort => nothing_to_return_to(plan),
        Verb::Approve | Verb::Reject => gates::refusal(plan, order),
        Verb::Advance => no_further_step(plan),
        Verb::SkipAnalysis => out_of_reach(plan),
        _ => None,
    }
}

fn no_further_step(plan: &Plan<'_>) -> Option<String> {
    let skipped = skips_analysis(plan)
        .then(|| "its analysis is skipped: it takes no further step before it is promoted".to_owned());
    let ready = plan.target().is_some_and(capacity::canary_complete);
    let next = steps::next_weight(plan);
    let enough = capacity::canary_carries(plan, next);
    let pods = match (ready, enough) {
        (false, _) => Some("its pods are not ready".to_owned()),
        (true, false) => Some(format!("it has too few pods for weight {next}")),
        (true, true) => None,
    };
    skipped.or_else(|| gates::in_the_way(plan)).or(pods)
}

/// Nobody promotes what requests do not reach, by whatever right.
fn out_of_reach(plan: &Plan<'_>) -> Option<String> {
    let dark = plan.next.retreat.as_ref().filter(|retreat| !retreat.resumes);
    dark.map(|retreat| format!("it cannot be reached: {}", retreat.message))
}

/// Whoever deleted the primary left the release as the only one that can serve, and as what brings the primary back.
fn nothing_to_return_to(plan: &Plan<'_>) -> Option<String> {
    let only_one = plan.primary().is_none() && plan.target().is_some_and(|target| target.desired > 0);
    let primary = &plan.spec.names.primary;
    only_one.then(|| {
        format!("{primary} does not exist, so the traffic has nowhere to return to; the release goes on")
    })
}

fn at_rest(plan: &Plan<'_>) -> bool {
    let ended = plan.next.phase.is_some_and(Phase::at_rest);
    ended && plan.next.canary_weight == 0
}

fn carry_out(plan: &mut Plan<'_>, order: &Order) {
    let said = if order.reason.is_empty() {
        format!("by {}", order.by)
    } else {
        format!("by {}: {}", order.by, order.reason)
    };
    match order.verb {
        Verb::Pause => {
            plan.next.pause = Some(Pause {
                by: order.by.clone(),
                reason: order.reason.clone(),
                since: plan.now,
            });
            plan.say(format!("paused {said}"));
            plan.record();
        }
        Verb::Resume => {
            plan.next.pause = None;
            plan.end_holds(&[HoldReason::Paused, HoldReason::WorkloadNotReady]);
            plan.say(format!("resumed {said}"));
            plan.record();
        }
        Verb::SkipAnalysis => {
            plan.next.pause = None;
            plan.end_holds(&[HoldReason::Paused]);
            plan.say(format!("the rest of the analysis is skipped {said}"));
            plan.record();
        }
        Verb::Approve => {
            gates::settle(plan, order, GateState::Open);
            plan.record();
        }
        Verb::Abort => abort(plan, &said),
        Verb::Advance if transfer::waits(plan) => {
            transfer::assume(plan);
            plan.say(format!("requests are taken to arrive {said}"));
            plan.record();
        }
        Verb::Advance => {
            plan.next.pause = None;
            advance::advance(plan);
        }
        Verb::Reject => {
            gates::settle(plan, order, GateState::Rejected);
            if let Some(verdict) = gates::rejected_by(plan, order) {
                rollback::begin(plan, RetirementKind::RollBack, &verdict);
            }
        }
        Verb::Undo => undo(plan, &said),
        Verb::Retry => {
            requesters::note_retry(plan, order);
            release::start(plan, order.revision.clone());
        }
    }
}

/// Before the primary has the revision it is withdrawn as if it were bad; afterwards the promotion is undone (W4).
fn abort(plan: &mut Plan<'_>, said: &str) {
    let taken_over = plan.next.phase == Some(Phase::Promoting)
        && plan.primary().map(|primary: &Workload| &primary.revision) == plan.next.revision.current.as_ref();
    plan.next.pause = None;
    if taken_over {
        return rollback::begin(plan, RetirementKind::UndoOnPrimary, &format!("aborted {said}"));
    }
    plan.enter(Phase::Progressing);
    rollback::begin(plan, RetirementKind::Cancel, said);
}

/// The revision before is the promoted one again; the primary follows it (`rest`), from its own ReplicaSets.
fn undo(plan: &mut Plan<'_>, said: &str) {
    let previous = plan.next.revision.previous.take();
    let undone = plan.next.revision.promoted.take();
    plan.next.revision.promoted = previous;
    // A newer template that waits for its turn has a mark of its own, and is released when that comes.
    let still = plan
        .target()
        .filter(|target| target.up_to_date && Some(&target.revision) == undone.as_ref());
    plan.next.revision.mark = still.and_then(|target| target.mark.clone());
    plan.next.revision.current = undone;
    withdrawal::reject(plan, false);
    plan.enter(Phase::Failed);
    plan.next.last_transition_time = Some(plan.now);
    let text = format!(
        "undone {said}; {} returns to the revision before",
        plan.spec.names.primary
    );
    plan.say(text.clone());
    plan.tell(NoticeKind::Warning, "Undone", text);
    plan.record();
}
