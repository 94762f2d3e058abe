//! Two rare things at once: what becomes of a release, of callers, of orders and of holds.

use super::{
    failed_promotion::{failed_on_the_canary, unreached, unreached_and_failed},
    *,
};
use crate::{
    api::{GatePoint, Pause},
    rollout::{GateSpec, Opens, Repeat, analysis_is_skipped},
};

fn ordered(id: &str, verb: Verb, revision: &str) -> Vec<Order> {
    let mut orders = order(verb, revision);
    orders[0].id = id.to_owned();
    orders
}

fn pods(workload: Workload, n: i32) -> Workload {
    Workload {
        desired: n,
        total: n,
        updated: n,
        available: n,
        endpoints: n,
        floor: n,
        ..workload
    }
}

fn news(seen: &Observed, before: i64) -> Vec<String> {
    let pending = seen.status.outbox.pending.iter();
    pending
        .filter(|notice| notice.seq > before)
        .map(|notice| notice.reason.clone())
        .collect()
}

/// The primary is deleted at weight 10; whoever is on call sets the template back (`kubectl rollout undo`).
#[test]
fn template_set_back_while_the_primary_is_gone_brings_it_back() {
    let mut seen = first_step(Reading::Value(100.0));
    seen.primary = None;
    seen.target = Some(workload("a", "3"));
    let mut made = None;
    for now in 10..7200 {
        measure(&mut seen, now, 30.0, 0.0);
        let acts = live(&mut seen, now, &spec());
        if acts.iter().any(|act| matches!(act, Act::Promote { .. })) {
            made.get_or_insert(now);
        }
    }
    assert!(
        made.is_some(),
        "after two hours {:?} {:?} {:?} {:?}",
        seen.routes,
        seen.status.phase,
        seen.status.retirement,
        seen.status.all_holds()
    );
}

/// The same after a verdict: the release is bad, and the primary is gone.
#[test]
fn template_set_back_after_a_verdict_without_a_primary_brings_it_back() {
    let mut seen = first_step(Reading::Value(50.0));
    seen.primary = None;
    let mut made = None;
    for now in 10..7200 {
        if now == 100 {
            seen.target = Some(workload("a", "3"));
        }
        measure(&mut seen, now, 30.0, 0.0);
        let acts = live(&mut seen, now, &spec());
        if acts.iter().any(|act| matches!(act, Act::Promote { .. })) {
            made.get_or_insert(now);
        }
    }
    assert!(
        made.is_some(),
        "after two hours {:?} {:?} {:?} {:?}",
        seen.routes,
        seen.status.phase,
        seen.status.retirement,
        seen.status.all_holds()
    );
}

/// The primary has `b`, and no request reaches it: known, and the canary serves. Then `c` is pushed.
#[test]
fn push_promotes_nothing_that_is_known_not_to_be_reached() {
    let mut seen = promoting_at_half(Reading::Value(100.0), workload("b", "2"));
    let (mut told, mut lost, mut pushed) = (Vec::new(), 0, None);
    for now in 10..3600 {
        unreached(&mut seen, now);
        let before = seen.status.outbox.seq;
        live(&mut seen, now, &spec());
        told.extend(news(&seen, before).into_iter().map(|reason| (now, reason)));
        let known = seen
            .status
            .transfer
            .as_ref()
            .is_some_and(|known| known.attempts > 0);
        if pushed.is_none() && known && seen.routes == at_weight(100) {
            pushed = Some(now);
            seen.target = Some(workload("c", "3"));
        }
        if pushed.is_some_and(|at| now > at) {
            lost += 100 - i64::from(seen.routes.weight().unwrap().percent());
        }
    }
    assert!(pushed.is_some());
    let lost = lost / 100;
    assert!(
        !told.iter().any(|(_, reason)| reason == "Promoted"),
        "pushed at {pushed:?}, all callers lost for {lost} s of an hour: {told:?} {:?}",
        seen.status.all_holds()
    );
}

