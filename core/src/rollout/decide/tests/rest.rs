//! At rest.

use super::*;

fn at_rest(target: Workload) -> Observed {
    let mut seen = first_step(Reading::Value(100.0));
    seen.status.phase = Some(Phase::Succeeded);
    seen.status.canary_weight = 0;
    seen.status.step = None;
    seen.status.observed_generation = Some(1);
    seen.status.revision.current = Some("a".to_owned());
    seen.status.revision.promoted = Some("a".to_owned());
    seen.routes = at_weight(0);
    seen.primary = Some(workload("a", "1"));
    seen.target = Some(target);
    seen
}

/// The API server was upgraded, and returns the same template with one more default.
#[test]
fn new_default_of_the_server_restarts_no_primary() {
    let mut seen = at_rest(without_pods("a-with-default", "2"));
    let first = decide(&spec(), &seen, at(20));
    assert!(
        first.acts.iter().all(|act| matches!(act, Act::Record(_))),
        "{:?}",
        first.acts
    );
    if let Some(Act::Record(status)) = first.acts.first() {
        seen.status = (**status).clone();
    }
    seen.told = seen.status.outbox.seq;
    seen.status.outbox.pending = vec![];
    assert_eq!(decide(&spec(), &seen, at(40)).acts, [], "it costs no write");
}

#[test]
fn paused_workload_with_another_template_is_a_hold() {
    let mut target = without_pods("c", "2");
    target.paused = true;
    let decision = decide(&spec(), &at_rest(target), at(600));
    let status = recorded(&decision.acts[0]);
    let ready = status.conditions.iter().find(|c| c.type_ == "Ready").unwrap();
    assert_eq!(
        (
            ready.status.as_str(),
            status.hold.as_ref().map(|hold| hold.reason)
        ),
        ("False", Some(HoldReason::WorkloadPaused))
    );
}

/// What was called off is not released because the promoted revision was undone, which makes another one the present one.
#[test]
fn revision_that_was_called_off_is_not_released_by_an_undo() {
    let mut seen = at_rest(without_pods("b", "2"));
    seen.status.revision.current = Some("b".to_owned());
    seen.status.revision.mark = Some("2".to_owned());
    seen.status.revision.previous = Some("z".to_owned());
    seen.status.revision.rejected = vec![RejectedRevision {
        late: false,
        revision: "b".to_owned(),
        mark: "2".to_owned(),
    }];
    seen.orders = order(Verb::Undo, "a");
    let undone = decide(&spec(), &seen, at(20));
    let status = undone.acts.iter().rev().find_map(|act| match act {
        Act::Record(status) => Some((**status).clone()),
        _ => None,
    });
    seen.status = status.unwrap();
    assert_eq!(seen.status.revision.promoted.as_deref(), Some("z"));
    seen.orders = vec![];
    let later = decide(&spec(), &seen, at(60));
    assert!(
        !later
            .acts
            .iter()
            .any(|act| matches!(act, Act::ScaleTarget(n) if *n > 0)),
        "{:?}",
        later.acts
    );
    seen.target = Some(without_pods("b", "3"));
    let anew = decide(&spec(), &seen, at(61));
    assert!(
        anew.acts
            .iter()
            .any(|act| matches!(act, Act::ScaleTarget(n) if *n > 0)),
        "applied anew it is a release"
    );
}

#[test]
fn refused_specification_is_observed() {
    let status = crate::rollout::refuse(&CanaryStatus::default(), 7, "interval", at(0));
    assert_eq!(status.observed_generation, Some(7));
}

#[test]
fn primary_that_somebody_deleted_comes_back_with_the_pods_it_had() {
    let mut seen = at_rest(without_pods("a", "2"));
    seen.primary.as_mut().unwrap().desired = 20;
    seen.status.failed_checks = 1;
    seen.told = seen.status.outbox.seq;
    seen.routes = at_weight(10);
    carry_out(&mut seen, 10, &spec());
    assert_eq!(
        seen.status.primary_replicas,
        Some(20),
        "noted with a write that is made anyway"
    );
    seen.primary = None;
    let acts = carry_out(&mut seen, 30, &spec());
    let again = Act::Promote {
        revision: "a".to_owned(),
        replicas: Some(20),
    };
    assert!(acts.contains(&again), "{acts:?}");
}

