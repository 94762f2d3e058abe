//! Traffic that is handed over outside of a release's steps.

use super::*;

/// Initializing: the primary is ready, and both sides count these requests within a window of three seconds.
pub(super) fn setting_up(canary: Reading, primary: Reading) -> Observed {
    let mut seen = first_step(Reading::NoData);
    seen.status.phase = Some(Phase::Initializing);
    seen.status.last_transition_time = Some(at(-100));
    seen.status.canary_weight = 0;
    seen.status.step = None;
    seen.status.revision = RevisionStatus::default();
    seen.routes = Routes::Present {
        weight: None,
        split: false,
        owned: false,
        in_shape: true,
    };
    seen.apex.serves = Some(Serves::Target);
    seen.routing_since = at(-60);
    seen.target = Some(workload("a", "1"));
    seen.primary = Some(workload("a", "1"));
    let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
    (sample.traffic.canary, sample.traffic.primary) = (canary, primary);
    sample.traffic.reached_at = None;
    seen
}

fn reason(seen: &Observed) -> Option<HoldReason> {
    seen.status.hold.as_ref().map(|hold| hold.reason)
}

#[test]
fn primary_gets_a_small_share_before_all_of_the_traffic() {
    let mut seen = setting_up(Reading::Value(300.0), Reading::NoData);
    let acts = carry_out(&mut seen, 10, &spec());
    let share = seen.status.transfer.clone().unwrap();
    assert_eq!((share.old_share, share.rate), (95, Some(100.0)));
    assert_eq!(acts[1], Act::Route(Weight::saturating(95)), "the intent first");
    assert_eq!(seen.status.canary_weight, 0, "it is no release");

    measure(&mut seen, 20, 285.0, 15.0);
    let acts = carry_out(&mut seen, 20, &spec());
    assert_eq!(acts.last(), Some(&Act::Route(Weight::ZERO)));
    measure(&mut seen, 30, 0.0, 300.0);
    assert_eq!(
        carry_out(&mut seen, 30, &spec()),
        [Act::PointApex(Serves::Primary)]
    );
    measure(&mut seen, 40, 0.0, 300.0);
    assert_eq!(carry_out(&mut seen, 40, &spec()), [Act::ScaleTarget(0)]);
}

#[test]
fn requests_to_pods_that_are_gone_reached_no_primary() {
    let mut seen = setting_up(Reading::Value(300.0), Reading::NoData);
    carry_out(&mut seen, 10, &spec());
    measure(&mut seen, 20, 285.0, 15.0);
    let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
    sample.seen.primary.pods = Reading::Value(0.0);
    assert_eq!(carry_out(&mut seen, 20, &spec()), []);
    let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
    sample.seen.primary.pods = Reading::Value(1.0);
    let acts = carry_out(&mut seen, 20, &spec());
    assert_eq!(
        acts.last(),
        Some(&Act::Route(Weight::ZERO)),
        "one of them answers"
    );
}

#[test]
fn requests_that_do_not_reach_the_primary_go_back_and_nothing_is_scaled_away() {
    let mut seen = setting_up(Reading::Value(300.0), Reading::NoData);
    carry_out(&mut seen, 10, &spec());
    measure(&mut seen, 80, 285.0, 0.0);
    let acts = carry_out(&mut seen, 80, &spec());
    assert_eq!(acts[1], Act::Route(Weight::FULL), "{acts:?}");
    assert_eq!(reason(&seen), Some(HoldReason::NotReached));
    assert!(!acts.contains(&Act::ScaleTarget(0)));

    measure(&mut seen, 130, 300.0, 0.0);
    assert_eq!(
        carry_out(&mut seen, 130, &spec()),
        [],
        "the first pause is a minute"
    );
    assert_eq!(reason(&seen), Some(HoldReason::NotReached));
    measure(&mut seen, 141, 300.0, 0.0);
    let again = carry_out(&mut seen, 141, &spec());
    assert_eq!(again.last(), Some(&Act::Route(Weight::saturating(95))));
    let attempts = seen.status.transfer.as_ref().map(|transfer| transfer.attempts);
    assert_eq!(attempts, Some(1));
}

