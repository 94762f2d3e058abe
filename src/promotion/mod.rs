//! Promotions: what somebody wants released on a Canary, and what becomes of it. Pure.
//!
//! [`decide`] looks at every Promotion and Command of one Canary together, beside the Canary's own status, and says what to
//! write; what it wants of the rollout it says as orders, which [`crate::rollout::decide()`] heeds.
//! Invariants: a Promotion has exactly one result and keeps it; the intent to change the workload is recorded before
//! the workload is changed; at most one Promotion of a Canary is running.

mod ending; // how a running promotion ends
pub mod log; // lines with offsets that survive everything
pub mod names; // names made of keys

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    api::{
        AbortAction, CanaryStatus, CommandSpec, CommandStatus, Conflict, OnClientLost, Phase, Policy,
        PromotionPhase, PromotionSpec, PromotionStatus, Verb,
    },
    rollout::Order,
};

/// How long an answered Command stays.
const COMMAND_TTL: TimeDelta = TimeDelta::hours(24);
/// Default of `policy.deadlineSeconds`.
const DEADLINE: i64 = 3600;
/// Default of `policy.clientLostSeconds`.
const CLIENT_LOST: i64 = 300;
/// Default of `policy.ttlSeconds`.
const TTL: i64 = 86_400;

/// A Promotion.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When a client last asked for it.
    pub client_seen_at: Option<DateTime<Utc>>,
    /// What it asks for.
    pub spec: PromotionSpec,
    /// What became of it.
    pub status: PromotionStatus,
}

/// In which form a demand came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A Command.
    Command,
    /// An Approval.
    Approval,
}

/// A Command or an Approval.
#[derive(Clone, Debug)]
pub struct Demand {
    /// In which form it came.
    pub form: Form,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// What it orders; of an Approval, `Approve` or `Reject`.
    pub spec: CommandSpec,
    /// The gate that it decides on.
    pub gate: Option<String>,
    /// What became of it.
    pub status: CommandStatus,
}

/// The workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Digest of its pod template.
    pub revision: String,
    /// Image by name of the container.
    pub images: BTreeMap<String, String>,
}

/// Everything about the Promotions of one Canary.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// The Canary's status.
    pub canary: &'a CanaryStatus,
    /// Whether the Canary is being deleted.
    pub deleting: bool,
    /// The workload, if it exists.
    pub target: Option<Target>,
    /// Its Promotions.
    pub wishes: Vec<Wish>,
    /// Its Commands and Approvals.
    pub demands: Vec<Demand>,
    /// Why nothing may be released now.
    pub frozen: Option<String>,
}

/// One guarded write.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Write the status of a Promotion.
    Record(String, Box<PromotionStatus>),
    /// Give the workload these images, for a Promotion.
    Ship(String, BTreeMap<String, String>),
    /// Write the status of a Command or an Approval.
    Answer(Form, String, CommandStatus),
    /// Delete a Promotion that has been over for long.
    Forget(String),
    /// Delete a Command or an Approval that was answered long ago.
    ForgetDemand(Form, String),
}

/// What to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Writes, in order.
    pub acts: Vec<Act>,
    /// Orders for the rollout that were not heeded or refused yet, oldest first.
    pub orders: Vec<Order>,
    /// When to look again even if nothing changes.
    pub wake_at: Option<DateTime<Utc>>,
}

impl Decision {
    fn wake(&mut self, at: DateTime<Utc>) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }
}

impl Wish {
    fn finished(&self) -> bool {
        self.status.phase.is_some_and(PromotionPhase::finished)
    }

    /// Whether it was asked for by this user, or by a build that this user started.
    fn is_of(&self, user: &str) -> bool {
        let requester = &self.spec.requester;
        [&requester.authenticated_as, &requester.user]
            .into_iter()
            .any(|known| known.as_deref() == Some(user))
    }

    fn deadline(&self) -> DateTime<Utc> {
        self.created_at + TimeDelta::seconds(self.spec.policy.deadline_seconds.unwrap_or(DEADLINE))
    }

    /// When its client counts as lost, if that matters: so long after it was last heard of.
    fn client_lost_at(&self) -> Option<DateTime<Utc>> {
        let policy = &self.spec.policy;
        let span = client_lost_after(policy)?;
        Some(
            self.client_seen_at
                .unwrap_or(self.created_at)
                .max(self.created_at)
                + span,
        )
    }

    /// Whether it may still change the workload.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.finished() && self.status.revision.is_none()
    }

    fn running(&self) -> bool {
        self.status.phase == Some(PromotionPhase::Running)
    }
}

