//! What ends a promotion beside its rollout: deadlines, clients that are lost, deletion; and what becomes of it afterwards.

use super::*;

#[test]
fn deadline_rolls_back_and_fails() {
    let mut stage = running();
    stage.now = at(DEADLINE);
    stage.settle();
    stage.assert_is(PromotionPhase::Running, "DeadlineExceeded");
    assert_eq!(stage.orders[0].verb, Verb::Abort);
    stage.heed(None);
    stage.end(Outcome::Aborted);
    stage.settle();
    stage.assert_is(PromotionPhase::Failed, "DeadlineExceeded");
}

#[test]
fn deadline_fails_even_if_the_release_is_called_off_before_that_is_told() {
    let mut stage = running();
    stage.now = at(DEADLINE);
    stage.orders = decide(&stage.seen(), stage.now).orders;
    stage.heed(None);
    stage.end(Outcome::Aborted);
    stage.settle();
    stage.assert_is(PromotionPhase::Failed, "DeadlineExceeded");
}

#[test]
fn deadline_of_what_is_in_production_already_waits_for_its_end() {
    let mut stage = running();
    stage.canary.phase = Some(Phase::Finalising);
    stage.now = at(DEADLINE);
    stage.settle();
    assert_eq!(stage.phase(0), Some(PromotionPhase::Running));
    assert_eq!(stage.orders, []);
    stage.end(Outcome::Promoted);
    stage.settle();
    stage.assert_is(PromotionPhase::Promoted, "Promoted");

    let mut stage = running();
    stage.canary.phase = Some(Phase::Finalising);
    stage.now = at(DEADLINE + 300);
    stage.settle();
    assert_eq!(stage.orders[0].verb, Verb::Abort, "but not for ever");
}

#[test]
fn abort_of_an_earlier_promotion_of_the_same_name_is_no_abort_of_this_one() {
    for outcome in ["done", "refused: no release is under way"] {
        let mut stage = Stage::new(vec![promotion("p", "web:2", Conflict::Reject)]);
        stage.command(Verb::Abort, None);
        stage.commands[0].created_at = at(-60);
        stage.commands[0].status = CommandStatus {
            outcome: Some(outcome.to_owned()),
            answered_at: Some(at(-50)),
        };
        stage.settle();
        assert_eq!(stage.phase(0), Some(PromotionPhase::Running), "{outcome}");
        stage.settle();
        assert_eq!(stage.target.images["app"], "web:2", "{outcome}");
    }
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
    stage.assert_is(PromotionPhase::Failed, "DeadlineExceeded");
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
    stage.assert_is(PromotionPhase::Failed, "DeadlineExceeded");
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
    stage.assert_is(PromotionPhase::Failed, "DeadlineExceeded");
}

#[test]
fn promotions_of_a_canary_that_is_refused_wait_and_end_with_their_deadline() {
    let mut stage = running();
    let problem = "spec.analysis.maxWeight: 0 is no weight";
    stage.leave(Unattended::Refused(problem));
    stage.assert_is(PromotionPhase::Running, "InvalidSpec");
    stage.now = at(DEADLINE - 1);
    assert_eq!(stage.leave(Unattended::Refused(problem)), Some(at(DEADLINE)));
    stage.now = at(DEADLINE);
    stage.leave(Unattended::Refused(problem));
    stage.assert_is(PromotionPhase::Failed, "DeadlineExceeded");
}

#[test]
fn promotion_whose_canary_is_gone_has_failed_and_goes_after_its_time() {
    let mut stage = running();
    assert_eq!(
        stage.leave(Unattended::Gone),
        Some(stage.now + TimeDelta::seconds(TTL))
    );
    stage.assert_is(PromotionPhase::Failed, "CanaryDeleted");
    stage.now += TimeDelta::seconds(TTL);
    assert_eq!(stage.leave(Unattended::Gone), None);
    assert!(stage.promotions.is_empty());
}

#[test]
fn promotion_and_order_that_come_before_their_canary_wait_for_it_and_not_for_ever() {
    let mut stage = Stage::new(vec![promotion("p", "web:2", Conflict::Reject)]);
    stage.command(Verb::Abort, None);
    assert_eq!(stage.leave(Unattended::Gone), Some(at(61)));
    stage.assert_is(PromotionPhase::Pending, "CanaryNotFound");
    assert_eq!(stage.commands[0].status.outcome, None);
    stage.now = at(DEADLINE);
    stage.leave(Unattended::Gone);
    stage.assert_is(PromotionPhase::Failed, "DeadlineExceeded");
    let outcome = stage.commands[0].status.outcome.as_deref();
    assert_eq!(outcome, Some("refused: there is no such Canary"));
    stage.now += COMMAND_TTL;
    stage.leave(Unattended::Gone);
    assert!(stage.promotions.is_empty() && stage.commands.is_empty());
}

#[test]
fn release_whose_client_is_lost_is_rolled_back_or_paused_as_its_policy_says() {
    for (action, verb) in [
        (OnClientLost::Rollback, Verb::Abort),
        (OnClientLost::Pause, Verb::Pause),
    ] {
        let mut stage = running();
        stage.promotions[0].spec.policy.on_client_lost = action;
        stage.promotions[0].spec.policy.client_lost_seconds = Some(60);
        stage.promotions[0].client_seen_at = Some(at(30));
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
fn promotions_end_with_their_canary() {
    let mut stage = running();
    stage.deleting = true;
    stage.settle();
    stage.assert_is(PromotionPhase::Failed, "CanaryDeleted");
    assert!(stage.orders.is_empty());
}

#[test]
fn what_is_over_goes_after_its_time() {
    let mut stage = running();
    stage.command(Verb::Resume, None);
    stage.settle();
    stage.heed(Some("no release is under way"));
    stage.settle();
    let outcome = stage.commands[0].status.outcome.clone().unwrap();
    assert!(outcome.starts_with("refused: "), "{outcome}");
    stage.end(Outcome::Promoted);
    stage.settle();
    stage.now += TimeDelta::seconds(TTL) + COMMAND_TTL;
    stage.settle();
    assert!(stage.promotions.is_empty() && stage.commands.is_empty());
}

#[test]
fn clock_that_is_set_back_hides_no_end() {
    let mut stage = running();
    stage.now = at(-3600);
    stage.settle();
    stage.now = at(-3590);
    stage.end(Outcome::RolledBack);
    stage.settle();
    stage.assert_is(PromotionPhase::RolledBack, "RolledBack");
    assert_eq!(stage.orders, []);
}
