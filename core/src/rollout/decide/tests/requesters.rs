//! Who asked for a release does not approve it, whatever becomes of the objects that they asked with.

use super::*;
use crate::{
    api::{GatePoint, Requesters, Shipping},
    rollout::{GateSpec, Opens, Requests},
    user_aliases::UserAliases,
};

fn names(names: &[&str]) -> Requesters {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn gated() -> RolloutSpec {
    RolloutSpec {
        gates: vec![GateSpec {
            name: "qa".to_owned(),
            at: GatePoint::ConfirmPromotion,
            opens: Opens::Approval {
                not_by_requester: true,
            },
            timeout: None,
        }],
        ..spec()
    }
}

/// What becomes of an approval by these people; `None` if it is heeded.
fn approved_by(seen: &Observed, people: &[&str]) -> Option<String> {
    let mut seen = seen.clone();
    seen.orders = vec![Order {
        gate: Some("qa".to_owned()),
        people: names(people),
        by: people[0].to_owned(),
        ..order(Verb::Approve, "b").remove(0)
    }];
    carry_out(&mut seen, 6, &gated());
    let intervention = seen.status.interventions.last().expect("an answer");
    assert_eq!(intervention.verb, Verb::Approve);
    intervention.refused.clone()
}

/// A release of `b` that `mia` asked for by a Promotion, which is gone by now.
fn asked_and_gone() -> Observed {
    let mut seen = first_step(Reading::Value(100.0));
    seen.requests.shipped = BTreeMap::from([("b".to_owned(), names(&["mia", "ci:shop/web"]))]);
    carry_out(&mut seen, 5, &gated());
    seen.requests = Requests::default();
    seen
}

#[test]
fn requester_does_not_approve_when_the_promotion_is_gone() {
    let mut seen = asked_and_gone();
    for people in [
        &["mia"][..],
        &["Mia"],
        &["ci:shop/web"],
        &["ci:shop/approve", "mia"],
    ] {
        let refused = approved_by(&seen, people).unwrap_or_default();
        assert!(
            refused.contains("asked for this release"),
            "{people:?}: {refused:?}"
        );
    }
    assert_eq!(approved_by(&seen, &["bob"]), None);
    assert_eq!(
        approved_by(&seen, &["oidc:mia"]),
        None,
        "nobody knows that it is the same person"
    );
    seen.aliases = Arc::new(UserAliases::new([("oidc:mia", ["mia"])]));
    assert!(approved_by(&seen, &["oidc:mia"]).is_some());
}

#[test]
fn whoever_orders_the_retry_does_not_approve_it() {
    let mut seen = asked_and_gone();
    seen.status.phase = Some(Phase::Failed);
    seen.status.canary_weight = 0;
    seen.status.step = None;
    seen.routes = at_weight(0);
    seen.orders = vec![Order {
        id: "retry".to_owned(),
        by: "zoe".to_owned(),
        people: names(&["zoe"]),
        ..order(Verb::Retry, "b").remove(0)
    }];
    carry_out(&mut seen, 6, &gated());
    assert_eq!(seen.status.phase, Some(Phase::Progressing));
    assert!(approved_by(&seen, &["zoe"]).is_some());
    assert!(approved_by(&seen, &["mia"]).is_some(), "nor whoever asked first");
    assert_eq!(approved_by(&seen, &["bob"]), None);
}

#[test]
fn whoever_cannot_be_named_may_be_anybody() {
    let mut seen = asked_and_gone();
    seen.requests.shipped = BTreeMap::from([("b".to_owned(), Requesters::unknown())]);
    let refused = approved_by(&seen, &["bob"]).unwrap();
    assert!(refused.contains("cannot be told who asked"), "{refused}");
}

#[test]
fn another_revision_was_asked_for_by_others() {
    let mut seen = asked_and_gone();
    seen.target = Some(workload("c", "3"));
    seen.requests.shipped = BTreeMap::from([("c".to_owned(), names(&["bob"]))]);
    seen.requests.whole = ["c".to_owned()].into();
    for now in 6..20 {
        live(&mut seen, now, &gated());
    }
    assert_eq!(seen.status.revision.current.as_deref(), Some("c"));
    assert_eq!(seen.status.revision.requesters["c"], names(&["bob"]));
}

/// Somebody asks for another image beside the one that was never promoted, or restarts the pods.
#[test]
fn revision_made_of_one_that_was_not_promoted_was_asked_for_by_the_same() {
    for others in [None, Some("bob")] {
        let mut seen = asked_and_gone();
        seen.target = Some(workload("c", "3"));
        if let Some(other) = others {
            seen.requests.shipped = BTreeMap::from([("c".to_owned(), names(&[other]))]);
        }
        for now in 6..20 {
            live(&mut seen, now, &gated());
        }
        assert_eq!(seen.status.revision.current.as_deref(), Some("c"));
        let asked = &seen.status.revision.requesters["c"];
        assert!(asked.contains_all(&names(&["mia", "ci:shop/web"])), "{asked:?}");
    }
    // Neither present nor waiting: the workload was paused when it had it.
    let mut seen = asked_and_gone();
    seen.status.revision.requesters = BTreeMap::from([("x".to_owned(), names(&["zoe"]))]);
    seen.target = Some(workload("c", "3"));
    carry_out(&mut seen, 6, &gated());
    assert!(seen.status.revision.requesters["c"].contains_all(&names(&["zoe"])));
    // What was promoted is nobody's wish any more.
    let mut seen = asked_and_gone();
    seen.status.revision.promoted = Some("b".to_owned());
    seen.target = Some(workload("c", "3"));
    carry_out(&mut seen, 6, &gated());
    assert_eq!(seen.status.revision.requesters.get("c"), None);
    // An undo may make it the present one again.
    assert!(seen.status.revision.requesters["b"].contains_all(&names(&["mia"])));
}

/// The Promotion is deleted between the write of its images and the first look at them.
#[test]
fn images_on_their_way_are_asked_for_by_whoever_sent_them() {
    let mut seen = first_step(Reading::Value(100.0));
    seen.target = Some(workload("a", "1"));
    seen.status.revision.current = Some("a".to_owned());
    seen.status.phase = Some(Phase::Succeeded);
    seen.status.canary_weight = 0;
    seen.status.step = None;
    seen.routes = at_weight(0);
    let shipping = Shipping {
        base: "a".to_owned(),
        requesters: names(&["mia"]),
    };
    seen.requests.shipping = Some(shipping.clone());
    carry_out(&mut seen, 6, &gated());
    assert_eq!(seen.status.revision.shipping, Some(shipping));
    assert_eq!(
        seen.status.revision.requesters,
        BTreeMap::new(),
        "not of what is there"
    );
    seen.requests = Requests::default();
    let mut late = seen.clone();
    late.status.epoch = Some("0/before".to_owned());
    late.unfenced = vec![Child::Target];
    carry_out(&mut late, 7, &gated());
    assert!(late.status.revision.shipping.is_some(), "they may still arrive");
    late.target = Some(workload("b", "2"));
    carry_out(&mut late, 8, &gated());
    assert!(late.status.revision.requesters["b"].contains_all(&names(&["mia"])));
    carry_out(&mut seen, 7, &gated());
    assert_eq!(seen.status.revision.shipping, None, "refused by now");
}
