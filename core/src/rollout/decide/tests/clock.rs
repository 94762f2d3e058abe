//! Clocks, and controllers that die.

use super::*;

/// The wall clock was an hour ahead and is set back at weight 10, and every request to the canary fails.
#[test]
fn clock_that_is_set_back_blinds_nobody() {
    let mut seen = first_step(Reading::Value(0.0));
    let back = |s: i64| at(s - 3600);
    seen.sampled_since = back(12);
    seen.sample.as_mut().map(Arc::make_mut).unwrap().at = back(900);
    let decision = decide(&spec(), &seen, back(901));
    assert!(
        decision.acts.contains(&Act::Route(Weight::ZERO)),
        "a quarter of an hour of nothing but errors: {:?}",
        decision.acts
    );
}

/// A controller that dies more often than a check is due finds what is bad all the same.
#[test]
fn restarts_do_not_put_a_failed_check_off() {
    let mut seen = first_step(Reading::Value(0.0));
    seen.epoch = "1/other".to_owned();
    seen.status.step.as_mut().unwrap().weight_since = Some(at(0));
    let fenced = decide(&spec(), &seen, at(9));
    let records = fenced.acts.iter().find_map(|act| match act {
        Act::Record(status) => Some((**status).clone()),
        _ => None,
    });
    seen.status = records.unwrap();
    assert_eq!(
        seen.status.step.as_ref().unwrap().started_at,
        at(9),
        "a pass begins anew"
    );
    let decision = decide(&spec(), &seen, at(10));
    assert_eq!(decision.acts[0], Act::Route(Weight::ZERO));
    let mut good = first_step(Reading::Value(100.0));
    good.status = seen.status.clone();
    good.epoch = "1/other".to_owned();
    let waits = decide(&spec(), &good, at(10));
    assert!(!waits.acts.contains(&Act::Route(Weight::saturating(50))));
}

/// Whoever asks for a revision anew is not told how it ended before, an hour that is still to come.
#[test]
fn what_is_over_ended_before_the_clock_was_set_back() {
    let mut seen = first_step(Reading::Value(99.9));
    seen.status.history.push(crate::api::PastRollout {
        revision: "c".to_owned(),
        outcome: crate::api::Outcome::RolledBack,
        message: "it was bad".to_owned(),
        started_at: Some(at(-60)),
        ended_at: at(-10),
    });
    live(&mut seen, -3600, &spec());
    assert!(
        seen.status.history[0].ended_at < at(-3600),
        "{:?}",
        seen.status.history
    );
    let acts = live(&mut seen, -3599, &spec());
    assert_eq!(records(&acts), 0, "{acts:?}");
}
