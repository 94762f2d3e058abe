//! What somebody else undoes again and again, and who is led where by it.

use super::{failed_promotion::failed_on_the_canary, transfer::setting_up, *};
use crate::rollout::{Field, Repeat, repeated};

/// A robot undoes what was written to the routes each ten seconds; returns for how many of `seconds` callers are led elsewhere.
fn led_astray(mut seen: Observed, from: i64, seconds: i64, intended: i64, astray: i64) -> i64 {
    let mut known: BTreeMap<Field, Repeat> = BTreeMap::new();
    let mut lost = 0;
    for now in from..from + seconds {
        if now % 10 == 0 {
            seen.routes = at_weight(astray);
            seen.routing_since = at(now);
        }
        let (canary, primary) = if seen.routes == at_weight(intended) {
            (100.0, 0.0)
        } else {
            (0.0, 0.0)
        };
        measure(&mut seen, now, canary, primary);
        seen.repeats = known.values().cloned().collect();
        seen.told = seen.status.outbox.seq;
        for act in carry_out(&mut seen, now, &spec()) {
            if let Some(field) = act.field() {
                let next = repeated(known.get(&field), &act, at(now));
                known.insert(field, next);
            }
        }
        lost += i64::from(seen.routes != at_weight(intended));
    }
    lost
}

#[test]
fn robot_that_leads_callers_to_a_primary_without_pods_is_answered_soon() {
    let seen = failed_on_the_canary();
    let lost = led_astray(seen, 1000, 1800, 100, 0);
    assert!(lost < 900, "callers meet nobody for {lost} s of half an hour");
}

#[test]
fn robot_that_gives_all_to_a_release_that_is_judged_is_answered_soon() {
    let mut seen = first_step(Reading::NoData);
    seen.status.pause = Some(crate::api::Pause {
        by: "mia".to_owned(),
        reason: String::new(),
        since: at(0),
    });
    let lost = led_astray(seen, 20, 1800, 10, 100);
    assert!(
        lost < 900,
        "all callers are on an unjudged release for {lost} s of half an hour"
    );
}

/// A tool keeps the target at two pods, as its manifest says, while the primary is set up; then a fix is pushed.
#[test]
fn push_during_a_set_up_that_somebody_keeps_from_its_end_is_heard() {
    let mut seen = setting_up(Reading::Value(300.0), Reading::NoData);
    let mut known: BTreeMap<Field, Repeat> = BTreeMap::new();
    for now in 10..7200 {
        let weight = f64::from(seen.routes.weight().unwrap_or(Weight::FULL).percent());
        measure(&mut seen, now, 3.0 * weight, 300.0 - 3.0 * weight);
        seen.repeats = known.values().cloned().collect();
        for act in live(&mut seen, now, &spec()) {
            if let Some(field) = act.field() {
                let next = repeated(known.get(&field), &act, at(now));
                known.insert(field, next);
            }
        }
        // Pods take longer to go than the tool to bring them back.
        seen.target = Some(if now < 1000 {
            workload("a", "1")
        } else {
            workload("b", "2")
        });
        if seen.status.phase != Some(Phase::Initializing) {
            return;
        }
    }
    panic!("{:?} {:?}", seen.status.hold, seen.status.revision);
}

#[test]
fn promotion_ends_whatever_somebody_scales() {
    let mut seen = promoting_at_half(Reading::Value(100.0), workload("b", "2"));
    let mut known: BTreeMap<Field, Repeat> = BTreeMap::new();
    for now in 10..7200 {
        let weight = f64::from(seen.routes.weight().unwrap().percent());
        measure(&mut seen, now, weight, 100.0 - weight);
        seen.repeats = known.values().cloned().collect();
        for act in live(&mut seen, now, &spec()) {
            if let Some(field) = act.field() {
                let next = repeated(known.get(&field), &act, at(now));
                known.insert(field, next);
            }
        }
        // Pods take longer to go than the tool to bring them back.
        seen.target = Some(workload("b", "2"));
        if seen.status.phase.is_some_and(Phase::at_rest) {
            break;
        }
    }
    assert_eq!(
        seen.status.phase,
        Some(Phase::Succeeded),
        "{:?}",
        seen.status.hold
    );
}

/// The first step is due each round, and its route has to wait because somebody undoes it.
fn step_that_waits_for_a_quarrel() -> Observed {
    let mut seen = first_step(Reading::Value(100.0));
    seen.status.canary_weight = 0;
    seen.status.step = None;
    seen.status.last_transition_time = Some(at(5));
    seen.routes = at_weight(0);
    seen.repeats = vec![Repeat {
        act: Act::Route(Weight::saturating(10)),
        times: 20,
        last: at(9),
        repaired: Some(at(9)),
    }];
    seen
}

#[test]
fn step_that_waits_for_a_quarrel_costs_no_endless_writes() {
    let mut seen = step_that_waits_for_a_quarrel();
    let mut written = 0;
    for _ in 0..50 {
        written += records(&live(&mut seen, 10, &spec()));
    }
    assert!(written <= 2, "{written} writes: {:?}", seen.status.all_holds());
    assert_eq!(
        seen.status.hold.as_ref().map(|hold| hold.reason),
        Some(HoldReason::TargetConflict)
    );
}

/// A write that is refused is named in each round, and the route of the same round waits because somebody undoes it.
#[test]
fn refused_write_beside_a_quarrel_costs_no_endless_writes() {
    let mut seen = step_that_waits_for_a_quarrel();
    seen.refused = refused::refused(3);
    let mut written = 0;
    for _ in 0..50 {
        written += records(&live(&mut seen, 10, &spec()));
    }
    assert!(written <= 4, "{written} writes: {:?}", seen.status.all_holds());
    let reasons: Vec<HoldReason> = seen.status.all_holds().iter().map(|hold| hold.reason).collect();
    assert_eq!(reasons, [HoldReason::TargetConflict, HoldReason::WriteRefused]);
}

/// A newer revision, which waits for an approval, overtakes one whose weight somebody keeps changing; the primary is gone.
#[test]
fn overtaking_beside_a_quarrel_costs_no_endless_writes() {
    let mut spec = spec();
    spec.gates = vec![approval("confirm-rollout", crate::api::GatePoint::ConfirmRollout)];
    let mut seen = first_step(Reading::Value(100.0));
    seen.target = Some(workload("c", "3"));
    seen.primary = None;
    seen.routes = at_weight(0);
    seen.repeats = vec![Repeat {
        act: Act::Route(Weight::saturating(10)),
        times: 20,
        last: at(9),
        repaired: Some(at(9)),
    }];
    let mut written = 0;
    for second in 0..5 {
        for _ in 0..10 {
            written += records(&live(&mut seen, 10 + second, &spec));
        }
    }
    assert!(written <= 3, "{written} writes: {:?}", seen.status.all_holds());
}
