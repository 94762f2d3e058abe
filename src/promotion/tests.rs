use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::{orders::COMMAND_TTL, seen::DEADLINE, *};
use crate::{
    api::{
        AbortAction, Awaited, CanaryRef, CommandSpec, CommandStatus, Hold, HoldReason, Intervention,
        OnClientLost, Outcome, PastRollout, Policy, PromotionSpec, Requester, RevisionStatus, Verb,
    },
    rollout::Order,
};

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_000_000 + seconds, 0).unwrap()
}

fn wish(name: &str, image: &str, conflict: Conflict) -> Wish {
    Wish {
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
    wishes: Vec<Wish>,
    demands: Vec<Demand>,
    frozen: Option<String>,
    hands_off: Option<String>,
    deaf: Option<String>,
    deleting: bool,
    orders: Vec<Order>,
    now: DateTime<Utc>,
}

impl Stage {
    fn new(wishes: Vec<Wish>) -> Stage {
        Stage {
            canary: resting("old"),
            target: target("old", "web:1"),
            wishes,
            demands: Vec::new(),
            frozen: None,
            hands_off: None,
            deaf: None,
            deleting: false,
            orders: Vec::new(),
            now: at(1),
        }
    }

    fn seen(&self) -> Seen<'_> {
        Seen {
            canary: &self.canary,
            deleting: self.deleting,
            target: Some(self.target.clone()),
            wishes: self.wishes.clone(),
            demands: self.demands.clone(),
            frozen: self.frozen.clone(),
            hands_off: self.hands_off.clone(),
            deaf: self.deaf.clone(),
        }
    }

    /// Carries decisions out until there is nothing to write; returns what was written.
    fn settle(&mut self) -> Vec<Act> {
        let mut all = Vec::new();
        for _ in 0..20 {
            let decision = decide(&self.seen(), self.now);
            self.orders = decision.orders;
            if decision.acts.is_empty() {
                return all;
            }
            for act in &decision.acts {
                self.carry_out(act);
            }
            all.extend(decision.acts);
        }
        panic!("no end: {all:#?}");
    }

    fn carry_out(&mut self, act: &Act) {
        match act {
            Act::Record(name, status) => {
                let wish = self.wishes.iter_mut().find(|wish| wish.name == *name).unwrap();
                assert_eq!(status.seq, wish.status.seq + 1);
                assert!(!wish.finished(), "a result is kept");
                wish.status = *status.clone();
            }
            Act::Ship(_, images) => self.target = target(&format!("of-{}", images["app"]), &images["app"]),
            Act::Answer(_, name, status) => {
                let demand = self
                    .demands
                    .iter_mut()
                    .find(|demand| demand.name == *name)
                    .unwrap();
                demand.status = status.clone();
            }
            Act::Forget(name) => self.wishes.retain(|wish| wish.name != *name),
            Act::ForgetDemand(_, name) => self.demands.retain(|demand| demand.name != *name),
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

    fn phase(&self, n: usize) -> Option<PromotionPhase> {
        self.wishes[n].status.phase
    }

    fn reason(&self, n: usize) -> &str {
        self.wishes[n].status.reason.as_deref().unwrap_or_default()
    }

    fn demand(&mut self, verb: Verb, action: Option<AbortAction>) {
        let n = self.demands.len();
        self.demands.push(Demand {
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
            },
            status: CommandStatus::default(),
        });
    }
}

/// A promotion whose release has traffic.
fn running() -> Stage {
    let mut stage = Stage::new(vec![wish("p", "web:2", Conflict::Reject)]);
    stage.settle();
    stage.notice();
    stage.settle();
    assert_eq!(stage.phase(0), Some(PromotionPhase::Running));
    stage
}

#[test]
fn intent_is_recorded_before_the_workload_is_changed() {
    let mut stage = Stage::new(vec![wish("p", "web:2", Conflict::Reject)]);
    let acts = stage.settle();
    assert!(
        matches!(&acts[..], [Act::Record(..), Act::Ship(..), Act::Record(..)]),
        "{acts:#?}"
    );
    assert_eq!(stage.wishes[0].status.revision.as_deref(), Some("of-web:2"));
}

#[test]
fn end_of_the_rollout_is_the_result() {
    for (outcome, phase) in [
        (Outcome::Promoted, PromotionPhase::Promoted),
        (Outcome::FastPromoted, PromotionPhase::Promoted),
        (Outcome::RolledBack, PromotionPhase::RolledBack),
        (Outcome::Aborted, PromotionPhase::Aborted),
        (Outcome::Superseded, PromotionPhase::Superseded),
        (Outcome::Failed, PromotionPhase::Failed),
    ] {
        let mut stage = running();
        assert_eq!(stage.wishes[0].status.weight, 10);
        stage.end(outcome);
        stage.settle();
        assert_eq!(stage.phase(0), Some(phase));
        assert!(stage.wishes[0].status.finished_at.is_some());
    }
}

#[test]
fn what_the_primary_runs_already_is_promoted_without_a_write_to_the_workload() {
    let mut stage = Stage::new(vec![wish("p", "web:1", Conflict::Reject)]);
    let acts = stage.settle();
    assert!(acts.iter().all(|act| matches!(act, Act::Record(..))), "{acts:#?}");
    assert_eq!(
        (stage.phase(0), stage.reason(0)),
        (Some(PromotionPhase::Promoted), "AlreadyPromoted")
    );
}

#[test]
fn what_failed_before_is_tried_again() {
    let mut stage = Stage::new(vec![wish("p", "web:1", Conflict::Reject)]);
    stage.canary.phase = Some(Phase::Failed);
    stage.canary.revision.promoted = Some("older".to_owned());
    stage.canary.history.push(PastRollout {
        revision: "old".to_owned(),
        outcome: Outcome::RolledBack,
        message: String::new(),
        started_at: None,
        ended_at: at(-100),
    });
    stage.settle();
    assert_eq!(stage.phase(0), Some(PromotionPhase::Running));
    assert_eq!(stage.orders[0].verb, Verb::Retry);
    stage.heed(None);
    stage.notice();
    stage.settle();
    assert!(stage.orders.is_empty());
    stage.end(Outcome::Promoted);
    stage.settle();
    assert_eq!(stage.phase(0), Some(PromotionPhase::Promoted));
}

#[test]
fn second_promotion_is_rejected_queued_or_takes_the_place() {
    for (conflict, first, second) in [
        (Conflict::Reject, PromotionPhase::Running, PromotionPhase::Failed),
        (Conflict::Queue, PromotionPhase::Running, PromotionPhase::Queued),
        (
            Conflict::Supersede,
            PromotionPhase::Superseded,
            PromotionPhase::Running,
        ),
    ] {
        let mut stage = running();
        let mut later = wish("q", "web:3", conflict);
        later.created_at = at(1);
        stage.wishes.push(later);
        stage.settle();
        assert_eq!(
            (stage.phase(0), stage.phase(1)),
            (Some(first), Some(second)),
            "{conflict:?}"
        );
        if conflict == Conflict::Queue {
            stage.end(Outcome::RolledBack);
            stage.settle();
            assert_eq!(stage.phase(1), Some(PromotionPhase::Running));
            assert_eq!(stage.target.images["app"], "web:3");
        }
    }
}

#[test]
fn abort_ends_as_its_action_says() {
    // Before it begins.
    let mut stage = Stage::new(vec![wish("p", "web:2", Conflict::Reject)]);
    stage.frozen = Some("frozen".to_owned());
    stage.settle();
    assert_eq!(
        (stage.phase(0), stage.reason(0)),
        (Some(PromotionPhase::Pending), "Frozen")
    );
    stage.demand(Verb::Abort, None);
    stage.settle();
    assert_eq!(stage.phase(0), Some(PromotionPhase::Aborted));
    assert_eq!(stage.demands[0].status.outcome.as_deref(), Some("done"));
    assert_eq!(stage.target.images["app"], "web:1", "nothing was shipped");

    // Under way: rolled back, and over when that is done.
    let mut stage = running();
    stage.demand(Verb::Abort, None);
    stage.settle();
    assert_eq!(stage.orders[0].verb, Verb::Abort);
    stage.heed(None);
    stage.settle();
    assert_eq!(stage.phase(0), Some(PromotionPhase::Running));
    stage.end(Outcome::Aborted);
    stage.settle();
    assert_eq!(stage.phase(0), Some(PromotionPhase::Aborted));

    // Paused where it is.
    let mut stage = running();
    stage.demand(Verb::Abort, Some(AbortAction::Pause));
    stage.settle();
    assert_eq!(stage.orders[0].verb, Verb::Pause);
    stage.heed(None);
    stage.settle();
    assert_eq!(stage.phase(0), Some(PromotionPhase::Aborted));

    // Left alone.
    let mut stage = running();
    stage.demand(Verb::Abort, Some(AbortAction::None));
    stage.settle();
    assert!(stage.orders.is_empty());
    assert_eq!(stage.phase(0), Some(PromotionPhase::Aborted));
    assert_eq!(stage.demands[0].status.outcome.as_deref(), Some("done"));
}

#[test]
fn abort_that_was_refused_is_in_the_way_of_no_later_one() {
    for (action, phase) in [
        (AbortAction::None, PromotionPhase::Aborted),
        (AbortAction::Pause, PromotionPhase::Aborted),
        (AbortAction::Rollback, PromotionPhase::Running),
    ] {
        let mut stage = running();
        stage.demand(Verb::Abort, Some(AbortAction::Pause));
        stage.settle();
        stage.heed(Some("the primary takes the revision over already"));
        stage.settle();
        assert_eq!(stage.phase(0), Some(PromotionPhase::Running));
        // The Canary remembers only the last orders: what became of the Command stands in itself as well.
        stage.canary.interventions.clear();
        stage.now = at(2);
        stage.demand(Verb::Abort, Some(action));
        stage.settle();
        stage.heed(None);
        stage.settle();
        assert_eq!(stage.phase(0), Some(phase), "{action:?}");
        stage.end(Outcome::Aborted);
        stage.settle();
        assert_eq!(stage.phase(0), Some(PromotionPhase::Aborted), "{action:?}");
    }
}

#[test]
fn rollback_is_not_lost_behind_a_pause_that_came_with_it() {
    let mut stage = running();
    stage.demand(Verb::Abort, Some(AbortAction::Pause));
    stage.now = at(2);
    stage.demand(Verb::Abort, Some(AbortAction::Rollback));
    stage.settle();
    let later = stage.orders.split_off(1);
    // The Canary heeds one order at a time.
    stage.heed(None);
    stage.settle();
    assert_eq!(stage.phase(0), Some(PromotionPhase::Running));
    assert_eq!(stage.orders, later);
    assert_eq!(stage.orders[0].verb, Verb::Abort);
}

#[test]
fn abort_that_was_heeded_is_taken_back_by_no_later_one() {
    let mut stage = running();
    stage.demand(Verb::Abort, Some(AbortAction::Rollback));
    stage.settle();
    stage.heed(None);
    stage.now = at(2);
    stage.demand(Verb::Abort, Some(AbortAction::None));
    stage.settle();
    assert_eq!(stage.phase(0), Some(PromotionPhase::Running), "it is rolled back");
    stage.end(Outcome::Aborted);
    stage.settle();
    assert_eq!(stage.phase(0), Some(PromotionPhase::Aborted));
}

#[test]
fn order_waits_until_the_canary_has_noticed_the_revision() {
    let mut stage = Stage::new(vec![wish("p", "web:2", Conflict::Reject)]);
    stage.settle();
    stage.demand(Verb::Abort, None);
    stage.settle();
    assert!(stage.orders.is_empty(), "the Canary would refuse it for good");
    stage.notice();
    stage.settle();
    assert_eq!(stage.orders.len(), 1);
}

#[test]
fn deadline_rolls_back_and_fails() {
    let mut stage = running();
    stage.now = at(DEADLINE);
    stage.settle();
    assert_eq!(
        (stage.phase(0), stage.reason(0)),
        (Some(PromotionPhase::Running), "DeadlineExceeded")
    );
    assert_eq!(stage.orders[0].verb, Verb::Abort);
    stage.heed(None);
    stage.end(Outcome::Aborted);
    stage.settle();
    assert_eq!(
        (stage.phase(0), stage.reason(0)),
        (Some(PromotionPhase::Failed), "DeadlineExceeded")
    );
}

#[test]
fn workload_that_somebody_else_changes_meanwhile_is_not_changed_back() {
    let mut stage = Stage::new(vec![wish("p", "web:2", Conflict::Reject)]);
    // The intent is recorded, and then somebody pushes.
    let seen = Seen {
        canary: &stage.canary.clone(),
        deleting: false,
        target: Some(stage.target.clone()),
        wishes: stage.wishes.clone(),
        demands: Vec::new(),
        frozen: None,
        hands_off: None,
        deaf: None,
    };
    let first = decide(&seen, stage.now);
    stage.carry_out(&first.acts[0]);
    stage.target = target("theirs", "web:9");
    let acts = stage.settle();
    assert!(!acts.iter().any(|act| matches!(act, Act::Ship(..))), "{acts:#?}");
    assert_eq!(stage.phase(0), Some(PromotionPhase::Superseded));
}

#[test]
fn awaited_promotion_changes_nothing_and_follows_what_comes() {
    let mut wish = wish("p", "", Conflict::Reject);
    wish.spec.image = None;
    wish.spec.r#await = Some(Awaited {
        image: Some("web:2".to_owned()),
        ..Awaited::default()
    });
    let mut stage = Stage::new(vec![wish]);
    stage.settle();
    assert_eq!(
        (stage.phase(0), stage.reason(0)),
        (Some(PromotionPhase::Pending), "Awaiting")
    );
    stage.target = target("synced", "web:2");
    let acts = stage.settle();
    assert!(acts.iter().all(|act| matches!(act, Act::Record(..))), "{acts:#?}");
    assert_eq!(stage.wishes[0].status.revision.as_deref(), Some("synced"));
}

