//! A release that waits costs no endless writes and events.

use super::*;
use crate::{api::GatePoint, rollout::Repeat};

/// Its analysis is skipped, and it waits for the last gate; what is measured changes each two seconds.
#[test]
fn skipped_release_that_waits_at_its_last_gate_writes_its_values_once_a_minute() {
    let mut spec = spec();
    spec.skip_analysis = true;
    spec.gates = vec![approval("end", GatePoint::ConfirmPromotion)];
    let mut seen = first_step(Reading::Value(100.0));
    let mut written = 0;
    for now in (10..310).step_by(2) {
        good_value(&mut seen, now);
        written += records(&live(&mut seen, now, &spec));
    }
    assert_eq!(seen.status.phase, Some(Phase::WaitingPromotion));
    assert!(written <= 10, "{written} writes in five minutes");
}

/// The canary serves alone while a primary is to be recreated of which nobody knows whether it is still called.
#[test]
fn promotion_that_waits_for_a_silent_primary_writes_its_values_once_a_minute() {
    let mut seen = promoting_at_half(
        Reading::Value(100.0),
        Workload {
            floor: 0,
            ..workload("a", "1")
        },
    );
    seen.status.canary_weight = 100;
    seen.routes = at_weight(100);
    let mut written = 0;
    for now in (10..610).step_by(2) {
        good_value(&mut seen, now);
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        sample.traffic.canary = Reading::Value(300.0);
        sample.traffic.primary = Reading::NoData;
        sample.seen.primary.pods = Reading::Value(0.0);
        written += records(&live(&mut seen, now, &spec()));
    }
    assert_eq!(
        seen.status.phase,
        Some(Phase::Promoting),
        "{:?}",
        seen.status.message
    );
    assert!(
        written <= 20,
        "{written} writes in ten minutes: {:?}",
        seen.status.all_holds()
    );
}

/// A tool keeps writing the primary's old manifest over the template that it is given.
#[test]
fn promotion_that_waits_for_a_quarrel_costs_no_endless_writes() {
    let mut seen = promoting_at_half(Reading::NoData, pods("a", "1", 2, 2));
    seen.target = Some(pods("b", "2", 2, 2));
    seen.sample = None;
    seen.repeats = vec![Repeat {
        act: Act::Promote {
            revision: "b".to_owned(),
            replicas: Some(2),
        },
        times: 20,
        last: at(9),
        repaired: Some(at(9)),
    }];
    let (mut written, mut told) = (0, 0);
    for _ in 0..50 {
        let before = seen.status.outbox.seq;
        written += records(&live(&mut seen, 10, &spec()));
        told += news(&seen, before).len();
    }
    assert!(written <= 4, "{written} writes and {told} events in one instant");
}

/// A release has 10 %, and somebody (an autoscaler, a tool for the night) scales the primary to zero.
#[test]
fn release_beside_a_primary_that_was_scaled_to_zero_costs_no_endless_writes() {
    let mut seen = first_step(Reading::Value(100.0));
    seen.status.primary_replicas = Some(2);
    seen.primary = Some(without_pods("a", "1"));
    let (mut written, mut told) = (0, Vec::new());
    for now in 10..130 {
        good_value(&mut seen, now);
        measure(&mut seen, now, 30.0, 0.0);
        let before = seen.status.outbox.seq;
        written += records(&live(&mut seen, now, &spec()));
        told.extend(news(&seen, before));
    }
    assert!(
        written <= 12,
        "{written} writes and {} events in two minutes: {:?} {:?}",
        told.len(),
        &told[..told.len().min(6)],
        seen.status.all_holds()
    );
}
