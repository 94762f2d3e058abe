//! A release that is withdrawn while the primary cannot take its traffic back.

use super::{
    failed_promotion::{unreached, unreached_and_failed},
    *,
};

/// When the primary that is gone gets a template again, if whoever is on call sets the workload's back at `set_back`.
fn made_again(mut seen: Observed, set_back: i64) -> Option<i64> {
    seen.primary = None;
    (10..7200).find(|now| {
        if *now == set_back {
            seen.target = Some(workload("a", "3"));
        }
        measure(&mut seen, *now, 30.0, 0.0);
        let acts = live(&mut seen, *now, &spec());
        acts.iter().any(|act| matches!(act, Act::Promote { .. }))
    })
}

/// The primary is deleted at weight 10, and the template is set back (`kubectl rollout undo`), before a verdict or after it.
#[test]
fn template_that_is_set_back_makes_a_primary_that_is_gone_again() {
    for (success, set_back) in [(100.0, 10), (50.0, 100)] {
        let made = made_again(first_step(Reading::Value(success)), set_back);
        assert!(
            made.is_some_and(|at| at >= set_back),
            "{success} % success: {made:?}"
        );
    }
}

/// Nobody reaches the primary, the fix `c` is bad; then the policy is mended, and somebody says so.
#[test]
fn somebody_may_say_that_requests_arrive_after_the_fix_was_rolled_back() {
    let (mut seen, from) = unreached_and_failed();
    seen.target = Some(workload("c", "5"));
    let mut accepted = Vec::new();
    for now in from + 1..from + 7200 {
        if now < from + 2000 {
            unreached(&mut seen, now);
            let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
            sample.readings = [("request-success-rate".to_owned(), Reading::Value(50.0))].into();
        } else {
            let w = f64::from(seen.routes.weight().unwrap().percent());
            measure(&mut seen, now, 3.0 * w, 3.0 * (100.0 - w));
            let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
            sample.seen.primary.called = tallied(3.0 * (100.0 - w), 0.0);
            sample.seen.primary.arrived = tallied(3.0 * (100.0 - w), 0.0);
        }
        if now == from + 3000 {
            accepted.push((seen.status.phase, seen.status.retirement.clone()));
            seen.orders = ordered("7", Verb::Advance, "c");
        }
        if now == from + 3100 {
            seen.orders = ordered("8", Verb::Abort, "c");
        }
        live(&mut seen, now, &spec());
    }
    assert_eq!(
        seen.routes,
        at_weight(0),
        "a bad release has all of the traffic after hours: {accepted:?} {:?} {:?}",
        seen.status.interventions,
        seen.status.all_holds()
    );
}

/// The release has everything, an autoscaler took the idle primary to zero, and the release is bad.
#[test]
fn bad_release_does_not_keep_callers_because_an_autoscaler_took_the_idle_primary_to_zero() {
    let mut spec = spec();
    spec.steps = Steps::new(vec![Weight::saturating(10), Weight::FULL]).unwrap();
    let mut seen = first_step(Reading::Value(50.0));
    seen.status.canary_weight = 100;
    seen.status.primary_replicas = Some(2);
    seen.status.step.as_mut().unwrap().index = 1;
    seen.routes = at_weight(100);
    seen.primary = Some(without_pods("a", "1"));
    let mut scaled = None;
    for now in 10..7200 {
        measure(&mut seen, now, 300.0, 0.0);
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        sample.readings = [("request-success-rate".to_owned(), Reading::Value(50.0))].into();
        let acts = live(&mut seen, now, &spec);
        if acts
            .iter()
            .any(|act| matches!(act, Act::ScalePrimary(n) if *n > 0))
        {
            scaled.get_or_insert(now);
        }
    }
    assert!(
        scaled.is_some(),
        "two hours later {:?} {:?} {:?}",
        seen.routes,
        seen.status.retirement,
        seen.status.all_holds()
    );
}