#[test]
fn containers_that_are_not_there_are_named() {
    let mut wrong = wish("p", "", Conflict::Reject);
    wrong.spec.image = None;
    wrong.spec.images = Some(BTreeMap::from([("web".to_owned(), "web:2".to_owned())]));
    let mut stage = Stage::new(vec![wrong]);
    stage.settle();
    assert_eq!(
        (stage.phase(0), stage.reason(0)),
        (Some(PromotionPhase::Failed), "ContainerNotFound")
    );
    let message = stage.wishes[0].status.message.clone().unwrap();
    assert!(
        message.contains("no container web") && message.contains("app"),
        "{message}"
    );
}

#[test]
fn what_is_over_goes_after_its_time() {
    let mut stage = running();
    stage.demand(Verb::Resume, None);
    stage.settle();
    stage.heed(Some("no release is under way"));
    stage.settle();
    let outcome = stage.demands[0].status.outcome.clone().unwrap();
    assert!(outcome.starts_with("refused: "), "{outcome}");
    stage.end(Outcome::Promoted);
    stage.settle();
    stage.now += TimeDelta::seconds(TTL) + COMMAND_TTL;
    stage.settle();
    assert!(stage.wishes.is_empty() && stage.demands.is_empty());
}

#[test]
fn promotion_that_is_over_stays_while_its_release_is_under_way() {
    let mut stage = running();
    stage.demand(Verb::Abort, Some(AbortAction::None));
    stage.settle();
    assert_eq!(
        stage.phase(0),
        Some(PromotionPhase::Aborted),
        "the release goes on"
    );
    stage.now += TimeDelta::seconds(2 * TTL);
    stage.settle();
    assert_eq!(stage.wishes.len(), 1, "it says who asked for the release");
    stage.end(Outcome::Promoted);
    stage.settle();
    assert!(stage.wishes.is_empty());
}

