//! What somebody orders, while a release is under way and afterwards.

use super::*;

#[test]
fn revision_that_waits_while_the_one_before_is_undone_is_released_afterwards() {
    let mut world = World::new();
    world.ensure_rest();
    world.run(&[Event::Push { bad: false }]);
    world.ensure_rest();
    assert_eq!(world.status.revision.promoted.as_deref(), Some("good-2"));
    world.run(&[
        Event::Freeze(Some(false)),
        Event::Push { bad: false },
        Event::Tick,
    ]);
    assert_eq!(
        world.status.hold.as_ref().map(|h| h.reason),
        Some(HoldReason::Frozen)
    );
    world.order(Verb::Undo, None);
    world.orders[0].revision = "good-2".to_owned();
    world.run(&[Event::Tick]);
    assert_eq!(world.status.revision.promoted.as_deref(), Some("good-0"));
    world.ensure_rest();
    assert_eq!(
        (world.phase(), world.primary.as_ref().unwrap().revision.as_str()),
        (Some(Phase::Succeeded), "good-3")
    );
}

#[test]
fn release_whose_analysis_is_skipped_waits_for_its_last_gates_at_its_weight() {
    let mut world = patient();
    world.run(&[Event::Settle(0, true), Event::Settle(1, true), Event::Job(true)]);
    pass(&mut world, 2);
    assert_eq!(world.status.canary_weight, 10);
    world.run(&[Event::Order(Verb::SkipAnalysis)]);
    pass(&mut world, 60);
    assert_eq!(
        (world.phase(), world.status.canary_weight),
        (Some(Phase::WaitingPromotion), 10)
    );
    world.run(&[Event::Settle(2, true), Event::Job(true)]);
    world.ensure_rest();
    assert_eq!(world.phase(), Some(Phase::Succeeded));
}

#[test]
fn more_orders_at_once_than_are_remembered_are_each_heeded_once() {
    let mut world = World::new();
    world.ensure_rest();
    world.run(&[Event::Push { bad: true }]);
    pass(&mut world, 2);
    world.run(&[Event::Flood, Event::Flood]);
    assert_eq!(world.orders.len(), 0, "each has its answer");
    world.ensure_rest();
    assert_eq!(world.phase(), Some(Phase::Failed), "the analysis went on");
}

#[test]
fn orders_do_not_keep_a_bad_release_from_being_rolled_back() {
    let mut world = World::new();
    world.ensure_rest();
    world.run(&[Event::Push { bad: true }]);
    for _ in 0..40 {
        world.happen(&Event::Flood);
        world.run(&[Event::Tick]);
        if world.status.retirement.is_some() || world.phase() == Some(Phase::Failed) {
            return;
        }
        // One round alone: what is answered stays answered, and more orders come.
        world.happen(&Event::Flood);
    }
    panic!("only orders are looked at: {:?}", world.status);
}

#[test]
fn gate_before_an_analysis_whose_skip_ends_is_come_to_anew() {
    let mut world = patient();
    world.run(&[Event::Settle(0, true), Event::Settle(1, true), Event::Tick]);
    world.spec.skip_analysis = true;
    world.run(&[Event::Tick]);
    assert!(!world.status.gates.iter().any(|gate| gate.name == "job"));
    world.end_job_of("job", false);
    pass(&mut world, 100);
    world.spec.skip_analysis = false;
    world.run(&[Event::Tick]);
    let job = world.status.gates.iter().find(|gate| gate.name == "job").unwrap();
    assert_eq!((job.state, job.since), (GateState::Running, world.now));
    assert_eq!(world.status.retirement, None);
}

#[test]
fn skip_of_the_present_analysis_is_not_forgotten_for_other_orders() {
    let mut world = patient();
    world.run(&[
        Event::Settle(0, true),
        Event::Order(Verb::SkipAnalysis),
        Event::Flood,
        Event::Flood,
        Event::Tick,
    ]);
    let skip = |known: &Intervention| known.verb == Verb::SkipAnalysis;
    assert!(world.status.interventions.iter().any(skip));
    assert_eq!(world.phase(), Some(Phase::WaitingPromotion));
}