/// How long a client may be silent, if it matters.
#[must_use]
pub fn client_lost_after(policy: &Policy) -> Option<TimeDelta> {
    let seconds = policy.client_lost_seconds.unwrap_or(CLIENT_LOST);
    (policy.on_client_lost != OnClientLost::Continue).then(|| TimeDelta::seconds(seconds))
}

/// Decides about all Promotions and Commands of one Canary.
#[must_use]
pub fn decide(seen: &Seen<'_>, now: DateTime<Utc>) -> Decision {
    let mut decision = Decision::default();
    let mut wishes = seen.wishes.clone();
    wishes.sort_by(|a, b| (a.created_at, &a.name).cmp(&(b.created_at, &b.name)));
    let mut demands = seen.demands.clone();
    demands.sort_by(|a, b| (a.created_at, &a.name).cmp(&(b.created_at, &b.name)));
    heed_demands(seen, &wishes, &demands, now, &mut decision);
    let mut ahead = false;
    for (n, wish) in wishes.iter().enumerate() {
        if wish.finished() {
            expire(seen, wish, now, &mut decision);
            continue;
        }
        let others = Others {
            ahead,
            newer_supersedes: wishes[n + 1..]
                .iter()
                .any(|later| !later.finished() && later.spec.policy.conflict == Conflict::Supersede),
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

/// What becomes of the Promotions of a Canary that is refused for `problem`: they wait, but not beyond their deadlines.
#[must_use]
pub fn refuse(wishes: &[Wish], problem: &str, now: DateTime<Utc>) -> Decision {
    let mut decision = Decision::default();
    for wish in wishes.iter().filter(|wish| !wish.finished()) {
        let mut next = wish.status.clone();
        if now >= wish.deadline() {
            let text = format!(
                "its deadline is over (policy.deadlineSeconds); nothing was called off, for the Canary is refused: {problem}"
            );
            finish(&mut next, PromotionPhase::Failed, "DeadlineExceeded", &text, now);
        } else {
            decision.wake(wish.deadline());
            let phase = next.phase.unwrap_or(PromotionPhase::Pending);
            wait(
                &mut next,
                phase,
                "InvalidSpec",
                &format!("the Canary is refused: {problem}"),
            );
        }
        if next != wish.status {
            record(wish, next, now, &mut decision);
        }
    }
    decision
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

/// What the workload shall have.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Images(BTreeMap<String, String>),
    Revision(String),
}

impl Wanted {
    fn met_by(&self, target: &Target) -> bool {
        match self {
            Wanted::Images(images) => images
                .iter()
                .all(|(container, image)| target.images.get(container) == Some(image)),
            Wanted::Revision(revision) => target.revision.starts_with(revision.as_str()),
        }
    }
}

fn wanted(spec: &PromotionSpec, target: &Target) -> Result<Wanted, String> {
    let awaited = spec.r#await.clone().unwrap_or_default();
    if let Some(revision) = awaited.revision {
        return Ok(Wanted::Revision(revision));
    }
    let images = spec.images.clone().or(awaited.images);
    if let Some(images) = images {
        let missing = images
            .keys()
            .find(|container| !target.images.contains_key(*container));
        return match missing {
            Some(container) => Err(format!(
                "the workload has no container {container}; it has {}",
                listed(target)
            )),
            None => Ok(Wanted::Images(images)),
        };
    }
    let image = spec.image.clone().or(awaited.image).unwrap_or_default();
    let mut containers = target.images.keys();
    match (containers.next(), containers.next()) {
        (Some(only), None) => Ok(Wanted::Images(BTreeMap::from([(only.clone(), image)]))),
        _ => Err(format!(
            "the workload has several containers ({}); name them in images",
            listed(target)
        )),
    }
}

fn listed(target: &Target) -> String {
    target.images.keys().cloned().collect::<Vec<_>>().join(", ")
}

/// Turns Commands into orders, and answers those that were heeded or refused.
fn heed_demands(
    seen: &Seen<'_>,
    wishes: &[Wish],
    demands: &[Demand],
    now: DateTime<Utc>,
    decision: &mut Decision,
) {
    for demand in demands {
        if let Some(answered) = demand.status.answered_at {
            if now >= answered + COMMAND_TTL {
                let forget = Act::ForgetDemand(demand.form, demand.name.clone());
                decision.acts.push(forget);
            } else {
                decision.wake(answered + COMMAND_TTL);
            }
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
        let status = CommandStatus {
            outcome: Some(outcome),
            answered_at: Some(now),
        };
        let answer = Act::Answer(demand.form, demand.name.clone(), status);
        decision.acts.push(answer);
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
