//! Commands and Approvals.

use super::*;

#[test]
fn abort_ends_as_its_action_says() {
    // Before it begins.
    let mut stage = Stage::new(vec![promotion("p", "web:2", Conflict::Reject)]);
    stage.frozen = Some("frozen".to_owned());
    stage.settle();
    stage.assert_is(PromotionPhase::Pending, "Frozen");
    stage.command(Verb::Abort, None);
    stage.settle();
    assert_eq!(stage.phase(0), Some(PromotionPhase::Aborted));
    assert_eq!(stage.commands[0].status.outcome.as_deref(), Some("done"));
    assert_eq!(stage.target.images["app"], "web:1", "nothing was shipped");

    // Under way: rolled back, and over when that is done.
    let mut stage = running();
    stage.command(Verb::Abort, None);
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
    stage.command(Verb::Abort, Some(AbortAction::Pause));
    stage.settle();
    assert_eq!(stage.orders[0].verb, Verb::Pause);
    stage.heed(None);
    stage.settle();
    assert_eq!(stage.phase(0), Some(PromotionPhase::Aborted));

    // Left alone.
    let mut stage = running();
    stage.command(Verb::Abort, Some(AbortAction::None));
    stage.settle();
    assert!(stage.orders.is_empty());
    assert_eq!(stage.phase(0), Some(PromotionPhase::Aborted));
    assert_eq!(stage.commands[0].status.outcome.as_deref(), Some("done"));
}

#[test]
fn abort_that_was_refused_is_in_the_way_of_no_later_one() {
    for (action, phase) in [
        (AbortAction::None, PromotionPhase::Aborted),
        (AbortAction::Pause, PromotionPhase::Aborted),
        (AbortAction::Rollback, PromotionPhase::Running),
    ] {
        let mut stage = running();
        stage.command(Verb::Abort, Some(AbortAction::Pause));
        stage.settle();
        stage.heed(Some("the primary takes the revision over already"));
        stage.settle();
        assert_eq!(stage.phase(0), Some(PromotionPhase::Running));
        // The Canary remembers only the last orders: what became of the Command stands in itself as well.
        stage.canary.interventions.clear();
        stage.now = at(2);
        stage.command(Verb::Abort, Some(action));
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
    stage.command(Verb::Abort, Some(AbortAction::Pause));
    stage.now = at(2);
    stage.command(Verb::Abort, Some(AbortAction::Rollback));
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
    stage.command(Verb::Abort, Some(AbortAction::Rollback));
    stage.settle();
    stage.heed(None);
    stage.now = at(2);
    stage.command(Verb::Abort, Some(AbortAction::None));
    stage.settle();
    assert_eq!(stage.phase(0), Some(PromotionPhase::Running), "it is rolled back");
    stage.end(Outcome::Aborted);
    stage.settle();
    assert_eq!(stage.phase(0), Some(PromotionPhase::Aborted));
}

#[test]
fn order_waits_until_the_canary_has_noticed_the_revision() {
    let mut stage = Stage::new(vec![promotion("p", "web:2", Conflict::Reject)]);
    stage.settle();
    stage.command(Verb::Abort, None);
    stage.settle();
    assert!(stage.orders.is_empty(), "the Canary would refuse it for good");
    stage.notice();
    stage.settle();
    assert_eq!(stage.orders.len(), 1);
}

#[test]
fn order_names_everybody_who_is_behind_it() {
    let mut stage = running();
    stage.command(Verb::Approve, None);
    let command = &mut stage.commands[0];
    command.form = Form::Approval;
    command.gate = Some("acceptance".to_owned());
    command.spec.requested_by = "ci:shop/approve".to_owned();
    command.spec.on_behalf_of = vec!["mia".to_owned()];
    stage.settle();
    let order = stage.orders.last().unwrap();
    let people = ["ci:shop/approve".to_owned(), "mia".to_owned()];
    assert_eq!(order.people, people.into_iter().collect());
    assert_eq!(order.gate.as_deref(), Some("acceptance"));
    assert_eq!(
        Some(&order.revision),
        stage.promotions[0].status.revision.as_ref()
    );
    stage.heed(None);
    let acts = stage.settle();
    let answered = |act: &&Act| matches!(act, Act::Answer(Form::Approval, _, _));
    assert_eq!(acts.iter().filter(answered).count(), 1);
}

#[test]
fn order_is_remembered_until_whoever_gave_it_is_told() {
    let mut stage = running();
    stage.command(Verb::Pause, None);
    stage.settle();
    stage.heed(None);
    let untold = |stage: &Stage| untold(&stage.seen()).into_iter().collect::<Vec<_>>();
    assert_eq!(untold(&stage), [stage.commands[0].uid.clone()]);
    stage.settle();
    assert!(stage.commands[0].status.answered_at.is_some());
    assert_eq!(untold(&stage), [""; 0]);
    stage.now = at(DEADLINE);
    stage.settle();
    stage.heed(None);
    assert_eq!(untold(&stage), [stage.promotions[0].order("deadline")]);
}

/// The write of the images got no answer, and may still be on its way.
#[test]
fn promotion_whose_images_may_be_on_their_way_ends_only_when_they_are_refused() {
    let mut stage = Stage::new(vec![promotion("p", "web:2", Conflict::Reject)]);
    let begun = decide(&stage.seen(), stage.now);
    begun.acts.iter().for_each(|act| stage.carry_out(act));
    assert_eq!(
        (stage.phase(0), stage.target.images["app"].as_str()),
        (Some(PromotionPhase::Running), "web:1")
    );
    stage.fenced = false;
    stage.command(Verb::Abort, None);
    stage.settle();
    assert_eq!(stage.phase(0), Some(PromotionPhase::Running));
    let decision = decide(&stage.seen(), stage.now);
    assert!(
        decision.requests.shipping.is_some(),
        "so that it is fenced: {decision:?}"
    );
    stage.fenced = true;
    stage.settle();
    assert_eq!(stage.phase(0), Some(PromotionPhase::Aborted));
    assert_eq!(stage.target.images["app"], "web:1");
}