#[test]
fn autoscaler_of_the_primary_costs_no_write() {
    let mut seen = at_rest(without_pods("a", "2"));
    carry_out(&mut seen, 10, &spec());
    seen.told = seen.status.outbox.seq;
    carry_out(&mut seen, 20, &spec());
    seen.primary.as_mut().unwrap().desired = 20;
    assert_eq!(carry_out(&mut seen, 30, &spec()), []);
}

#[test]
fn primary_that_somebody_rolled_back_by_hand_is_not_written_over() {
    let mut seen = at_rest(without_pods("a", "2"));
    seen.status.revision.previous = Some("z".to_owned());
    seen.primary = Some(workload("z", "1"));
    let acts = carry_out(&mut seen, 10, &spec());
    assert!(acts.iter().all(|act| matches!(act, Act::Record(_))), "{acts:?}");
    let hold = seen.status.hold.clone().unwrap();
    assert_eq!(hold.reason, HoldReason::TargetConflict);
    assert!(hold.message.contains("bellwether undo"), "{}", hold.message);
}

#[test]
fn revision_that_somebody_took_out_of_production_does_not_come_back_with_a_failed_release() {
    let mut seen = at_rest(without_pods("a", "2"));
    seen.status.revision.previous = Some("z".to_owned());
    seen.primary = Some(workload("z", "1"));
    seen.target = Some(without_pods("c", "3"));
    carry_out(&mut seen, 30, &spec());
    assert_eq!(seen.status.phase, Some(Phase::Progressing));
    let revision = &seen.status.revision;
    assert_eq!(
        (revision.promoted.as_deref(), revision.previous.as_deref()),
        (Some("z"), None)
    );
    // It failed before anything else was written.
    seen.status.phase = Some(Phase::Failed);
    seen.status.revision.promoted = Some("a".to_owned());
    seen.status.revision.previous = Some("z".to_owned());
    seen.told = seen.status.outbox.seq;
    let acts = carry_out(&mut seen, 60, &spec());
    assert!(
        !acts.iter().any(|act| matches!(act, Act::Restore { .. })),
        "{acts:?}"
    );
}

/// Proxies are known not to follow, and with little traffic one window is empty by chance.
#[test]
fn one_empty_window_after_requests_that_should_not_be_takes_no_pods_away() {
    let mut seen = at_rest(workload("a", "2"));
    seen.status.hold = None;
    let mut named = false;
    for now in 10..30 {
        measure(&mut seen, now, 5.0, 95.0);
        seen.sample
            .as_mut()
            .map(Arc::make_mut)
            .unwrap()
            .traffic
            .reached_at = Some(at(now));
        seen.told = seen.status.outbox.seq;
        let acts = carry_out(&mut seen, now, &spec());
        assert!(!acts.contains(&Act::ScaleTarget(0)), "at {now}");
        named |= seen
            .status
            .hold
            .as_ref()
            .is_some_and(|hold| hold.reason == HoldReason::TrafficNotShifting);
    }
    assert!(named, "{:?}", seen.status.hold);
    // The same sample is looked at again after each write.
    measure(&mut seen, 30, 0.0, 95.0);
    for _ in 0..3 {
        seen.told = seen.status.outbox.seq;
        let acts = carry_out(&mut seen, 30, &spec());
        assert!(!acts.contains(&Act::ScaleTarget(0)), "{acts:?}");
    }
}

/// A revision comes back, its promotion fails, and the primary cannot be given the promoted template yet.
#[test]
fn what_a_failed_promotion_left_on_the_primary_is_nobodys_rollback() {
    let mut seen = at_rest(without_pods("a", "2"));
    seen.status.phase = Some(Phase::Failed);
    seen.status.revision.promoted = Some("b".to_owned());
    seen.status.revision.previous = Some("a".to_owned());
    seen.status.revision.current = Some("a".to_owned());
    seen.primary = Some(workload("a", "1"));
    let acts = carry_out(&mut seen, 30, &spec());
    let restore = Act::Restore {
        revision: "b".to_owned(),
    };
    assert!(acts.contains(&restore), "{acts:?}");
}

