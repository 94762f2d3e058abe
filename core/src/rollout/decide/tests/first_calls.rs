//! The first callers of a service that nobody called when it was taken over.

use super::*;
use crate::{
    api::FirstCallsStatus,
    judge::{Counts, Seen, Tally},
    rollout::Sampling,
};

/// Taken over in the night: the primary has all of the traffic, and nobody has called yet.
fn after_the_night() -> Observed {
    let mut seen = quarrel::at_rest();
    seen.status.phase = Some(Phase::Initialized);
    seen.status.first_calls = Some(FirstCallsStatus::since(at(-3600)));
    seen.routing_since = at(-3600);
    seen.apex.serves = Some(Serves::Primary);
    calls(&mut seen, 0, None, None);
    // Conditions are recorded once.
    carry_out(&mut seen, 5, &spec());
    seen
}

fn refusing(requests: f64, denied: f64) -> Option<Counts> {
    Some(Counts {
        requests,
        denied,
        ..Counts::default()
    })
}

fn calls(seen: &mut Observed, now: i64, arrived: Option<Counts>, called: Option<Counts>) {
    let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
    sample.at = at(now);
    let requests = arrived.as_ref().map(|counts| counts.requests);
    sample.traffic.primary = requests.map_or(Reading::NoData, Reading::Value);
    sample.traffic.canary = Reading::NoData;
    sample.traffic.reached_at = requests.filter(|n| *n > 0.0).map(|_| at(now));
    sample.seen.primary = Seen {
        pods: Reading::Value(2.0),
        arrived,
        called,
    };
    sample.seen.canary = Seen::default();
}

#[test]
fn answered_callers_end_the_watch() {
    let mut seen = after_the_night();
    let decision = decide(&spec(), &seen, at(10));
    assert_eq!(
        (decision.acts.len(), decision.sampling),
        (0, Sampling::Occasional)
    );
    calls(&mut seen, 15, refusing(4.0, 0.0), None);
    carry_out(&mut seen, 15, &spec());
    assert_eq!(carry_out(&mut seen, 16, &spec()), [], "a sample counts once");
    let known = seen.status.first_calls.clone().unwrap();
    assert_eq!(known.answered, 4, "a probe of a gateway is no proof");
    calls(&mut seen, 20, refusing(7.0, 1.0), None);
    carry_out(&mut seen, 20, &spec());
    assert_eq!(seen.status.first_calls, None);
    let mut conditions = seen.status.conditions.iter();
    let reached = conditions.find(|condition| condition.type_ == "Reached").unwrap();
    assert_eq!(reached.status, "True");
    let decision = decide(&spec(), &seen, at(21));
    assert_eq!(decision.sampling, Sampling::Unwanted);
}

/// The target gets the service back, with pods first, and it is tried again later.
fn gives_back(mut seen: Observed) {
    let acts = carry_out(&mut seen, 20, &spec());
    assert!(acts.contains(&Act::ScaleTarget(2)), "{acts:?}");
    assert_eq!(seen.status.phase, Some(Phase::Initializing));
    let hold = seen.status.hold.clone().unwrap();
    assert_eq!(hold.reason, HoldReason::NotReached);
    let target = seen.target.as_mut().unwrap();
    (target.desired, target.total) = (2, 2);
    for now in 21..30 {
        let acts = carry_out(&mut seen, now, &spec());
        assert!(!acts.contains(&Act::ScaleTarget(0)), "{acts:?}");
        assert_eq!(seen.routes, at_weight(0), "nobody else serves yet");
    }
    seen.target = Some(workload("a", "2"));
    for now in 30..33 {
        carry_out(&mut seen, now, &spec());
    }
    assert_eq!(seen.routes, at_weight(100));
    assert_eq!(seen.apex.serves, Some(Serves::Target));
    let again = (33..200).find(|now| {
        let last = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        last.at = at(*now);
        carry_out(&mut seen, *now, &spec()).contains(&Act::Route(Weight::saturating(95)))
    });
    assert!(again.is_some_and(|at| at > 80), "{again:?}: after a minute");
}

#[test]
fn target_gets_the_service_back_from_a_primary_that_turns_its_first_callers_away() {
    let mut seen = after_the_night();
    calls(&mut seen, 20, refusing(40.0, 40.0), None);
    gives_back(seen);
}

