//! A Promotion that this version cannot read, because a newer one wrote it: what is not known is refused by name, and what has
//! begun is left alone.

use chrono::{DateTime, Utc};

use super::{Decision, SeenPromotion, Unreadable, finish, wait};
use crate::api::{PromotionPhase, PromotionStatus};

/// The reason that it has then.
const REASON: &str = "UnknownField";

/// One that has not begun ends; one that has is followed by nobody until its deadline, so that a newer version can go on.
pub(super) fn leave(
    promotion: &SeenPromotion,
    unreadable: &Unreadable,
    next: &mut PromotionStatus,
    now: DateTime<Utc>,
    decision: &mut Decision,
) {
    let problem = &unreadable.problem;
    if now < promotion.deadline() {
        decision.wake(promotion.deadline());
    }
    if unreadable.status_too {
        return;
    }
    if !promotion.running() {
        let text = format!("refused: {problem}");
        finish(next, PromotionPhase::Failed, REASON, &text, now);
    } else if now >= promotion.deadline() {
        let text = format!(
            "its deadline is over; nothing was called off, for this version cannot follow it: {problem}"
        );
        finish(next, PromotionPhase::Failed, "DeadlineExceeded", &text, now);
    } else {
        let text = format!("this version cannot follow it, and leaves it to a newer one: {problem}");
        wait(next, PromotionPhase::Running, REASON, &text);
    }
}