#[test]
fn promotions_of_a_canary_that_is_refused_wait_and_end_with_their_deadline() {
    let mut stage = running();
    let decision = refuse(
        &stage.wishes,
        "spec.analysis.maxWeight: 0 is no weight",
        stage.now,
    );
    assert_eq!(decision.wake_at, Some(at(DEADLINE)));
    stage.carry_out(&decision.acts[0]);
    assert_eq!(
        (stage.phase(0), stage.reason(0)),
        (Some(PromotionPhase::Running), "InvalidSpec")
    );
    let again = refuse(
        &stage.wishes,
        "spec.analysis.maxWeight: 0 is no weight",
        stage.now,
    );
    assert_eq!(again.acts, []);
    let decision = refuse(
        &stage.wishes,
        "spec.analysis.maxWeight: 0 is no weight",
        at(DEADLINE),
    );
    stage.carry_out(&decision.acts[0]);
    assert_eq!(
        (stage.phase(0), stage.reason(0)),
        (Some(PromotionPhase::Failed), "DeadlineExceeded")
    );
}

#[test]
fn promotions_end_with_their_canary() {
    let mut stage = running();
    stage.deleting = true;
    stage.settle();
    assert_eq!(
        (stage.phase(0), stage.reason(0)),
        (Some(PromotionPhase::Failed), "CanaryDeleted")
    );
    assert!(stage.orders.is_empty());
}

