//! What somebody orders.

use super::{
    failed_promotion::{failed_on_the_canary, unreached, unreached_and_failed},
    *,
};
use crate::rollout::analysis_is_skipped;

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

/// In an outage somebody edits the primary, which makes it worse; or the workload is deleted. Then the undo is ordered.
#[test]
fn undo_is_carried_out_whoever_edited_the_primary_and_without_the_workload() {
    let edited = Workload {
        edited_by: Some("mia".to_owned()),
        ..workload("b", "1")
    };
    for (target, primary) in [(Some(without_pods("b", "2")), edited), (None, workload("b", "1"))] {
        let mut seen = quarrel::at_rest();
        let revision = &mut seen.status.revision;
        (revision.promoted, revision.current) = (Some("b".to_owned()), Some("b".to_owned()));
        revision.previous = Some("a".to_owned());
        (seen.target, seen.primary) = (target, Some(primary));
        seen.orders = order(Verb::Undo, "b");
        let mut acts = Vec::new();
        for now in 10..700 {
            measure(&mut seen, now, 0.0, 100.0);
            acts.extend(live(&mut seen, now, &spec()));
        }
        let restores = |act: &Act| matches!(act, Act::Restore { revision } if revision == "a");
        assert!(
            acts.iter().any(restores),
            "{:?} {:?}",
            seen.target,
            seen.status.all_holds()
        );
    }
}