/// `b` is promoted, and the wait for its requests has a hold; somebody's order names another revision.
#[test]
fn advance_of_another_revision_ends_no_promotion() {
    let mut seen = promoting_at_half(Reading::Value(100.0), workload("b", "2"));
    measure(&mut seen, 10, 150.0, 150.0);
    live(&mut seen, 10, &spec());
    assert_eq!(seen.status.phase, Some(Phase::Finalising));
    for now in 11..200 {
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        sample.at = at(now);
        sample.traffic.canary = Reading::Error("down".to_owned());
        sample.traffic.primary = Reading::Error("down".to_owned());
        live(&mut seen, now, &spec());
    }
    assert!(seen.status.hold.is_some());
    seen.orders = ordered("9", Verb::Advance, "x");
    let mut scaled = false;
    for now in 200..260 {
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        sample.at = at(now);
        scaled |= live(&mut seen, now, &spec()).contains(&Act::ScaleTarget(0));
    }
    let refused = seen.status.interventions[0].refused.clone();
    assert!(
        refused.is_some() && !scaled,
        "refused: {refused:?}, canary scaled away: {scaled}, {:?}",
        seen.status.phase
    );
}

/// The same while the canary serves after a failed promotion.
#[test]
fn advance_of_another_revision_promotes_nothing_after_a_failed_promotion() {
    let (mut seen, from) = unreached_and_failed();
    for now in from + 1..from + 20 {
        unreached(&mut seen, now);
        live(&mut seen, now, &spec());
    }
    seen.orders = ordered("9", Verb::Advance, "x");
    for now in from + 20..from + 100 {
        unreached(&mut seen, now);
        live(&mut seen, now, &spec());
    }
    assert_eq!(
        (seen.status.phase, seen.status.canary_weight),
        (Some(Phase::Failed), 100),
        "{:?}",
        seen.status.interventions
    );
}