#[test]
fn workload_is_not_changed_while_hands_are_off_it() {
    let mut stage = Stage::new(vec![wish("p", "web:2", Conflict::Reject)]);
    let seen = Seen {
        canary: &stage.canary.clone(),
        deleting: false,
        target: Some(stage.target.clone()),
        wishes: stage.wishes.clone(),
        demands: Vec::new(),
        frozen: None,
        hands_off: None,
        deaf: None,
    };
    let first = decide(&seen, stage.now);
    stage.carry_out(&first.acts[0]);
    stage.frozen = Some("the Canary is suspended".to_owned());
    assert_eq!(stage.settle(), [], "the intent is there, and it waits");
    stage.frozen = None;
    stage.settle();
    assert_eq!(stage.target.images["app"], "web:2");
}

#[test]
fn approval_of_whoever_asked_for_the_release_is_marked_as_their_own() {
    let mut stage = running();
    stage.wishes[0].spec.requester.authenticated_as = Some("ci".to_owned());
    for (n, by) in ["ci", "mia"].into_iter().enumerate() {
        stage.demand(Verb::Approve, None);
        let demand = stage.demands.last_mut().unwrap();
        demand.form = Form::Approval;
        demand.gate = Some("acceptance".to_owned());
        demand.spec.requested_by = by.to_owned();
        stage.settle();
        let order = stage.orders.last().unwrap();
        assert_eq!(
            (order.own, order.gate.as_deref()),
            (n == 0, Some("acceptance")),
            "{by}"
        );
        assert_eq!(Some(&order.revision), stage.wishes[0].status.revision.as_ref());
    }
    stage.heed(None);
    let acts = stage.settle();
    let answered = |act: &&Act| matches!(act, Act::Answer(Form::Approval, _, _));
    assert_eq!(acts.iter().filter(answered).count(), 2);
}

