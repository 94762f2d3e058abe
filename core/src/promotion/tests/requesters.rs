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
    });
    stage.command(Verb::Abort, None);
    stage.commands[0].unreadable = Some(problem.clone());
    stage.settle();
    stage.assert_is(PromotionPhase::Failed, "UnknownField");
    let refused = format!("refused: {problem}");
    assert_eq!(stage.promotions[0].status.message.as_ref(), Some(&refused));
    assert_eq!(stage.commands[0].status.outcome.as_ref(), Some(&refused));
}
