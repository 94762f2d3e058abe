//! Somebody else keeps changing what is written.

use super::*;
use crate::rollout::{Repeat, repeated};

/// At rest; a robot undoes the same write every ten seconds. Returns how often it was repeated within `seconds`.
fn repeated_within(
    seconds: i64,
    mut seen: Observed,
    drift: impl Fn(&mut Observed),
    act: &Act,
) -> (usize, Observed) {
    let mut known: Option<Repeat> = None;
    let mut count = 0;
    for now in 0..seconds {
        if now % 10 == 0 {
            drift(&mut seen);
        }
        seen.repeats = known.iter().cloned().collect();
        let decision = decide(&spec(), &seen, at(now));
        for done in &decision.acts {
            if let Act::Record(status) = done {
                seen.status = (**status).clone();
            }
        }
        if decision.acts.contains(act) {
            known = Some(repeated(known.as_ref(), act, at(now)));
            count += 1;
            seen.routes = at_weight(0);
            seen.apex.serves = Some(Serves::Primary);
        }
    }
    (count, seen)
}

/// The primary serves `a`, which the target has as well, without pods.
pub(super) fn at_rest() -> Observed {
    let mut seen = first_step(Reading::NoData);
    seen.status.phase = Some(Phase::Succeeded);
    seen.status.canary_weight = 0;
    seen.status.step = None;
    seen.status.revision.current = Some("a".to_owned());
    seen.status.revision.promoted = Some("a".to_owned());
    seen.routes = at_weight(0);
    seen.target = Some(without_pods("a", "2"));
    seen
}

#[test]
fn route_that_a_robot_rewrites_is_put_right_ten_times_and_then_once_a_minute() {
    let route = Act::Route(Weight::ZERO);
    let drift = |seen: &mut Observed| seen.routes = at_weight(30);
    let (count, _) = repeated_within(1800, at_rest(), drift, &route);
    assert_eq!(count, 180, "every ten seconds, for callers meet nobody there");
    let mut with_pods = at_rest();
    with_pods.target = Some(workload("a", "2"));
    let (count, seen) = repeated_within(1800, with_pods, drift, &route);
    assert!((35..=45).contains(&count), "{count} writes in half an hour");
    let hold = seen.status.hold.clone().unwrap();
    assert_eq!(hold.reason, HoldReason::TargetConflict);
    assert!(hold.message.contains("VirtualService shop"), "{}", hold.message);
}

#[test]
fn service_that_leads_to_nobody_is_put_right_without_end_and_gets_pods_behind_it() {
    let point = Act::PointApex(Serves::Primary);
    let drift = |seen: &mut Observed| {
        seen.apex.serves = Some(Serves::Target);
        seen.apex.endpoints = 0;
    };
    let (count, mut seen) = repeated_within(600, at_rest(), drift, &point);
    assert_eq!(count, 60, "every ten seconds");
    seen.repeats = vec![Repeat {
        act: point,
        times: 30,
        last: at(599),
        repaired: Some(at(599)),
    }];
    let decision = decide(&spec(), &seen, at(600));
    assert!(
        decision.acts.contains(&Act::ScaleTarget(2)),
        "{:?}",
        decision.acts
    );
}

/// A manifest of the Service that is applied during a release would send callers without a proxy to pods that were not judged.
#[test]
fn service_selects_the_primary_during_a_release_whatever_is_applied() {
    let mut seen = first_step(Reading::Value(100.0));
    seen.apex.serves = Some(Serves::Target);
    let acts = decide(&spec(), &seen, at(10)).acts;
    assert!(acts.contains(&Act::PointApex(Serves::Primary)), "{acts:?}");
    let mut bad = first_step(Reading::Value(50.0));
    bad.apex.serves = Some(Serves::Target);
    bad.status.failed_checks = spec().threshold - 1;
    let decision = decide(&spec(), &bad, at(10));
    let place = |wanted: Act| decision.acts.iter().position(|act| *act == wanted);
    let (routed, pointed) = (
        place(Act::Route(Weight::ZERO)),
        place(Act::PointApex(Serves::Primary)),
    );
    assert!(routed.is_some() && routed < pointed, "{:?}", decision.acts);
    assert!(
        decision.independent,
        "a refusal of it keeps no verdict from being recorded"
    );
    assert!(decision.verdict.is_some());
    seen.primary.as_mut().unwrap().available = 0;
    seen.primary.as_mut().unwrap().endpoints = 0;
    let acts = decide(&spec(), &seen, at(10)).acts;
    assert!(
        !acts.contains(&Act::PointApex(Serves::Primary)),
        "nobody serves there: {acts:?}"
    );
}

/// Somebody insists on another selector: a withdrawal ends all the same.
#[test]
fn quarrel_about_the_service_keeps_no_rollback_from_its_end() {
    let mut seen = first_step(Reading::Value(50.0));
    seen.status.failed_checks = spec().threshold - 1;
    for now in 10..60 {
        seen.apex.serves = Some(Serves::Target);
        seen.told = seen.status.outbox.seq;
        let routing_since = seen.routing_since;
        let acts = carry_out(&mut seen, now, &spec());
        if !acts.iter().any(|act| matches!(act, Act::Route(_))) {
            seen.routing_since = routing_since;
        }
    }
    assert_eq!(
        seen.status.phase,
        Some(Phase::Failed),
        "{:?}",
        seen.status.message
    );
}