#[test]
fn release_whose_client_is_lost_is_rolled_back_or_paused_as_its_policy_says() {
    for (action, verb) in [
        (OnClientLost::Rollback, Verb::Abort),
        (OnClientLost::Pause, Verb::Pause),
    ] {
        let mut stage = running();
        stage.wishes[0].spec.policy.on_client_lost = action;
        stage.wishes[0].spec.policy.client_lost_seconds = Some(60);
        stage.wishes[0].client_seen_at = Some(at(30));
        stage.now = at(89);
        stage.settle();
        assert_eq!(stage.orders, [], "it was heard of a minute ago");
        stage.now = at(90);
        stage.settle();
        let orders: Vec<_> = stage.orders.iter().map(|order| order.verb).collect();
        assert_eq!(orders, [verb]);
        stage.heed(None);
        stage.settle();
        assert_eq!(stage.orders, [], "once");
    }
    let mut stage = running();
    stage.now = at(3000);
    stage.settle();
    assert_eq!(stage.orders, [], "by default it goes on");
}

#[test]
fn promotion_waits_for_the_first_primary_unless_that_cannot_be_set_up() {
    let mut stage = Stage::new(vec![wish("p", "web:2", Conflict::Reject)]);
    stage.canary.phase = Some(Phase::Initializing);
    stage.settle();
    assert_eq!(
        (stage.phase(0), stage.reason(0)),
        (Some(PromotionPhase::Pending), "NotInitialized")
    );
    assert_eq!(stage.target.images["app"], "web:1");
    stage.canary.hold = Some(crate::api::Hold {
        reason: crate::api::HoldReason::WorkloadNotReady,
        since: at(0),
        message: "the pods of web do not get ready".to_owned(),
        retreated: false,
        resumes: true,
    });
    stage.settle();
    assert_eq!(stage.target.images["app"], "web:2", "it may be the fix");
}

