//! Orders that call a Promotion off.

use std::collections::HashMap;

use super::{SeenCommand, SeenPromotion};
use crate::api::{AbortAction, CanaryStatus, Verb};

/// All of them, by the name of the Promotion, oldest first.
pub(super) struct Aborts<'a>(HashMap<&'a str, Vec<&'a SeenCommand>>);

impl<'a> Aborts<'a> {
    /// Those among `commands`, which are sorted by age.
    pub(super) fn among(commands: &'a [SeenCommand]) -> Aborts<'a> {
        let mut all: HashMap<&str, Vec<&SeenCommand>> = HashMap::new();
        for command in commands {
            if let Some(name) = &command.spec.promotion
                && command.spec.verb == Verb::Abort
                && command.unreadable.is_none()
            {
                all.entry(name).or_default().push(command);
            }
        }
        Aborts(all)
    }

    /// Those of one Promotion. One that was answered before the Promotion came meant another one of the same name.
    pub(super) fn of(&self, promotion: &SeenPromotion) -> impl Iterator<Item = &'a SeenCommand> {
        let created_at = promotion.created_at;
        let all = self.0.get(promotion.name.as_str()).into_iter().flatten();
        all.copied()
            .filter(move |command| command.status.answered_at.is_none() || command.created_at >= created_at)
    }

    /// The one that calls it off: the newest that was not refused, of those that take most back. A release that is going back
    /// does not go on because somebody else wanted less.
    pub(super) fn heeded(&self, canary: &CanaryStatus, promotion: &SeenPromotion) -> Option<&'a SeenCommand> {
        let refused = |command: &SeenCommand| {
            let known = canary.interventions.iter().find(|known| known.id == command.uid);
            let outcome = command.status.outcome.as_deref();
            known.is_some_and(|known| known.refused.is_some())
                || outcome.is_some_and(|outcome| outcome.starts_with("refused"))
        };
        self.of(promotion)
            .filter(|command| !refused(command))
            .max_by_key(
                |command| match command.spec.action.unwrap_or(promotion.spec.policy.on_abort) {
                    AbortAction::None => 0,
                    AbortAction::Pause => 1,
                    AbortAction::Rollback => 2,
                },
            )
    }
}
