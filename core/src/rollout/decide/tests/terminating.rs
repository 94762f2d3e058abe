//! A Canary that is deleted.

use super::*;
use crate::{
    api::{Outcome, PastRollout},
    rollout::{Child, HandBack},
};

/// At rest after revision `b` was rolled back, and deleted: the primary serves `a`, the workload has `b`.
fn deleted_after_rollback() -> Observed {
    let mut seen = first_step(Reading::Value(100.0));
    seen.finalizer = true;
    seen.status.phase = Some(Phase::Failed);
    seen.status.canary_weight = 0;
    seen.status.step = None;
    seen.status.history = vec![PastRollout {
        revision: "b".to_owned(),
        outcome: Outcome::RolledBack,
        message: String::new(),
        started_at: None,
        ended_at: at(-100),
    }];
    seen.routes = at_weight(0);
    seen.apex.serves = Some(Serves::Primary);
    seen.apex.endpoints = 2;
    seen.routing_since = at(-60);
    seen.existing = [Child::PrimaryDeployment, Child::Routes].into_iter().collect();
    seen.target = Some(workload("b", "2"));
    seen.primary = Some(workload("a", "1"));
    seen
}

fn deleting(hand_back: Option<HandBack>) -> RolloutSpec {
    RolloutSpec {
        deleting: true,
        hand_back,
        ..spec()
    }
}

/// A node is drained while somebody is to decide: most of the primary's pods are away.
#[test]
fn rejected_template_gets_no_more_traffic_than_it_has_when_the_primary_loses_pods() {
    let mut seen = deleted_after_rollback();
    carry_out(&mut seen, 10, &deleting(None));
    seen.target = Some(pods("b", "2", 6, 6));
    seen.primary = Some(pods("a", "1", 6, 1));
    for now in 11..15 {
        let acts = carry_out(&mut seen, now, &deleting(None));
        let raises = acts
            .iter()
            .any(|act| matches!(act, Act::Route(weight) if !weight.is_zero()));
        assert!(!raises && seen.status.canary_weight == 0, "{acts:?}");
    }
    // With no pod at all the primary serves nobody.
    seen.primary = Some(pods("a", "1", 6, 0));
    carry_out(&mut seen, 15, &deleting(None));
    assert_eq!(seen.status.canary_weight, 100);
}

#[test]
fn rejected_template_is_not_shipped_by_a_deletion_before_somebody_says_so() {
    let mut seen = deleted_after_rollback();
    for now in 10..30 {
        let acts = carry_out(&mut seen, now, &deleting(None));
        let harmless = |act: &Act| matches!(act, Act::Record(_));
        assert!(acts.iter().all(harmless), "{acts:?}");
    }
    let hold = seen.status.hold.clone().unwrap();
    assert_eq!(hold.reason, HoldReason::HandBackUnreleased);
    assert!(
        hold.message.contains("revision b") && hold.message.contains("revision a"),
        "{}",
        hold.message
    );
    let acts = carry_out(&mut seen, 31, &deleting(Some(HandBack::AsIs)));
    assert!(acts.contains(&Act::Route(Weight::saturating(5))), "{acts:?}");
}

#[test]
fn workload_gets_the_promoted_template_first_if_somebody_says_so() {
    let mut seen = deleted_after_rollback();
    let acts = carry_out(&mut seen, 10, &deleting(Some(HandBack::Promoted)));
    let back = Act::HandBack {
        revision: "a".to_owned(),
    };
    assert!(acts.contains(&back), "{acts:?}");
    seen.target = Some(workload("a", "3"));
    let acts = carry_out(&mut seen, 20, &deleting(Some(HandBack::Promoted)));
    assert!(acts.contains(&Act::Route(Weight::saturating(5))), "{acts:?}");
}

#[test]
fn rejected_template_serves_if_nobody_else_does() {
    let mut seen = deleted_after_rollback();
    let primary = seen.primary.as_mut().unwrap();
    (primary.available, primary.endpoints) = (0, 0);
    let acts = carry_out(&mut seen, 10, &deleting(None));
    assert!(acts.contains(&Act::PointApex(Serves::Target)), "{acts:?}");
}

#[test]
fn target_gets_a_small_share_before_the_service_is_handed_back() {
    let mut seen = deleted_after_rollback();
    seen.target = Some(workload("a", "1"));
    measure(&mut seen, 10, 0.0, 1000.0);
    let acts = carry_out(&mut seen, 10, &deleting(None));
    assert!(acts.contains(&Act::Route(Weight::saturating(5))), "{acts:?}");
    measure(&mut seen, 18, 0.0, 1000.0);
    let acts = carry_out(&mut seen, 18, &deleting(None));
    assert!(!acts.contains(&Act::PointApex(Serves::Target)), "{acts:?}");
    measure(&mut seen, 20, 50.0, 950.0);
    let acts = carry_out(&mut seen, 20, &deleting(None));
    assert!(acts.contains(&Act::PointApex(Serves::Target)), "{acts:?}");
}