#[test]
fn target_gets_the_service_back_from_a_primary_that_its_first_callers_do_not_reach() {
    let mut seen = after_the_night();
    let failed = Counts {
        requests: 40.0,
        bad: 40.0,
        ..Counts::default()
    };
    calls(&mut seen, 20, refusing(0.0, 0.0), Some(failed));
    gives_back(seen);
}

#[test]
fn probes_are_no_first_callers() {
    let mut seen = after_the_night();
    let probes = Counts {
        requests: 40.0,
        denied: 40.0,
        strangers: Tally {
            requests: 40.0,
            denied: 40.0,
            ..Tally::default()
        },
        ..Counts::default()
    };
    calls(&mut seen, 20, Some(probes), None);
    assert_eq!(carry_out(&mut seen, 20, &spec()), []);
}

#[test]
fn another_template_is_no_better_than_a_primary_that_is_not_reached() {
    let mut seen = after_the_night();
    calls(&mut seen, 20, refusing(40.0, 40.0), None);
    let target = seen.target.as_mut().unwrap();
    (target.revision, target.mark) = ("b".to_owned(), Some("3".to_owned()));
    let acts = carry_out(&mut seen, 20, &spec());
    assert_eq!(seen.status.phase, Some(Phase::Progressing), "{acts:?}");
}

#[test]
fn few_callers_that_are_turned_away_are_named_and_waited_for() {
    let mut seen = after_the_night();
    let mut began = None;
    for now in (20..2000).step_by(60) {
        // Every other window has none.
        let requests = if now % 120 == 20 { 4.0 } else { 0.0 };
        calls(&mut seen, now, refusing(requests, requests), None);
        seen.told = seen.status.outbox.seq;
        carry_out(&mut seen, now, &spec());
        if seen.status.phase == Some(Phase::Initializing) {
            began = Some(now);
            break;
        }
        let hold = seen.status.hold.clone().unwrap();
        assert_eq!(hold.reason, HoldReason::NotReached, "at {now}");
    }
    assert!(began.is_some_and(|at| (620..700).contains(&at)), "{began:?}");
}

#[test]
fn callers_that_are_kept_away_are_seen_beside_those_that_arrive() {
    let mut seen = after_the_night();
    let called = Counts {
        requests: 60.0,
        bad: 40.0,
        ..Counts::default()
    };
    calls(&mut seen, 20, refusing(20.0, 0.0), Some(called));
    gives_back(seen);
}

#[test]
fn caller_who_is_answered_ends_what_a_single_refusal_began() {
    let mut seen = after_the_night();
    for now in (20..3000).step_by(60) {
        // One refusal each twenty minutes, and some who are answered in between.
        let denied = if now % 1200 == 20 { 1.0 } else { 0.0 };
        calls(&mut seen, now, refusing(1.0, denied), None);
        seen.told = seen.status.outbox.seq;
        carry_out(&mut seen, now, &spec());
        assert_eq!(seen.status.phase, Some(Phase::Initialized), "at {now}");
    }
    assert_eq!(seen.status.first_calls, None);
}

#[test]
fn proxies_of_pods_that_count_nothing_are_no_reason_to_give_back_what_is_answered() {
    let mut seen = after_the_night();
    let called = Counts {
        requests: 40.0,
        absent: 40.0,
        ..Counts::default()
    };
    calls(&mut seen, 20, None, Some(called));
    carry_out(&mut seen, 20, &spec());
    assert_eq!(seen.status.phase, Some(Phase::Initialized));
}

/// It is no reason to take the service from a primary that was reached.
#[test]
fn what_the_application_answers_to_a_scanner_gives_nothing_back() {
    let mut seen = after_the_night();
    let scanned = Counts {
        requests: 40.0,
        absent: 30.0,
        bad: 10.0,
        ..Counts::default()
    };
    calls(&mut seen, 20, Some(scanned.clone()), Some(scanned));
    carry_out(&mut seen, 20, &spec());
    assert_eq!(seen.status.phase, Some(Phase::Initialized));
}