/// Set up by a version that moved all of the traffic at once; since then nobody counts a request any more.
#[test]
fn target_is_not_scaled_away_when_its_requests_vanished_with_the_routes() {
    let mut seen = setting_up(Reading::NoData, Reading::NoData);
    seen.routes = at_weight(0);
    seen.apex.serves = Some(Serves::Primary);
    seen.sample
        .as_mut()
        .map(Arc::make_mut)
        .unwrap()
        .traffic
        .reached_at = Some(at(-61));
    for now in [10, 20, 30, 100] {
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        sample.at = at(now);
        let acts = carry_out(&mut seen, now, &spec());
        assert!(!acts.contains(&Act::ScaleTarget(0)), "{acts:?} at {now}");
    }
}

#[test]
fn service_that_nobody_calls_is_set_up_after_a_minute_and_says_so() {
    let mut seen = setting_up(Reading::NoData, Reading::NoData);
    carry_out(&mut seen, 10, &spec());
    let mut scaled = None;
    for now in 11..200 {
        seen.sample.as_mut().map(Arc::make_mut).unwrap().at = at(now);
        let acts = carry_out(&mut seen, now, &spec());
        if acts.contains(&Act::ScaleTarget(0)) {
            scaled = Some(now);
            break;
        }
    }
    assert!(scaled.is_some_and(|at| at > 70), "{scaled:?}");
    let target = seen.target.as_mut().unwrap();
    (target.desired, target.total, target.available, target.endpoints) = (0, 0, 0, 0);
    carry_out(&mut seen, 201, &spec());
    assert_eq!(seen.status.phase, Some(Phase::Initialized));
    let mut conditions = seen.status.conditions.iter();
    let reached = conditions.find(|condition| condition.type_ == "Reached").unwrap();
    assert_eq!(
        (reached.status.as_str(), reached.reason.as_str()),
        ("Unknown", "NoCallers")
    );
}

#[test]
fn without_metrics_nothing_is_handed_over_until_somebody_says_that_requests_arrive() {
    let down = || Reading::Error("connection refused".to_owned());
    let mut seen = setting_up(down(), down());
    carry_out(&mut seen, 10, &spec());
    let mut told = Vec::new();
    for now in (20..400).step_by(10) {
        seen.sample.as_mut().map(Arc::make_mut).unwrap().at = at(now);
        told.extend(carry_out(&mut seen, now, &spec()));
    }
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(reason(&seen), Some(HoldReason::MetricsUnavailable));
    seen.orders = order(Verb::Advance, "a");
    carry_out(&mut seen, 400, &spec());
    assert_eq!(seen.status.interventions[0].refused, None);
    seen.orders = vec![];
    let mut acts = Vec::new();
    for now in (401..460).step_by(7) {
        acts.extend(carry_out(&mut seen, now, &spec()));
    }
    assert!(acts.contains(&Act::ScaleTarget(0)), "{acts:?}");
}

#[test]
fn what_cannot_be_carried_over_is_named_before_the_first_write() {
    let mut seen = setting_up(Reading::Value(300.0), Reading::NoData);
    seen.primary = None;
    seen.uncarried = vec!["Service shop: it is of type ExternalName".to_owned()];
    let acts = carry_out(&mut seen, 10, &spec());
    assert!(matches!(acts[..], [Act::Record(_)]), "{acts:?}");
    assert_eq!(reason(&seen), Some(HoldReason::RouteInvalid));
}

/// Somebody tried the service once when it was deployed, and nobody calls it since.
#[test]
fn callers_that_left_are_not_taken_for_requests_that_do_not_arrive() {
    let mut seen = setting_up(Reading::Value(20.0), Reading::NoData);
    carry_out(&mut seen, 10, &spec());
    let mut acts = Vec::new();
    // They may as well fail where nobody counts, for as long as a caller may be away.
    for now in 11..1000 {
        measure(&mut seen, now, 0.0, 0.0);
        acts.extend(carry_out(&mut seen, now, &spec()));
        assert_ne!(reason(&seen), Some(HoldReason::NotReached), "at {now}");
        assert!(now > 600 || !acts.contains(&Act::Route(Weight::ZERO)), "at {now}");
    }
    assert!(acts.contains(&Act::ScaleTarget(0)), "{acts:?}");
}

/// Pods that no metric tells of: they have no proxy, or nobody scrapes it.
fn unscraped(seen: &mut Observed) {
    let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
    sample.seen = Sides::default();
}

