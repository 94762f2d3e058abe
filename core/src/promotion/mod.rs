//! Promotions: what somebody wants released on a Canary, and what becomes of it. Pure.
//!
//! [`decide`] looks at every Promotion and Command of one Canary together, beside the Canary's own status, and says what to
//! write; what it wants of the rollout it says as orders, which [`crate::rollout::decide()`] heeds.
//! Invariants: a Promotion has exactly one result and keeps it; the intent to change the workload is recorded before
//! the workload is changed; at most one Promotion of a Canary is running.

mod aborts; // orders that call a promotion off
mod ending; // how a running promotion ends
pub mod ledger; // what became of those that are forgotten
pub mod log; // lines with offsets that survive everything
pub mod names; // names made of keys
mod orders; // Commands and Approvals
mod requests; // who asks for which revision
mod seen; // what is seen, and what is said
mod unattended; // of a Canary that is refused, or is not there
mod unreadable; // what a newer version wrote
mod wanted; // what the workload shall have

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use crate::api::{CanaryStatus, Conflict, Phase, PromotionPhase, PromotionStatus};
use aborts::Aborts;
use orders::answer_commands;
pub use seen::{
    Act, Decision, Form, Seen, SeenCommand, SeenPromotion, Target, Unreadable, client_lost_after,
};
pub use unattended::{Unattended, unattended};
use wanted::wanted;

/// Default of `policy.ttlSeconds`.
const TTL: i64 = 86_400;

/// Decides about all Promotions and Commands of one Canary.
#[must_use]
pub fn decide(seen: &Seen<'_>, now: DateTime<Utc>) -> Decision {
    let mut decision = Decision::default();
    let mut promotions = seen.promotions.clone();
    // Times have whole seconds: of two of one second the one that has begun is the earlier one, whatever its name.
    promotions.sort_by(|a, b| {
        let order = |promotion: &SeenPromotion| (!promotion.running(), promotion.created_at);
        order(a).cmp(&order(b)).then_with(|| a.name.cmp(&b.name))
    });
    let mut commands = seen.commands.clone();
    commands.sort_by(|a, b| (a.created_at, &a.name).cmp(&(b.created_at, &b.name)));
    answer_commands(seen, &promotions, &commands, now, &mut decision);
    decision.untold = untold(seen);
    decision.requests = requests::of(seen, &promotions);
    let aborts = Aborts::among(&commands);
    let superseded = superseded(seen, &promotions, &aborts, now);
    let mut ahead = false;
    for (promotion, newer_supersedes) in promotions.iter().zip(superseded) {
        if promotion.finished() {
            expire(seen, promotion, now, &mut decision);
            continue;
        }
        let others = Others {
            ahead,
            newer_supersedes,
        };
        let next = step(seen, promotion, &aborts, others, now, &mut decision);
        let changed = next != promotion.status;
        let over = next.phase.is_some_and(PromotionPhase::finished);
        if changed {
            record(promotion, next, now, &mut decision);
        }
        // Whoever comes next waits for the write, but not for ever for what nobody can write.
        let left = !promotion.running() && promotion.unreadable.is_some() && now >= promotion.deadline();
        ahead |= (!over || changed) && !left;
    }
    decision
}

/// Of each Promotion, whether a later one wants its place and can have it: what cannot begin ends nothing that has begun.
fn superseded(
    seen: &Seen<'_>,
    promotions: &[SeenPromotion],
    aborts: &Aborts<'_>,
    now: DateTime<Utc>,
) -> Vec<bool> {
    let mut newer = false;
    let mut all: Vec<bool> = Vec::with_capacity(promotions.len());
    for promotion in promotions.iter().rev() {
        let waits = promotion.running() && seen.frozen.is_some();
        all.push(newer && !waits);
        newer |= supersedes(seen, promotion, aborts, now);
    }
    all.reverse();
    all
}

/// Whether a Promotion takes the place of those before it.
fn supersedes(seen: &Seen<'_>, promotion: &SeenPromotion, aborts: &Aborts<'_>, now: DateTime<Utc>) -> bool {
    let wants = !promotion.finished()
        && promotion.unreadable.is_none()
        && promotion.spec.policy.conflict == Conflict::Supersede;
    let stays = || now < promotion.deadline() && aborts.heeded(seen.canary, promotion).is_none();
    wants && stays() && seen.target.as_ref().is_some_and(|target| fits(promotion, target))
}

/// Whether the workload has what is awaited, or can be given what is asked for.
fn fits(promotion: &SeenPromotion, target: &Target) -> bool {
    let awaits = promotion.spec.r#await.is_some();
    wanted(&promotion.spec, target).is_ok_and(|wanted| !awaits || wanted.met_by(target))
}

