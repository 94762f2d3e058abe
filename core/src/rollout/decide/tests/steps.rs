//! Evidence, and what follows from it; what is told and remembered.

use super::*;
use crate::judge::Reporter;

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
    let situation = Situation {
        phase: Some(Phase::Progressing),
        revision: Some("b".to_owned()),
        promoted: Some("a".to_owned()),
        image: Some("shop:a".to_owned()),
        weight: 50,
        step: Some(1),
    };
    assert_eq!(seen.status.outbox.pending[0].situation, Some(situation.clone()));
    seen.orders = order(Verb::Abort, "b");
    let aborted = decide(&spec(), &seen, at(12));
    let last = aborted.acts.iter().rev().find_map(|act| match act {
        Act::Record(status) => Some(status),
        _ => None,
    });
    let pending = &last.unwrap().outbox.pending;
    assert_eq!(pending[0].situation, Some(situation), "it stays what it was");
    let newest = pending.last().and_then(|notice| notice.situation.as_ref());
    assert_eq!(newest.map(|situation| situation.weight), Some(0));
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
        situation: None,
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
fn source_whose_time_is_behind_is_judged_later_and_not_taken_for_silent() {
    let decided = |behind: u64, of: i64, now: i64| {
        let mut seen = first_step(Reading::Value(100.0));
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        sample.behind = Duration::from_secs(behind);
        sample.at = at(of);
        carry_out(&mut seen, now, &spec());
        let held = seen.status.hold.as_ref().map(|hold| hold.reason);
        (seen.status.canary_weight, held)
    };
    // The check is due at 5 s; what was true before tells nothing of it.
    assert_eq!(decided(60, -20, 40), (10, None));
    assert_eq!(decided(60, 10, 70).0, 50);
    let silent = (10, Some(HoldReason::MetricsUnavailable));
    assert_eq!(decided(0, 4, 40), silent);
    assert_eq!(decided(60, 4, 100), silent, "nor for ever");
}

#[test]
fn values_of_pods_that_are_gone_promote_nothing() {
    for (pods, reason) in [
        (Reading::NoData, HoldReason::NoData),
        (Reading::Value(0.0), HoldReason::NoData),
        (
            Reading::Error("timeout".to_owned()),
            HoldReason::MetricsUnavailable,
        ),
    ] {
        let mut seen = first_step(Reading::Value(100.0));
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        sample.seen.canary.pods = pods;
        let decision = decide(&spec(), &seen, at(10));
        let status = recorded(&decision.acts[0]);
        assert_eq!(status.hold.as_ref().map(|h| h.reason), Some(reason));
        assert_eq!(status.canary_weight, 10);
        // What callers count is of those whom they call, whoever reads their proxies.
        let callers = RolloutSpec {
            reporter: Reporter::Source,
            ..spec()
        };
        let decision = decide(&callers, &seen, at(10));
        assert_eq!(recorded(&decision.acts[0]).canary_weight, 50);
    }
    let mut seen = first_step(Reading::Value(90.0));
    let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
    sample.seen.canary.pods = Reading::NoData;
    let decision = decide(&spec(), &seen, at(10));
    let held = recorded(&decision.acts[0]).hold.as_ref().map(|hold| hold.reason);
    assert_eq!(held, Some(HoldReason::NoData), "and take none back");
    seen.target.as_mut().unwrap().total = 3;
    let decision = decide(&spec(), &seen, at(10));
    assert_eq!(
        decision.acts[0],
        Act::Route(Weight::ZERO),
        "pods that crash are not read any more, and their errors count"
    );
}

#[test]
fn source_that_answers_every_other_time_holds_nothing_each_time() {
    let mut seen = first_step(Reading::Value(100.0));
    seen.orders = order(Verb::Pause, "b");
    carry_out(&mut seen, 3, &spec());
    seen.orders = vec![];
    let mut written = 0;
    for now in (10..130).step_by(2) {
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        sample.at = at(now);
        let lost = now % 4 == 0;
        let reading = if lost {
            Reading::Error("timeout".to_owned())
        } else {
            Reading::Value(100.0)
        };
        sample.readings = [("request-success-rate".to_owned(), reading)].into();
        sample.gap_is_new = lost;
        written += records(&live(&mut seen, now, &spec()));
        let held = seen.status.hold.as_ref().map(|hold| hold.reason);
        assert_eq!(held, Some(HoldReason::Paused), "at {now}");
    }
    assert!(written <= 4, "{written}");
    let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
    sample.at = at(132);
    sample.readings = [(
        "request-success-rate".to_owned(),
        Reading::Error("timeout".to_owned()),
    )]
    .into();
    sample.gap_is_new = false;
    carry_out(&mut seen, 132, &spec());
    let held = seen.status.hold.as_ref().map(|hold| hold.reason);
    assert_eq!(held, Some(HoldReason::MetricsUnavailable), "two in a row are");
}

#[test]
fn release_that_passed_and_waits_writes_its_values_once_a_minute() {
    let mut seen = first_step(Reading::Value(100.0));
    seen.orders = order(Verb::Pause, "b");
    carry_out(&mut seen, 3, &spec());
    seen.orders = vec![];
    let mut written = 0;
    for now in (10..310).step_by(2) {
        good_value(&mut seen, now);
        written += records(&live(&mut seen, now, &spec()));
    }
    assert_eq!(seen.status.canary_weight, 10);
    assert!((5..=8).contains(&written), "{written}");
}

#[test]
fn metric_that_looks_back_less_than_two_scrapes_is_named_with_an_interval_that_would_do() {
    let mut seen = first_step(Reading::NoData);
    let spec = RolloutSpec {
        metrics: vec![MetricSpec {
            window: Duration::from_secs(60),
            ..spec().metrics[0].clone()
        }],
        ..spec()
    };
    for (scrape, named) in [(30, false), (60, true)] {
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        sample.at = at(200);
        sample.scrape_interval = Some(Duration::from_secs(scrape));
        let decision = decide(&spec, &seen, at(200));
        let hold = recorded(&decision.acts[0]).hold.clone().unwrap();
        assert_eq!(hold.reason, HoldReason::NoData);
        let text = "looks back 60 s, which is less than two scrapes of 60 s: an interval of 150 s would do";
        assert_eq!(hold.message.contains(text), named, "{}", hold.message);
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
    seen.unrestorable = Some("a".to_owned());

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

/// The primary is gone, and the release that all of the traffic depends on was overtaken by one whose pods do not get ready.
#[test]
fn hold_for_pods_that_do_not_come_is_named_once() {
    let mut seen = first_step(Reading::Value(100.0));
    seen.primary = None;
    seen.status.canary_weight = 100;
    seen.status.step = None;
    seen.routes = at_weight(100);
    let target = seen.target.as_mut().unwrap();
    (target.updated, target.available) = (0, 1);
    seen.status.last_transition_time = Some(at(0));
    let deadline = spec().progress_deadline.num_seconds();
    let mut writes = 0;
    for now in (deadline + 10)..(deadline + 40) {
        let acts = carry_out(&mut seen, now, &spec());
        writes += acts.iter().filter(|act| matches!(act, Act::Record(_))).count();
        seen.told = seen.status.outbox.seq;
    }
    assert_eq!(
        seen.status.hold.as_ref().map(|hold| hold.reason),
        Some(HoldReason::WorkloadNotReady)
    );
    assert!(writes <= 3, "{writes} writes");
}