#[test]
fn service_that_no_metric_tells_of_is_not_taken_for_one_that_nobody_calls() {
    let mut seen = setting_up(Reading::NoData, Reading::NoData);
    unscraped(&mut seen);
    carry_out(&mut seen, 10, &spec());
    for now in 11..1000 {
        seen.sample.as_mut().map(Arc::make_mut).unwrap().at = at(now);
        let acts = carry_out(&mut seen, now, &spec());
        assert!(!acts.contains(&Act::ScaleTarget(0)), "at {now}: {acts:?}");
        assert!(!acts.contains(&Act::Route(Weight::ZERO)), "at {now}: {acts:?}");
    }
    let hold = seen.status.hold.clone().unwrap();
    assert_eq!(hold.reason, HoldReason::ReachUnknown);
    assert!(
        hold.message.contains("not every pod of shop is scraped"),
        "{}",
        hold.message
    );
    seen.orders = order(Verb::Advance, "");
    let mut scaled = false;
    for now in 1000..1100 {
        seen.sample.as_mut().map(Arc::make_mut).unwrap().at = at(now);
        scaled |= carry_out(&mut seen, now, &spec()).contains(&Act::ScaleTarget(0));
        seen.orders.clear();
    }
    assert!(scaled, "somebody said that requests arrive");
}

fn counted(seen: &mut Observed, canary: Option<(f64, f64)>, primary: Option<(f64, f64)>) {
    let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
    let counts = |side: Option<(f64, f64)>| {
        side.map(|(requests, denied)| Counts {
            requests,
            denied,
            ..Counts::default()
        })
    };
    sample.seen.canary.arrived = counts(canary);
    sample.seen.primary.arrived = counts(primary);
}

#[test]
fn attempt_that_failed_is_no_measure_of_the_next_one() {
    let mut seen = setting_up(Reading::Value(300.0), Reading::NoData);
    counted(&mut seen, Some((300.0, 0.0)), None);
    carry_out(&mut seen, 10, &spec());
    for attempt in 1..4 {
        let began = seen.status.transfer.as_ref().unwrap().since.timestamp() - at(0).timestamp();
        measure(&mut seen, began + 20, 285.0, 15.0);
        counted(&mut seen, Some((285.0, 0.0)), Some((15.0, 15.0)));
        carry_out(&mut seen, began + 20, &spec());
        let known = seen.status.transfer.clone().unwrap();
        assert_eq!(
            (known.old_share, known.attempts),
            (100, attempt),
            "all are refused"
        );
        // The window still has the refused ones.
        let retry = began + 20 + [60, 300, 900][usize::try_from(attempt - 1).unwrap()];
        measure(&mut seen, retry, 300.0, 15.0);
        counted(&mut seen, Some((300.0, 0.0)), Some((15.0, 15.0)));
        carry_out(&mut seen, retry, &spec());
        assert_eq!(seen.status.transfer.as_ref().unwrap().refused, Some(0.0));
    }
}

#[test]
fn requests_are_expected_by_what_arrived_before_the_last_share() {
    // Nothing could be counted yet when the hand-over began.
    let mut seen = setting_up(Reading::NoData, Reading::NoData);
    carry_out(&mut seen, 10, &spec());
    measure(&mut seen, 20, 285.0, 15.0);
    let acts = carry_out(&mut seen, 20, &spec());
    assert_eq!(acts.last(), Some(&Act::Route(Weight::ZERO)));
    for now in 21..100 {
        measure(&mut seen, now, 0.0, 0.0);
        let acts = carry_out(&mut seen, now, &spec());
        assert!(!acts.contains(&Act::ScaleTarget(0)), "at {now}: {acts:?}");
    }
    assert_eq!(seen.routes, at_weight(100), "nothing arrives, so it went back");
}

#[test]
fn traffic_that_is_given_back_and_was_not_written_is_given_back_again() {
    let mut seen = setting_up(Reading::Value(300.0), Reading::NoData);
    carry_out(&mut seen, 10, &spec());
    measure(&mut seen, 20, 285.0, 15.0);
    carry_out(&mut seen, 20, &spec());
    let primary = seen.primary.as_mut().unwrap();
    (primary.available, primary.endpoints) = (0, 0);
    // The record is written, and the routes are not.
    let decision = decide(&spec(), &seen, at(21));
    seen.status = decision
        .acts
        .iter()
        .find_map(|act| match act {
            Act::Record(status) => Some((**status).clone()),
            _ => None,
        })
        .unwrap();
    assert_eq!(seen.status.transfer.as_ref().unwrap().old_share, 100);
    seen.drifted = vec![Child::CanaryRule];
    let decision = decide(&spec(), &seen, at(22));
    assert_eq!(decision.acts[0], Act::Route(Weight::FULL), "{:?}", decision.acts);
    assert!(decision.independent, "nothing is in the way");
}