#[test]
fn skip_goes_past_metrics_that_are_gone() {
    let mut world = World::new();
    world.ensure_rest();
    world.run(&[Event::Push { bad: false }]);
    pass(&mut world, 2);
    world.run(&[Event::Metrics(false)]);
    pass(&mut world, 100);
    let hold = world.status.hold.clone().unwrap();
    assert!(hold.retreated, "{hold:?}");
    world.run(&[Event::Order(Verb::SkipAnalysis)]);
    world.run(&[Event::Tick]);
    assert_eq!(world.primary.as_ref().unwrap().revision, "good-2");
}

#[test]
fn abort_does_not_wait_for_orders_that_came_before() {
    let mut world = World::new();
    world.ensure_rest();
    world.run(&[Event::Push { bad: false }]);
    pass(&mut world, 2);
    world.happen(&Event::Flood);
    world.happen(&Event::Order(Verb::Abort));
    let abort = world.orders.last().unwrap().id.clone();
    let seen = world.observe();
    let decision = decide(&world.spec, &seen, world.now);
    decision.acts.iter().for_each(|act| world.carry_out(act));
    let first = world
        .status
        .interventions
        .iter()
        .rev()
        .find(|known| known.refused.is_none());
    assert_eq!(first.map(|known| &known.id), Some(&abort));
}

#[test]
fn pause_holds_a_release_whose_analysis_is_skipped() {
    let mut world = patient();
    world.run(&[
        Event::Settle(0, true),
        Event::Order(Verb::SkipAnalysis),
        Event::Order(Verb::Pause),
    ]);
    world.run(&[Event::Settle(2, true), Event::Tick, Event::Job(true)]);
    pass(&mut world, 20);
    assert_eq!(world.phase(), Some(Phase::WaitingPromotion));
    assert_eq!(
        world.status.hold.as_ref().map(|h| h.reason),
        Some(HoldReason::Paused)
    );
    world.run(&[Event::Order(Verb::Resume), Event::Tick, Event::Job(true)]);
    world.ensure_rest();
    assert_eq!(world.phase(), Some(Phase::Succeeded));
}

#[test]
fn job_before_an_analysis_that_is_skipped_decides_nothing() {
    let mut world = patient();
    world.run(&[Event::Settle(0, true), Event::Settle(1, true), Event::Tick]);
    assert_eq!(
        world.status.hold.as_ref().map(|h| h.reason),
        Some(HoldReason::AwaitingJob)
    );
    world.run(&[Event::Order(Verb::SkipAnalysis)]);
    world.end_job_of("job", false);
    world.run(&[Event::Tick]);
    assert_eq!(world.phase(), Some(Phase::WaitingPromotion));
    world.run(&[Event::Settle(2, true)]);
    world.run(&[Event::Job(true)]);
    world.ensure_rest();
    assert_eq!(world.phase(), Some(Phase::Succeeded));
}

#[test]
fn skipped_release_whose_pods_do_not_all_come_is_rolled_back_after_its_deadline() {
    let mut world = World::new();
    world.target.desired = 2;
    world.ensure_rest();
    world.target.desired = 2;
    world.run(&[Event::Push { bad: false }]);
    pass(&mut world, 2);
    assert_eq!(world.status.canary_weight, 10);
    world.target.short = true;
    world.run(&[Event::Order(Verb::SkipAnalysis)]);
    pass(&mut world, 30);
    assert_eq!(
        world.status.hold.as_ref().map(|h| h.reason),
        Some(HoldReason::WorkloadNotReady)
    );
    let deadline = world.spec.progress_deadline.num_seconds();
    pass(&mut world, deadline);
    world.ensure_rest();
    assert_eq!(world.phase(), Some(Phase::Failed));
}
