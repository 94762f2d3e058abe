//! The primary takes the revision over, or is taken back: who serves meanwhile.

use super::*;

/// A world in which traffic returns to a primary that runs the new revision, step by step.
fn returning_stepwise() -> World {
    let mut world = World::stepwise();
    world.ensure_rest();
    world.run(&[Event::Push { bad: false }]);
    pass(&mut world, 33);
    assert_eq!(
        (world.phase(), world.route),
        (Some(Phase::Promoting), Some(Weight::saturating(30)))
    );
    world
}

#[test]
fn traffic_returns_step_by_step() {
    let mut world = returning_stepwise();
    let interval = world.spec.interval.num_seconds();
    assert_eq!(world.route, Some(Weight::saturating(30)));
    pass(&mut world, interval);
    assert_eq!(world.route, Some(Weight::saturating(10)));
    world.ensure_rest();
    assert_eq!(world.phase(), Some(Phase::Succeeded));
}

#[test]
fn revision_that_comes_while_traffic_returns_gets_none_before_it_is_analysed() {
    let mut world = returning_stepwise();
    world.run(&[Event::Push { bad: true }]);
    assert_eq!(world.route, Some(Weight::ZERO));
    world.ensure_rest();
    assert_eq!(world.phase(), Some(Phase::Failed));
    let outcomes: Vec<_> = world.status.history.iter().map(|past| past.outcome).collect();
    assert_eq!(outcomes[..2], [Outcome::RolledBack, Outcome::Promoted]);
}

#[test]
fn canary_whose_pods_vanish_while_traffic_returns_keeps_no_share() {
    let mut world = returning_stepwise();
    world.run(&[Event::CanaryPods(false)]);
    assert_eq!(world.route, Some(Weight::ZERO));
    world.ensure_rest();
    assert_eq!(world.phase(), Some(Phase::Succeeded));
}

/// A world in which a primary that is recreated has the new revision, and all its pods, while the canary has traffic.
fn recreated() -> World {
    let mut world = World::recreating();
    world.ensure_rest();
    world.run(&[Event::Push { bad: false }]);
    for _ in 0..60 {
        world.run(&[Event::Tick]);
        let primary = world.primary.as_ref().unwrap();
        if primary.healthy && primary.revision == "good-2" {
            break;
        }
    }
    assert_eq!(
        (world.phase(), world.route),
        (Some(Phase::Promoting), Some(Weight::saturating(80)))
    );
    world
}

#[test]
fn canary_serves_alone_while_an_undone_primary_is_recreated() {
    let mut world = recreated();
    world.run(&[Event::Order(Verb::Abort)]);
    assert_eq!(world.route, Some(Weight::FULL));
    pass(&mut world, 1);
    assert_eq!(
        world.primary.as_ref().unwrap().revision,
        "good-2",
        "proxies take time"
    );
    world.ensure_rest();
    assert_eq!(world.phase(), Some(Phase::Failed));
    assert_eq!(world.primary.as_ref().unwrap().revision, "good-0");
}

#[test]
fn canary_goes_on_serving_while_an_undone_primary_does_not_start() {
    let mut world = recreated();
    world.run(&[Event::Order(Verb::Abort)]);
    for _ in 0..30 {
        let revision = world.primary.as_ref().unwrap().revision.clone();
        if revision == "good-0" {
            break;
        }
        pass(&mut world, 1);
    }
    world.run(&[Event::PrimaryPods(false)]);
    pass(&mut world, 10);
    assert_eq!(world.route, Some(Weight::FULL));
    world.ensure_rest();
    assert_eq!(world.phase(), Some(Phase::Failed));
}

#[test]
fn canary_that_is_back_serves_while_an_undone_primary_has_no_pod() {
    let mut world = recreated();
    world.run(&[Event::Order(Verb::Abort), Event::CanaryPods(false)]);
    assert_eq!(world.route, Some(Weight::ZERO));
    world.run(&[Event::PrimaryPods(false), Event::CanaryPods(true)]);
    assert_eq!(world.route, Some(Weight::FULL));
    world.ensure_rest();
    assert_eq!(world.phase(), Some(Phase::Failed));
}

#[test]
fn proxies_that_do_not_follow_do_not_keep_a_bad_revision_on_a_recreated_primary() {
    let mut world = recreated();
    world.run(&[Event::Mesh(false), Event::Order(Verb::Abort)]);
    pass(&mut world, 50);
    let holds: Vec<_> = world.status.holds.iter().map(|hold| hold.reason).collect();
    assert_eq!(
        holds,
        [HoldReason::PromotionFailed, HoldReason::TrafficNotShifting]
    );
    pass(&mut world, 51);
    assert_eq!(world.primary.as_ref().unwrap().revision, "good-0");
    world.ensure_rest();
}

/// A world in which a revision with two pods has a tenth of the traffic of a primary with four.
fn outnumbered(mut world: World) -> World {
    world.target.desired = 4;
    world.ensure_rest();
    world.target.desired = 2;
    world.run(&[Event::Push { bad: false }, Event::Tick]);
    assert_eq!(world.route, Some(Weight::saturating(10)));
    world
}

#[test]
fn few_pods_of_the_canary_do_not_get_the_traffic_of_many() {
    let mut world = outnumbered(World::new());
    world.run(&[
        Event::PrimaryShort(true),
        Event::Order(Verb::SkipAnalysis),
        Event::Tick,
    ]);
    assert_eq!(
        (world.phase(), world.route),
        (Some(Phase::Promoting), Some(Weight::saturating(10)))
    );
    world.ensure_rest();
    assert_eq!(world.phase(), Some(Phase::Succeeded));
}

#[test]
fn canary_gets_as_many_pods_as_a_primary_that_is_recreated() {
    let mut world = outnumbered(World::recreating());
    world.run(&[Event::Order(Verb::SkipAnalysis), Event::Tick]);
    assert_eq!((world.target.desired, world.route), (4, Some(Weight::FULL)));
    world.ensure_rest();
    assert_eq!(world.phase(), Some(Phase::Succeeded));
}

#[test]
fn canary_whose_further_pods_do_not_come_returns_its_traffic_before_the_primary_is_recreated() {
    let mut world = outnumbered(World::recreating());
    world.target.short = true;
    world.target.desired = 3;
    world.status.phase = Some(Phase::Promoting);
    world.run(&[Event::Tick]);
    assert_eq!((world.phase(), world.target.desired), (Some(Phase::Promoting), 4));
    let deadline = world.spec.progress_deadline.num_seconds();
    pass(&mut world, deadline + 1);
    let hold = world.status.hold.clone().unwrap();
    assert_eq!(
        (hold.reason, hold.retreated),
        (HoldReason::WorkloadNotReady, true)
    );
    assert_eq!(world.route, Some(Weight::ZERO));
    world.target.short = false;
    world.ensure_rest();
    assert_eq!(world.phase(), Some(Phase::Succeeded));
}
