//! A running promotion: the workload is changed, the Canary is followed, and its end is the promotion's.

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    Act, Decision, Seen, SeenPromotion, Target,
    aborts::Aborts,
    finish, requests, say, under_way,
    wanted::{Wanted, wanted},
};
use crate::{
    api::{
        AbortAction, CanaryStatus, GateStatus, OnClientLost, Outcome, PastRollout, Phase, PromotionPhase,
        PromotionStatus, Verb,
    },
    rollout::Order,
};

/// How long after its deadline a promotion waits for routes with which its release can be rolled back, or for the end of
/// one that is in production already.
const DEAF: TimeDelta = TimeDelta::minutes(5);

/// A promotion that is running, with all that bears on it.
#[derive(Clone, Copy)]
pub(super) struct Running<'a> {
    pub(super) seen: &'a Seen<'a>,
    pub(super) promotion: &'a SeenPromotion,
    pub(super) aborts: &'a Aborts<'a>,
    pub(super) now: DateTime<Utc>,
}

/// Follows what was begun.
pub(super) fn follow(running: Running<'_>, next: &mut PromotionStatus, decision: &mut Decision) {
    let Running {
        seen,
        promotion,
        aborts,
        now,
    } = running;
    if let Some(revision) = promotion.status.revision.clone() {
        return follow_revision(running, &revision, next, decision);
    }
    let Some(target) = &seen.target else {
        return finish(
            next,
            PromotionPhase::Failed,
            "TargetNotFound",
            "the workload does not exist",
            now,
        );
    };
    match wanted(&promotion.spec, target) {
        Err(problem) => finish(next, PromotionPhase::Failed, "ContainerNotFound", &problem, now),
        Ok(wanted) if wanted.met_by(target) => {
            next.revision = Some(target.revision.clone());
            let short = target.revision.get(..12).unwrap_or(&target.revision);
            say(
                next,
                "Shipped",
                &format!("the workload has it as revision {short}"),
            );
        }
        Ok(_) if aborts.heeded(seen.canary, promotion).is_some() => {
            finish(
                next,
                PromotionPhase::Aborted,
                "Aborted",
                "called off before the workload was changed",
                now,
            );
        }
        Ok(_) if now >= promotion.deadline() => {
            let text = "the workload was not changed before the deadline (policy.deadlineSeconds)";
            finish(next, PromotionPhase::Failed, "DeadlineExceeded", text, now);
        }
        Ok(_) if promotion.status.base.as_deref() != Some(&target.revision) => {
            let text = "the workload was changed meanwhile, and not to what was asked for: by somebody else, or by an \
                        admission webhook";
            finish(next, PromotionPhase::Superseded, "Superseded", text, now);
        }
        // Hands are off the workload: it waits.
        Ok(_) if seen.frozen.is_some() => decision.wake(promotion.deadline()),
        Ok(Wanted::Images(images)) if promotion.spec.r#await.is_none() => {
            decision.wake(promotion.deadline());
            if requests::are_noted(seen.canary, promotion) {
                decision.acts.push(Act::Ship(promotion.name.clone(), images));
            }
        }
        Ok(_) => {
            // What was awaited was there, and was changed again.
            let text = "the workload was changed by somebody else before its release began";
            finish(next, PromotionPhase::Superseded, "Superseded", text, now);
        }
    }
}

