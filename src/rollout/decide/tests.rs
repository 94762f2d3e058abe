//! Single decisions: what is written, and in which order.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    api::{
        CanaryStatus, HoldReason, Notice, NoticeKind, Phase, RetirementKind, RevisionStatus, Stand,
        StepStatus, Verb,
    },
    freeze::Freezing,
    judge::{MetricKind, MetricSpec, Reading, Sample, Traffic},
    rollout::{
        Act, Apex, CanaryId, Names, Observed, Order, RolloutSpec, Routes, Serves, Steps, Weight, Workload,
        decide,
    },
};

pub(super) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_000_000 + seconds, 0).unwrap()
}

pub(super) fn spec() -> RolloutSpec {
    let name = |text: &str| text.to_owned();
    RolloutSpec {
        id: CanaryId {
            namespace: name("n"),
            name: name("shop"),
        },
        uid: name("uid"),
        generation: 1,
        deleting: false,
        names: Names {
            namespace: name("n"),
            target: name("shop"),
            primary: name("shop-primary"),
            apex: name("shop"),
            primary_service: name("shop-primary"),
            canary_service: name("shop-canary"),
        },
        steps: Steps::new(vec![Weight::saturating(10), Weight::saturating(50)]).unwrap(),
        promotion_step: None,
        interval: TimeDelta::seconds(10),
        threshold: 1,
        max_blind: TimeDelta::seconds(60),
        progress_deadline: TimeDelta::seconds(100),
        metrics: vec![MetricSpec {
            name: name("request-success-rate"),
            kind: MetricKind::SuccessRate,
            window: Duration::from_secs(10),
            min: Some(99.0),
            max: None,
        }],
        gates: vec![],
        skip_analysis: false,
        suspend: false,
        revert_on_deletion: false,
        has_gateways: true,
        drain: TimeDelta::seconds(5),
    }
}

fn workload(revision: &str, mark: &str) -> Workload {
    Workload {
        revision: revision.to_owned(),
        image: Some(format!("shop:{revision}")),
        mark: Some(mark.to_owned()),
        up_to_date: true,
        paused: false,
        recreate: false,
        desired: 2,
        total: 2,
        updated: 2,
        available: 2,
        endpoints: 2,
    }
}

fn at_weight(percent: i64) -> Routes {
    Routes::Present {
        weight: Weight::new(percent),
        split: true,
        owned: false,
        in_shape: true,
    }
}

/// Ten seconds into the first step of revision `b`, with this reading of the success rate.
fn first_step(reading: Reading) -> Observed {
    let traffic = Traffic {
        window: Duration::from_secs(3),
        canary: Reading::Value(100.0),
        primary: Reading::Value(900.0),
        reached_at: Some(at(10)),
    };
    let readings = BTreeMap::from([("request-success-rate".to_owned(), reading)]);
    let sample = Sample {
        at: at(10),
        window: Duration::from_secs(10),
        readings,
        traffic,
    };
    Observed {
        status: CanaryStatus {
            epoch: Some("0/test".to_owned()),
            phase: Some(Phase::Progressing),
            canary_weight: 10,
            revision: RevisionStatus {
                current: Some("b".to_owned()),
                promoted: Some("a".to_owned()),
                previous: None,
                mark: Some("2".to_owned()),
                started_at: Some(at(-5)),
                images: BTreeMap::new(),
            },
            step: Some(StepStatus {
                index: 0,
                started_at: at(0),
                traffic_since: at(0),
                last_check_at: None,
                retreats: 0,
            }),
            ..CanaryStatus::default()
        },
        finalizer: true,
        conflict: None,
        target: Some(workload("b", "2")),
        primary: Some(workload("a", "1")),
        drifted: vec![],
        existing: vec![],
        epoch: "0/test".to_owned(),
        unfenced: vec![],
        unrestorable: None,
        apex: Apex {
            serves: Some(Serves::Primary),
            endpoints: 2,
        },
        routes: at_weight(10),
        routing_since: at(0),
        sampled_since: at(0),
        template_since: at(-5),
        sample: Some(Arc::new(sample)),
        untold: BTreeSet::new(),
        orders: vec![],
        gate_news: vec![],
        freezing: Freezing::default(),
        repairs: 0,
        told: 0,
    }
}

fn recorded(act: &Act) -> &CanaryStatus {
    match act {
        Act::Record(status) => status,
        other => panic!("{other:?} is no record"),
    }
}

#[test]
fn good_step_records_the_intent_before_the_weight_rises() {
    let decision = decide(&spec(), &first_step(Reading::Value(100.0)), at(10));
    assert_eq!(decision.acts.len(), 2, "{:?}", decision.acts);
    assert_eq!(recorded(&decision.acts[0]).canary_weight, 50);
    assert_eq!(decision.acts[1], Act::Route(Weight::saturating(50)));
}