#[test]
fn release_in_between_does_not_end_the_watch() {
    let mut seen = after_the_night();
    let target = seen.target.as_mut().unwrap();
    (target.revision, target.mark) = ("b".to_owned(), Some("3".to_owned()));
    carry_out(&mut seen, 20, &spec());
    assert_eq!(seen.status.phase, Some(Phase::Progressing));
    assert!(seen.status.first_calls.is_some());
    let mut conditions = seen.status.conditions.iter();
    let reached = conditions.find(|condition| condition.type_ == "Reached").unwrap();
    assert_eq!(reached.status, "Unknown");
}

#[test]
fn push_before_the_target_has_the_service_again_is_released_like_any_other() {
    let mut seen = after_the_night();
    calls(&mut seen, 20, refusing(40.0, 40.0), None);
    carry_out(&mut seen, 20, &spec());
    assert_eq!(seen.status.phase, Some(Phase::Initializing));
    let target = seen.target.as_mut().unwrap();
    (target.revision, target.mark) = ("b".to_owned(), Some("3".to_owned()));
    for now in 21..25 {
        seen.told = seen.status.outbox.seq;
        let acts = carry_out(&mut seen, now, &spec());
        assert!(
            !acts.iter().any(|act| matches!(act, Act::Promote { .. })),
            "{acts:?}"
        );
    }
    assert_eq!(seen.status.phase, Some(Phase::Progressing));
    assert_eq!(seen.routes, at_weight(0));
}

/// The policy is mended before the target has a pod that serves.
#[test]
fn requests_that_arrive_after_all_end_the_wait_for_the_target() {
    let mut seen = after_the_night();
    calls(&mut seen, 20, refusing(40.0, 40.0), None);
    carry_out(&mut seen, 20, &spec());
    let target = seen.target.as_mut().unwrap();
    (target.desired, target.total) = (2, 2);
    let mut scaled = false;
    for now in 21..200 {
        let denied = if now < 60 { 40.0 } else { 0.0 };
        calls(&mut seen, now, refusing(40.0, denied), None);
        seen.told = seen.status.outbox.seq;
        scaled |= carry_out(&mut seen, now, &spec()).contains(&Act::ScaleTarget(0));
        assert!(!scaled || now >= 60, "at {now}");
    }
    assert!(scaled, "{:?}", seen.status.message);
}

/// The first callers are turned away, and later the policy is mended; the application refuses every fifth by itself.
#[test]
fn service_that_refuses_some_by_itself_is_set_up_again_after_it_was_given_back() {
    let mut seen = after_the_night();
    seen.target = Some(workload("a", "2"));
    calls(&mut seen, 20, refusing(40.0, 40.0), None);
    let mut done = None;
    for now in 20..1000 {
        let own = |requests: f64| Counts {
            requests,
            absent: requests / 5.0,
            ..Counts::default()
        };
        if now > 40 {
            measure(&mut seen, now, 200.0, 200.0);
            let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
            sample.seen = scraped();
            sample.seen.canary.arrived = Some(own(200.0));
            sample.seen.primary.arrived = Some(own(200.0));
        }
        seen.told = seen.status.outbox.seq;
        carry_out(&mut seen, now, &spec());
        if now > 100 && seen.routes == at_weight(0) {
            done = Some(now);
            break;
        }
    }
    assert!(done.is_some(), "{:?}", seen.status.message);
}

#[test]
fn few_pods_of_the_target_do_not_take_what_many_have() {
    let mut seen = after_the_night();
    let primary = seen.primary.as_mut().unwrap();
    (primary.desired, primary.total, primary.updated) = (10, 10, 10);
    (primary.available, primary.endpoints) = (10, 10);
    let called = || Counts {
        requests: 60.0,
        bad: 40.0,
        ..Counts::default()
    };
    calls(&mut seen, 20, refusing(20.0, 0.0), Some(called()));
    carry_out(&mut seen, 20, &spec());
    seen.target = Some(Workload {
        desired: 10,
        total: 10,
        updated: 10,
        available: 1,
        endpoints: 1,
        ..workload("a", "2")
    });
    for now in 21..200 {
        calls(&mut seen, now, refusing(20.0, 0.0), Some(called()));
        seen.told = seen.status.outbox.seq;
        carry_out(&mut seen, now, &spec());
        assert_eq!(seen.routes, at_weight(0), "at {now}");
    }
}