/// Somebody keeps pointing the callers' Service at the target, and the primary is deleted meanwhile.
#[test]
fn callers_are_not_taken_from_the_only_pods_that_serve() {
    let mut seen = at_rest(workload("a", "1"));
    seen.primary = None;
    seen.apex.serves = Some(Serves::Target);
    let decision = decide(&spec(), &seen, at(600));
    let points = |act: &Act| matches!(act, Act::PointApex(_) | Act::ScaleTarget(_));
    assert!(!decision.acts.iter().any(points), "{:?}", decision.acts);
    let endpoints = std::mem::take(&mut seen.apex.endpoints);
    let decision = decide(&spec(), &seen, at(600));
    assert!(
        !decision.acts.iter().any(points),
        "its endpoints follow the selector after a moment: {:?}",
        decision.acts
    );
    seen.apex.endpoints = endpoints;
    assert!(
        decision.acts.iter().any(|act| matches!(act, Act::Promote { .. })),
        "{:?}",
        decision.acts
    );

    seen.primary = Some(workload("a", "1"));
    let decision = decide(&spec(), &seen, at(600));
    assert_eq!(decision.acts[0], Act::PointApex(Serves::Primary));
}

/// A robot led callers to the target: its pods do not go in the round that leads them back.
#[test]
fn pods_are_not_scaled_away_in_the_round_that_takes_the_service_from_them() {
    let mut seen = at_rest(workload("a", "2"));
    seen.apex.serves = Some(Serves::Target);
    measure(&mut seen, 600, 0.0, 95.0);
    let acts = carry_out(&mut seen, 600, &spec());
    assert!(acts.contains(&Act::PointApex(Serves::Primary)), "{acts:?}");
    assert!(!acts.contains(&Act::ScaleTarget(0)), "{acts:?}");
}

/// They may go together, as by `kubectl delete -f` of a manifest that is applied again.
#[test]
fn virtual_service_of_its_owner_is_awaited_and_callers_keep_their_service() {
    let mut seen = at_rest(without_pods("a", "2"));
    seen.routes = Routes::Awaited("apply it again".to_owned());
    seen.apex.serves = None;
    let acts = decide(&spec(), &seen, at(30)).acts;
    assert!(acts.contains(&Act::PointApex(Serves::Primary)), "{acts:?}");
    let hold = acts.iter().rev().find_map(|act| match act {
        Act::Record(status) => status.hold.clone(),
        _ => None,
    });
    let hold = hold.unwrap();
    assert_eq!(
        (hold.reason, hold.message.as_str()),
        (HoldReason::RoutesUnavailable, "apply it again")
    );
    let mut release = first_step(Reading::Value(100.0));
    release.routes = Routes::Awaited("apply it again".to_owned());
    let routes = |act: &Act| matches!(act, Act::Route(_) | Act::ApplyRoutes(_));
    let acts = decide(&spec(), &release, at(30)).acts;
    assert!(!acts.iter().any(routes), "{acts:?}");
}

/// Another process, or one whose write got no answer: nothing at rest depends on what comes late, but images of a promotion.
#[test]
fn workload_is_fenced_at_rest_before_it_gets_other_images() {
    let mut seen = quarrel::at_rest();
    seen.epoch = "0/another".to_owned();
    seen.unfenced = vec![crate::rollout::Child::Target];
    let fence = Act::Fence(crate::rollout::Child::Target);
    assert!(!decide(&spec(), &seen, at(10)).acts.contains(&fence));
    seen.requests.shipping = Some(crate::api::Shipping {
        base: "old".to_owned(),
        requesters: crate::api::Requesters::default(),
    });
    let decision = decide(&spec(), &seen, at(10));
    assert_eq!(decision.acts.first(), Some(&fence));
    let others = decision.acts.iter().skip(1);
    assert_eq!(
        records(&decision.acts),
        others.count(),
        "nothing else is touched: {:?}",
        decision.acts
    );
    // Who refuses that again and again refuses what comes late as well.
    seen.refused = vec![crate::rollout::RefusedWrite {
        act: "fencing an object",
        fence: true,
        object: "Deployment/shop".to_owned(),
        message: "exceeded quota".to_owned(),
        since: at(-60),
        times: 3,
    }];
    assert!(!decide(&spec(), &seen, at(10)).acts.contains(&fence));
}
