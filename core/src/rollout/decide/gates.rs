//! Gates and freezes: what a release waits for beside its checks.
//!
//! Invariants: a gate is open for one revision alone, and every new one asks it anew (W41); a job is ordered only after
//! the status says so; nothing here keeps traffic from going back.

use super::{plan::Plan, requesters, standing_orders};
use crate::{
    api::{GatePoint, GateState, GateStatus, HoldReason, Phase, UnderWay},
    rollout::{GateNews, GateSpec, Opens, Order},
};

/// Takes in what is heard of jobs, and which gates were closed for too long; why the release is withdrawn for it. It
/// comes before everything that may wait: what was rejected keeps no traffic, whatever else holds the release.
pub(super) fn rejected(plan: &mut Plan<'_>) -> Option<String> {
    let spec = plan.spec;
    forget_removed(plan);
    let skips = standing_orders::skips_analysis(plan);
    for gate in &spec.gates {
        if skips && gate.at == GatePoint::PreRollout {
            pass_over(plan, gate);
            continue;
        }
        follow_edit(plan, gate);
        if known(plan, gate).is_some() && news(plan, gate) == GateState::Rejected {
            return Some(rejection(plan, gate));
        }
    }
    None
}

/// Nobody waits at a gate that is not in the specification any more; should it be put back, the release comes to it anew,
/// with all its time and another order. What was opened stays open.
fn forget_removed(plan: &mut Plan<'_>) {
    let asked = |name: &str| plan.spec.gates.iter().any(|gate| gate.name == name);
    let mut known = std::mem::take(&mut plan.next.gates);
    known.retain(|known| known.state == GateState::Open || asked(&known.name));
    plan.next.gates = known;
}

/// A gate before an analysis that is skipped is skipped with it; should the skip end, the release comes to it anew.
fn pass_over(plan: &mut Plan<'_>, gate: &GateSpec) {
    end_wait(plan, gate);
    plan.next
        .gates
        .retain(|known| known.name != gate.name || known.state == GateState::Open);
}

/// Whether the release may pass `point`; if not, it says what it waits for.
pub(super) fn open(plan: &mut Plan<'_>, point: GatePoint) -> bool {
    let spec = plan.spec;
    let mut closed = None;
    for gate in spec.gates.iter().filter(|gate| gate.at == point) {
        come_to(plan, gate);
        if known(plan, gate).is_none_or(|status| status.state != GateState::Open) {
            closed = closed.or(Some(gate));
        }
    }
    let Some(gate) = closed else {
        passed(plan, point);
        return true;
    };
    wait(plan, gate);
    false
}

/// Every gate at `point` is open: a hold of one of them ends, and so does the phase.
fn passed(plan: &mut Plan<'_>, point: GatePoint) {
    let spec = plan.spec;
    for gate in spec.gates.iter().filter(|gate| gate.at == point) {
        end_wait(plan, gate);
    }
    let phase = match point {
        GatePoint::ConfirmRollout => Some(Phase::Waiting),
        GatePoint::PreRollout => None,
        GatePoint::ConfirmPromotion => Some(Phase::WaitingPromotion),
    };
    if phase.is_some() && plan.next.phase == phase {
        plan.enter(Phase::Progressing);
    }
}

/// Nothing waits at this gate any more: a hold of it ends.
fn end_wait(plan: &mut Plan<'_>, gate: &GateSpec) {
    let (reason, text) = waiting(gate);
    plan.end_hold_saying(reason, &text);
}

/// What a release says that waits at this gate.
fn waiting(gate: &GateSpec) -> (HoldReason, String) {
    match &gate.opens {
        Opens::Approval { .. } => (
            HoldReason::AwaitingApproval,
            format!("gate {} waits for an approval", gate.name),
        ),
        Opens::Jenkins(job) => (
            HoldReason::AwaitingJob,
            format!("gate {} waits for Jenkins job {}", gate.name, job.job),
        ),
    }
}