#[test]
fn fact_says_where_the_rollout_stood_when_it_was_written_down() {
    let mut seen = first_step(Reading::Value(100.0));
    let advanced = decide(&spec(), &seen, at(10));
    seen.status = recorded(&advanced.acts[0]).clone();
    let stand = Stand {
        phase: Some(Phase::Progressing),
        revision: Some("b".to_owned()),
        promoted: Some("a".to_owned()),
        image: Some("shop:a".to_owned()),
        weight: 50,
        step: Some(1),
    };
    assert_eq!(seen.status.outbox.pending[0].stand, Some(stand.clone()));
    seen.orders = order(Verb::Abort, "b");
    let aborted = decide(&spec(), &seen, at(12));
    let last = aborted.acts.iter().rev().find_map(|act| match act {
        Act::Record(status) => Some(status),
        _ => None,
    });
    let pending = &last.unwrap().outbox.pending;
    assert_eq!(pending[0].stand, Some(stand), "it stays what it was");
    let newest = pending.last().and_then(|notice| notice.stand.as_ref());
    assert_eq!(newest.map(|stand| stand.weight), Some(0));
}

#[test]
fn no_fact_makes_room_before_it_was_written() {
    let mut seen = first_step(Reading::Value(90.0));
    seen.told = 0;
    seen.status.outbox.seq = 16;
    let outcome = |seq| Notice {
        seq,
        kind: NoticeKind::Normal,
        reason: "Promoted".to_owned(),
        message: String::new(),
        at: at(-100),
        stand: None,
    };
    seen.status.outbox.pending = (1..=16).map(outcome).collect();
    let mut spec = spec();
    spec.threshold = 5;
    let decision = decide(&spec, &seen, at(10));
    seen.status = recorded(&decision.acts[0]).clone();
    let facts = |status: &CanaryStatus| -> Vec<(i64, String)> {
        let pending = status.outbox.pending.iter();
        pending.map(|n| (n.seq, n.reason.clone())).collect()
    };
    let mut kept: Vec<(i64, String)> = (2..=16).map(|seq| (seq, "Promoted".to_owned())).collect();
    kept.push((17, "CheckFailed".to_owned()));
    assert_eq!(facts(&seen.status), kept, "the oldest outcome went");

    seen.orders = order(Verb::Abort, "b");
    let decision = decide(&spec, &seen, at(12));
    let written: Vec<&CanaryStatus> = decision
        .acts
        .iter()
        .filter_map(|act| match act {
            Act::Record(status) => Some(&**status),
            _ => None,
        })
        .collect();
    let last = facts(written.last().unwrap());
    assert_eq!(last.len(), 16);
    assert!(
        !last.contains(&kept[15]),
        "what is no outcome goes first once it is written"
    );
}

#[test]
fn bad_value_lowers_the_weight_before_anything_is_recorded() {
    let decision = decide(&spec(), &first_step(Reading::Value(90.0)), at(10));
    assert_eq!(decision.acts[0], Act::Route(Weight::ZERO));
    let status = recorded(&decision.acts[1]);
    assert_eq!(
        status.retirement.as_ref().map(|r| r.kind),
        Some(RetirementKind::RollBack)
    );
    assert_eq!(
        status.phase,
        Some(Phase::Progressing),
        "a terminal phase comes last"
    );
}

#[test]
fn missing_data_holds_the_weight_and_is_no_failed_check() {
    for (reading, reason) in [
        (Reading::NoData, HoldReason::NoData),
        (Reading::Error("down".to_owned()), HoldReason::MetricsUnavailable),
    ] {
        let decision = decide(&spec(), &first_step(reading), at(10));
        assert_eq!(decision.acts.len(), 1, "{:?}", decision.acts);
        let status = recorded(&decision.acts[0]);
        assert_eq!((status.canary_weight, status.failed_checks), (10, 0));
        assert_eq!(status.hold.as_ref().map(|h| h.reason), Some(reason));
    }
}

#[test]
fn revert_to_the_promoted_template_is_an_abort_at_once() {
    let mut seen = first_step(Reading::Value(100.0));
    seen.target = Some(workload("a", "3"));
    let decision = decide(&spec(), &seen, at(3));
    assert_eq!(decision.acts[0], Act::Route(Weight::ZERO));
    let status = recorded(&decision.acts[1]);
    assert_eq!(
        status.retirement.as_ref().map(|r| r.kind),
        Some(RetirementKind::Abort)
    );
}

#[test]
fn changed_digest_beside_an_unmoved_mark_starts_nothing() {
    let mut seen = first_step(Reading::Value(100.0));
    seen.target = Some(workload("c", "2"));
    seen.template_since = at(2);
    let decision = decide(&spec(), &seen, at(3));
    assert!(
        !decision.acts.contains(&Act::Route(Weight::ZERO)),
        "{:?}",
        decision.acts
    );
    assert_eq!(decision.wake_at, Some(at(12)));
}

