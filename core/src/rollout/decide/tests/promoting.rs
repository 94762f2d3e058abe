//! The primary takes the revision over, and gets the traffic back.

use super::*;

/// The primary is ready with revision `b` and gets its traffic back in steps: the canary's weight went to 30 at 20 s; the
/// latest sample, with this success rate, is of `sampled`.
fn descending(rate: f64, sampled: i64) -> (RolloutSpec, Observed) {
    let mut spec = spec();
    spec.promotion_step = Some(Weight::saturating(20));
    let mut seen = first_step(Reading::Value(rate));
    seen.status.phase = Some(Phase::Promoting);
    seen.status.last_transition_time = Some(at(15));
    seen.status.canary_weight = 30;
    if let Some(step) = &mut seen.status.step {
        step.started_at = at(20);
    }
    seen.primary = Some(workload("b", "1"));
    seen.routes = at_weight(30);
    seen.routing_since = at(20);
    if let Some(sample) = seen.sample.as_mut().map(Arc::make_mut) {
        sample.at = at(sampled);
        sample.traffic.primary = Reading::Value(230.0);
    }
    (spec, seen)
}
/// The primary gets `b`, which passed at half of the traffic, and looks like this.
pub(super) fn promoting_at_half(reading: Reading, primary: Workload) -> Observed {
    let mut seen = first_step(reading);
    seen.status.phase = Some(Phase::Promoting);
    seen.status.canary_weight = 50;
    seen.status.last_transition_time = Some(at(5));
    seen.routes = at_weight(50);
    seen.primary = Some(primary);
    seen
}

#[test]
fn traffic_returns_further_only_after_a_check_of_its_step() {
    let (spec, seen) = descending(100.0, 29);
    let due = decide(&spec, &seen, at(30));
    assert_eq!(
        recorded(&due.acts[0]).canary_weight,
        30,
        "its sample is not there yet"
    );
    assert_eq!((due.wake_at, due.sampling), (Some(at(60)), Sampling::Wanted));
    let (spec, seen) = descending(100.0, 30);
    let checked = decide(&spec, &seen, at(31));
    assert_eq!(recorded(&checked.acts[0]).canary_weight, 10);
}

#[test]
fn missing_sample_does_not_keep_the_traffic_from_its_return() {
    let (spec, seen) = descending(100.0, 29);
    let later = decide(&spec, &seen, at(60));
    assert_eq!(recorded(&later.acts[0]).canary_weight, 10);
}

#[test]
fn failed_check_while_traffic_returns_is_repeated_before_the_next_step() {
    let (mut spec, mut seen) = descending(90.0, 30);
    spec.threshold = 2;
    let failed = decide(&spec, &seen, at(31));
    let status = recorded(&failed.acts[0]).clone();
    assert_eq!((status.canary_weight, status.failed_checks), (30, 1));
    seen.status = status;
    seen.sample.as_mut().map(Arc::make_mut).unwrap().at = at(40);
    let undone = decide(&spec, &seen, at(41));
    let undo = undone.acts.iter().find_map(|act| match act {
        Act::Record(status) => status.retirement.as_ref().map(|r| r.kind),
        _ => None,
    });
    assert_eq!(undo, Some(RetirementKind::UndoOnPrimary));
}

#[test]
fn errors_of_a_newer_revision_undo_nothing() {
    let (spec, mut seen) = descending(50.0, 30);
    seen.target = Some(workload("c", "3"));
    let decision = decide(&spec, &seen, at(31));
    assert_eq!(decision.acts[0], Act::Route(Weight::ZERO));
    assert_eq!(recorded(&decision.acts[1]).retirement, None);
}

#[test]
fn template_that_a_paused_workload_has_not_rolled_out_holds_the_promotion_without_a_write_each_round() {
    let mut seen = first_step(Reading::Value(100.0));
    seen.status.canary_weight = 50;
    seen.status.step.as_mut().unwrap().index = 1;
    seen.routes = at_weight(50);
    let traffic = seen.sample.as_mut().map(Arc::make_mut).unwrap();
    traffic.traffic.primary = Reading::Value(100.0);
    let target = seen.target.as_mut().unwrap();
    (target.revision, target.paused, target.updated) = ("c".to_owned(), true, 0);
    let held = decide(&spec(), &seen, at(11));
    seen.status = recorded(&held.acts[0]).clone();
    let hold = seen.status.hold.clone().unwrap();
    assert_eq!(
        (hold.reason, seen.status.phase),
        (HoldReason::WorkloadNotReady, Some(Phase::Progressing))
    );
    assert!(hold.message.contains("paused"), "{}", hold.message);
    let again = decide(&spec(), &seen, at(12));
    assert_eq!(again.acts, vec![]);
    seen.target = Some(workload("b", "2"));
    let resumed = decide(&spec(), &seen, at(13));
    let status = recorded(&resumed.acts[0]);
    assert_eq!(
        (status.phase, status.hold.clone()),
        (Some(Phase::Promoting), None)
    );
}