fn follow_revision(
    running: Running<'_>,
    revision: &str,
    next: &mut PromotionStatus,
    decision: &mut Decision,
) {
    let Running {
        seen, promotion, now, ..
    } = running;
    let canary = seen.canary;
    mirror(seen, revision, next);
    if let Some(past) = ended(&running, revision) {
        return conclude(running, past, next);
    }
    let at_rest = canary.phase.is_some_and(Phase::at_rest);
    let current = canary.revision.current.as_deref();
    if at_rest && canary.revision.promoted.as_deref() == Some(revision) && current == Some(revision) {
        let text = "the primary runs this revision already; there was nothing to release";
        return finish(next, PromotionPhase::Promoted, "AlreadyPromoted", text, now);
    }
    let gone = seen
        .target
        .as_ref()
        .is_none_or(|target: &Target| target.revision != revision);
    if gone && current != Some(revision) {
        let text = "the workload was changed by somebody else";
        return finish(next, PromotionPhase::Superseded, "Superseded", text, now);
    }
    if let Some(text) = called_off(running, at_rest) {
        return finish(next, PromotionPhase::Aborted, "Aborted", text, now);
    }
    if now >= promotion.deadline() {
        if taken_over(canary, revision) && now < promotion.deadline() + DEAF {
            // It is in production: nothing is left to be called off, and soon it ends by itself.
            return decision.wake(promotion.deadline() + DEAF);
        }
        return overdue(running, revision, next, decision);
    }
    decision.wake(promotion.deadline());
    client_lost(running, revision, decision);
    if at_rest && canary.phase == Some(Phase::Failed) && current == Some(revision) {
        // It failed before, and is asked for again.
        let id = promotion.order("retry");
        ask(running, &id, "", Verb::Retry, revision, decision);
    }
}

/// Whether the primary has this revision and all traffic.
fn taken_over(canary: &CanaryStatus, revision: &str) -> bool {
    canary.phase == Some(Phase::Finalising) && canary.revision.current.as_deref() == Some(revision)
}

/// Why the promotion is over by an abort, if it is before its release ends.
fn called_off(running: Running<'_>, at_rest: bool) -> Option<&'static str> {
    let Running {
        seen,
        promotion,
        aborts,
        ..
    } = running;
    let Some(command) = aborts.heeded(seen.canary, promotion) else {
        let refused = aborts.of(promotion).next().is_some();
        return (refused && at_rest).then_some("called off before its release began");
    };
    let heeded = || {
        let interventions = &seen.canary.interventions;
        interventions.iter().any(|known| known.id == command.uid)
            || command.status.outcome.as_deref() == Some("done")
    };
    match command.spec.action.unwrap_or(promotion.spec.policy.on_abort) {
        AbortAction::None => Some("called off; the release goes on by itself"),
        AbortAction::Pause if heeded() => Some("called off; the release is paused"),
        AbortAction::Pause | AbortAction::Rollback => None,
    }
}

/// The deadline is over: the release is called off, and the promotion has failed once that is done.
fn overdue(running: Running<'_>, revision: &str, next: &mut PromotionStatus, decision: &mut Decision) {
    let Running {
        seen, promotion, now, ..
    } = running;
    let id = promotion.order("deadline");
    if let Some(why) = not_called_off(seen, promotion, revision, now) {
        let text = format!("its deadline is over (policy.deadlineSeconds){why}");
        return finish(next, PromotionPhase::Failed, "DeadlineExceeded", &text, now);
    }
    if seen.deaf.is_some() {
        decision.wake(promotion.deadline() + DEAF);
    }
    say(
        next,
        "DeadlineExceeded",
        "its deadline is over (policy.deadlineSeconds); the release is rolled back",
    );
    ask(
        running,
        &id,
        "policy.deadlineSeconds",
        Verb::Abort,
        revision,
        decision,
    );
}

/// Why nobody waits any longer for a release to be called off, if nobody does.
fn not_called_off(
    seen: &Seen<'_>,
    promotion: &SeenPromotion,
    revision: &str,
    now: DateTime<Utc>,
) -> Option<String> {
    let id = promotion.order("deadline");
    let answered = seen.canary.interventions.iter().find(|known| known.id == id);
    let refused = answered.and_then(|known| known.refused.as_ref());
    let deaf = seen.deaf.as_ref().filter(|_| now >= promotion.deadline() + DEAF);
    if let Some(why) = refused.or(seen.hands_off.as_ref()).or(deaf) {
        return Some(format!("; it cannot be called off: {why}"));
    }
    let hold = seen.canary.hold.as_ref();
    let held = hold.filter(|_| seen.canary.retirement.is_some() && answered.is_some());
    if let Some(hold) = held {
        // Going back is held, and may be for long: whoever waits is told.
        return Some(format!("; going back is held: {}", hold.message));
    }
    super::not_noticed(seen, revision).then(|| " before its release began".to_owned())
}

/// Nobody has asked for it for long: its policy says what becomes of the release.
fn client_lost(running: Running<'_>, revision: &str, decision: &mut Decision) {
    let Running { promotion, now, .. } = running;
    let Some(at) = promotion.client_lost_at() else {
        return;
    };
    if now < at {
        return decision.wake(at);
    }
    let verb = match promotion.spec.policy.on_client_lost {
        OnClientLost::Continue => return,
        OnClientLost::Pause => Verb::Pause,
        OnClientLost::Rollback => Verb::Abort,
    };
    if super::not_noticed(running.seen, revision) {
        return;
    }
    let id = promotion.order("client-lost");
    ask(
        running,
        &id,
        "its client is lost (policy.onClientLost)",
        verb,
        revision,
        decision,
    );
}

/// An order of the promotion itself, unless it was heeded or refused already.
fn ask(running: Running<'_>, id: &str, reason: &str, verb: Verb, revision: &str, decision: &mut Decision) {
    let Running { seen, promotion, .. } = running;
    if seen.canary.interventions.iter().any(|known| known.id == id) {
        return;
    }
    decision.orders.push(Order {
        id: id.to_owned(),
        verb,
        revision: revision.to_owned(),
        by: format!("Promotion {}", promotion.name),
        reason: reason.to_owned(),
        gate: None,
        people: promotion.requesters(),
    });
}

/// How the rollout of this revision ended since the promotion began.
fn ended<'a>(running: &Running<'a>, revision: &str) -> Option<&'a PastRollout> {
    let Running {
        seen, promotion, now, ..
    } = running;
    let began = promotion.status.started_at?.min(*now);
    let past = seen
        .canary
        .history
        .iter()
        .find(|past| past.revision == revision)?;
    // A retry of the same revision is another rollout.
    let again = under_way(seen.canary) && seen.canary.revision.current.as_deref() == Some(revision);
    (past.ended_at >= began && !again).then_some(past)
}