/// Orders that are on record, of Commands and Approvals that have no answer yet and of Promotions that are not over.
fn untold(seen: &Seen<'_>) -> BTreeSet<String> {
    let commands = seen
        .commands
        .iter()
        .filter(|command| command.status.answered_at.is_none());
    let promotions = seen.promotions.iter().filter(|promotion| !promotion.finished());
    let waits: HashSet<&str> = commands
        .map(|command| command.uid.as_str())
        .chain(promotions.map(|promotion| promotion.uid.as_str()))
        .collect();
    let known = seen.canary.interventions.iter().map(|known| &known.id);
    known.filter(|id| waits.contains(giver(id))).cloned().collect()
}

/// UID of the object that gave an order of this id ([`SeenPromotion::order`]).
fn giver(id: &str) -> &str {
    id.split_once('/').map_or(id, |(_, uid)| uid)
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
    promotion: &SeenPromotion,
    aborts: &Aborts<'_>,
    others: Others,
    now: DateTime<Utc>,
    decision: &mut Decision,
) -> PromotionStatus {
    let mut next = promotion.status.clone();
    // A clock that was set back: how its rollout ends is not to be taken for older than itself.
    next.started_at = next.started_at.map(|at| at.min(now));
    if seen.deleting {
        let text = "the Canary is being deleted";
        finish(&mut next, PromotionPhase::Failed, "CanaryDeleted", text, now);
        return next;
    }
    if let Some(unreadable) = &promotion.unreadable {
        unreadable::leave(promotion, unreadable, &mut next, now, decision);
        return next;
    }
    if promotion.running() {
        let may_ship = promotion.status.revision.is_none();
        if may_ship && !seen.fenced && seen.hands_off.is_none() && seen.deaf.is_none() {
            // Its images may be on their way: nothing ends, or begins anew, before that is known.
            return next;
        }
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
                promotion,
                aborts,
                now,
            };
            ending::follow(running, &mut next, decision);
        }
        return next;
    }
    if aborts.heeded(seen.canary, promotion).is_some() {
        finish(
            &mut next,
            PromotionPhase::Aborted,
            "Aborted",
            "called off before it began",
            now,
        );
        return next;
    }
    if now >= promotion.deadline() {
        let text = "it could not begin before its deadline (policy.deadlineSeconds)";
        finish(&mut next, PromotionPhase::Failed, "DeadlineExceeded", text, now);
        return next;
    }
    if let Some(not_after) = promotion.spec.policy.not_after {
        if now >= not_after {
            let text = "it could not begin before policy.notAfter";
            finish(&mut next, PromotionPhase::Failed, "Expired", text, now);
            return next;
        }
        decision.wake(not_after);
    }
    decision.wake(promotion.deadline());
    if others.newer_supersedes {
        finish(
            &mut next,
            PromotionPhase::Superseded,
            "Superseded",
            "a newer promotion took its place",
            now,
        );
    } else if others.ahead {
        match promotion.spec.policy.conflict {
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
        begin(seen, promotion, now, &mut next);
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
fn begin(seen: &Seen<'_>, promotion: &SeenPromotion, now: DateTime<Utc>, next: &mut PromotionStatus) {
    let Some(target) = &seen.target else {
        return finish(
            next,
            PromotionPhase::Failed,
            "TargetNotFound",
            "the workload does not exist",
            now,
        );
    };
    let awaited = promotion.spec.r#await.as_ref();
    match (wanted(&promotion.spec, target), awaited) {
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

/// One stays until who asked for it is on record: they must not approve it.
fn expire(seen: &Seen<'_>, promotion: &SeenPromotion, now: DateTime<Utc>, decision: &mut Decision) {
    let finished = promotion.status.finished_at;
    if let Some(finished) = finished.filter(|_| requests::are_kept(seen, promotion)) {
        forget_after_its_time(promotion, finished, now, decision);
    }
}

fn forget_after_its_time(
    promotion: &SeenPromotion,
    finished: DateTime<Utc>,
    now: DateTime<Utc>,
    decision: &mut Decision,
) {
    let at = finished + TimeDelta::seconds(promotion.spec.policy.ttl_seconds.unwrap_or(TTL));
    if now >= at {
        decision
            .acts
            .push(Act::Forget(promotion.name.clone(), ledger::entry(promotion)));
    } else {
        decision.wake(at);
    }
}

/// Numbers the change, and tells it in the log.
fn record(promotion: &SeenPromotion, mut next: PromotionStatus, now: DateTime<Utc>, decision: &mut Decision) {
    next.seq = promotion.status.seq + 1;
    for line in log::news(&promotion.status, &next, now) {
        next.log.push(line);
    }
    decision
        .acts
        .push(Act::Record(promotion.name.clone(), Box::new(next)));
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