#[test]
fn requests_that_do_not_reach_the_target_go_back_to_the_primary() {
    let mut seen = deleted_after_rollback();
    seen.target = Some(workload("a", "1"));
    measure(&mut seen, 10, 0.0, 1000.0);
    carry_out(&mut seen, 10, &deleting(None));
    measure(&mut seen, 90, 0.0, 1000.0);
    let acts = carry_out(&mut seen, 90, &deleting(None));
    assert_eq!(acts.first(), Some(&Act::Route(Weight::ZERO)), "{acts:?}");
    assert_eq!(seen.status.hold.as_ref().unwrap().reason, HoldReason::NotReached);
    measure(&mut seen, 120, 0.0, 1000.0);
    assert_eq!(carry_out(&mut seen, 120, &deleting(None)), []);
    measure(&mut seen, 151, 0.0, 1000.0);
    let acts = carry_out(&mut seen, 151, &deleting(None));
    assert!(acts.contains(&Act::Route(Weight::saturating(5))), "{acts:?}");
}

#[test]
fn without_metrics_a_deletion_waits_no_longer_than_its_bound() {
    let mut seen = deleted_after_rollback();
    seen.target = Some(workload("a", "1"));
    seen.sample = None;
    carry_out(&mut seen, 10, &deleting(None));
    let mut handed_back = None;
    for now in 11..800 {
        if carry_out(&mut seen, now, &deleting(None)).contains(&Act::PointApex(Serves::Target)) {
            handed_back = Some(now);
            break;
        }
    }
    assert_eq!(handed_back, Some(610));
}

#[test]
fn somebody_says_that_the_primary_may_go_though_it_is_called() {
    let mut seen = deleted_after_rollback();
    seen.target = Some(workload("a", "1"));
    seen.status.phase = Some(Phase::Terminating);
    seen.status.last_transition_time = Some(at(-100));
    seen.apex.serves = Some(Serves::Target);
    seen.routes = Routes::Present {
        weight: None,
        split: false,
        owned: false,
        in_shape: true,
    };
    for now in (10..2000).step_by(10) {
        measure(&mut seen, now, 0.0, 100.0);
        let acts = carry_out(&mut seen, now, &deleting(None));
        assert!(acts.iter().all(|act| matches!(act, Act::Record(_))), "{acts:?}");
    }
    assert_eq!(
        seen.status.hold.as_ref().unwrap().reason,
        HoldReason::TrafficNotShifting
    );
    seen.orders = order(Verb::Advance, "");
    carry_out(&mut seen, 2000, &deleting(None));
    let acts = carry_out(&mut seen, 2001, &deleting(None));
    assert!(acts.contains(&Act::Delete(Child::PrimaryDeployment)), "{acts:?}");
}

#[test]
fn errors_that_were_there_before_are_nothing_in_the_way() {
    let mut seen = deleted_after_rollback();
    seen.target = Some(workload("a", "1"));
    // Nobody samples at rest, so nothing is known of before.
    let sample = seen.sample.take();
    carry_out(&mut seen, 10, &deleting(None));
    seen.sample = sample;
    measure(&mut seen, 30, 50.0, 950.0);
    let counts = |requests: f64| Counts {
        requests,
        denied: requests / 2.0,
        ..Counts::default()
    };
    let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
    (sample.seen.canary.arrived, sample.seen.primary.arrived) = (Some(counts(50.0)), Some(counts(950.0)));
    let acts = carry_out(&mut seen, 30, &deleting(None));
    assert!(acts.contains(&Act::PointApex(Serves::Target)), "{acts:?}");
}

/// Nothing is left of the Canary, and a create of one of its objects may still be carried out.
#[test]
fn canary_is_not_let_go_while_a_write_may_still_be_under_way() {
    let mut seen = deleted_after_rollback();
    seen.status.history.clear();
    seen.routes = Routes::Missing;
    seen.primary = None;
    seen.existing = vec![];
    seen.target = Some(workload("a", "1"));
    seen.apex.serves = Some(Serves::Target);
    seen.told = 100;
    seen.unsettled_at = Some(at(0));
    let mut acts = Vec::new();
    for now in 10..60 {
        acts.extend(carry_out(&mut seen, now, &deleting(None)));
    }
    assert!(!acts.contains(&Act::RemoveFinalizer), "{acts:?}");
    let acts = carry_out(&mut seen, 60, &deleting(None));
    assert!(acts.contains(&Act::RemoveFinalizer), "{acts:?}");
}