fn conclude(running: Running<'_>, past: &PastRollout, next: &mut PromotionStatus) {
    let Running {
        seen, promotion, now, ..
    } = running;
    // The rollout may have ended before this promotion said that it called it off.
    let deadline = promotion.order("deadline");
    let mut known = seen.canary.interventions.iter();
    let overdue = known.any(|known| known.id == deadline && known.refused.is_none());
    let (phase, reason) = match past.outcome {
        Outcome::Promoted => (PromotionPhase::Promoted, "Promoted"),
        Outcome::FastPromoted => (PromotionPhase::Promoted, "PromotedUnanalysed"),
        _ if overdue => (PromotionPhase::Failed, "DeadlineExceeded"),
        Outcome::RolledBack => (PromotionPhase::RolledBack, "RolledBack"),
        Outcome::Aborted => (PromotionPhase::Aborted, "Aborted"),
        Outcome::Superseded => (PromotionPhase::Superseded, "Superseded"),
        Outcome::Failed => (PromotionPhase::Failed, "PromotionFailed"),
    };
    finish(next, phase, reason, &past.message, now);
}

/// What the Canary says of this revision is what the promotion says.
fn mirror(seen: &Seen<'_>, revision: &str, next: &mut PromotionStatus) {
    let canary = seen.canary;
    if canary.revision.current.as_deref() != Some(revision) {
        return;
    }
    let under_way = canary.phase.is_none_or(|phase| !phase.at_rest());
    next.weight = canary.canary_weight;
    next.step = canary.step.as_ref().map(|step| step.index + 1);
    next.held = canary.hold.as_ref().map(|hold| hold.reason.to_string());
    next.checks.clone_from(&canary.checks);
    let gates = canary.gates.iter().cloned();
    next.gates = gates.map(|gate| GateStatus { run: None, ..gate }).collect();
    if let Some(message) = canary.message.as_ref().filter(|_| under_way) {
        let reason = canary.phase.map(|phase| phase.to_string()).unwrap_or_default();
        say(next, &reason, message);
    }
}
