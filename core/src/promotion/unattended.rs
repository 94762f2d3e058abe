//! What becomes of the Promotions, Commands and Approvals of a Canary that nobody follows: nothing is begun and nothing
//! ordered, but whoever waits is told, and nothing stays for ever.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Decision, SeenCommand, SeenPromotion, finish, forget_after_its_time, orders, record, wait};
use crate::api::PromotionPhase;

/// How long an order waits for its Canary, which may be seen later than the order.
const PATIENCE: TimeDelta = TimeDelta::minutes(1);

/// Why a Canary is not followed.
#[derive(Clone, Copy, Debug)]
pub enum Unattended<'a> {
    /// Something of it cannot be used: what and why.
    Refused(&'a str),
    /// It does not exist.
    Gone,
}

impl Unattended<'_> {
    fn reason(self) -> &'static str {
        match self {
            Unattended::Refused(_) => "InvalidSpec",
            Unattended::Gone => "CanaryNotFound",
        }
    }

    fn text(self) -> String {
        match self {
            Unattended::Refused(problem) => format!("the Canary is refused: {problem}"),
            Unattended::Gone => "there is no such Canary".to_owned(),
        }
    }
}

/// Decides about all that names one Canary that is not followed.
#[must_use]
pub fn unattended(
    promotions: &[SeenPromotion],
    commands: &[SeenCommand],
    why: Unattended<'_>,
    now: DateTime<Utc>,
) -> Decision {
    let gone = matches!(why, Unattended::Gone);
    let mut decision = Decision::default();
    for command in commands {
        match command.status.answered_at {
            Some(answered) => orders::forget_after_its_time(command, answered, now, &mut decision),
            None if !gone => {}
            None if now < command.created_at + PATIENCE => decision.wake(command.created_at + PATIENCE),
            None => {
                let refused = format!("refused: {}", why.text());
                decision.acts.push(orders::answered(command, refused, now));
            }
        }
    }
    for promotion in promotions {
        match promotion.status.finished_at {
            // The release of a Canary that is refused may be under way, and who asked for it must not approve it.
            Some(finished) if gone => forget_after_its_time(promotion, finished, now, &mut decision),
            Some(_) => {}
            None if promotion
                .unreadable
                .as_ref()
                .is_some_and(|unreadable| unreadable.status_too) => {}
            None => leave_waiting(promotion, why, now, &mut decision),
        }
    }
    decision
}

/// It waits, but not beyond its deadline; one whose release is gone with its Canary has failed.
fn leave_waiting(
    promotion: &SeenPromotion,
    why: Unattended<'_>,
    now: DateTime<Utc>,
    decision: &mut Decision,
) {
    let mut next = promotion.status.clone();
    let text = why.text();
    if matches!(why, Unattended::Gone) && promotion.running() {
        let text = "the Canary does not exist any more";
        finish(&mut next, PromotionPhase::Failed, "CanaryDeleted", text, now);
    } else if now >= promotion.deadline() {
        let text =
            format!("its deadline is over (policy.deadlineSeconds); nothing was called off, for {text}");
        finish(&mut next, PromotionPhase::Failed, "DeadlineExceeded", &text, now);
    } else {
        decision.wake(promotion.deadline());
        let phase = next.phase.unwrap_or(PromotionPhase::Pending);
        wait(&mut next, phase, why.reason(), &text);
    }
    if next != promotion.status {
        record(promotion, next, now, decision);
    }
}
