//! What somebody orders.

use super::*;

/// At rest after revision `b` failed; `a` is promoted.
fn at_rest() -> Observed {
    let mut seen = first_step(Reading::NoData);
    seen.status.phase = Some(Phase::Failed);
    seen.status.canary_weight = 0;
    seen.status.step = None;
    seen.routes = at_weight(0);
    let mut target = workload("b", "2");
    (
        target.desired,
        target.total,
        target.updated,
        target.available,
        target.endpoints,
    ) = (0, 0, 0, 0, 0);
    seen.target = Some(target);
    seen
}

#[test]
fn order_that_names_another_revision_changes_nothing_and_is_answered() {
    for verb in [Verb::Abort, Verb::Pause, Verb::Advance, Verb::SkipAnalysis] {
        let mut seen = first_step(Reading::NoData);
        seen.orders = order(verb, "a");
        let decision = decide(&spec(), &seen, at(3));
        assert_eq!(decision.acts.len(), 1, "{:?}", decision.acts);
        let status = recorded(&decision.acts[0]);
        assert!(status.interventions[0].refused.is_some(), "{verb:?}");
        assert_eq!(
            (status.canary_weight, &status.retirement, &status.pause),
            (10, &None, &None)
        );
    }
}

#[test]
fn order_is_heeded_once() {
    let mut seen = first_step(Reading::Value(100.0));
    seen.orders = order(Verb::Advance, "b");
    let decision = decide(&spec(), &seen, at(3));
    let status = recorded(&decision.acts[0]);
    assert_eq!((status.canary_weight, status.interventions.len()), (50, 1));
    assert_eq!(decision.acts[1], Act::Route(Weight::saturating(50)));
    seen.status = status.clone();
    seen.routes = at_weight(50);
    let again = decide(&spec(), &seen, at(4));
    assert_eq!(again.acts, []);
}

#[test]
fn abort_takes_the_traffic_back_before_it_is_recorded_and_ends_as_aborted() {
    let mut seen = first_step(Reading::Value(100.0));
    seen.orders = order(Verb::Abort, "b");
    let decision = decide(&spec(), &seen, at(3));
    assert_eq!(decision.acts[0], Act::Route(Weight::ZERO));
    let status = recorded(&decision.acts[1]);
    assert_eq!(
        status.retirement.as_ref().map(|r| r.kind),
        Some(RetirementKind::Cancel)
    );
    assert!(
        status
            .message
            .as_ref()
            .is_some_and(|m| m.contains("mia") && m.contains("it is late"))
    );

    let mut gone = at_rest();
    gone.status.phase = Some(Phase::Progressing);
    gone.status.retirement.clone_from(&status.retirement);
    let ended = decide(&spec(), &gone, at(60));
    let status = recorded(ended.acts.last().unwrap());
    assert_eq!(status.phase, Some(Phase::Failed));
    assert_eq!(status.history[0].outcome, crate::api::Outcome::Aborted);
    assert_eq!(
        status.revision.current.as_deref(),
        Some("b"),
        "the workload keeps it; it is not released again"
    );
}

#[test]
fn paused_release_takes_no_step_and_is_still_rolled_back_if_it_is_bad() {
    let mut seen = first_step(Reading::Value(100.0));
    seen.orders = order(Verb::Pause, "b");
    let paused = decide(&spec(), &seen, at(3));
    seen.status = recorded(&paused.acts[0]).clone();
    let held = decide(&spec(), &seen, at(10));
    let status = recorded(&held.acts[0]);
    assert_eq!(status.hold.as_ref().map(|h| h.reason), Some(HoldReason::Paused));
    assert_eq!(status.canary_weight, 10);

    let mut bad = first_step(Reading::Value(90.0));
    bad.status = seen.status.clone();
    let decision = decide(&spec(), &bad, at(10));
    assert_eq!(decision.acts[0], Act::Route(Weight::ZERO));

    seen.orders = order(Verb::Resume, "b");
    seen.orders[0].id = "2".to_owned();
    let resumed = decide(&spec(), &seen, at(10));
    seen.status = recorded(&resumed.acts[0]).clone();
    let goes_on = decide(&spec(), &seen, at(10));
    assert_eq!(recorded(&goes_on.acts[0]).canary_weight, 50);
}