/// The commit that removes the Canary brings the manifests of before: the Service selects the workload, which has two pods.
#[test]
fn service_that_a_manifest_points_at_the_target_is_not_taken_for_handed_over() {
    let mut seen = deleted_after_rollback();
    seen.status.history.clear();
    seen.target = Some(workload("a", "1"));
    seen.primary.as_mut().unwrap().desired = 20;
    seen.apex.serves = Some(Serves::Target);
    let acts = carry_out(&mut seen, 10, &deleting(None));
    assert!(acts.contains(&Act::ScaleTarget(20)), "{acts:?}");
    assert!(!acts.contains(&Act::MergeRoutes), "{acts:?}");
}

/// Somebody wants the template that was rejected for its errors: they are no sign that requests do not arrive.
#[test]
fn errors_of_a_template_that_is_handed_back_as_it_is_keep_no_deletion() {
    let mut seen = deleted_after_rollback();
    let spec = deleting(Some(HandBack::AsIs));
    let mut handed_back = false;
    for now in 10..120 {
        measure(&mut seen, now, 5.0, 95.0);
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        sample.seen.canary.arrived = Some(Counts {
            requests: 5.0,
            bad: 5.0,
            ..Counts::default()
        });
        let acts = carry_out(&mut seen, now, &spec);
        let held = seen.status.hold.as_ref().map(|hold| hold.reason);
        assert_ne!(held, Some(HoldReason::NotReached), "at {now}");
        handed_back |= acts.contains(&Act::PointApex(Serves::Target));
    }
    assert!(handed_back, "{:?}", seen.status.hold);
}

#[test]
fn service_that_went_with_the_primary_is_not_made_again() {
    let mut seen = deleted_after_rollback();
    seen.status.history.clear();
    seen.routes = Routes::Missing;
    seen.primary = None;
    seen.existing = vec![];
    seen.target = Some(workload("a", "1"));
    seen.apex.serves = None;
    seen.apex.endpoints = 0;
    seen.told = 100;
    let mut acts = Vec::new();
    for now in 10..20 {
        acts.extend(carry_out(&mut seen, now, &deleting(None)));
    }
    assert!(acts.contains(&Act::RemoveFinalizer), "{acts:?}");
    assert!(
        !acts.iter().any(|act| matches!(act, Act::PointApex(_))),
        "{acts:?}"
    );
}

/// `b` is promoted, undone by mia because it is bad, and then the Canary is deleted; the workload still has `b`.
#[test]
fn undone_revision_is_not_shipped_by_a_deletion() {
    let mut seen = quarrel::at_rest();
    seen.status.phase = Some(Phase::Succeeded);
    seen.status.revision = RevisionStatus {
        current: Some("b".to_owned()),
        promoted: Some("b".to_owned()),
        previous: Some("a".to_owned()),
        mark: Some("2".to_owned()),
        started_at: Some(at(-100)),
        ..RevisionStatus::default()
    };
    seen.status.history = vec![PastRollout {
        revision: "b".to_owned(),
        outcome: Outcome::Promoted,
        message: String::new(),
        started_at: Some(at(-100)),
        ended_at: at(-50),
    }];
    seen.target = Some(without_pods("b", "2"));
    seen.primary = Some(workload("b", "1"));
    seen.existing = vec![Child::PrimaryDeployment, Child::Routes];
    seen.orders = order(Verb::Undo, "b");
    for now in 10..60 {
        served::measure_routed(&mut seen, now);
        let acts = live(&mut seen, now, &spec());
        if acts.iter().any(|act| matches!(act, Act::Restore { .. })) {
            seen.primary = Some(workload("a", "1"));
        }
    }
    assert_eq!(
        (
            seen.status.phase,
            seen.primary.as_ref().unwrap().revision.as_str()
        ),
        (Some(Phase::Failed), "a")
    );
    seen.orders = vec![];
    let deleted = RolloutSpec {
        deleting: true,
        ..spec()
    };
    for now in 60..400 {
        served::measure_routed(&mut seen, now);
        seen.apex.endpoints = 2;
        let acts = live(&mut seen, now, &deleted);
        assert!(
            seen.routes == at_weight(0) && seen.apex.serves == Some(Serves::Primary),
            "at {now} s the undone revision gets traffic: {acts:?} {:?}",
            seen.status.all_holds()
        );
    }
}
