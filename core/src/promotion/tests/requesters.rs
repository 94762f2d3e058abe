//! Who asked for a release is on record before it begins, and before the Promotion goes.

use super::*;
use crate::api::Requesters;

fn asked(by: &str) -> Stage {
    let mut asked = promotion("p", "web:2", Conflict::Reject);
    asked.spec.requester.user = Some(by.to_owned());
    asked.spec.policy.ttl_seconds = Some(0);
    Stage::new(vec![asked])
}

#[test]
fn images_are_shipped_once_it_is_on_record_who_asked_for_them() {
    let mut stage = asked("mia");
    stage.notes = false;
    stage.settle();
    stage.assert_is(PromotionPhase::Running, "Started");
    assert_eq!(stage.target.images["app"], "web:1");
    stage.notes = true;
    stage.settle();
    assert_eq!(stage.target.images["app"], "web:2");
}

#[test]
fn promotion_is_not_forgotten_before_it_is_on_record_who_asked() {
    let mut stage = asked("mia");
    stage.settle();
    stage.notice();
    stage.notes = false;
    stage.canary.revision.requesters.clear();
    stage.end(Outcome::Aborted);
    stage.settle();
    assert_eq!(stage.phase(0), Some(PromotionPhase::Aborted));
    stage.notes = true;
    stage.settle();
    assert!(stage.promotions.is_empty());
    let noted = stage.canary.revision.requesters.values().next().unwrap();
    assert!(noted.contains_all(&["mia".to_owned()].into_iter().collect()));
}

#[test]
fn promotion_of_a_newer_version_counts_as_a_requester_and_as_unfinished() {
    let mut stage = asked("mia");
    stage.promotions.push(promotion("q", "web:3", Conflict::Queue));
    stage.promotions[0].spec.requester = Requester::default();
    stage.promotions[0].unreadable = Some(Unreadable {
        problem: "spec.policy: unknown field `wait`".to_owned(),
        status_too: true,
        requester_too: false,
    });
    stage.settle();
    assert_eq!(
        stage.phase(0),
        None,
        "nothing is written over what cannot be read"
    );
    assert_eq!(stage.phase(1), Some(PromotionPhase::Queued));
    let requests = decide(&stage.seen(), stage.now).requests;
    assert_eq!(requests.shipped["old"], Requesters::unknown());
    stage.now = at(0) + TimeDelta::seconds(DEADLINE);
    stage.promotions[1].created_at = stage.now;
    stage.settle();
    assert_eq!(
        stage.phase(1),
        Some(PromotionPhase::Running),
        "nor is it waited for for ever"
    );
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    let mut stage = asked("mia");
    stage.promotions[0].spec.policy.ttl_seconds = None;
    let problem = "spec.policy: unknown field `wait`".to_owned();
    stage.promotions[0].unreadable = Some(Unreadable {
        problem: problem.clone(),
        status_too: false,
        requester_too: false,
    });
    stage.command(Verb::Abort, None);
    stage.commands[0].unreadable = Some(problem.clone());
    stage.settle();
    stage.assert_is(PromotionPhase::Failed, "UnknownField");
    let refused = format!("refused: {problem}");
    assert_eq!(stage.promotions[0].status.message.as_ref(), Some(&refused));
    assert_eq!(stage.commands[0].status.outcome.as_ref(), Some(&refused));
}

/// It waits for a freeze, or for another promotion, while a release of just this image is under way.
#[test]
fn promotion_that_has_not_begun_asks_for_what_the_workload_has_already() {
    let mut stage = asked("mia");
    stage.promotions[0].status.phase = Some(PromotionPhase::Queued);
    let requests = decide(&stage.seen(), stage.now).requests;
    assert!(requests.shipped.is_empty(), "the workload has another image");
    stage.target = target("of-web:2", "web:2");
    let requests = decide(&stage.seen(), stage.now).requests;
    assert!(requests.shipped["of-web:2"].contains_all(&["mia".to_owned()].into_iter().collect()));
    assert!(requests.whole.contains("of-web:2"), "it is the only container");
    stage
        .target
        .images
        .insert("sidecar".to_owned(), "proxy:5".to_owned());
    stage.promotions[0].spec.image = None;
    stage.promotions[0].spec.images = Some([("app".to_owned(), "web:2".to_owned())].into());
    let requests = decide(&stage.seen(), stage.now).requests;
    assert!(
        requests.whole.is_empty(),
        "the other container may have what somebody else asked for"
    );
}

/// A newer version may know more names than this one reads.
#[test]
fn requester_that_cannot_be_read_in_full_may_be_anybody() {
    let mut stage = asked("mia");
    stage.promotions[0].status.phase = Some(PromotionPhase::Running);
    stage.promotions[0].unreadable = Some(Unreadable {
        problem: "spec.requester: unknown field `team`".to_owned(),
        status_too: false,
        requester_too: true,
    });
    let requests = decide(&stage.seen(), stage.now).requests;
    assert!(requests.shipped.values().all(Requesters::has_unknown) && !requests.shipped.is_empty());
    // One that has not begun is refused, and closes no gate.
    stage.promotions[0].status.phase = Some(PromotionPhase::Queued);
    assert!(decide(&stage.seen(), stage.now).requests.shipped.is_empty());
}

/// It ships nothing: what is there was asked for by somebody else.
#[test]
fn whoever_awaits_a_revision_does_not_ask_for_all_of_it() {
    let mut stage = asked("mia");
    stage.target = target("of-web:2", "web:2");
    for awaited in [
        crate::api::Awaited {
            image: Some("web:2".to_owned()),
            ..Default::default()
        },
        crate::api::Awaited {
            revision: Some("of-web:2".to_owned()),
            ..Default::default()
        },
    ] {
        stage.promotions[0].spec.image = None;
        stage.promotions[0].spec.r#await = Some(awaited);
        let requests = decide(&stage.seen(), stage.now).requests;
        assert!(requests.shipped.contains_key("of-web:2") && requests.whole.is_empty());
    }
}
