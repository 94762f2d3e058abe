//! Decisions about promotions, carried out on a stage.

mod course; // from the promotion to the end of its rollout
mod ends; // what ends it otherwise
mod orders; // Commands and Approvals
mod requesters; // who asked

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::{orders::COMMAND_TTL, seen::DEADLINE, *};
use crate::{
    api::{
        AbortAction, Awaited, CanaryRef, CommandSpec, CommandStatus, Hold, HoldReason, Intervention,
        OnClientLost, Outcome, PastRollout, Policy, PromotionSpec, Requester, RevisionStatus, Verb,
    },
    rollout::{Order, Requests},
};

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_000_000 + seconds, 0).unwrap()
}

fn promotion(name: &str, image: &str, conflict: Conflict) -> SeenPromotion {
    SeenPromotion {
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        created_at: at(0),
        client_seen_at: None,
        spec: PromotionSpec {
            canary_ref: CanaryRef {
                name: "web".to_owned(),
            },
            image: Some(image.to_owned()),
            images: None,
            r#await: None,
            requester: Requester::default(),
            policy: Policy {
                conflict,
                ..Policy::default()
            },
            request_digest: None,
        },
        status: PromotionStatus::default(),
        unreadable: None,
    }
}

fn target(revision: &str, image: &str) -> Target {
    Target {
        revision: revision.to_owned(),
        images: BTreeMap::from([("app".to_owned(), image.to_owned())]),
    }
}

/// A Canary at rest with this revision promoted.
fn resting(revision: &str) -> CanaryStatus {
    CanaryStatus {
        phase: Some(Phase::Initialized),
        revision: RevisionStatus {
            current: Some(revision.to_owned()),
            promoted: Some(revision.to_owned()),
            ..RevisionStatus::default()
        },
        ..CanaryStatus::default()
    }
}

/// What happens to the objects when a decision is carried out.
struct Stage {
    canary: CanaryStatus,
    target: Target,
    promotions: Vec<SeenPromotion>,
    commands: Vec<SeenCommand>,
    frozen: Option<String>,
    hands_off: Option<String>,
    deaf: Option<String>,
    fenced: bool,
    deleting: bool,
    /// Whether the rollout writes down who asks.
    notes: bool,
    orders: Vec<Order>,
    now: DateTime<Utc>,
}

impl Stage {
    fn new(promotions: Vec<SeenPromotion>) -> Stage {
        Stage {
            canary: resting("old"),
            target: target("old", "web:1"),
            promotions,
            commands: Vec::new(),
            frozen: None,
            hands_off: None,
            deaf: None,
            fenced: true,
            deleting: false,
            notes: true,
            orders: Vec::new(),
            now: at(1),
        }
    }

