//! Promotions that are taken back, and do not come to an end by themselves.

use super::*;

/// A promotion is called off; one of the primary's two pods never gets ready with the old template again, the other serves.
#[test]
fn revision_pushed_while_an_undo_cannot_finish_is_released() {
    let mut world = World::stepwise();
    world.ensure_rest();
    world.run(&[Event::Push { bad: false }]);
    pass(&mut world, 33);
    assert_eq!(world.phase(), Some(Phase::Promoting));
    world.run(&[Event::Order(Verb::Abort), Event::PrimaryShort(true), Event::Tick]);
    assert!(world.status.retirement.is_some());
    world.run(&[Event::Push { bad: false }]);
    assert_eq!(
        world.status.revision.waiting.as_deref(),
        Some("good-3"),
        "it is seen at once"
    );
    let deadline = world.spec.progress_deadline.num_seconds();
    pass(&mut world, 3 * deadline);
    assert_eq!(
        world.status.revision.current.as_deref(),
        Some("good-3"),
        "{:#?}",
        world.status
    );
    world.ensure_rest();
}

/// The primary falls over each time it gets all of the traffic, and recovers without.
#[test]
fn primary_that_fails_again_and_again_under_all_of_the_traffic_is_undone() {
    let mut world = World::new();
    world.ensure_rest();
    world.run(&[Event::Push { bad: false }]);
    let mut failures = 0;
    for _ in 0..5000 {
        world.run(&[Event::Tick]);
        if world.status.retirement.is_some() || world.phase() == Some(Phase::Failed) {
            assert_eq!(failures, 3);
            return world.ensure_rest();
        }
        if world.phase() == Some(Phase::Finalising) {
            failures += 1;
            world.run(&[Event::PrimaryPods(false), Event::Tick, Event::PrimaryPods(true)]);
        }
    }
    panic!("it failed {failures} times, and is {:?} still", world.phase());
}

#[test]
fn abort_of_an_undo_is_refused_and_says_why() {
    let mut world = World::stepwise();
    world.ensure_rest();
    world.run(&[Event::Push { bad: false }]);
    pass(&mut world, 33);
    world.run(&[Event::Order(Verb::Abort), Event::PrimaryShort(true)]);
    world.run(&[Event::Order(Verb::Abort), Event::Tick]);
    let refused = world
        .status
        .interventions
        .last()
        .and_then(|order| order.refused.clone());
    assert_eq!(refused.as_deref(), Some("the undo of the promotion is under way"));
    world.ensure_rest();
}
