//! Requests that were known not to arrive, and callers of whom some do not.

use super::{transfer::setting_up, *};
use crate::judge::{Counts, Tally};

#[test]
fn callers_who_go_home_prove_nothing_after_requests_that_did_not_arrive() {
    let mut seen = setting_up(Reading::Value(300.0), Reading::NoData);
    carry_out(&mut seen, 10, &spec());
    measure(&mut seen, 80, 285.0, 0.0);
    carry_out(&mut seen, 80, &spec());
    assert!(seen.status.transfer.as_ref().unwrap().missed);
    let mut acts = Vec::new();
    for now in 81..3000 {
        measure(&mut seen, now, 0.0, 0.0);
        seen.told = seen.status.outbox.seq;
        acts.extend(carry_out(&mut seen, now, &spec()));
    }
    assert!(!acts.contains(&Act::ScaleTarget(0)), "{acts:?}");
    let hold = seen.status.hold.clone().unwrap();
    assert_eq!(hold.reason, HoldReason::ReachUnknown, "{}", hold.message);
    seen.orders = order(Verb::Advance, "");
    let mut acts = Vec::new();
    for now in 3000..3100 {
        measure(&mut seen, now, 0.0, 0.0);
        acts.extend(carry_out(&mut seen, now, &spec()));
        seen.orders.clear();
    }
    assert!(acts.contains(&Act::ScaleTarget(0)), "{acts:?}");
}

#[test]
fn callers_who_are_kept_away_are_seen_beside_those_that_arrive() {
    let mut seen = setting_up(Reading::Value(300.0), Reading::NoData);
    carry_out(&mut seen, 10, &spec());
    measure(&mut seen, 20, 285.0, 15.0);
    let counts = |requests: f64, bad: f64| {
        Some(Counts {
            requests,
            bad,
            ..Counts::default()
        })
    };
    let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
    (sample.seen.canary.arrived, sample.seen.canary.called) = (counts(285.0, 0.0), counts(285.0, 0.0));
    // Half of the callers cannot connect to the primary.
    (sample.seen.primary.arrived, sample.seen.primary.called) = (counts(15.0, 0.0), counts(30.0, 15.0));
    let acts = carry_out(&mut seen, 20, &spec());
    assert!(acts.contains(&Act::Route(Weight::FULL)), "{acts:?}");
    assert!(seen.status.transfer.as_ref().unwrap().missed, "{acts:?}");
}

#[test]
fn what_scrapes_get_says_nothing_about_callers() {
    let mut seen = setting_up(Reading::NoData, Reading::NoData);
    carry_out(&mut seen, 10, &spec());
    let half = Counts {
        requests: 40.0,
        denied: 20.0,
        strangers: Tally {
            requests: 20.0,
            ..Tally::default()
        },
        ..Counts::default()
    };
    measure(&mut seen, 20, 0.0, 40.0);
    let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
    sample.seen.primary.arrived = Some(half);
    let acts = carry_out(&mut seen, 20, &spec());
    assert!(acts.contains(&Act::Route(Weight::FULL)), "{acts:?}");
}

/// It answers 404 by itself, at the target as at the primary.
#[test]
fn service_that_refuses_nearly_all_by_itself_is_taken_over() {
    let mut seen = setting_up(Reading::Value(300.0), Reading::NoData);
    let counts = |requests: f64| {
        Some(Counts {
            requests,
            absent: requests,
            ..Counts::default()
        })
    };
    let both = |seen: &mut Observed, canary: f64, primary: f64| {
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        (sample.seen.canary.arrived, sample.seen.canary.called) = (counts(canary), counts(canary));
        (sample.seen.primary.arrived, sample.seen.primary.called) = (counts(primary), counts(primary));
    };
    both(&mut seen, 300.0, 0.0);
    carry_out(&mut seen, 10, &spec());
    measure(&mut seen, 20, 285.0, 15.0);
    both(&mut seen, 285.0, 15.0);
    carry_out(&mut seen, 20, &spec());
    assert_eq!(seen.routes, at_weight(0));
    let mut acts = Vec::new();
    for now in 30..60 {
        measure(&mut seen, now, 0.0, 300.0);
        both(&mut seen, 0.0, 300.0);
        seen.told = seen.status.outbox.seq;
        acts.extend(carry_out(&mut seen, now, &spec()));
    }
    assert!(acts.contains(&Act::ScaleTarget(0)), "{acts:?}");
}