#[test]
fn promotion_whose_way_back_is_held_ends_with_its_deadline() {
    let mut stage = running();
    stage.now = at(3601);
    stage.settle();
    stage.heed(None);
    stage.canary.retirement = Some(crate::api::Retirement {
        kind: crate::api::RetirementKind::Cancel,
        since: stage.now,
        message: String::new(),
    });
    stage.settle();
    assert_eq!(stage.phase(0), Some(PromotionPhase::Running), "it goes back");
    stage.hold(HoldReason::WorkloadNotReady);
    stage.settle();
    assert_eq!(
        (stage.phase(0), stage.reason(0)),
        (Some(PromotionPhase::Failed), "DeadlineExceeded")
    );
}

#[test]
fn promotion_of_a_canary_that_nobody_may_touch_ends_with_its_deadline() {
    let mut stage = running();
    stage.hold(HoldReason::TargetConflict);
    stage.hands_off = Some("the Canary is suspended (spec.suspend)".to_owned());
    stage.settle();
    assert_eq!(stage.phase(0), Some(PromotionPhase::Running));
    stage.now = at(DEADLINE);
    stage.settle();
    assert_eq!(
        (stage.phase(0), stage.reason(0)),
        (Some(PromotionPhase::Failed), "DeadlineExceeded")
    );
    assert!(stage.orders.is_empty(), "nobody would heed them");
}

#[test]
fn deadline_in_a_quarrel_over_routes_calls_the_release_off() {
    let mut stage = running();
    stage.hold(HoldReason::TargetConflict);
    stage.now = at(DEADLINE);
    stage.settle();
    assert_eq!(stage.phase(0), Some(PromotionPhase::Running));
    assert_eq!(
        stage.orders[0].verb,
        Verb::Abort,
        "orders are heeded all the same"
    );
}

#[test]
fn deadline_waits_for_usable_routes_but_not_for_ever() {
    let mut stage = running();
    stage.deaf = Some("the VirtualService has no route to split".to_owned());
    stage.now = at(DEADLINE);
    stage.settle();
    assert_eq!(stage.phase(0), Some(PromotionPhase::Running));
    assert_eq!(
        stage.orders[0].verb,
        Verb::Abort,
        "it is ordered for when they are mended"
    );
    stage.now = at(DEADLINE + 300);
    stage.settle();
    assert_eq!(
        (stage.phase(0), stage.reason(0)),
        (Some(PromotionPhase::Failed), "DeadlineExceeded")
    );
}

#[test]
fn order_is_remembered_until_whoever_gave_it_is_told() {
    let mut stage = running();
    stage.demand(Verb::Pause, None);
    stage.settle();
    stage.heed(None);
    let untold = |stage: &Stage| untold(&stage.seen()).into_iter().collect::<Vec<_>>();
    assert_eq!(untold(&stage), [stage.demands[0].uid.clone()]);
    stage.settle();
    assert!(stage.demands[0].status.answered_at.is_some());
    assert_eq!(untold(&stage), [""; 0]);
    stage.now = at(DEADLINE);
    stage.settle();
    stage.heed(None);
    assert_eq!(untold(&stage), [stage.wishes[0].order("deadline")]);
}
