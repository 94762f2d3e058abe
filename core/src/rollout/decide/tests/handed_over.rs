//! Whether requests arrive at pods that have the traffic, and who says so.

use super::{transfer::setting_up, *};
use crate::api::FirstCallsStatus;

/// A fifth of the requests never arrives, as long as anybody knows: a caller that a NetworkPolicy keeps out on purpose, or a
/// circuit breaker that sheds load. Callers' proxies count them, the called pods' do not.
fn shed(seen: &mut Observed, now: i64) {
    let target = f64::from(seen.routes.weight().unwrap_or(Weight::FULL).percent());
    let (canary, primary) = (3.0 * target, 3.0 * (100.0 - target));
    measure(seen, now, canary * 0.8, primary * 0.8);
    let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
    sample.traffic.reached_at = Some(at(now))
        .filter(|_| canary > 0.0)
        .or(sample.traffic.reached_at);
    let side = |requests: f64, seen: &mut Seen| {
        seen.arrived = tallied(requests * 0.8, 0.0);
        seen.called = tallied(requests, requests * 0.2);
    };
    side(canary, &mut sample.seen.canary);
    side(primary, &mut sample.seen.primary);
}

#[test]
fn requests_that_never_arrived_before_either_keep_no_set_up_from_its_end() {
    let mut seen = setting_up(Reading::Value(240.0), Reading::NoData);
    seen.routes = at_weight(100);
    let mut told = Vec::new();
    for now in 10..7200 {
        shed(&mut seen, now);
        if live(&mut seen, now, &spec())
            .iter()
            .any(|act| matches!(act, Act::Route(Weight::FULL)))
        {
            told.push((now, seen.status.message.clone().unwrap_or_default()));
        }
    }
    assert_eq!(
        seen.status.phase,
        Some(Phase::Initialized),
        "{told:#?} {:?}",
        seen.status.transfer
    );
}

#[test]
fn requests_that_never_arrived_before_either_undo_no_promotion() {
    let mut seen = promoting_at_half(Reading::Value(100.0), workload("b", "2"));
    let mut told = Vec::new();
    for now in 10..7200 {
        shed(&mut seen, now);
        let before = seen.status.outbox.seq;
        live(&mut seen, now, &spec());
        let new = seen
            .status
            .outbox
            .pending
            .iter()
            .filter(|notice| notice.seq > before);
        told.extend(new.map(|notice| (now, notice.message.clone())));
        if seen.status.phase.is_some_and(Phase::at_rest) {
            break;
        }
    }
    assert_eq!(seen.status.phase, Some(Phase::Succeeded), "{told:#?}");
}

/// The clock was an hour ahead when the first four callers were answered; then everybody is turned away.
#[test]
fn clock_that_was_set_back_hides_no_first_callers() {
    let mut seen = super::quarrel::at_rest();
    seen.status.phase = Some(Phase::Initialized);
    seen.status.first_calls = Some(FirstCallsStatus::since(at(-3600)));
    seen.routing_since = at(-3600);
    let denied = |seen: &mut Observed, now: i64, denied: f64| {
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        sample.at = at(now);
        sample.traffic.primary = Reading::Value(40.0);
        sample.traffic.canary = Reading::NoData;
        sample.seen.primary.arrived = Some(Counts {
            requests: if denied > 0.0 { denied } else { 4.0 },
            denied,
            ..Counts::default()
        });
        sample.seen.canary = Seen::default();
    };
    denied(&mut seen, 3610, 0.0);
    live(&mut seen, 3610, &spec());
    assert_eq!(seen.status.first_calls.as_ref().unwrap().answered, 4);
    // The clock is put right.
    seen.routing_since = at(20);
    for now in 20..600 {
        denied(&mut seen, now, 40.0);
        live(&mut seen, now, &spec());
        if seen.status.phase == Some(Phase::Initializing) {
            return;
        }
    }
    panic!("nobody sees that callers are turned away for ten minutes");
}

#[test]
fn first_callers_are_not_waited_for_where_reach_is_assumed() {
    let mut seen = super::quarrel::at_rest();
    seen.status.phase = Some(Phase::Initialized);
    seen.status.first_calls = Some(FirstCallsStatus::since(at(-3600)));
    let mut spec = spec();
    spec.reach_assumed = true;
    for now in 10..100 {
        live(&mut seen, now, &spec);
    }
    let mut conditions = seen.status.conditions.iter();
    let reached = conditions.find(|condition| condition.type_ == "Reached").unwrap();
    assert_eq!(reached.status, "True");
}

/// The promoted template has another label, and a policy keeps everybody from it. Before that shows, a newer revision is pushed, and
/// waits for a freeze.
#[test]
fn primary_that_nobody_reaches_has_a_name_though_a_newer_revision_waits() {
    let mut seen = promoting_at_half(Reading::Value(100.0), workload("b", "2"));
    measure(&mut seen, 10, 150.0, 150.0);
    live(&mut seen, 10, &spec());
    assert_eq!(seen.status.phase, Some(Phase::Finalising));
    seen.target = Some(workload("c", "3"));
    seen.freezing.frozen = Some("the shop is closed".to_owned());
    for now in 11..3600 {
        measure(&mut seen, now, 0.0, 0.0);
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        sample.seen.canary.called = tallied(0.0, 0.0);
        sample.seen.primary.arrived = tallied(0.0, 0.0);
        sample.seen.primary.called = tallied(300.0, 300.0);
        live(&mut seen, now, &spec());
    }
    let named = seen
        .status
        .all_holds()
        .iter()
        .any(|hold| hold.reason == HoldReason::NotReached);
    let mut conditions = seen.status.conditions.iter();
    let reached = conditions.find(|condition| condition.type_ == "Reached").unwrap();
    assert!(
        named,
        "{:?}, Reached {}, routes {:?}, {:?}",
        seen.status.phase,
        reached.status,
        seen.routes,
        seen.status.all_holds()
    );
}

