//! Commands and Approvals: what they order, and what is answered.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Act, Decision, Seen, SeenCommand, SeenPromotion, not_noticed};
use crate::{
    api::{AbortAction, CommandStatus, PromotionPhase, Verb},
    rollout::Order,
};

/// How long an answered Command stays.
pub(super) const COMMAND_TTL: TimeDelta = TimeDelta::hours(24);

/// Turns Commands into orders, and answers those that were heeded or refused.
pub(super) fn answer_commands(
    seen: &Seen<'_>,
    promotions: &[SeenPromotion],
    commands: &[SeenCommand],
    now: DateTime<Utc>,
    decision: &mut Decision,
) {
    let by_name: HashMap<&str, &SeenPromotion> = promotions
        .iter()
        .map(|promotion| (promotion.name.as_str(), promotion))
        .collect();
    for command in commands {
        if let Some(answered) = command.status.answered_at {
            forget_after_its_time(command, answered, now, decision);
            continue;
        }
        let promotion = command
            .spec
            .promotion
            .as_ref()
            .map(|name| by_name.get(name.as_str()).copied());
        let outcome = match answer(seen, command, promotion) {
            Answer::Now(outcome) => outcome,
            Answer::Later => continue,
            Answer::Ask(order) => {
                decision.orders.push(order);
                continue;
            }
        };
        decision.acts.push(answered(command, outcome, now));
    }
}

pub(super) fn answered(command: &SeenCommand, outcome: String, now: DateTime<Utc>) -> Act {
    let status = CommandStatus {
        outcome: Some(outcome),
        answered_at: Some(now),
    };
    Act::Answer(command.form, command.name.clone(), status)
}

pub(super) fn forget_after_its_time(
    command: &SeenCommand,
    answered: DateTime<Utc>,
    now: DateTime<Utc>,
    decision: &mut Decision,
) {
    if now >= answered + COMMAND_TTL {
        let forget = Act::ForgetCommand(command.form, command.name.clone());
        decision.acts.push(forget);
    } else {
        decision.wake(answered + COMMAND_TTL);
    }
}

enum Answer {
    Now(String),
    Later,
    Ask(Order),
}

/// What becomes of a Command; `promotion` is the Promotion that it names, if it names one that exists.
fn answer(seen: &Seen<'_>, command: &SeenCommand, promotion: Option<Option<&SeenPromotion>>) -> Answer {
    if let Some(known) = seen
        .canary
        .interventions
        .iter()
        .find(|known| known.id == command.uid)
    {
        let refused = known.refused.as_ref().map(|why| format!("refused: {why}"));
        return Answer::Now(refused.unwrap_or_else(|| "done".to_owned()));
    }
    if let Some(problem) = &command.unreadable {
        return Answer::Now(format!("refused: {problem}"));
    }
    let spec = &command.spec;
    let mut action = spec.action;
    let revision = match (promotion, &spec.revision) {
        (Some(None), _) => return Answer::Now("refused: there is no such Promotion".to_owned()),
        (Some(Some(promotion)), _) if promotion.finished() => {
            // It called the promotion off before it began, or came too late.
            let done = spec.verb == Verb::Abort && promotion.status.phase == Some(PromotionPhase::Aborted);
            let late = "refused: the promotion is over";
            return Answer::Now(if done { "done" } else { late }.to_owned());
        }
        (Some(Some(promotion)), _) => {
            action = action.or(Some(promotion.spec.policy.on_abort));
            match &promotion.status.revision {
                // The Canary has not looked at it yet.
                Some(revision) if not_noticed(seen, revision) => return Answer::Later,
                Some(revision) => revision.clone(),
                None if spec.verb == Verb::Abort || promotion.running() => return Answer::Later,
                None => return Answer::Now("refused: the promotion has not begun".to_owned()),
            }
        }
        (None, Some(revision)) => revision.clone(),
        (None, None) => return Answer::Now("refused: it names neither revision nor promotion".to_owned()),
    };
    let verb = match (spec.verb, action.unwrap_or_default()) {
        (Verb::Abort, AbortAction::None) => return Answer::Later,
        (Verb::Abort, AbortAction::Pause) => Verb::Pause,
        (verb, _) => verb,
    };
    let people = std::iter::once(&spec.requested_by).chain(&spec.on_behalf_of);
    Answer::Ask(Order {
        id: command.uid.clone(),
        verb,
        revision,
        by: spec.requested_by.clone(),
        reason: spec.reason.clone().unwrap_or_default(),
        gate: command.gate.clone(),
        people: people.cloned().collect(),
    })
}