#[test]
fn skipping_the_analysis_promotes_at_once() {
    let mut seen = first_step(Reading::NoData);
    seen.orders = order(Verb::SkipAnalysis, "b");
    let ordered = decide(&spec(), &seen, at(3));
    seen.status = recorded(&ordered.acts[0]).clone();
    let decision = decide(&spec(), &seen, at(3));
    assert_eq!(recorded(&decision.acts[0]).phase, Some(Phase::Promoting));
}

#[test]
fn undo_makes_the_revision_before_the_promoted_one_and_the_primary_follows() {
    let mut seen = at_rest();
    seen.status.phase = Some(Phase::Succeeded);
    seen.status.revision.promoted = Some("b".to_owned());
    seen.status.revision.previous = Some("a".to_owned());
    let images = [("a", "shop:a"), ("older", "shop:older")];
    seen.status.revision.images = images
        .map(|(revision, image)| (revision.to_owned(), image.to_owned()))
        .into();
    seen.primary = Some(workload("b", "9"));
    seen.orders = order(Verb::Undo, "b");
    let ordered = decide(&spec(), &seen, at(3));
    seen.status = recorded(&ordered.acts[0]).clone();
    let told = seen.status.outbox.pending.last().unwrap();
    assert_eq!(told.reason, "Undone");
    let image = told
        .situation
        .as_ref()
        .and_then(|situation| situation.image.as_deref());
    assert_eq!(image, Some("shop:a"), "which no object has any more");
    let images: Vec<&String> = seen.status.revision.images.keys().collect();
    assert_eq!(images, ["a", "b"], "of the revisions in play");
    assert_eq!(
        (seen.status.phase, seen.status.revision.promoted.as_deref()),
        (Some(Phase::Failed), Some("a"))
    );
    let decision = decide(&spec(), &seen, at(4));
    let restore = Act::Restore {
        revision: "a".to_owned(),
    };
    assert!(decision.acts.contains(&restore), "{:?}", decision.acts);
    seen.primary = Some(workload("a", "10"));
    assert_eq!(
        decide(&spec(), &seen, at(5)).acts,
        [],
        "the undone revision is not released again by itself"
    );
}

#[test]
fn retry_releases_the_failed_revision_once_more() {
    let mut seen = at_rest();
    seen.orders = order(Verb::Retry, "b");
    let decision = decide(&spec(), &seen, at(30));
    let status = recorded(&decision.acts[0]);
    assert_eq!(
        (status.phase, status.revision.started_at),
        (Some(Phase::Progressing), Some(at(30)))
    );
    assert_eq!(decision.acts[1], Act::ScaleTarget(2));
}

#[test]
fn release_is_not_called_off_while_there_is_no_primary_to_return_to() {
    let mut seen = first_step(Reading::Value(100.0));
    seen.primary = None;
    seen.orders = order(Verb::Abort, "b");
    let refused = decide(&spec(), &seen, at(3));
    let status = recorded(&refused.acts[0]);
    assert!(status.interventions[0].refused.is_some() && status.retirement.is_none());

    let mut begun = first_step(Reading::Value(100.0));
    begun.orders = order(Verb::Abort, "b");
    begun.routes = at_weight(10);
    let called_off = decide(&spec(), &begun, at(3));
    let mut gone = first_step(Reading::Value(100.0));
    gone.status = recorded(&called_off.acts[1]).clone();
    gone.status.canary_weight = 10;
    gone.primary = None;
    let decision = decide(&spec(), &gone, at(4));
    assert_eq!(
        recorded(&decision.acts[0]).retirement,
        None,
        "{:?}",
        decision.acts
    );
}

#[test]
fn gate_rejected_beforehand_takes_the_release_back_at_once() {
    let mut spec = spec();
    spec.gates = vec![crate::rollout::GateSpec {
        name: "end".to_owned(),
        at: crate::api::GatePoint::ConfirmPromotion,
        opens: crate::rollout::Opens::Approval {
            not_by_requester: false,
        },
        timeout: None,
    }];
    let mut seen = first_step(Reading::Value(100.0));
    seen.orders = order(Verb::Reject, "b");
    seen.orders[0].gate = Some("end".to_owned());
    let decision = decide(&spec, &seen, at(3));
    assert_eq!(decision.acts[0], Act::Route(Weight::ZERO), "traffic first");
    let status = recorded(&decision.acts[1]);
    let message = &status.retirement.as_ref().unwrap().message;
    assert_eq!(message, "gate end was not passed by mia: it is late");
}
