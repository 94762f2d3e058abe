//! Templates that are known by another digest than the recorded one.

use super::*;

/// Recorded by an earlier version, mid-rollout: its digests are of another form. The rollout goes on with the same verdict.
#[test]
fn rollout_that_an_earlier_version_began_goes_on() {
    let mut seen = first_step(Reading::Value(100.0));
    let target = seen.target.as_mut().unwrap();
    (target.revision, target.aliases) = ("normal-b".to_owned(), vec!["b".to_owned()]);
    let primary = seen.primary.as_mut().unwrap();
    primary.aliases = vec!["normal-a".to_owned()];
    let decision = decide(&spec(), &seen, at(10));
    assert_eq!(recorded(&decision.acts[0]).revision.current.as_deref(), Some("b"));
    assert_eq!(decision.acts[1], Act::Route(Weight::saturating(50)));
}

#[test]
fn digest_of_another_form_at_rest_costs_no_write_and_restarts_nothing() {
    let mut seen = first_step(Reading::NoData);
    seen.status.phase = Some(Phase::Succeeded);
    seen.status.canary_weight = 0;
    seen.status.step = None;
    seen.status.revision.current = Some("a".to_owned());
    seen.status.revision.promoted = Some("a".to_owned());
    seen.routes = at_weight(0);
    seen.target = Some(Workload {
        aliases: vec!["a".to_owned()],
        desired: 0,
        total: 0,
        updated: 0,
        available: 0,
        endpoints: 0,
        ..workload("normal-a", "7")
    });
    let first = decide(&spec(), &seen, at(30));
    if let [Act::Record(status)] = &first.acts[..] {
        seen.status = (**status).clone();
    }
    assert_eq!(decide(&spec(), &seen, at(31)).acts, []);
}
