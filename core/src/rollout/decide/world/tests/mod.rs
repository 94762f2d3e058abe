//! Plays of the world.

mod change; // templates that are set back, and come again
mod gates; // releases that come to gates
mod orders; // what somebody orders
mod promoting; // the primary takes the revision over
mod undo; // promotions that are taken back

use chrono::TimeDelta;
use proptest::prelude::*;

use super::{
    World,
    events::{Event, event},
};
use crate::{
    api::{GateState, HoldReason, Intervention, Outcome, Phase, RetirementKind, Verb},
    rollout::{Weight, decide},
};

#[test]
fn quiet_world_initializes_and_promotes_a_good_revision() {
    let mut world = World::new();
    world.ensure_rest();
    assert_eq!(world.phase(), Some(Phase::Initialized));
    world.run(&[Event::Push { bad: false }]);
    world.ensure_rest();
    assert_eq!(world.phase(), Some(Phase::Succeeded));
    assert_eq!(world.primary.as_ref().unwrap().revision, "good-2");
}

#[test]
fn primary_that_is_not_ready_yet_is_awaited_without_a_write() {
    let mut world = World::new();
    world.run(&[Event::PrimaryPods(false), Event::Tick, Event::Tick]);
    assert_eq!(world.phase(), Some(Phase::Initializing));
    world.ensure_rest();
}

/// A world whose gates stay closed for as long as it takes, in which a good revision was pushed.
fn patient() -> World {
    let mut world = World::gated();
    for gate in &mut world.spec.gates {
        gate.timeout = None;
    }
    world.ensure_rest();
    world.run(&[Event::Push { bad: false }]);
    world
}

fn pass(world: &mut World, seconds: i64) {
    for _ in 0..seconds {
        world.run(&[Event::Tick]);
    }
}

#[test]
fn pod_of_the_primary_that_is_away_for_long_is_no_time_of_the_canary() {
    let mut world = World::new();
    world.ensure_rest();
    let deadline = world.spec.progress_deadline.num_seconds();
    world.run(&[Event::PrimaryShort(true), Event::Push { bad: false }]);
    pass(&mut world, 2 * deadline);
    assert_eq!(
        world.status.hold.as_ref().map(|h| h.reason),
        Some(HoldReason::PrimaryNotReady)
    );
    for _ in 0..3 {
        world.run(&[Event::CanaryPods(false), Event::Tick]);
        assert_eq!(world.status.retirement, None);
        world.run(&[Event::CanaryPods(true)]);
        pass(&mut world, deadline);
    }
    world.ensure_rest();
    assert_eq!(world.phase(), Some(Phase::Succeeded));
}

#[test]
fn freeze_keeps_a_release_from_beginning_and_its_end_lets_it_begin() {
    let mut world = World::new();
    world.ensure_rest();
    world.run(&[
        Event::Freeze(Some(false)),
        Event::Push { bad: false },
        Event::Tick,
    ]);
    assert_eq!(
        (world.phase(), world.target.desired),
        (Some(Phase::Initialized), 0)
    );
    assert_eq!(
        world.status.hold.as_ref().map(|h| h.reason),
        Some(HoldReason::Frozen)
    );
    world.run(&[Event::Freeze(None), Event::Tick, Event::Tick]);
    assert_eq!(world.status.canary_weight, 10);
    world.run(&[Event::Freeze(Some(false))]);
    world.ensure_rest();
    assert_eq!(
        world.phase(),
        Some(Phase::Succeeded),
        "what is under way finishes"
    );
}

#[test]
fn quiet_world_rolls_a_bad_revision_back() {
    let mut world = World::new();
    world.ensure_rest();
    world.run(&[Event::Push { bad: true }]);
    world.ensure_rest();
    assert_eq!(world.phase(), Some(Phase::Failed));
    assert_eq!(world.primary.as_ref().unwrap().revision, "good-0");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_gate_is_passed_before_it_is_open_and_every_rollout_comes_to_rest(
        events in prop::collection::vec(event(), 0..200),
    ) {
        World::gated().comes_to_rest_after(&events);
    }

    #[test]
    fn no_write_breaks_an_invariant_and_every_rollout_comes_to_rest(
        events in prop::collection::vec(event(), 0..200),
    ) {
        World::new().comes_to_rest_after(&events);
    }

    #[test]
    fn traffic_that_returns_step_by_step_breaks_no_invariant_and_comes_to_rest(
        events in prop::collection::vec(event(), 0..200),
    ) {
        World::stepwise().comes_to_rest_after(&events);
    }

    #[test]
    fn primary_that_is_recreated_has_no_traffic_and_every_rollout_comes_to_rest(
        events in prop::collection::vec(event(), 0..200),
    ) {
        World::recreating().comes_to_rest_after(&events);
    }
}
