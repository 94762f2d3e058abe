//! Holds say what is the matter now.

use super::*;
use crate::{api::Pause, rollout::Repeat};

/// One of two pods of the primary was away, and then both are.
#[test]
fn hold_says_what_is_the_matter_with_the_primary_now() {
    let mut seen = first_step(Reading::Value(100.0));
    seen.status.pause = Some(Pause {
        by: "mia".to_owned(),
        reason: String::new(),
        since: at(0),
    });
    let away = |n: i32| Workload {
        available: n,
        endpoints: n,
        ..workload("a", "1")
    };
    seen.primary = Some(away(1));
    for now in 10..20 {
        measure(&mut seen, now, 100.0, 900.0);
        live(&mut seen, now, &spec());
    }
    seen.primary = Some(away(0));
    for now in 20..60 {
        measure(&mut seen, now, 100.0, 0.0);
        live(&mut seen, now, &spec());
    }
    let holds = seen.status.all_holds();
    let hold = holds
        .iter()
        .find(|hold| hold.reason == HoldReason::PrimaryNotReady);
    let text = hold.map(|hold| hold.message.clone()).unwrap_or_default();
    assert!(text.contains("no pod of shop-primary serves"), "{text}");
}

/// A robot changed the routes for a while, and stopped long since; mia edited the primary.
#[test]
fn hold_of_a_quarrel_that_is_over_does_not_hide_who_edited_the_primary() {
    let mut seen = super::quarrel::at_rest();
    seen.primary = Some(Workload {
        edited_by: Some("mia".to_owned()),
        ..workload("a", "1")
    });
    seen.repeats = vec![Repeat {
        act: Act::Route(Weight::ZERO),
        times: 20,
        last: at(9),
        repaired: Some(at(9)),
    }];
    for now in 10..7200 {
        if now == 700 {
            seen.repeats = vec![];
        }
        measure(&mut seen, now, 0.0, 100.0);
        live(&mut seen, now, &spec());
    }
    let hold = seen.status.hold.clone().unwrap();
    assert!(hold.message.contains("mia"), "two hours later: {}", hold.message);
}
