//! Where the rollout stands, written beside each fact: whoever tells it later, or again, must tell the same.
//!
//! Invariant: nothing here is a reason to write; it goes along with a write that is due anyway.

use crate::{
    api::{CanaryStatus, Situation},
    rollout::Observed,
};

/// Facts after the number `written` are written for the first time: they say where the rollout stands.
pub(super) fn note(next: &mut CanaryStatus, seen: &Observed, written: i64) {
    learn_images(next, seen);
    let revision = &next.revision;
    let promoted = revision.promoted.clone();
    let situation = Situation {
        phase: next.phase,
        revision: revision.current.clone(),
        image: promoted
            .as_ref()
            .and_then(|promoted| revision.images.get(promoted).cloned()),
        promoted,
        weight: next.canary_weight,
        step: next.step.as_ref().map(|step| step.index),
    };
    let pending = &mut next.outbox.pending;
    for notice in pending.iter_mut().filter(|notice| notice.seq > written) {
        notice.situation = Some(situation.clone());
    }
}

/// Remembers the images of the revisions in play while they can be seen: an undo names one that no object has any more.
fn learn_images(next: &mut CanaryStatus, seen: &Observed) {
    let revision = &mut next.revision;
    let named = [&revision.current, &revision.promoted, &revision.previous];
    let in_play = |known: &String| named.contains(&&Some(known.clone()));
    let images = &mut revision.images;
    images.retain(|known, _| in_play(known));
    for workload in [&seen.primary, &seen.target].into_iter().flatten() {
        if let Some(image) = workload.image.as_ref().filter(|_| in_play(&workload.revision)) {
            images.insert(workload.revision.clone(), image.clone());
        }
    }
}
