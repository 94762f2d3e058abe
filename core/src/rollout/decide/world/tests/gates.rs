//! Releases that come to gates.

use super::*;

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
