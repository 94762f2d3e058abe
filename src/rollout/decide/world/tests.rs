//! Plays of the world.

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

#[test]
fn primary_that_is_not_ready_yet_is_awaited_without_a_write() {
    let mut world = World::new();
    world.run(&[Event::PrimaryPods(false), Event::Tick, Event::Tick]);
    assert_eq!(world.phase(), Some(Phase::Initializing));
    world.ensure_rest();
}

#[test]
fn release_waits_at_every_gate_and_goes_on_when_it_opens() {
    let mut world = World::gated();
    for _ in 0..100 {
        world.run(&[Event::Tick]);
    }
    assert_eq!(world.phase(), Some(Phase::Initialized), "setting up asks no gate");
    world.run(&[Event::Push { bad: false }, Event::Tick]);
    assert_eq!((world.phase(), world.target.desired), (Some(Phase::Waiting), 0));
    world.run(&[Event::Settle(0, true), Event::Tick]);
    assert_eq!(
        (world.phase(), world.route),
        (Some(Phase::Progressing), Some(Weight::ZERO))
    );
    assert_eq!(
        world.status.hold.as_ref().map(|h| h.reason),
        Some(HoldReason::AwaitingApproval)
    );
    world.run(&[Event::Settle(1, true), Event::Tick]);
    assert_eq!(
        world.status.hold.as_ref().map(|h| h.reason),
        Some(HoldReason::AwaitingJob)
    );
    world.run(&[Event::Job(true), Event::Tick]);
    assert_eq!(world.status.canary_weight, 10);
    for _ in 0..45 {
        world.run(&[Event::Tick]);
    }
    assert_eq!(
        (world.phase(), world.status.canary_weight),
        (Some(Phase::WaitingPromotion), 50)
    );
    world.run(&[Event::Settle(2, true), Event::Job(true)]);
    world.ensure_rest();
    assert_eq!(world.phase(), Some(Phase::Succeeded));
    assert_eq!(
        world
            .status
            .gates
            .iter()
            .filter(|gate| gate.state == GateState::Open)
            .count(),
        5
    );
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
fn release_that_is_confirmed_after_its_deadline_has_all_the_time_for_its_pods() {
    let mut world = patient();
    let deadline = world.spec.progress_deadline.num_seconds();
    pass(&mut world, 3 * deadline);
    world.run(&[Event::CanaryPods(false), Event::Settle(0, true)]);
    pass(&mut world, deadline - 1);
    assert_eq!(world.status.retirement, None);
    world.run(&[Event::CanaryPods(true), Event::Settle(1, true), Event::Job(true)]);
    pass(&mut world, 2);
    assert_eq!(world.status.canary_weight, 10);
}

#[test]
fn pods_that_are_away_while_a_gate_is_closed_have_their_time_from_then_on() {
    let mut world = patient();
    let deadline = world.spec.progress_deadline.num_seconds();
    world.run(&[Event::Settle(0, true)]);
    pass(&mut world, 3 * deadline);
    world.run(&[Event::CanaryPods(false)]);
    pass(&mut world, deadline / 2);
    assert_eq!(world.status.retirement, None);
    world.run(&[Event::CanaryPods(true), Event::Tick]);
    let reason = |world: &World| world.status.hold.as_ref().map(|hold| hold.reason);
    assert_eq!(reason(&world), Some(HoldReason::AwaitingApproval));
    world.run(&[Event::CanaryPods(false)]);
    pass(&mut world, deadline + 1);
    world.ensure_rest();
    assert_eq!(world.phase(), Some(Phase::Failed), "they do not come back");
}

#[test]
fn job_that_fails_takes_the_traffic_back_though_everything_is_frozen() {
    let mut world = patient();
    world.run(&[Event::Settle(0, true), Event::Settle(1, true), Event::Job(true)]);
    pass(&mut world, 45);
    assert_eq!(world.phase(), Some(Phase::WaitingPromotion));
    world.run(&[Event::Freeze(Some(true)), Event::Tick, Event::Job(false)]);
    assert_eq!(world.route, Some(Weight::ZERO));
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
fn advance_is_refused_at_a_gate_though_another_one_is_gone_from_the_specification() {
    let mut world = patient();
    world.run(&[Event::Settle(0, true), Event::Settle(1, true), Event::Tick]);
    let mut gone = world.status.gates.last().unwrap().clone();
    gone.name = "gone".to_owned();
    world.status.gates.insert(0, gone);
    world.run(&[Event::Order(Verb::Advance)]);
    let last = world.status.interventions.last().unwrap();
    assert_eq!(last.refused.as_deref(), Some("gate job is not open"));
}

#[test]
fn pods_that_nobody_confirmed_go_whoever_started_them() {
    let mut world = patient();
    world.run(&[Event::Scale(2)]);
    pass(&mut world, 20);
    assert_eq!((world.phase(), world.target.desired), (Some(Phase::Waiting), 0));
    assert_eq!(
        world.status.hold.as_ref().map(|hold| hold.reason),
        Some(HoldReason::AwaitingApproval)
    );
    world.run(&[Event::Settle(0, true), Event::Tick]);
    assert_eq!(world.target.desired, 2, "confirmed, they are started again");
    world.run(&[
        Event::Settle(1, true),
        Event::Job(true),
        Event::Tick,
        Event::Job(true),
    ]);
    assert_eq!(world.status.canary_weight, 10);
    world.run(&[Event::Push { bad: false }]);
    assert_eq!(world.phase(), Some(Phase::Waiting));
    pass(&mut world, 20);
    assert_eq!(world.target.desired, 0, "those of the release that was overtaken");
}

#[test]
fn advance_is_refused_before_a_gate_that_a_release_under_traffic_has_not_come_to() {
    let mut world = patient();
    world.run(&[Event::Settle(0, true), Event::Settle(1, true), Event::Tick]);
    world.run(&[Event::Job(true), Event::Tick]);
    assert_eq!(world.status.canary_weight, 10);
    world.run(&[
        Event::PrimaryPods(false),
        Event::Push { bad: false },
        Event::Order(Verb::Pause),
        Event::Settle(0, true),
        Event::Tick,
    ]);
    assert_eq!(
        (
            world.status.canary_weight,
            &world.status.step,
            world.status.gates.len()
        ),
        (10, &None, 1)
    );
    world.run(&[Event::Order(Verb::Advance), Event::Tick]);
    let last = world.status.interventions.last().unwrap();
    assert_eq!(last.refused.as_deref(), Some("gate traffic is not open"));
    world.run(&[Event::Order(Verb::Resume), Event::Settle(1, true), Event::Tick]);
    world.run(&[Event::Order(Verb::Pause), Event::Job(true), Event::Tick]);
    world.run(&[Event::Order(Verb::Advance)]);
    let step = world.status.step.as_ref().map(|step| step.index);
    assert_eq!(
        (step, world.status.canary_weight),
        (Some(0), 10),
        "the step that it is at"
    );
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
fn approval_that_becomes_a_job_has_all_its_time() {
    let mut world = patient();
    world.run(&[Event::Settle(0, true)]);
    pass(&mut world, 300);
    world.spec.gates[1].timeout = Some(TimeDelta::seconds(60));
    world.run(&[Event::EditGate(1)]);
    pass(&mut world, 50);
    let gate = world
        .status
        .gates
        .iter()
        .find(|gate| gate.name == "traffic")
        .unwrap();
    assert_eq!(
        (gate.state, world.status.retirement.is_some()),
        (GateState::Running, false)
    );
    pass(&mut world, 15);
    world.ensure_rest();
    assert_eq!(world.phase(), Some(Phase::Failed), "its time is over");
}

#[test]
fn gate_that_is_put_back_has_all_its_time_and_another_order() {
    let mut world = patient();
    for gate in &mut world.spec.gates {
        gate.timeout = Some(TimeDelta::seconds(60));
    }
    world.run(&[Event::Settle(0, true), Event::Settle(1, true)]);
    let job = |world: &World| {
        let mut gates = world.status.gates.iter();
        gates.find(|gate| gate.name == "job").cloned()
    };
    pass(&mut world, 50);
    // What became of the order is heard when the gate is back.
    world.end_job_of("job", false);
    world.freezing.frozen = Some("holidays".to_owned());
    world.run(&[Event::TakeGate(Some(3))]);
    assert_eq!(
        (job(&world), &world.status.hold.as_ref().map(|h| h.reason)),
        (None, &Some(HoldReason::Frozen))
    );
    pass(&mut world, 20);
    world.run(&[Event::TakeGate(None), Event::Tick]);
    world.run(&[Event::Tick]);
    assert_eq!(job(&world).map(|gate| gate.state), Some(GateState::Running));
    pass(&mut world, 50);
    assert_eq!(world.status.retirement, None);
    pass(&mut world, 15);
    world.ensure_rest();
    assert_eq!(world.phase(), Some(Phase::Failed), "its time is over");
}

#[test]
fn job_that_ended_while_nobody_looked_is_heard_before_its_time_is_over() {
    for outage in [false, true] {
        let mut world = patient();
        world.run(&[Event::Settle(0, true), Event::Settle(1, true)]);
        for gate in &mut world.spec.gates {
            gate.timeout = Some(TimeDelta::seconds(60));
        }
        world.run(&[Event::Tick]);
        if outage {
            world.now += TimeDelta::hours(2);
        } else {
            world.spec.suspend = true;
            pass(&mut world, 100);
            world.spec.suspend = false;
        }
        world.restart();
        world.settle();
        assert_eq!(world.status.retirement, None, "nobody asked yet");
        world.run(&[Event::Job(true)]);
        assert_eq!(world.status.canary_weight, 10);
    }
}

#[test]
fn job_opens_its_gate_though_the_server_returns_the_template_in_another_form() {
    let mut world = patient();
    world.run(&[Event::Settle(0, true), Event::Settle(1, true), Event::Tick]);
    let stand = |world: &World| {
        let job = world.status.gates.iter().find(|gate| gate.name == "job");
        job.map(|gate| (gate.since, gate.revision.clone()))
    };
    let before = stand(&world);
    world.target.revision = "good-2-with-a-default".to_owned();
    world.template_since = world.now;
    pass(&mut world, 15);
    let current = world.status.revision.current.as_deref();
    assert_eq!(current, Some("good-2-with-a-default"));
    assert_eq!(
        (stand(&world), &world.status.retirement),
        (before, &None),
        "one order"
    );
    for gate in ["begin", "traffic"] {
        let passed = ("good-2-with-a-default".to_owned(), gate.to_owned());
        world.passed.insert(passed);
    }
    world.run(&[Event::Job(true), Event::Tick]);
    assert_eq!(world.status.canary_weight, 10);
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
    assert_eq!(
        world.status.hold.as_ref().map(|h| h.reason),
        Some(HoldReason::TrafficNotShifting)
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_gate_is_passed_before_it_is_open_and_every_rollout_comes_to_rest(
        events in prop::collection::vec(event(), 0..200),
    ) {
        let mut world = World::gated();
        world.run(&events);
        world.ensure_rest();
    }

    #[test]
    fn no_write_breaks_an_invariant_and_every_rollout_comes_to_rest(
        events in prop::collection::vec(event(), 0..200),
    ) {
        let mut world = World::new();
        world.run(&events);
        world.ensure_rest();
    }

    #[test]
    fn traffic_that_returns_step_by_step_breaks_no_invariant_and_comes_to_rest(
        events in prop::collection::vec(event(), 0..200),
    ) {
        let mut world = World::stepwise();
        world.run(&events);
        world.ensure_rest();
    }

    #[test]
    fn primary_that_is_recreated_has_no_traffic_and_every_rollout_comes_to_rest(
        events in prop::collection::vec(event(), 0..200),
    ) {
        let mut world = World::recreating();
        world.run(&events);
        world.ensure_rest();
    }
}