#[test]
fn robot_that_undoes_every_weight_is_answered_no_sooner_at_the_next_one() {
    let weight = |percent| Act::Route(Weight::saturating(percent));
    let mut known = None;
    for now in 0..12 {
        known = Some(repeated(known.as_ref(), &weight(10), at(now)));
    }
    let known = repeated(known.as_ref(), &weight(20), at(60));
    assert_eq!((known.times, known.repaired), (11, Some(at(11))));
    // The next weight is written at once, and what is undone of it waits.
    let mut seen = first_step(Reading::Value(100.0));
    seen.status.canary_weight = 20;
    seen.routes = at_weight(0);
    seen.repeats = vec![known.clone()];
    let decision = decide(&spec(), &seen, at(62));
    assert!(!decision.acts.contains(&weight(20)), "{:?}", decision.acts);
    let decision = decide(&spec(), &seen, at(121));
    assert!(decision.acts.contains(&weight(20)), "{:?}", decision.acts);
    let step = recorded(&decision.acts[0]).step.clone().unwrap();
    assert_eq!(
        step.started_at,
        at(121),
        "what follows is evidence of a whole interval"
    );
    // Ten minutes after the last repair it is over, whatever was written since.
    assert_eq!(repeated(Some(&known), &weight(30), at(612)).times, 0);
}

#[test]
fn routes_of_ours_that_a_robot_replaces_cost_no_write_each_round() {
    let mut seen = first_step(Reading::Value(100.0));
    seen.status.canary_weight = 10;
    seen.routes = Routes::Missing;
    seen.repeats = vec![Repeat {
        act: Act::ApplyRoutes(Weight::saturating(10)),
        times: 12,
        last: at(0),
        repaired: Some(at(0)),
    }];
    let first = carry_out(&mut seen, 5, &spec());
    assert!(first.iter().all(|act| matches!(act, Act::Record(_))), "{first:?}");
    for now in 6..9 {
        seen.told = seen.status.outbox.seq;
        assert_eq!(carry_out(&mut seen, now, &spec()), [], "at {now}");
    }
}

/// The last phase of a promotion: both run what was analysed.
#[test]
fn callers_may_meet_on_the_target_what_the_primary_runs_by_now() {
    let mut seen = at_rest();
    seen.status.phase = Some(Phase::Finalising);
    seen.status.revision.current = Some("b".to_owned());
    (seen.target, seen.primary) = (Some(workload("b", "2")), Some(workload("b", "2")));
    seen.apex.serves = Some(Serves::Target);
    let act = Act::PointApex(Serves::Primary);
    seen.repeats = vec![Repeat {
        act: act.clone(),
        times: 20,
        last: at(90),
        repaired: Some(at(90)),
    }];
    let mut writes = 0;
    for now in 91..151 {
        seen.apex.serves = Some(Serves::Target);
        writes += usize::from(live(&mut seen, now, &spec()).contains(&act));
        if writes > 0 {
            break;
        }
    }
    assert_eq!(writes, 1, "none for a minute, and then one");
    assert!(seen.routing_since >= at(150), "{}", seen.routing_since);
}

#[test]
fn callers_do_not_stay_on_a_rejected_template_however_often_a_robot_leads_them_there() {
    let rejected = || {
        let mut seen = at_rest();
        seen.status.phase = Some(Phase::Failed);
        seen.status.revision.current = Some("b".to_owned());
        seen.target = Some(workload("b", "2"));
        seen
    };
    let drift = |seen: &mut Observed| seen.routes = at_weight(30);
    let (count, _) = repeated_within(600, rejected(), drift, &Act::Route(Weight::ZERO));
    assert_eq!(count, 60, "every ten seconds");
    let drift = |seen: &mut Observed| seen.apex.serves = Some(Serves::Target);
    let (count, _) = repeated_within(600, rejected(), drift, &Act::PointApex(Serves::Primary));
    assert_eq!(count, 60, "every ten seconds");
}

#[test]
fn promotion_does_not_wait_for_a_child_that_somebody_keeps_changing() {
    let mut seen = at_rest();
    seen.status.phase = Some(Phase::Finalising);
    seen.status.last_transition_time = Some(at(0));
    seen.status.revision.promoted = Some("z".to_owned());
    seen.drifted = vec![Child::CanaryRule];
    for now in 10..20 {
        seen.repeats = vec![Repeat {
            act: Act::Apply(Child::CanaryRule),
            times: 20,
            last: at(now),
            repaired: Some(at(now)),
        }];
        seen.told = seen.status.outbox.seq;
        carry_out(&mut seen, now, &spec());
    }
    assert_eq!(seen.status.phase, Some(Phase::Succeeded));
}