/// All of the traffic moved back at this instant, at this rate, and nobody calls any more.
#[test]
fn release_whose_callers_go_home_is_promoted() {
    let mut seen = promoting_at_half(Reading::Value(100.0), workload("b", "2"));
    seen.routing_since = at(0);
    let mut outcome = None;
    for now in 10..3000 {
        let calls = if now < 15 { 100.0 } else { 0.0 };
        measure(&mut seen, now, calls, calls);
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        sample.traffic.reached_at = Some(at(now.min(15)));
        if carry_out(&mut seen, now, &spec()).contains(&Act::ScaleTarget(0)) {
            let target = seen.target.as_mut().unwrap();
            (target.desired, target.total, target.updated) = (0, 0, 0);
            (target.available, target.endpoints) = (0, 0);
        }
        if seen.status.phase.is_some_and(Phase::at_rest) {
            outcome = seen.status.phase;
            break;
        }
    }
    assert_eq!(outcome, Some(Phase::Succeeded), "{:?}", seen.status.message);
}

/// A primary that loses its pods while they are replaced serves nobody, so its silence must be known; or somebody's word.
#[test]
fn advance_ends_the_wait_for_the_silence_of_a_primary_that_is_replaced() {
    let mut seen = first_step(Reading::Value(100.0));
    seen.status.phase = Some(Phase::Promoting);
    seen.status.canary_weight = 100;
    seen.status.last_transition_time = Some(at(5));
    seen.routes = at_weight(100);
    seen.routing_since = at(5);
    seen.primary.as_mut().unwrap().floor = 0;
    let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
    sample.traffic.primary = Reading::Error("connection refused".to_owned());
    let promoted = |acts: &[Act]| acts.iter().any(|act| matches!(act, Act::Promote { .. }));
    for now in 10..100 {
        seen.sample.as_mut().map(Arc::make_mut).unwrap().at = at(now);
        assert!(!promoted(&carry_out(&mut seen, now, &spec())), "at {now}");
    }
    let reason = seen.status.hold.as_ref().map(|hold| hold.reason);
    assert_eq!(reason, Some(HoldReason::MetricsUnavailable));
    seen.orders = order(Verb::Advance, "b");
    carry_out(&mut seen, 100, &spec());
    assert_eq!(seen.status.interventions[0].refused, None);
    seen.orders.clear();
    seen.told = seen.status.outbox.seq;
    let mut acts = carry_out(&mut seen, 101, &spec());
    acts.extend(carry_out(&mut seen, 102, &spec()));
    assert!(promoted(&acts), "{acts:?}");
    // What somebody said was about the pods that are gone.
    seen.primary = Some(workload("b", "2"));
    for now in 103..110 {
        seen.told = seen.status.outbox.seq;
        carry_out(&mut seen, now, &spec());
    }
    assert_eq!(seen.status.phase, Some(Phase::Finalising));
    assert!(!seen.status.transfer.as_ref().unwrap().assumed);
}

/// The canary has two pods for a primary of four, and the strategy keeps one of two: half of any share, however it is rounded.
#[test]
fn two_pods_do_not_stand_in_for_four_while_the_primary_is_replaced() {
    let mut seen = promoting_at_half(
        Reading::Value(100.0),
        Workload {
            desired: 4,
            total: 4,
            updated: 4,
            available: 4,
            endpoints: 4,
            floor: 1,
            ..workload("a", "1")
        },
    );
    seen.status.canary_weight = 40;
    seen.routes = at_weight(40);
    seen.target = Some(workload("b", "2"));
    let acts = carry_out(&mut seen, 10, &spec());
    assert_eq!(acts[0], Act::ScaleTarget(4));
    assert!(!acts.iter().any(|act| matches!(act, Act::Route(_))), "{acts:?}");
    let primary = seen.primary.as_mut().unwrap();
    primary.floor = 3;
    let acts = carry_out(&mut seen, 10, &spec());
    assert!(
        acts.iter().any(|act| matches!(act, Act::Promote { .. })),
        "its strategy keeps half of its pods: {acts:?}"
    );
    assert!(!acts.iter().any(|act| matches!(act, Act::Route(_))), "{acts:?}");
}
