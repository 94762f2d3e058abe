//! Statuses that the version before wrote, in every phase of a rollout: it goes on, and comes to the same end.

use serde_json::{Value, json};

use super::*;

/// Revision `b` is released while `a` is promoted, as recorded by the version before: without the fields of this one.
fn recorded_before(phase: &str, change: impl FnOnce(&mut Value)) -> Observed {
    let mut status = json!({
        "phase": phase, "canaryWeight": 10, "failedChecks": 0, "lastTransitionTime": at(-20), "observedGeneration": 1,
        "revision": {"current": "b", "promoted": "a", "mark": "2", "startedAt": at(-20)},
        "step": {"index": 0, "startedAt": at(0), "trafficSince": at(0), "retreats": 0},
        "epoch": "0/test", "outbox": {"seq": 3},
    });
    change(&mut status);
    let mut seen = first_step(Reading::Value(100.0));
    seen.status = serde_json::from_value(status).unwrap();
    seen.routes = at_weight(i64::from(seen.status.canary_weight));
    seen
}

fn last_status(decision: &crate::rollout::Decision) -> CanaryStatus {
    let status = decision.acts.iter().rev().find_map(|act| match act {
        Act::Record(status) => Some((**status).clone()),
        _ => None,
    });
    status.unwrap()
}

#[test]
fn step_is_passed_and_judged_on() {
    let good = decide(&spec(), &recorded_before("Progressing", |_| {}), at(10));
    assert_eq!(last_status(&good).canary_weight, 50);
    let mut bad = recorded_before("Progressing", |_| {});
    bad.sample = first_step(Reading::Value(50.0)).sample;
    let decision = decide(&spec(), &bad, at(10));
    assert_eq!(decision.acts[0], Act::Route(Weight::ZERO));
    assert_eq!(
        last_status(&decision).retirement.map(|r| r.kind),
        Some(RetirementKind::RollBack)
    );
}

#[test]
fn retreat_that_stood_in_the_hold_is_one() {
    let retreated = |resumes: bool| {
        recorded_before("Progressing", |status| {
            status["canaryWeight"] = json!(0);
            status["step"]["retreats"] = json!(1);
            status["hold"] = json!({"reason": "Dark", "since": at(0), "message": "gone", "retreated": true, "resumes": resumes});
        })
    };
    let early = decide(&spec(), &retreated(true), at(5));
    assert!(
        !early.acts.contains(&Act::Route(Weight::saturating(10))),
        "the pause is not over"
    );
    let later = decide(&spec(), &retreated(true), at(11));
    assert_eq!(last_status(&later).canary_weight, 10, "it is tried again");
    let over = decide(&spec(), &retreated(false), at(101));
    assert!(
        last_status(&over).retirement.is_some(),
        "it does not come back by itself"
    );
}

#[test]
fn promotion_goes_on_and_ends() {
    let mut promoting = recorded_before("Promoting", |_| {});
    promoting.primary = Some(workload("b", "1"));
    let returned = decide(&spec(), &promoting, at(10));
    assert_eq!(last_status(&returned).phase, Some(Phase::Finalising));
    let mut finalising = recorded_before("Finalising", |status| status["canaryWeight"] = json!(0));
    finalising.primary = Some(workload("b", "1"));
    finalising.routing_since = at(-100);
    if let Some(sample) = finalising.sample.as_mut().map(Arc::make_mut) {
        sample.traffic.canary = Reading::Value(0.0);
    }
    let scaled = decide(&spec(), &finalising, at(10));
    assert!(scaled.acts.contains(&Act::ScaleTarget(0)), "{:?}", scaled.acts);
}

#[test]
fn withdrawal_and_undo_go_on() {
    for (kind, phase, primary) in [
        ("RollBack", "Progressing", "a"),
        ("UndoOnPrimary", "Promoting", "b"),
    ] {
        let mut seen = recorded_before(phase, |status| {
            status["retirement"] = json!({"kind": kind, "since": at(0), "message": "bad"});
        });
        seen.primary = Some(workload(primary, "1"));
        let decision = decide(&spec(), &seen, at(10));
        assert_eq!(
            decision.acts.iter().find(|act| matches!(act, Act::Route(_))),
            Some(&Act::Route(Weight::ZERO))
        );
    }
}

#[test]
fn set_up_that_was_under_way_goes_on_by_shares() {
    let mut seen = recorded_before("Initializing", |status| {
        status["canaryWeight"] = json!(100);
        status["revision"] = json!({});
        status["step"] = Value::Null;
    });
    seen.target = Some(workload("a", "1"));
    let decision = decide(&spec(), &seen, at(10));
    let status = last_status(&decision);
    assert_eq!(
        (status.canary_weight, status.transfer.map(|t| t.old_share)),
        (0, Some(95))
    );
}
