//! Metrics that cannot be read, again and again.

use super::*;

/// A query fails whenever the canary has requests (its answer is too large then), and is answered without them.
#[test]
fn release_that_can_never_be_measured_is_not_given_traffic_for_ever() {
    let mut seen = first_step(Reading::Value(100.0));
    let (mut raised, mut exposed) = (0, 0);
    for now in 10..43_200 {
        let weight = seen.routes.weight().unwrap();
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        sample.at = at(now);
        let canary = if weight.is_zero() { 0.0 } else { 100.0 };
        sample.traffic.canary = Reading::Value(canary);
        let reading = if canary > 0.0 {
            Reading::Error("answer of the metrics server exceeds 33554432 bytes".to_owned())
        } else {
            Reading::NoData
        };
        sample.readings = BTreeMap::from([("request-success-rate".to_owned(), reading)]);
        let acts = live(&mut seen, now, &spec());
        raised += i64::from(acts.contains(&Act::Route(Weight::saturating(10))));
        exposed += i64::from(!weight.is_zero());
    }
    assert!(
        raised <= 25,
        "{raised} times in half a day, {exposed} s on what nobody judges"
    );
}

/// Prometheus dies of memory: it answers for half a minute, and reads its log for three and a half.
#[test]
fn source_that_comes_and_goes_does_not_expose_callers_again_and_again() {
    let mut seen = first_step(Reading::Value(100.0));
    let mut spec = spec();
    spec.interval = TimeDelta::seconds(60);
    let mut raised = 0;
    for now in 10..43_200 {
        let up = now % 240 < 30;
        let weight = seen.routes.weight().unwrap();
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        sample.at = at(now);
        let down = || Reading::Error("connection refused".to_owned());
        let count = |n: f64| if up { Reading::Value(n) } else { down() };
        sample.traffic.canary = count(if weight.is_zero() { 0.0 } else { 100.0 });
        sample.traffic.primary = count(900.0);
        let reading = if up { Reading::NoData } else { down() };
        sample.readings = BTreeMap::from([("request-success-rate".to_owned(), reading)]);
        let acts = live(&mut seen, now, &spec);
        raised += i64::from(acts.contains(&Act::Route(Weight::saturating(10))));
    }
    assert!(raised <= 50, "{raised} times in half a day");
}
