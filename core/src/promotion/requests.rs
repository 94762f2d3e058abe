//! Who asks for which revision. The rollout writes that down ([`crate::api::RevisionStatus::requesters`]), because a Promotion
//! may go while its release is under way.
//!
//! Invariants: the workload gets images only after those who asked for them are on record; a Promotion is not forgotten
//! before they are.

use super::{Seen, SeenPromotion, wanted::wanted};
use crate::{
    api::{CanaryStatus, Shipping},
    rollout::Requests,
};

/// Who asks for what by all `promotions`.
pub(super) fn of(seen: &Seen<'_>, promotions: &[SeenPromotion]) -> Requests {
    let mut requests = Requests::default();
    for promotion in promotions {
        if let Some(revision) = revision(seen, promotion) {
            let shipped = requests.shipped.entry(revision.to_owned()).or_default();
            shipped.merge(&promotion.requesters());
            if asks_for_all(seen, promotion, revision) {
                requests.whole.insert(revision.to_owned());
            }
        }
        if promotion.running() && promotion.status.revision.is_none() {
            let shipping = shipping(promotion);
            match &mut requests.shipping {
                Some(all) => all.requesters.merge(&shipping.requesters),
                none => *none = Some(shipping),
            }
        }
    }
    requests.shipped.retain(|_, requesters| !requesters.is_empty());
    requests
}

/// Whether those who asked for the images of `promotion` are on record, so that the workload may get them.
pub(super) fn are_noted(canary: &CanaryStatus, promotion: &SeenPromotion) -> bool {
    let shipping = shipping(promotion);
    canary.revision.shipping.as_ref().is_some_and(|noted| {
        noted.base == shipping.base && noted.requesters.contains_all(&shipping.requesters)
    })
}

/// Whether those who asked for `promotion` stay known without it: they are on record, or what they asked for is released no more.
pub(super) fn are_kept(seen: &Seen<'_>, promotion: &SeenPromotion) -> bool {
    let Some(revision) = promotion.status.revision.as_ref() else {
        return true;
    };
    let known = &seen.canary.revision;
    let there = seen.target.as_ref().map(|target| &target.revision);
    let (current, waiting) = (known.current.as_ref(), known.waiting.as_ref());
    let in_play = [current, waiting, known.promoted.as_ref(), there].contains(&Some(revision));
    let requesters = promotion.requesters();
    let noted = known.requesters.get(revision);
    !in_play || requesters.is_empty() || noted.is_some_and(|noted| noted.contains_all(&requesters))
}

/// Whether `promotion` names the image of every container that the workload has at `revision`.
fn asks_for_all(seen: &Seen<'_>, promotion: &SeenPromotion, revision: &str) -> bool {
    // Whoever awaits something ships nothing.
    let ships = promotion.spec.r#await.is_none();
    let target = seen
        .target
        .as_ref()
        .filter(|target| ships && target.revision == revision);
    target.is_some_and(|target| {
        wanted(&promotion.spec, target).is_ok_and(|wanted| wanted.met_by(target) && wanted.names_all(target))
    })
}

fn shipping(promotion: &SeenPromotion) -> Shipping {
    Shipping {
        base: promotion.status.base.clone().unwrap_or_default(),
        requesters: promotion.requesters(),
    }
}

/// The revision that the workload has for a Promotion, if it has it: also before the Promotion says so.
fn revision<'a>(seen: &'a Seen<'_>, promotion: &'a SeenPromotion) -> Option<&'a str> {
    if let Some(revision) = &promotion.status.revision {
        return Some(revision);
    }
    let target = seen.target.as_ref()?;
    if let Some(unreadable) = &promotion.unreadable
        && !promotion.finished()
    {
        // It may have got anything, unless it has not begun: then it is refused.
        let begun = unreadable.status_too || promotion.running();
        return begun.then_some(&target.revision);
    }
    // One that has not begun asks all the same, if the workload has already what it asks for.
    if promotion.finished() {
        return None;
    }
    let met = wanted(&promotion.spec, target).is_ok_and(|wanted| wanted.met_by(target));
    met.then_some(target.revision.as_str())
}
