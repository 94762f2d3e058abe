//! Templates that are set back, and come again.

use super::*;

/// A world in which a bad revision has traffic.
fn releasing_a_bad_revision() -> World {
    let mut world = World::new();
    world.ensure_rest();
    world.run(&[Event::Push { bad: true }, Event::Tick]);
    assert!(world.status.canary_weight > 0);
    world
}

#[test]
fn template_that_comes_again_while_it_is_taken_back_is_analysed_again() {
    let mut world = releasing_a_bad_revision();
    world.run(&[Event::Revert, Event::Tick]);
    assert_eq!(
        world.status.retirement.as_ref().map(|r| r.kind),
        Some(RetirementKind::Abort)
    );
    world.run(&[Event::PushAgain]);
    world.ensure_rest();
    assert_eq!(world.phase(), Some(Phase::Failed));
    assert_eq!(world.primary.as_ref().unwrap().revision, "good-0");
    let outcomes: Vec<_> = world.status.history.iter().map(|past| past.outcome).collect();
    assert_eq!(outcomes[..2], [Outcome::RolledBack, Outcome::Aborted]);
}

#[test]
fn verdict_stands_when_the_template_is_set_back_during_the_rollback() {
    let mut world = releasing_a_bad_revision();
    while world.status.retirement.is_none() {
        world.run(&[Event::Tick]);
    }
    world.run(&[Event::Revert]);
    world.ensure_rest();
    assert_eq!(
        (world.phase(), world.status.history[0].outcome),
        (Some(Phase::Initialized), Outcome::RolledBack)
    );
    assert_eq!(world.status.revision.current, world.status.revision.promoted);
}