/// Whether a new release may begin, or one that is under way may take a step, as far as freezes are concerned.
pub(super) fn thawed(plan: &mut Plan<'_>, under_way: UnderWay) -> bool {
    let Some(why) = plan.seen.frozen(under_way) else {
        return true;
    };
    if let Some(at) = plan.seen.freezing.changes_at {
        plan.wake(at);
    }
    plan.hold_for(HoldReason::Frozen, why);
    plan.say(format!("frozen: {why}"));
    false
}

/// The first step is the beginning of a release, the others are under way.
pub(super) fn under_way(plan: &Plan<'_>) -> UnderWay {
    if plan.next.step.is_none() {
        UnderWay::Finish
    } else {
        UnderWay::Hold
    }
}

/// What keeps the next step from being taken, whatever anybody orders.
pub(super) fn in_the_way(plan: &Plan<'_>) -> Option<String> {
    let begins = plan.next.step.is_none() || plan.weight().is_zero();
    let closed = plan.spec.gates.iter().find(|gate| {
        let known = plan.next.gates.iter().find(|known| known.name == gate.name);
        // To the last gates the release comes by its steps; to the others it may not have come yet.
        let before = begins && gate.at != GatePoint::ConfirmPromotion;
        known.map_or(before, |known| known.state != GateState::Open)
    });
    if let Some(gate) = closed {
        return Some(format!("gate {} is not open", gate.name));
    }
    let frozen = plan.seen.frozen(under_way(plan));
    frozen.map(|why| format!("frozen: {why}"))
}

fn known<'p>(plan: &'p mut Plan<'_>, gate: &GateSpec) -> Option<&'p mut GateStatus> {
    plan.next.gates.iter_mut().find(|known| known.name == gate.name)
}

/// The release is at this gate: it is written down, and from then on its job may be ordered.
fn come_to(plan: &mut Plan<'_>, gate: &GateSpec) {
    if known(plan, gate).is_none() {
        let status = fresh(plan, gate);
        plan.next.gates.push(status);
    }
}

/// A gate as a release comes to it.
fn fresh(plan: &Plan<'_>, gate: &GateSpec) -> GateStatus {
    let job = gate.opens.job();
    GateStatus {
        name: gate.name.clone(),
        at: gate.at,
        state: if job.is_some() {
            GateState::Running
        } else {
            GateState::Waiting
        },
        since: plan.now,
        revision: plan.next.revision.current.clone().filter(|_| job.is_some()),
        by: None,
        message: None,
        url: None,
        job,
        run: None,
    }
}

/// Somebody made another gate of one that a release waits at: an approval instead of a job, or another job. The release
/// comes to it anew, with all its time, and what was heard of the old job says nothing of the new one.
fn follow_edit(plan: &mut Plan<'_>, gate: &GateSpec) {
    let anew = fresh(plan, gate);
    if let Some(status) = known(plan, gate)
        && matches!(status.state, GateState::Waiting | GateState::Running)
        && status.job != gate.opens.job()
    {
        *status = anew;
    }
}

/// Takes in what is heard of the gate's job, and whether its time is over.
fn news(plan: &mut Plan<'_>, gate: &GateSpec) -> GateState {
    let heard = plan.seen.gate_news.iter().find(|news| news.gate == gate.name);
    let current = plan.next.revision.current.clone();
    let Some(status) = known(plan, gate) else {
        return GateState::Waiting;
    };
    let revision = status.revision.clone().or(current);
    let heard = heard.filter(|news| Some(&news.revision) == revision.as_ref() && news.since == status.since);
    let heard = heard.cloned();
    // Nobody looked while the Canary was suspended, or no controller ran: the job may have ended in time.
    let unheard = status.job.is_some() && !heard.as_ref().is_some_and(|news| news.caught_up);
    if status.state == GateState::Running
        && let Some(news) = heard
    {
        let GateNews {
            run,
            state,
            message,
            url,
            ..
        } = news;
        (status.state, status.run, status.message) = (state, Some(run), message);
        status.url = url.or(status.url.take());
        if state != GateState::Running {
            status.run = None;
        }
    }
    let (state, since) = (status.state, status.since);
    if !matches!(state, GateState::Waiting | GateState::Running) {
        return state;
    }
    let timeout = gate.timeout.filter(|_| !unheard);
    let Some(timeout) = timeout.filter(|timeout| plan.elapsed(since, *timeout)) else {
        return state;
    };
    if let Some(status) = known(plan, gate) {
        status.state = GateState::Rejected;
        status.message = Some(format!("still closed after {} min", timeout.num_minutes().max(1)));
    }
    GateState::Rejected
}

