//! Which jobs are followed, and what is ordered.

use super::*;

#[test]
fn order_is_the_same_for_the_same_stand_and_names_what_is_released() {
    let spec = spec();
    let status = at_the_gate();
    let (key, known) = running(&spec, &status).remove(0);
    let job = asked_for(&spec, &status, known).unwrap();
    let made = order(&key, job, &spec.names).unwrap();
    assert_eq!(made.parameters["TARGET"], "web-canary.shop");
    assert_eq!(made.mark.value, "uid/0123456789ab/acceptance/1000000000");
    assert_eq!(made, order(&key, job, &spec.names).unwrap());
}

#[test]
fn order_stays_the_same_when_the_present_revision_is_recorded_anew() {
    let mut status = at_the_gate();
    let mark = |status: &CanaryStatus| {
        let (key, known) = running(&spec(), status).remove(0);
        let job = asked_for(&spec(), status, known).cloned().unwrap();
        order(&key, &job, &spec().names).unwrap().mark.value
    };
    let before = mark(&status);
    status.gates[0].revision.clone_from(&status.revision.current);
    status.revision.current = Some("the same in another form".to_owned());
    assert_eq!(mark(&status), before);
}

#[test]
fn no_job_is_followed_of_a_release_that_is_over_withdrawn_or_deleted() {
    let status = at_the_gate();
    assert_eq!(running(&spec(), &status).len(), 1);
    let deleting = RolloutSpec {
        deleting: true,
        ..spec()
    };
    assert!(running(&deleting, &status).is_empty());
    let over = CanaryStatus {
        phase: Some(Phase::Succeeded),
        ..status.clone()
    };
    assert!(running(&spec(), &over).is_empty());
    let withdrawn = CanaryStatus {
        retirement: Some(crate::api::Retirement {
            kind: crate::api::RetirementKind::RollBack,
            since: status.gates[0].since,
            message: String::new(),
        }),
        ..status
    };
    assert!(running(&spec(), &withdrawn).is_empty());
}
