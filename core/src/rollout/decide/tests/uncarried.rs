//! What adopted objects offer and cannot be carried over: a release is held for it, and nothing else.

use super::{transfer::setting_up, *};

/// Its pods crash while the release is held for what cannot be carried over.
#[test]
fn pods_have_a_deadline_while_something_cannot_be_carried_over() {
    let mut seen = first_step(Reading::Value(100.0));
    seen.status.canary_weight = 0;
    seen.status.step = None;
    seen.status.last_transition_time = Some(at(5));
    seen.routes = at_weight(0);
    seen.uncarried = vec!["Service shop: port x".to_owned()];
    for now in 10..60 {
        measure(&mut seen, now, 0.0, 270.0);
        live(&mut seen, now, &spec());
    }
    let t = seen.target.as_mut().unwrap();
    (t.available, t.endpoints, t.updated) = (1, 1, 1);
    for now in 60..2000 {
        measure(&mut seen, now, 0.0, 270.0);
        live(&mut seen, now, &spec());
    }
    assert_eq!(
        seen.status.phase,
        Some(Phase::Failed),
        "{:?}",
        seen.status.resumed_at
    );
}

#[test]
fn what_cannot_be_carried_over_costs_no_endless_writes() {
    let mut seen = setting_up(Reading::Value(300.0), Reading::NoData);
    seen.uncarried = vec!["Service shop: port x".to_owned()];
    let mut written = 0;
    for now in 10..310 {
        measure(&mut seen, now, 300.0, 0.0);
        written += records(&live(&mut seen, now, &spec()));
    }
    assert!(
        written < 20,
        "{written} {:?} {:?}",
        seen.status.resumed_at,
        seen.status.all_holds()
    );
}

/// One of two pods crashes for an hour at the first step.
#[test]
fn crashing_pod_has_a_deadline_while_something_cannot_be_carried_over() {
    let mut seen = first_step(Reading::Value(100.0));
    seen.uncarried = vec!["Service shop: port x".to_owned()];
    seen.status.last_transition_time = Some(at(5));
    for now in 10..60 {
        measure(&mut seen, now, 30.0, 270.0);
        live(&mut seen, now, &spec());
    }
    let t = seen.target.as_mut().unwrap();
    (t.available, t.endpoints, t.updated) = (1, 1, 1);
    for now in 60..3660 {
        measure(&mut seen, now, 30.0, 270.0);
        live(&mut seen, now, &spec());
    }
    assert!(
        seen.status.phase == Some(Phase::Failed) || seen.status.retirement.is_some(),
        "{:?} {:?}",
        seen.status.resumed_at,
        seen.status.all_holds()
    );
}

/// One sample, and a hundred rounds a millisecond apart.
#[test]
fn rounds_come_to_rest() {
    let mut seen = setting_up(Reading::Value(300.0), Reading::NoData);
    seen.uncarried = vec!["Service shop: port x".to_owned()];
    live(&mut seen, 10, &spec());
    let mut written = 0;
    for ms in 0..100 {
        let now = at(11) + TimeDelta::milliseconds(ms);
        let decision = decide(&spec(), &seen, now);
        for act in &decision.acts {
            if let Act::Record(status) = act {
                seen.status = (**status).clone();
                written += 1;
            }
        }
    }
    assert!(written < 5, "{written}");
}