/// Its analysis is skipped, and it waits for the last gate; what is measured changes each two seconds.
#[test]
fn skipped_release_that_waits_at_its_last_gate_writes_its_values_once_a_minute() {
    let mut spec = spec();
    spec.skip_analysis = true;
    spec.gates = vec![GateSpec {
        name: "end".to_owned(),
        at: GatePoint::ConfirmPromotion,
        opens: Opens::Approval {
            not_by_requester: false,
        },
        timeout: None,
    }];
    let mut seen = first_step(Reading::Value(100.0));
    let mut written = 0;
    for now in (10..310).step_by(2) {
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        sample.at = at(now);
        let value = 99.0 + (now % 7) as f64 / 10.0;
        sample.readings = [("request-success-rate".to_owned(), Reading::Value(value))].into();
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
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        sample.at = at(now);
        sample.traffic.canary = Reading::Value(300.0);
        sample.traffic.primary = Reading::NoData;
        sample.seen.primary.pods = Reading::Value(0.0);
        let value = 99.0 + (now % 7) as f64 / 10.0;
        sample.readings = [("request-success-rate".to_owned(), Reading::Value(value))].into();
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

/// The clock was an hour ahead when somebody skipped the analysis of `b` and called it off; it is put right, and `b` is retried.
#[test]
fn skip_of_an_earlier_release_skips_nothing_after_the_clock_was_set_back() {
    let mut seen = first_step(Reading::NoData);
    seen.orders = ordered("1", Verb::SkipAnalysis, "b");
    seen.status.pause = None;
    live(&mut seen, 3600, &spec());
    seen.orders = ordered("2", Verb::Abort, "b");
    live(&mut seen, 3601, &spec());
    seen.orders = vec![];
    for now in 3602..3640 {
        measure(&mut seen, now, 0.0, 900.0);
        live(&mut seen, now, &spec());
    }
    assert_eq!(seen.status.phase, Some(Phase::Failed));
    assert_eq!(seen.target.as_ref().unwrap().desired, 0);
    seen.routing_since = at(30);
    seen.sampled_since = at(30);
    seen.template_since = at(30);
    measure(&mut seen, 40, 0.0, 900.0);
    live(&mut seen, 40, &spec());
    seen.orders = ordered("3", Verb::Retry, "b");
    live(&mut seen, 41, &spec());
    assert_eq!(seen.status.phase, Some(Phase::Progressing));
    seen.orders = vec![];
    let mut promoted = false;
    for now in 42..60 {
        measure(&mut seen, now, 0.0, 900.0);
        let acts = live(&mut seen, now, &spec());
        promoted |= acts.iter().any(|act| matches!(act, Act::Promote { .. }));
    }
    assert!(
        !promoted && !analysis_is_skipped(&spec(), &seen.status),
        "promoted without analysis: {promoted}, {:?}",
        seen.status.interventions
    );
}

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

/// A tool keeps writing the primary's old manifest over the template that it is given.
#[test]
fn promotion_that_waits_for_a_quarrel_costs_no_endless_writes() {
    let mut seen = promoting_at_half(Reading::NoData, pods(workload("a", "1"), 2));
    seen.target = Some(pods(workload("b", "2"), 2));
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

/// A tool scaled the canary to one pod; the primary has ten.
#[test]
fn advance_sends_no_half_of_the_traffic_of_ten_pods_to_one() {
    let mut seen = first_step(Reading::Value(100.0));
    seen.primary = Some(pods(workload("a", "1"), 10));
    seen.target = Some(pods(workload("b", "2"), 1));
    seen.orders = order(Verb::Advance, "b");
    live(&mut seen, 3, &spec());
    assert_eq!(
        seen.routes,
        at_weight(10),
        "one pod gets the traffic of five: {:?}",
        seen.status.interventions
    );
}

/// The canary serves everything after a failed promotion, and a tool applies `replicas: 0` to the target.
#[test]
fn target_that_serves_alone_gets_its_pods_back() {
    let mut seen = failed_on_the_canary();
    seen.target = Some(without_pods("b", "2"));
    let mut acts = Vec::new();
    for now in 1000..4600 {
        measure(&mut seen, now, 0.0, 0.0);
        acts.extend(live(&mut seen, now, &spec()));
    }
    assert!(
        acts.iter()
            .any(|act| matches!(act, Act::ScaleTarget(n) if *n > 0)),
        "nobody serves for an hour: {:?} {:?}",
        seen.routes,
        seen.status.all_holds()
    );
}

/// The source is behind for both sides: it reads no pod of either, and good values of before go on.
#[test]
fn source_that_is_behind_rolls_no_release_back() {
    let mut seen = first_step(Reading::Value(100.0));
    let mut told = Vec::new();
    for now in 10..3600 {
        let w = f64::from(seen.routes.weight().unwrap().percent());
        measure(&mut seen, now, 3.0 * w, 300.0 - 3.0 * w);
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        sample.seen.canary.pods = Reading::Value(0.0);
        sample.seen.primary.pods = Reading::Value(0.0);
        let before = seen.status.outbox.seq;
        live(&mut seen, now, &spec());
        told.extend(news(&seen, before).into_iter().map(|reason| (now, reason)));
    }
    assert!(!told.iter().any(|(_, reason)| reason == "RolledBack"), "{told:?}");
}

/// `b` has all of its traffic on the primary, `c` was pushed, and the primary's pods die.
#[test]
fn unreleased_template_that_gets_callers_has_a_hold() {
    let mut seen = promoting_at_half(Reading::Value(100.0), workload("b", "2"));
    measure(&mut seen, 10, 150.0, 150.0);
    live(&mut seen, 10, &spec());
    assert_eq!(seen.status.phase, Some(Phase::Finalising));
    seen.target = Some(workload("c", "3"));
    let dead = Workload {
        available: 0,
        endpoints: 0,
        ..workload("b", "2")
    };
    seen.primary = Some(dead.clone());
    let mut silent = 0;
    for now in 11..100 {
        measure(&mut seen, now, 300.0, 0.0);
        live(&mut seen, now, &spec());
        seen.primary = Some(dead.clone());
        silent += i64::from(seen.routes != at_weight(0) && seen.status.all_holds().is_empty());
    }
    assert!(
        silent < 5,
        "callers are on `c` for {silent} s, and nothing says so: {:?} {:?}",
        seen.status.phase,
        seen.status.message
    );
}

/// The canary serves after a failed promotion: what orders are told about each other.
#[test]
fn refused_order_names_no_other_that_is_refused() {
    let mut seen = failed_on_the_canary();
    seen.status.revision.previous = Some("z".to_owned());
    let mut said = Vec::new();
    for (id, verb, revision) in [
        ("u", Verb::Undo, "a"),
        ("r", Verb::Retry, "b"),
        ("x", Verb::Abort, "b"),
    ] {
        seen.orders = ordered(id, verb, revision);
        live(&mut seen, 1000, &spec());
        let last = seen.status.interventions.last().unwrap();
        said.push(last.refused.clone().unwrap_or_default());
    }
    assert!(
        !(said[0].contains("abort it first") && said[2].contains("no release is under way")),
        "{said:?}"
    );
}

/// Somebody edits the primary in an outage, which makes it worse, and orders the undo.
#[test]
fn undo_of_an_edited_primary_is_carried_out_or_refused() {
    let mut seen = super::quarrel::at_rest();
    seen.status.revision.promoted = Some("b".to_owned());
    seen.status.revision.current = Some("b".to_owned());
    seen.status.revision.previous = Some("a".to_owned());
    seen.target = Some(without_pods("b", "2"));
    seen.primary = Some(Workload {
        edited_by: Some("mia".to_owned()),
        ..workload("b", "1")
    });
    seen.orders = order(Verb::Undo, "b");
    let mut restored = false;
    for now in 10..700 {
        measure(&mut seen, now, 0.0, 100.0);
        let acts = live(&mut seen, now, &spec());
        restored |= acts.iter().any(|act| matches!(act, Act::Restore { .. }));
    }
    let refused = seen.status.interventions[0].refused.is_some();
    assert!(
        restored || refused,
        "accepted, and never done: promoted {:?}, {:?} {:?}",
        seen.status.revision.promoted,
        seen.status.message,
        seen.status.all_holds()
    );
}

/// The workload is deleted (or not there yet), the primary serves a bad revision, and somebody orders the undo.
#[test]
fn undo_without_the_workload_is_carried_out_or_refused() {
    let mut seen = super::quarrel::at_rest();
    seen.status.revision.promoted = Some("b".to_owned());
    seen.status.revision.current = Some("b".to_owned());
    seen.status.revision.previous = Some("a".to_owned());
    seen.target = None;
    seen.primary = Some(workload("b", "1"));
    seen.orders = order(Verb::Undo, "b");
    let mut restored = false;
    for now in 10..700 {
        measure(&mut seen, now, 0.0, 100.0);
        let acts = live(&mut seen, now, &spec());
        restored |= acts.iter().any(|act| matches!(act, Act::Restore { .. }));
    }
    let refused = seen.status.interventions[0].refused.is_some();
    assert!(
        restored || refused,
        "accepted, and never done: promoted {:?}, {:?} {:?}",
        seen.status.revision.promoted,
        seen.status.message,
        seen.status.all_holds()
    );
}

/// Nobody reaches the primary, the fix `c` is bad; then the policy is mended, and somebody says so.
#[test]
fn somebody_may_say_that_requests_arrive_after_the_fix_was_rolled_back() {
    let (mut seen, from) = unreached_and_failed();
    seen.target = Some(workload("c", "5"));
    let mut accepted = Vec::new();
    for now in from + 1..from + 7200 {
        if now < from + 2000 {
            unreached(&mut seen, now);
            let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
            sample.readings = [("request-success-rate".to_owned(), Reading::Value(50.0))].into();
        } else {
            let w = f64::from(seen.routes.weight().unwrap().percent());
            measure(&mut seen, now, 3.0 * w, 3.0 * (100.0 - w));
            let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
            sample.seen.primary.called = tallied(3.0 * (100.0 - w), 0.0);
            sample.seen.primary.arrived = tallied(3.0 * (100.0 - w), 0.0);
        }
        if now == from + 3000 {
            accepted.push((seen.status.phase, seen.status.retirement.clone()));
            seen.orders = ordered("7", Verb::Advance, "c");
        }
        if now == from + 3100 {
            seen.orders = ordered("8", Verb::Abort, "c");
        }
        live(&mut seen, now, &spec());
    }
    assert_eq!(
        seen.routes,
        at_weight(0),
        "a bad release has all of the traffic after hours: {accepted:?} {:?} {:?}",
        seen.status.interventions,
        seen.status.all_holds()
    );
}

/// The first callers were turned away at the primary, so the target has the service again; then `c` is pushed.
#[test]
fn template_pushed_while_the_target_has_the_service_again_passes_no_gate() {
    let mut seen = super::quarrel::at_rest();
    seen.status.phase = Some(Phase::Initializing);
    seen.status.first_calls = Some(crate::api::FirstCallsStatus::since(at(-3600)));
    seen.status.transfer = Some(crate::api::TransferStatus {
        old_share: 100,
        since: at(0),
        rate: Some(100.0),
        attempts: 1,
        reached: false,
        confirmed: false,
        refused: Some(0.0),
        lost: Some(0.0),
        intermittent: false,
        assumed: false,
        missed: true,
        perhaps_missed: false,
        forced: false,
    });
    seen.routes = at_weight(100);
    seen.apex.serves = Some(Serves::Target);
    seen.primary = Some(workload("a", "1"));
    seen.target = Some(workload("c", "3"));
    let mut spec = spec();
    spec.gates = vec![GateSpec {
        name: "begin".to_owned(),
        at: GatePoint::ConfirmRollout,
        opens: Opens::Approval {
            not_by_requester: false,
        },
        timeout: None,
    }];
    let (mut past_the_gate, mut texts) = (0, Vec::new());
    for now in 10..600 {
        let w = f64::from(seen.routes.weight().unwrap().percent());
        measure(&mut seen, now, 3.0 * w, 3.0 * (100.0 - w));
        let before = seen.status.outbox.seq;
        live(&mut seen, now, &spec);
        let told = seen
            .status
            .outbox
            .pending
            .iter()
            .filter(|notice| notice.seq > before);
        texts.extend(told.map(|notice| (now, notice.message.clone())));
        let runs = seen.primary.as_ref().map(|primary| primary.revision.clone());
        let set_up = seen.status.phase == Some(Phase::Initializing);
        past_the_gate += i64::from(!set_up && runs != seen.status.revision.promoted);
    }
    assert_eq!(
        past_the_gate,
        0,
        "callers are on the primary's {:?}, promoted {:?}, {:?} {:?} {:?}: {texts:?}",
        seen.primary.as_ref().map(|primary| &primary.revision),
        seen.status.revision.promoted,
        seen.routes,
        seen.status.phase,
        seen.status.all_holds()
    );
}

/// The release has everything, an autoscaler took the idle primary to zero, and then the release turns bad.
#[test]
fn bad_release_does_not_keep_callers_because_an_autoscaler_took_the_idle_primary_to_zero() {
    let mut spec = spec();
    spec.steps = Steps::new(vec![Weight::saturating(10), Weight::FULL]).unwrap();
    let mut seen = first_step(Reading::Value(100.0));
    seen.status.canary_weight = 100;
    seen.status.primary_replicas = Some(2);
    seen.status.step.as_mut().unwrap().index = 1;
    seen.routes = at_weight(100);
    seen.primary = Some(without_pods("a", "1"));
    let mut scaled = None;
    for now in 10..7200 {
        measure(&mut seen, now, 300.0, 0.0);
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        let value = if now > 100 { 50.0 } else { 100.0 };
        sample.readings = [("request-success-rate".to_owned(), Reading::Value(value))].into();
        let acts = live(&mut seen, now, &spec);
        if acts
            .iter()
            .any(|act| matches!(act, Act::ScalePrimary(n) if *n > 0))
        {
            scaled.get_or_insert(now);
        }
    }
    assert!(
        scaled.is_some(),
        "two hours later {:?} {:?} {:?}",
        seen.routes,
        seen.status.retirement,
        seen.status.all_holds()
    );
}
