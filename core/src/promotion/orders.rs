//! Commands and Approvals: what they order, and what is answered.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Act, Decision, Demand, Seen, Wish, not_noticed};
use crate::{
    api::{AbortAction, CommandStatus, PromotionPhase, Verb},
    rollout::Order,
};

/// How long an answered Command stays.
pub(super) const COMMAND_TTL: TimeDelta = TimeDelta::hours(24);

/// Turns Commands into orders, and answers those that were heeded or refused.
pub(super) fn heed_demands(
    seen: &Seen<'_>,
    wishes: &[Wish],
    demands: &[Demand],
    now: DateTime<Utc>,
    decision: &mut Decision,
) {
    for demand in demands {
        if let Some(answered) = demand.status.answered_at {
            forget_after_its_time(demand, answered, now, decision);
            continue;
        }
        let wish = demand
            .spec
            .promotion
            .as_ref()
            .map(|name| wishes.iter().find(|wish| wish.name == *name));
        let outcome = match answer(seen, wishes, demand, wish) {
            Answer::Now(outcome) => outcome,
            Answer::Later => continue,
            Answer::Ask(order) => {
                decision.orders.push(order);
                continue;
            }
        };
        decision.acts.push(answered(demand, outcome, now));
    }
}

pub(super) fn answered(demand: &Demand, outcome: String, now: DateTime<Utc>) -> Act {
    let status = CommandStatus {
        outcome: Some(outcome),
        answered_at: Some(now),
    };
    Act::Answer(demand.form, demand.name.clone(), status)
}

pub(super) fn forget_after_its_time(
    demand: &Demand,
    answered: DateTime<Utc>,
    now: DateTime<Utc>,
    decision: &mut Decision,
) {
    if now >= answered + COMMAND_TTL {
        let forget = Act::ForgetDemand(demand.form, demand.name.clone());
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

/// What becomes of a Command; `wish` is the Promotion that it names, if it names one that exists.
fn answer(seen: &Seen<'_>, wishes: &[Wish], demand: &Demand, wish: Option<Option<&Wish>>) -> Answer {
    if let Some(known) = seen
        .canary
        .interventions
        .iter()
        .find(|known| known.id == demand.uid)
    {
        let refused = known.refused.as_ref().map(|why| format!("refused: {why}"));
        return Answer::Now(refused.unwrap_or_else(|| "done".to_owned()));
    }
    let spec = &demand.spec;
    let mut action = spec.action;
    let revision = match (wish, &spec.revision) {
        (Some(None), _) => return Answer::Now("refused: there is no such Promotion".to_owned()),
        (Some(Some(wish)), _) if wish.finished() => {
            // It called the promotion off before it began, or came too late.
            let done = spec.verb == Verb::Abort && wish.status.phase == Some(PromotionPhase::Aborted);
            let late = "refused: the promotion is over";
            return Answer::Now(if done { "done" } else { late }.to_owned());
        }
        (Some(Some(wish)), _) => {
            action = action.or(Some(wish.spec.policy.on_abort));
            match &wish.status.revision {
                // The Canary has not looked at it yet.
                Some(revision) if not_noticed(seen, revision) => return Answer::Later,
                Some(revision) => revision.clone(),
                None if spec.verb == Verb::Abort || wish.running() => return Answer::Later,
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
    let own = wishes
        .iter()
        .any(|wish| wish.status.revision.as_ref() == Some(&revision) && wish.is_of(&spec.requested_by));
    Answer::Ask(Order {
        id: demand.uid.clone(),
        verb,
        revision,
        by: spec.requested_by.clone(),
        reason: spec.reason.clone().unwrap_or_default(),
        gate: demand.gate.clone(),
        own,
    })
}