    fn seen(&self) -> Seen<'_> {
        Seen {
            canary: &self.canary,
            deleting: self.deleting,
            target: Some(self.target.clone()),
            promotions: self.promotions.clone(),
            commands: self.commands.clone(),
            frozen: self.frozen.clone(),
            hands_off: self.hands_off.clone(),
            deaf: self.deaf.clone(),
            fenced: self.fenced,
        }
    }

    /// Carries decisions out until there is nothing to write; returns what was written.
    fn settle(&mut self) -> Vec<Act> {
        let mut all = Vec::new();
        for _ in 0..20 {
            let decision = decide(&self.seen(), self.now);
            self.orders = decision.orders;
            if !self.note(&decision.requests) && decision.acts.is_empty() {
                return all;
            }
            for act in &decision.acts {
                self.carry_out(act);
            }
            all.extend(decision.acts);
        }
        panic!("no end: {all:#?}");
    }

    /// The rollout writes down who asks; returns whether that is news.
    fn note(&mut self, requests: &Requests) -> bool {
        let known = &mut self.canary.revision;
        let before = known.clone();
        if self.notes {
            known.shipping.clone_from(&requests.shipping);
            known.requesters.extend(requests.shipped.clone());
        }
        *known != before
    }

    /// The same for a Canary that nobody follows; returns when it is to be looked at again.
    fn leave(&mut self, why: Unattended<'_>) -> Option<DateTime<Utc>> {
        for _ in 0..20 {
            let decision = unattended(&self.promotions, &self.commands, why, self.now);
            if decision.acts.is_empty() {
                return decision.wake_at;
            }
            for act in &decision.acts {
                self.carry_out(act);
            }
        }
        panic!("no end");
    }

    fn carry_out(&mut self, act: &Act) {
        match act {
            Act::Record(name, status) => {
                let promotion = self
                    .promotions
                    .iter_mut()
                    .find(|promotion| promotion.name == *name)
                    .unwrap();
                assert_eq!(status.seq, promotion.status.seq + 1);
                assert!(!promotion.finished(), "a result is kept");
                promotion.status = *status.clone();
            }
            Act::Ship(_, images) => self.target = target(&format!("of-{}", images["app"]), &images["app"]),
            Act::Answer(_, name, status) => {
                let command = self
                    .commands
                    .iter_mut()
                    .find(|command| command.name == *name)
                    .unwrap();
                command.status = status.clone();
            }
            Act::Forget(name, _) => self.promotions.retain(|promotion| promotion.name != *name),
            Act::ForgetCommand(_, name) => self.commands.retain(|command| command.name != *name),
        }
    }

    /// The Canary notices the workload's revision.
    fn notice(&mut self) {
        self.canary.phase = Some(Phase::Progressing);
        self.canary.revision.current = Some(self.target.revision.clone());
        self.canary.message = Some("step 1 of 2: weight 10 %".to_owned());
        self.canary.canary_weight = 10;
    }

    /// Something holds the Canary.
    fn hold(&mut self, reason: HoldReason) {
        self.canary.hold = Some(Hold {
            reason,
            since: self.now,
            message: "held".to_owned(),
            retreated: false,
            resumes: true,
        });
    }

    /// The Canary's rollout ends.
    fn end(&mut self, outcome: Outcome) {
        let revision = self.canary.revision.current.clone().unwrap();
        let promoted = matches!(outcome, Outcome::Promoted | Outcome::FastPromoted);
        self.canary.phase = Some(if promoted { Phase::Succeeded } else { Phase::Failed });
        self.canary.canary_weight = 0;
        if promoted {
            self.canary.revision.promoted = Some(revision.clone());
        }
        self.canary.history.insert(
            0,
            PastRollout {
                revision,
                outcome,
                message: "because".to_owned(),
                started_at: None,
                ended_at: self.now,
            },
        );
    }

    /// Orders are heeded, or refused.
    fn heed(&mut self, refused: Option<&str>) {
        for order in self.orders.drain(..) {
            self.canary.interventions.push(Intervention {
                id: order.id,
                verb: order.verb,
                gate: order.gate,
                revision: order.revision,
                by: order.by,
                reason: order.reason,
                at: self.now,
                refused: refused.map(str::to_owned),
            });
        }
    }

    /// Fails unless the first promotion is in this phase for this reason.
    #[track_caller]
    fn assert_is(&self, phase: PromotionPhase, reason: &str) {
        assert_eq!((self.phase(0), self.reason(0)), (Some(phase), reason));
    }

    fn phase(&self, n: usize) -> Option<PromotionPhase> {
        self.promotions[n].status.phase
    }

    fn reason(&self, n: usize) -> &str {
        self.promotions[n].status.reason.as_deref().unwrap_or_default()
    }

    fn command(&mut self, verb: Verb, action: Option<AbortAction>) {
        let n = self.commands.len();
        self.commands.push(SeenCommand {
            form: Form::Command,
            gate: None,
            name: format!("c-{n}"),
            uid: format!("uid-c-{n}"),
            created_at: self.now,
            spec: CommandSpec {
                canary_ref: CanaryRef {
                    name: "web".to_owned(),
                },
                verb,
                revision: None,
                promotion: Some("p".to_owned()),
                action,
                reason: None,
                requested_by: "mia".to_owned(),
                on_behalf_of: Vec::new(),
            },
            status: CommandStatus::default(),
            unreadable: None,
        });
    }
}

/// A promotion whose release has traffic.
fn running() -> Stage {
    let mut stage = Stage::new(vec![promotion("p", "web:2", Conflict::Reject)]);
    stage.settle();
    stage.notice();
    stage.settle();
    assert_eq!(stage.phase(0), Some(PromotionPhase::Running));
    stage
}