/// The first step with no request at the canary, though the primary has plenty.
fn nothing_arrives(reached_at: Option<DateTime<Utc>>) -> Observed {
    let mut seen = first_step(Reading::NoData);
    let mut sample = Sample::clone(seen.sample.as_ref().unwrap());
    sample.traffic.canary = Reading::NoData;
    sample.traffic.reached_at = reached_at;
    seen.sample = Some(Arc::new(sample));
    seen
}

#[test]
fn canary_that_was_reached_and_falls_silent_is_dark_and_does_not_come_back_by_itself() {
    let decision = decide(&spec(), &nothing_arrives(Some(at(8))), at(10));
    assert_eq!(decision.acts[0], Act::Route(Weight::ZERO));
    let hold = recorded(&decision.acts[1]).hold.clone().unwrap();
    assert_eq!(
        (hold.reason, hold.retreated, hold.resumes),
        (HoldReason::Dark, true, false)
    );
}

#[test]
fn canary_that_was_never_reached_is_tried_again_after_a_pause_that_grows() {
    let mut seen = nothing_arrives(None);
    let mut now = at(10);
    for (retreat, pause) in [(1, 10), (2, 20), (3, 40)] {
        let decision = decide(&spec(), &seen, now);
        assert_eq!(decision.acts[0], Act::Route(Weight::ZERO));
        seen.status = recorded(&decision.acts[1]).clone();
        let hold = seen.status.hold.clone().unwrap();
        assert_eq!(
            (hold.reason, hold.retreated),
            (HoldReason::TrafficNotShifting, true)
        );
        assert_eq!(seen.status.step.as_ref().unwrap().retreats, retreat);
        seen.routes = at_weight(0);

        let early = decide(&spec(), &seen, now);
        assert_eq!(
            (early.acts.len(), early.wake_at),
            (0, Some(now + TimeDelta::seconds(pause)))
        );
        now += TimeDelta::seconds(pause);
        let again = decide(&spec(), &seen, now);
        assert_eq!(again.acts[1], Act::Route(Weight::saturating(10)));
        seen.status = recorded(&again.acts[0]).clone();
        seen.routes = at_weight(10);

        now += TimeDelta::seconds(10);
        let mut sample = Sample::clone(seen.sample.as_ref().unwrap());
        sample.at = now;
        seen.sample = Some(Arc::new(sample));
    }
    let decision = decide(&spec(), &seen, now);
    let retirement = recorded(&decision.acts[1]).retirement.clone().unwrap();
    assert_eq!(retirement.kind, RetirementKind::RollBack);
}

#[test]
fn silence_at_full_weight_takes_the_traffic_back_after_a_window() {
    let mut spec = spec();
    spec.steps = Steps::new([50, 100].map(Weight::saturating).to_vec()).unwrap();
    let mut seen = first_step(Reading::NoData);
    let mut sample = Sample::clone(seen.sample.as_ref().unwrap());
    sample.traffic.canary = Reading::Value(0.0);
    sample.traffic.primary = Reading::Value(0.0);
    seen.sample = Some(Arc::new(sample.clone()));
    seen.routes = at_weight(100);
    seen.status.canary_weight = 100;
    seen.status.step.as_mut().unwrap().index = 1;

    let held = decide(&spec, &seen, at(10));
    seen.status = recorded(&held.acts[0]).clone();
    assert_eq!(seen.status.canary_weight, 100, "one empty sample is no silence");

    sample.at = at(13);
    seen.sample = Some(Arc::new(sample));
    let decision = decide(&spec, &seen, at(13));
    assert_eq!(decision.acts[0], Act::Route(Weight::ZERO));
    let hold = recorded(&decision.acts[1]).hold.clone().unwrap();
    assert_eq!(
        (hold.reason, hold.retreated, hold.resumes),
        (HoldReason::NoData, true, true)
    );
}

#[test]
fn primary_that_kept_an_analysed_template_has_it_as_the_promoted_revision_when_the_fix_comes() {
    let mut seen = first_step(Reading::NoData);
    seen.status.phase = Some(Phase::Failed);
    seen.status.canary_weight = 100;
    seen.status.step = None;
    seen.status.last_transition_time = Some(at(-1000));
    seen.routes = at_weight(100);
    let mut primary = workload("b", "1");
    (primary.available, primary.endpoints) = (0, 0);
    seen.primary = Some(primary);
    seen.target = Some(workload("c", "3"));

    let decision = decide(&spec(), &seen, at(10));
    let status = recorded(&decision.acts[0]);
    let revision = &status.revision;
    assert_eq!(
        (revision.promoted.as_deref(), revision.current.as_deref()),
        (Some("b"), Some("c"))
    );
    assert_eq!(
        status.canary_weight, 100,
        "a fix is never rolled back onto a broken primary"
    );
}

fn order(verb: Verb, revision: &str) -> Vec<Order> {
    vec![Order {
        id: "1".to_owned(),
        verb,
        revision: revision.to_owned(),
        by: "mia".to_owned(),
        reason: "it is late".to_owned(),
        gate: None,
        own: false,
    }]
}

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
    let image = told.stand.as_ref().and_then(|stand| stand.image.as_deref());
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
