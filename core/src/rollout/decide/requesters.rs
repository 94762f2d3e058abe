//! Who asked for a release: nobody opens a gate for what they asked for, where that is ruled out (`notByRequester`).
//!
//! Invariant: whoever asked stands in the status before the workload gets what they asked for, and stays there as long as
//! that revision can be released. So nothing depends on the objects with which somebody asked.

use super::{fence, plan::Plan};
use crate::{
    api::{Requesters, RevisionStatus},
    defect::{Defect, planted},
    rollout::{Child, Order},
};

/// Writes down who asks now, and forgets who asked for what cannot be released any more.
pub(super) fn note(plan: &mut Plan<'_>) {
    let (seen, now) = (plan.seen, plan.now);
    let target = plan.target().map(|target| &target.revision);
    let known = &mut plan.next.revision;
    if let (Some(shipping), Some(target)) = (&known.shipping, target)
        && shipping.base != *target
    {
        let asked = shipping.requesters.clone();
        known.requesters.entry(target.clone()).or_default().merge(&asked);
    }
    match &seen.requests.shipping {
        Some(shipping) => {
            let noted = known.shipping.get_or_insert_with(|| shipping.clone());
            noted.base.clone_from(&shipping.base);
            noted.requesters.merge(&shipping.requesters);
        }
        // Somebody may have deleted the Promotion whose images are still on their way.
        None if fence::refuses_late_writes(plan.spec, seen, Child::Target, now) => known.shipping = None,
        None => {}
    }
    if let Some(target) = target
        && let Some(asked) = carried_over(known, target)
        && !seen.requests.whole.contains(target)
    {
        known.requesters.entry(target.clone()).or_default().merge(&asked);
    }
    for (revision, asked) in &seen.requests.shipped {
        if is_in_play(known, target, revision) {
            known.requesters.entry(revision.clone()).or_default().merge(asked);
        }
    }
    let mut all = std::mem::take(&mut known.requesters);
    let forgets = planted(Defect::ForgetsWhoAsked);
    all.retain(|revision, _| {
        let asked_now = seen.requests.shipped.contains_key(revision);
        is_in_play(known, target, revision) && (asked_now || !forgets)
    });
    known.requesters = all;
}

/// Who asked for what the workload had before, if that was never promoted: a revision that is made of it, by another image or by
/// an annotation, still contains what they asked for. Which of those on record it is made of is not known: the workload may have
/// had one that was never released.
fn carried_over(known: &RevisionStatus, target: &String) -> Option<Requesters> {
    let (current, waiting) = (known.current.as_ref(), known.waiting.as_ref());
    let promoted = known.promoted.as_ref();
    if planted(Defect::ForgetsWhoAsked) || [current, waiting, promoted].contains(&Some(target)) {
        return None;
    }
    let mut all = Requesters::default();
    for (revision, asked) in &known.requesters {
        if revision != target && Some(revision) != promoted {
            all.merge(asked);
        }
    }
    (!all.is_empty()).then_some(all)
}

/// Whether this revision is released, waits for that, or may be released again: an undo makes the promoted one the present one.
fn is_in_play(known: &RevisionStatus, target: Option<&String>, revision: &String) -> bool {
    let (current, waiting) = (known.current.as_ref(), known.waiting.as_ref());
    [current, waiting, known.promoted.as_ref(), target].contains(&Some(revision))
}

/// Whoever orders that a revision is released again asks for it.
pub(super) fn note_retry(plan: &mut Plan<'_>, order: &Order) {
    if planted(Defect::ForgetsWhoAsked) {
        return;
    }
    let asked = &mut plan.next.revision.requesters;
    asked
        .entry(order.revision.clone())
        .or_default()
        .merge(&order.people);
}

/// Why whoever gives this order does not decide on the present release, because they asked for it.
pub(super) fn refusal(plan: &Plan<'_>, order: &Order) -> Option<String> {
    let known = &plan.next.revision;
    let asked = known
        .current
        .as_ref()
        .and_then(|current| known.requesters.get(current))?;
    if !asked.meets(&order.people, &plan.seen.aliases) {
        return None;
    }
    Some(if asked.has_unknown() {
        "it cannot be told who asked for this release, so nobody can be told from them; release it anew"
            .to_owned()
    } else {
        format!(
            "{} asked for this release, and somebody else has to decide",
            order.by
        )
    })
}
