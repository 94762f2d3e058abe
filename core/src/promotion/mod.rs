//! Promotions: what somebody wants released on a Canary, and what becomes of it. Pure.
//!
//! [`decide`] looks at every Promotion and Command of one Canary together, beside the Canary's own status, and says what to
//! write; what it wants of the rollout it says as orders, which [`crate::rollout::decide()`] heeds.
//! Invariants: a Promotion has exactly one result and keeps it; the intent to change the workload is recorded before
//! the workload is changed; at most one Promotion of a Canary is running.

mod ending; // how a running promotion ends
pub mod log; // lines with offsets that survive everything
pub mod names; // names made of keys
mod orders; // Commands and Approvals
mod seen; // what is seen, and what is said
mod unattended; // of a Canary that is refused, or is not there
mod wanted; // what the workload shall have

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use crate::api::{CanaryStatus, Conflict, Phase, PromotionPhase, PromotionStatus};
use orders::heed_demands;
pub use seen::{Act, Decision, Demand, Form, Seen, Target, Wish, client_lost_after};
pub use unattended::{Unattended, unattended};
use wanted::wanted;

/// Default of `policy.ttlSeconds`.
const TTL: i64 = 86_400;

/// Decides about all Promotions and Commands of one Canary.
#[must_use]
pub fn decide(seen: &Seen<'_>, now: DateTime<Utc>) -> Decision {
    let mut decision = Decision::default();
    let mut wishes = seen.wishes.clone();
    // Times have whole seconds: of two of one second the one that has begun is the earlier one, whatever its name.
    wishes.sort_by(|a, b| {
        let order = |wish: &Wish| (!wish.running(), wish.created_at);
        order(a).cmp(&order(b)).then_with(|| a.name.cmp(&b.name))
    });
    let mut demands = seen.demands.clone();
    demands.sort_by(|a, b| (a.created_at, &a.name).cmp(&(b.created_at, &b.name)));
    heed_demands(seen, &wishes, &demands, now, &mut decision);
    decision.untold = untold(seen);
    let mut ahead = false;
    for (n, wish) in wishes.iter().enumerate() {
        if wish.finished() {
            expire(seen, wish, now, &mut decision);
            continue;
        }
        let mut later = wishes[n + 1..].iter();
        let others = Others {
            ahead,
            newer_supersedes: later.any(|later| takes_the_place(seen, wish, later, &demands, now)),
        };
        let next = step(seen, wish, &demands, others, now, &mut decision);
        let changed = next != wish.status;
        let over = next.phase.is_some_and(PromotionPhase::finished);
        if changed {
            record(wish, next, now, &mut decision);
        }
        // Whoever comes next waits for the write.
        ahead |= !over || changed;
    }
    decision
}

/// Whether `later` wants the place of `wish` and can have it: what cannot begin ends nothing that has begun.
fn takes_the_place(
    seen: &Seen<'_>,
    wish: &Wish,
    later: &Wish,
    demands: &[Demand],
    now: DateTime<Utc>,
) -> bool {
    let wants = !later.finished() && later.spec.policy.conflict == Conflict::Supersede;
    let stays = now < later.deadline() && ending::aborted_by(seen.canary, later, demands).is_none();
    let waits = wish.running() && seen.frozen.is_some();
    wants && stays && !waits && seen.target.as_ref().is_some_and(|target| fits(later, target))
}

/// Whether the workload has what is awaited, or can be given what is asked for.
fn fits(wish: &Wish, target: &Target) -> bool {
    let awaits = wish.spec.r#await.is_some();
    wanted(&wish.spec, target).is_ok_and(|wanted| !awaits || wanted.met_by(target))
}

/// Orders that are on record, of Commands and Approvals that have no answer yet and of Promotions that are not over.
fn untold(seen: &Seen<'_>) -> BTreeSet<String> {
    let waits = |id: &str| {
        let mut demands = seen.demands.iter();
        let mut wishes = seen.wishes.iter();
        demands.any(|demand| demand.uid == id && demand.status.answered_at.is_none())
            || wishes.any(|wish| !wish.finished() && wish.gave(id))
    };
    let known = seen.canary.interventions.iter().map(|known| &known.id);
    known.filter(|id| waits(id)).cloned().collect()
}

/// What other Promotions of the Canary mean for one.
#[derive(Clone, Copy, Debug)]
struct Others {
    /// An earlier one is not over.
    ahead: bool,
    /// A later one wants this one's place.
    newer_supersedes: bool,
}