/// I13: somebody's `advance` is allowed in every transfer.
#[test]
fn somebody_may_say_that_requests_arrive_where_they_are_taken_not_to() {
    let mut seen = setting_up(Reading::Value(300.0), Reading::NoData);
    carry_out(&mut seen, 10, &spec());
    for now in 11..120 {
        measure(&mut seen, now, 285.0, 0.0);
        live(&mut seen, now, &spec());
    }
    assert_eq!(
        seen.status.hold.as_ref().map(|hold| hold.reason),
        Some(HoldReason::NotReached)
    );
    seen.orders = order(Verb::Advance, "");
    live(&mut seen, 120, &spec());
    assert_eq!(seen.status.interventions[0].refused, None);
}

/// Promoted in the night, when nobody called; its pods have another label, and in the morning a policy keeps everybody from them.
#[test]
fn first_callers_after_an_idle_promotion_that_are_kept_away_have_a_name() {
    let mut seen = first_step(Reading::NoData);
    let mut skips = spec();
    skips.skip_analysis = true;
    seen.status.canary_weight = 0;
    seen.status.step = None;
    seen.status.last_transition_time = Some(at(5));
    seen.routes = at_weight(0);
    seen.sample
        .as_mut()
        .map(Arc::make_mut)
        .unwrap()
        .traffic
        .reached_at = None;
    for now in 10..1000 {
        measure(&mut seen, now, 0.0, 0.0);
        live(&mut seen, now, &skips);
    }
    assert_eq!(
        seen.status.phase,
        Some(Phase::Succeeded),
        "{:?}",
        seen.status.message
    );
    for now in 1000..4600 {
        measure(&mut seen, now, 0.0, 0.0);
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        sample.seen.primary.arrived = tallied(0.0, 0.0);
        sample.seen.primary.called = tallied(300.0, 300.0);
        live(&mut seen, now, &skips);
    }
    let mut conditions = seen.status.conditions.iter();
    let reached = conditions.find(|condition| condition.type_ == "Reached").unwrap();
    assert!(
        seen.status.hold.is_some() || reached.status != "True",
        "{:?}, Reached {}",
        seen.status.phase,
        reached.status
    );
}

/// Somebody says that requests arrive at pods of `a`, of which no metric tells; `b` is pushed at once, and its primary is kept away.
#[test]
fn word_about_pods_does_not_count_for_those_that_replace_them() {
    let mut seen = setting_up(Reading::NoData, Reading::NoData);
    seen.sample.as_mut().map(Arc::make_mut).unwrap().seen = Sides::default();
    for now in 10..200 {
        seen.sample.as_mut().map(Arc::make_mut).unwrap().at = at(now);
        live(&mut seen, now, &spec());
    }
    assert_eq!(
        seen.status.hold.as_ref().map(|hold| hold.reason),
        Some(HoldReason::ReachUnknown)
    );
    seen.orders = order(Verb::Advance, "a");
    live(&mut seen, 200, &spec());
    seen.orders.clear();
    assert!(seen.status.transfer.as_ref().unwrap().assumed);
    seen.target = Some(workload("b", "2"));
    for now in 201..600 {
        let target = f64::from(seen.routes.weight().unwrap().percent());
        measure(&mut seen, now, 3.0 * target, 0.0);
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        sample.seen.canary.called = tallied(3.0 * target, 0.0);
        sample.seen.primary.called = tallied(300.0 - 3.0 * target, 300.0 - 3.0 * target);
        let acts = live(&mut seen, now, &spec());
        let b = seen
            .primary
            .as_ref()
            .is_some_and(|primary| primary.revision == "b");
        assert!(!(b && acts.contains(&Act::ScaleTarget(0))), "at {now}: {acts:?}");
    }
}

/// advance is accepted while the primary is held for NotReached in a promotion.
#[test]
fn word_is_kept_in_a_promotion() {
    let mut seen = promoting_at_half(Reading::Value(100.0), workload("b", "2"));
    let mut log = Vec::new();
    let mut ordered = false;
    for now in 10..7200 {
        let w = f64::from(seen.routes.weight().unwrap().percent());
        // nothing that is sent to the primary is counted anywhere but by its callers' absence
        measure(&mut seen, now, 3.0 * w, 0.0);
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        sample.traffic.reached_at = if w > 0.0 {
            Some(at(now))
        } else {
            sample.traffic.reached_at
        };
        let held = seen
            .status
            .all_holds()
            .iter()
            .any(|h| h.reason == HoldReason::NotReached);
        if held && !ordered && seen.status.phase == Some(Phase::Promoting) {
            ordered = true;
            seen.orders = order(Verb::Advance, "b");
        }
        let before = (
            seen.status.phase,
            seen.status.transfer.as_ref().map(|t| (t.attempts, t.assumed)),
            seen.status.canary_weight,
        );
        live(&mut seen, now, &spec());
        let after = (
            seen.status.phase,
            seen.status.transfer.as_ref().map(|t| (t.attempts, t.assumed)),
            seen.status.canary_weight,
        );
        if before != after {
            log.push((now, after));
        }
        if seen.status.phase.is_some_and(Phase::at_rest) {
            break;
        }
    }
    assert_eq!(seen.status.phase, Some(Phase::Succeeded));
}