#[test]
fn requests_that_callers_report_are_requests() {
    let mut seen = setting_up(Reading::NoData, Reading::NoData);
    let called = Counts {
        requests: 300.0,
        ..Counts::default()
    };
    unscraped(&mut seen);
    seen.sample
        .as_mut()
        .map(Arc::make_mut)
        .unwrap()
        .seen
        .canary
        .called = Some(called);
    for now in 10..200 {
        seen.sample.as_mut().map(Arc::make_mut).unwrap().at = at(now);
        let acts = carry_out(&mut seen, now, &spec());
        assert!(!acts.contains(&Act::ScaleTarget(0)), "at {now}: {acts:?}");
        assert!(!acts.contains(&Act::Route(Weight::ZERO)), "at {now}: {acts:?}");
    }
}

#[test]
fn traffic_that_moved_because_nobody_else_served_goes_back_when_somebody_does() {
    let mut seen = setting_up(Reading::Value(300.0), Reading::NoData);
    carry_out(&mut seen, 10, &spec());
    let target = seen.target.as_mut().unwrap();
    (target.available, target.endpoints) = (0, 0);
    carry_out(&mut seen, 11, &spec());
    assert_eq!(seen.routes, at_weight(0));
    let primary = seen.primary.as_mut().unwrap();
    (primary.available, primary.endpoints) = (1, 1);
    let target = seen.target.as_mut().unwrap();
    (target.available, target.endpoints) = (2, 2);
    carry_out(&mut seen, 20, &spec());
    assert_eq!(seen.routes, at_weight(100));
}

#[test]
fn push_gets_no_traffic_because_one_pod_of_the_primary_is_away() {
    let mut seen = setting_up(Reading::Value(300.0), Reading::NoData);
    carry_out(&mut seen, 10, &spec());
    measure(&mut seen, 20, 285.0, 15.0);
    carry_out(&mut seen, 20, &spec());
    assert_eq!(seen.routes, at_weight(0));
    seen.target = Some(workload("b", "2"));
    let primary = seen.primary.as_mut().unwrap();
    (primary.available, primary.endpoints) = (1, 1);
    for now in 30..60 {
        measure(&mut seen, now, 0.0, 300.0);
        carry_out(&mut seen, now, &spec());
        assert_eq!(seen.routes, at_weight(0), "at {now}");
    }
}

#[test]
fn policy_that_would_not_cover_the_primary_is_named_before_the_first_write() {
    let mut seen = setting_up(Reading::Value(300.0), Reading::NoData);
    seen.primary = None;
    seen.policies.uncovered = vec!["NetworkPolicy/shop".to_owned()];
    for now in 10..20 {
        let acts = carry_out(&mut seen, now, &spec());
        assert!(acts.iter().all(|act| matches!(act, Act::Record(_))), "{acts:?}");
    }
    assert_eq!(reason(&seen), Some(HoldReason::PolicyNotCovering));
    let accepted = RolloutSpec {
        accepted_policies: "NetworkPolicy/shop".to_owned(),
        ..spec()
    };
    let acts = carry_out(&mut seen, 20, &accepted);
    assert!(
        acts.iter().any(|act| matches!(act, Act::Promote { .. })),
        "{acts:?}"
    );
}

#[test]
fn accepted_policy_is_named_where_requests_do_not_arrive() {
    let mut seen = setting_up(Reading::Value(300.0), Reading::NoData);
    seen.policies.uncovered = vec!["NetworkPolicy/shop".to_owned()];
    let accepted = RolloutSpec {
        accepted_policies: "all".to_owned(),
        ..spec()
    };
    for now in 10..120 {
        measure(&mut seen, now, 300.0, 0.0);
        carry_out(&mut seen, now, &accepted);
    }
    assert_eq!(reason(&seen), Some(HoldReason::NotReached));
    let message = seen.status.hold.clone().unwrap().message;
    assert!(message.contains("NetworkPolicy/shop"), "{message}");
}
