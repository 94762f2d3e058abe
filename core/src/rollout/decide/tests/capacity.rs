//! Enough pods for a share of the traffic.

use super::*;

/// The last step of `b` at weight 50, with these pods of canary and primary.
fn last_step(target: Workload, primary: Workload) -> Observed {
    let mut seen = first_step(Reading::Value(100.0));
    seen.status.canary_weight = 50;
    seen.status.step.as_mut().unwrap().index = 1;
    seen.routes = at_weight(50);
    seen.primary = Some(primary);
    seen.target = Some(target);
    seen.sample.as_mut().map(Arc::make_mut).unwrap().traffic.primary = Reading::Value(100.0);
    seen
}

fn latest(decision: &crate::rollout::Decision) -> CanaryStatus {
    let records = decision.acts.iter().rev().find_map(|act| match act {
        Act::Record(status) => Some((**status).clone()),
        _ => None,
    });
    records.unwrap()
}

/// Of fifty primary pods one is not ready with the new template when its time is over; the canary has the two pods of a
/// manifest.
#[test]
fn few_pods_of_the_canary_do_not_get_the_traffic_of_a_failed_promotion() {
    let mut seen = last_step(pods("b", "2", 2, 2), pods("b", "1", 50, 49));
    seen.status.phase = Some(Phase::Promoting);
    seen.status.last_transition_time = Some(at(15));
    let decision = decide(&spec(), &seen, at(120));
    assert!(
        !decision.acts.contains(&Act::Route(Weight::FULL)),
        "two pods get the traffic of fifty, of which 49 are ready: {:?}",
        decision.acts
    );
}

#[test]
fn release_of_which_half_of_the_pods_crash_takes_no_step_and_is_rolled_back_after_its_deadline() {
    let mut seen = last_step(pods("b", "2", 10, 5), pods("a", "1", 10, 10));
    let held = decide(&spec(), &seen, at(11));
    seen.status = latest(&held);
    assert_eq!(seen.status.phase, Some(Phase::Progressing));
    assert_eq!(
        seen.status.hold.as_ref().map(|h| h.reason),
        Some(HoldReason::WorkloadNotReady)
    );
    let over = decide(&spec(), &seen, at(112));
    assert_eq!(over.acts[0], Act::Route(Weight::ZERO));
    assert_eq!(
        latest(&over).retirement.map(|r| r.kind),
        Some(RetirementKind::RollBack)
    );
}

#[test]
fn canary_gets_no_more_than_its_pods_carry() {
    // Two pods carry a tenth of twenty, and not half of them.
    let mut seen = first_step(Reading::Value(100.0));
    seen.primary = Some(pods("a", "1", 20, 20));
    seen.target = Some(pods("b", "2", 2, 2));
    seen.status.canary_weight = 0;
    seen.status.step = None;
    seen.routes = at_weight(0);
    let decision = decide(&spec(), &seen, at(1));
    assert!(
        decision.acts.contains(&Act::ScaleTarget(20)),
        "{:?}",
        decision.acts
    );
}

#[test]
fn traffic_returns_to_a_primary_of_which_most_pods_are_gone_as_they_become_ready() {
    for (ready, weight) in [(10, 0), (5, 0), (4, 20), (2, 60), (0, 100)] {
        let mut seen = last_step(pods("b", "2", 10, 10), pods("a", "1", 10, ready));
        seen.status.canary_weight = 100;
        seen.routes = at_weight(100);
        seen.orders = order(Verb::Abort, "b");
        let decision = decide(&spec(), &seen, at(11));
        assert_eq!(latest(&decision).canary_weight, weight, "{ready} of 10 pods");
    }
}

#[test]
fn primary_whose_strategy_lets_all_pods_go_is_given_its_template_only_while_the_canary_serves_alone() {
    let mut primary = pods("a", "1", 2, 2);
    primary.floor = 0;
    let mut seen = last_step(pods("b", "2", 2, 2), primary);
    seen.status.phase = Some(Phase::Promoting);
    seen.status.last_transition_time = Some(at(9));
    let decision = decide(&spec(), &seen, at(11));
    assert_eq!(decision.acts.last(), Some(&Act::Route(Weight::FULL)));
    assert!(!decision.acts.iter().any(|act| matches!(act, Act::Promote { .. })));
}

/// A tool scaled the canary to one pod; the primary has ten.
#[test]
fn advance_sends_no_half_of_the_traffic_of_ten_pods_to_one() {
    let mut seen = first_step(Reading::Value(100.0));
    seen.primary = Some(pods("a", "1", 10, 10));
    seen.target = Some(pods("b", "2", 1, 1));
    seen.orders = order(Verb::Advance, "b");
    live(&mut seen, 3, &spec());
    assert_eq!(
        seen.routes,
        at_weight(10),
        "one pod gets the traffic of five: {:?}",
        seen.status.interventions
    );
}