fn wait(plan: &mut Plan<'_>, gate: &GateSpec) {
    match gate.at {
        GatePoint::ConfirmRollout => plan.enter(Phase::Waiting),
        GatePoint::ConfirmPromotion => plan.enter(Phase::WaitingPromotion),
        GatePoint::PreRollout => {}
    }
    let said = known(plan, gate).and_then(|status| status.message.clone());
    let (reason, text) = waiting(gate);
    plan.hold_for(reason, &text);
    plan.say(said.map_or(text.clone(), |said| format!("{text}: {said}")));
}

/// Why a release is withdrawn at this gate.
fn rejection(plan: &mut Plan<'_>, gate: &GateSpec) -> String {
    let status = known(plan, gate).cloned();
    let by = status.as_ref().and_then(|status| status.by.clone());
    let by = by.map_or(String::new(), |by| format!(" by {by}"));
    let why = status.and_then(|status| status.message);
    let why = why.map_or(String::new(), |why| format!(": {why}"));
    format!("gate {} was not passed{by}{why}", gate.name)
}

/// Why the release is withdrawn by this order: a no counts at once, also before the release has come to the gate.
pub(super) fn rejected_by(plan: &mut Plan<'_>, order: &Order) -> Option<String> {
    let spec = plan.spec;
    let gate = spec
        .gates
        .iter()
        .find(|gate| order.gate.as_ref() == Some(&gate.name));
    gate.map(|gate| rejection(plan, gate))
}

/// Why a yes or no at a gate cannot be heeded.
pub(super) fn refusal(plan: &Plan<'_>, order: &Order) -> Option<String> {
    let name = order.gate.as_deref().unwrap_or_default();
    let Some(gate) = plan.spec.gates.iter().find(|gate| gate.name == name) else {
        let names: Vec<&str> = plan.spec.gates.iter().map(|gate| gate.name.as_str()).collect();
        return Some(if names.is_empty() {
            format!("there is no gate {name}, and no other")
        } else {
            format!("there is no gate {name}; there are {}", names.join(", "))
        });
    };
    let others_decide = Opens::Approval {
        not_by_requester: true,
    };
    if gate.opens == others_decide
        && let Some(why) = requesters::refusal(plan, order)
    {
        return Some(why);
    }
    let state = plan
        .next
        .gates
        .iter()
        .find(|known| known.name == name)
        .map(|known| known.state);
    match state {
        Some(GateState::Open) => Some("the gate is open already".to_owned()),
        Some(GateState::Rejected) => Some("the gate was rejected already".to_owned()),
        _ => None,
    }
}

/// Writes a yes or no down; also before the release has come to the gate.
pub(super) fn settle(plan: &mut Plan<'_>, order: &Order, state: GateState) {
    let spec = plan.spec;
    let name = order.gate.as_deref().unwrap_or_default();
    let Some(gate) = spec.gates.iter().find(|gate| gate.name == name) else {
        return;
    };
    come_to(plan, gate);
    end_wait(plan, gate);
    if let Some(status) = known(plan, gate) {
        status.state = state;
        status.by = Some(order.by.clone());
        status.message = Some(order.reason.clone()).filter(|reason| !reason.is_empty());
        status.run = None;
    }
}
