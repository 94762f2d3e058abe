//! From the promotion to the end of its rollout.

use super::*;

#[test]
fn intent_is_recorded_before_the_workload_is_changed() {
    let mut stage = Stage::new(vec![promotion("p", "web:2", Conflict::Reject)]);
    let acts = stage.settle();
    assert!(
        matches!(&acts[..], [Act::Record(..), Act::Ship(..), Act::Record(..)]),
        "{acts:#?}"
    );
    assert_eq!(stage.promotions[0].status.revision.as_deref(), Some("of-web:2"));
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
        assert_eq!(stage.promotions[0].status.weight, 10);
        stage.end(outcome);
        stage.settle();
        assert_eq!(stage.phase(0), Some(phase));
        assert!(stage.promotions[0].status.finished_at.is_some());
    }
}

#[test]
fn what_the_primary_runs_already_is_promoted_without_a_write_to_the_workload() {
    let mut stage = Stage::new(vec![promotion("p", "web:1", Conflict::Reject)]);
    let acts = stage.settle();
    assert!(acts.iter().all(|act| matches!(act, Act::Record(..))), "{acts:#?}");
    stage.assert_is(PromotionPhase::Promoted, "AlreadyPromoted");
}

#[test]
fn what_failed_before_is_tried_again() {
    let mut stage = Stage::new(vec![promotion("p", "web:1", Conflict::Reject)]);
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
        let mut later = promotion("q", "web:3", conflict);
        later.created_at = at(1);
        stage.promotions.push(later);
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
fn of_two_promotions_of_one_second_the_one_that_has_begun_goes_on() {
    for conflict in [Conflict::Queue, Conflict::Reject] {
        let mut stage = running();
        stage.promotions.push(promotion("a", "web:3", conflict));
        stage.settle();
        assert_eq!(stage.phase(0), Some(PromotionPhase::Running), "{conflict:?}");
        assert_ne!(stage.phase(1), Some(PromotionPhase::Running), "{conflict:?}");
        assert_eq!(stage.target.images["app"], "web:2", "{conflict:?}");
    }
}

#[test]
fn promotion_that_cannot_begin_takes_nobodys_place() {
    let later = || {
        let mut later = promotion("q", "web:3", Conflict::Supersede);
        later.created_at = at(1);
        later
    };
    let mut awaiting = later();
    awaiting.spec.r#await = Some(Awaited {
        image: awaiting.spec.image.take(),
        ..Awaited::default()
    });
    let mut wrong = later();
    wrong.spec.images = Some(BTreeMap::from([("web".to_owned(), "web:3".to_owned())]));
    for (promotion, frozen) in [(awaiting, false), (wrong, false), (later(), true)] {
        let mut stage = running();
        stage.frozen = frozen.then(|| "holidays".to_owned());
        stage.promotions.push(promotion);
        stage.settle();
        assert_eq!(
            (stage.phase(0), stage.phase(1)),
            (Some(PromotionPhase::Running), Some(PromotionPhase::Queued))
        );
    }
}

#[test]
fn promotion_that_waits_out_a_freeze_yields_to_a_newer_one_at_once() {
    let mut stage = Stage::new(vec![promotion("p", "web:2", Conflict::Queue)]);
    stage.frozen = Some("holidays".to_owned());
    stage.settle();
    let mut later = promotion("q", "web:3", Conflict::Supersede);
    later.created_at = at(1);
    stage.promotions.push(later);
    stage.settle();
    stage.assert_is(PromotionPhase::Superseded, "Superseded");
    assert_eq!(stage.reason(1), "Frozen");
}

#[test]
fn workload_that_somebody_else_changes_meanwhile_is_not_changed_back() {
    let mut stage = Stage::new(vec![promotion("p", "web:2", Conflict::Reject)]);
    // The intent is recorded, and then somebody pushes.
    let first = decide(&stage.seen(), stage.now);
    stage.carry_out(&first.acts[0]);
    stage.target = target("theirs", "web:9");
    let acts = stage.settle();
    assert!(!acts.iter().any(|act| matches!(act, Act::Ship(..))), "{acts:#?}");
    assert_eq!(stage.phase(0), Some(PromotionPhase::Superseded));
}

#[test]
fn awaited_promotion_changes_nothing_and_follows_what_comes() {
    let mut promotion = promotion("p", "", Conflict::Reject);
    promotion.spec.image = None;
    promotion.spec.r#await = Some(Awaited {
        image: Some("web:2".to_owned()),
        ..Awaited::default()
    });
    let mut stage = Stage::new(vec![promotion]);
    stage.settle();
    stage.assert_is(PromotionPhase::Pending, "Awaiting");
    stage.target = target("synced", "web:2");
    let acts = stage.settle();
    assert!(acts.iter().all(|act| matches!(act, Act::Record(..))), "{acts:#?}");
    assert_eq!(stage.promotions[0].status.revision.as_deref(), Some("synced"));
}

#[test]
fn containers_that_are_not_there_are_named() {
    let mut wrong = promotion("p", "", Conflict::Reject);
    wrong.spec.image = None;
    wrong.spec.images = Some(BTreeMap::from([("web".to_owned(), "web:2".to_owned())]));
    let mut stage = Stage::new(vec![wrong]);
    stage.settle();
    stage.assert_is(PromotionPhase::Failed, "ContainerNotFound");
    let message = stage.promotions[0].status.message.clone().unwrap();
    assert!(
        message.contains("no container web") && message.contains("app"),
        "{message}"
    );
}

#[test]
fn workload_is_not_changed_while_hands_are_off_it() {
    let mut stage = Stage::new(vec![promotion("p", "web:2", Conflict::Reject)]);
    let first = decide(&stage.seen(), stage.now);
    stage.carry_out(&first.acts[0]);
    stage.frozen = Some("the Canary is suspended".to_owned());
    assert_eq!(stage.settle(), [], "the intent is there, and it waits");
    stage.frozen = None;
    stage.settle();
    assert_eq!(stage.target.images["app"], "web:2");
}

#[test]
fn promotion_waits_for_the_first_primary_unless_that_cannot_be_set_up() {
    let mut stage = Stage::new(vec![promotion("p", "web:2", Conflict::Reject)]);
    stage.canary.phase = Some(Phase::Initializing);
    stage.settle();
    stage.assert_is(PromotionPhase::Pending, "NotInitialized");
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