/// The next status of one Promotion that is not over.
fn step(
    seen: &Seen<'_>,
    wish: &Wish,
    demands: &[Demand],
    others: Others,
    now: DateTime<Utc>,
    decision: &mut Decision,
) -> PromotionStatus {
    let mut next = wish.status.clone();
    if seen.deleting {
        let text = "the Canary is being deleted";
        finish(&mut next, PromotionPhase::Failed, "CanaryDeleted", text, now);
        return next;
    }
    if wish.running() {
        if others.newer_supersedes {
            finish(
                &mut next,
                PromotionPhase::Superseded,
                "Superseded",
                "a newer promotion took its place",
                now,
            );
        } else {
            let running = ending::Running {
                seen,
                wish,
                demands,
                now,
            };
            ending::follow(running, &mut next, decision);
        }
        return next;
    }
    if ending::aborted_by(seen.canary, wish, demands).is_some() {
        finish(
            &mut next,
            PromotionPhase::Aborted,
            "Aborted",
            "called off before it began",
            now,
        );
        return next;
    }
    if now >= wish.deadline() {
        let text = "it could not begin before its deadline (policy.deadlineSeconds)";
        finish(&mut next, PromotionPhase::Failed, "DeadlineExceeded", text, now);
        return next;
    }
    decision.wake(wish.deadline());
    if others.newer_supersedes {
        finish(
            &mut next,
            PromotionPhase::Superseded,
            "Superseded",
            "a newer promotion took its place",
            now,
        );
    } else if others.ahead {
        match wish.spec.policy.conflict {
            Conflict::Reject => {
                let text = "another promotion of this Canary is not over (policy.conflict: reject)";
                finish(&mut next, PromotionPhase::Failed, "Conflict", text, now);
            }
            Conflict::Queue | Conflict::Supersede => {
                wait(
                    &mut next,
                    PromotionPhase::Queued,
                    "Queued",
                    "waits for an earlier promotion of this Canary",
                );
            }
        }
    } else if let Some(why) = &seen.frozen {
        wait(&mut next, PromotionPhase::Pending, "Frozen", why);
    } else if setting_up(seen.canary) {
        wait(
            &mut next,
            PromotionPhase::Pending,
            "NotInitialized",
            "waits until the Canary has set its primary up; until then nothing could be taken back",
        );
    } else {
        begin(seen, wish, now, &mut next);
    }
    next
}

/// Whether a rollout is under way.
fn under_way(canary: &CanaryStatus) -> bool {
    matches!(
        canary.phase,
        Some(
            Phase::Waiting
                | Phase::Progressing
                | Phase::WaitingPromotion
                | Phase::Promoting
                | Phase::Finalising
        )
    )
}

/// Whether the first primary is being set up, from what the workload has now. If that is held, because it does not work,
/// the promotion may be the fix.
fn setting_up(canary: &CanaryStatus) -> bool {
    canary.phase.is_none_or(|phase| phase == Phase::Initializing) && canary.hold.is_none()
}

/// Begins if the workload can be given what is asked for.
fn begin(seen: &Seen<'_>, wish: &Wish, now: DateTime<Utc>, next: &mut PromotionStatus) {
    let Some(target) = &seen.target else {
        return finish(
            next,
            PromotionPhase::Failed,
            "TargetNotFound",
            "the workload does not exist",
            now,
        );
    };
    let awaited = wish.spec.r#await.as_ref();
    match (wanted(&wish.spec, target), awaited) {
        (Err(problem), _) => finish(next, PromotionPhase::Failed, "ContainerNotFound", &problem, now),
        (Ok(wanted), Some(_)) if !wanted.met_by(target) => {
            wait(
                next,
                PromotionPhase::Pending,
                "Awaiting",
                "waits until the workload has what is awaited",
            );
        }
        (Ok(_), _) => {
            next.phase = Some(PromotionPhase::Running);
            next.started_at = Some(now);
            next.base = Some(target.revision.clone());
            say(next, "Started", "begins");
        }
    }
}

/// Whether the workload has this revision, and the Canary's status does not speak of it yet.
fn not_noticed(seen: &Seen<'_>, revision: &str) -> bool {
    let there = seen
        .target
        .as_ref()
        .is_some_and(|target| target.revision == revision);
    there && seen.canary.revision.current.as_deref() != Some(revision)
}

/// One whose release is still under way stays: who asked for it must not approve it.
fn expire(seen: &Seen<'_>, wish: &Wish, now: DateTime<Utc>, decision: &mut Decision) {
    let current = wish.status.revision.is_some() && wish.status.revision == seen.canary.revision.current;
    let Some(finished) = wish
        .status
        .finished_at
        .filter(|_| !(current && under_way(seen.canary)))
    else {
        return;
    };
    forget_after_its_time(wish, finished, now, decision);
}

fn forget_after_its_time(wish: &Wish, finished: DateTime<Utc>, now: DateTime<Utc>, decision: &mut Decision) {
    let at = finished + TimeDelta::seconds(wish.spec.policy.ttl_seconds.unwrap_or(TTL));
    if now >= at {
        decision.acts.push(Act::Forget(wish.name.clone()));
    } else {
        decision.wake(at);
    }
}

/// Numbers the change, and tells it in the log.
fn record(wish: &Wish, mut next: PromotionStatus, now: DateTime<Utc>, decision: &mut Decision) {
    next.seq = wish.status.seq + 1;
    for line in log::news(&wish.status, &next, now) {
        next.log.push(line);
    }
    decision.acts.push(Act::Record(wish.name.clone(), Box::new(next)));
}

fn wait(next: &mut PromotionStatus, phase: PromotionPhase, reason: &str, text: &str) {
    next.phase = Some(phase);
    say(next, reason, text);
}

fn finish(next: &mut PromotionStatus, phase: PromotionPhase, reason: &str, text: &str, now: DateTime<Utc>) {
    next.phase = Some(phase);
    next.finished_at = Some(now);
    next.held = None;
    say(next, reason, text);
}

fn say(next: &mut PromotionStatus, reason: &str, text: &str) {
    next.reason = Some(reason.to_owned());
    next.message = Some(text.to_owned());
}
