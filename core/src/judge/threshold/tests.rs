use std::collections::BTreeMap;

use chrono::DateTime;
use proptest::prelude::*;

use super::{
    super::{Bucket, Disconnects, Sides, Traffic},
    *,
};

fn metric(kind: MetricKind, min: Option<f64>, max: Option<f64>) -> MetricSpec {
    MetricSpec {
        name: "m".into(),
        kind,
        window: Duration::from_secs(60),
        min,
        max,
        disconnects: Disconnects::Ignored,
    }
}

fn sample(readings: &[(&str, Reading)]) -> Sample {
    let window = Duration::from_secs(60);
    Sample {
        at: DateTime::UNIX_EPOCH,
        window,
        readings: readings
            .iter()
            .map(|(name, r)| ((*name).to_owned(), r.clone()))
            .collect::<BTreeMap<_, _>>(),
        traffic: Traffic {
            window,
            canary: Reading::NoData,
            primary: Reading::NoData,
            reached_at: None,
        },
        ..Sample::default()
    }
}

fn one(metric: MetricSpec, reading: Reading) -> Check {
    judge(&[metric], &sample(&[("m", reading)])).remove(0)
}

#[test]
fn both_ends_of_the_range_are_accepted() {
    let table = [
        (Some(99.0), None, 99.0, Outcome::Pass),
        (Some(99.0), None, 98.999_999, Outcome::Bad),
        (Some(99.0), None, 100.0, Outcome::Pass),
        (None, Some(500.0), 500.0, Outcome::Pass),
        (None, Some(500.0), 500.001, Outcome::Bad),
        (None, Some(500.0), f64::INFINITY, Outcome::Bad),
        (Some(1.0), Some(2.0), 0.9, Outcome::Bad),
        (Some(1.0), Some(2.0), 1.5, Outcome::Pass),
        (Some(1.0), Some(2.0), 2.1, Outcome::Bad),
        (Some(0.0), None, 0.0, Outcome::Pass),
    ];
    for (min, max, value, outcome) in table {
        let check = one(metric(MetricKind::Duration, min, max), Reading::Value(value));
        assert_eq!(
            (check.outcome, check.value),
            (outcome, Some(value)),
            "{value} in {min:?}..{max:?}"
        );
    }
}

#[test]
fn what_is_not_a_value_is_never_bad() {
    let rate = || metric(MetricKind::SuccessRate, Some(99.0), None);
    assert_eq!(one(rate(), Reading::NoData).outcome, Outcome::NoData);
    assert_eq!(one(rate(), Reading::Value(f64::NAN)).outcome, Outcome::NoData);
    let error = one(rate(), Reading::Error("HTTP 502".into()));
    assert_eq!((error.outcome, error.value), (Outcome::Error, None));
    assert_eq!(error.message, "m cannot be read: HTTP 502.");
    let missing = judge(&[rate()], &sample(&[])).remove(0);
    assert_eq!(missing.outcome, Outcome::NoData);
    assert_eq!(missing.message, "m has no data from the last 60 s.");
}

#[test]
fn the_sentence_never_shows_a_bad_value_as_its_bound() {
    let check = one(
        metric(MetricKind::SuccessRate, Some(99.0), None),
        Reading::Value(98.9996),
    );
    assert_eq!(check.bound, "≥ 99 %");
    assert_eq!(check.message, "m is 98.9996 %, which is not ≥ 99 %.");
    let check = one(
        metric(MetricKind::Duration, Some(0.5), Some(500.0)),
        Reading::Value(612.345),
    );
    assert_eq!(
        check.message,
        "m is 612.35 ms, which is not ≥ 0.5 ms and ≤ 500 ms."
    );
    let check = one(
        metric(MetricKind::SuccessRate, Some(99.5), None),
        Reading::Value(100.0),
    );
    assert_eq!(check.message, "m is 100 %, within ≥ 99.5 %.");
}

fn counts(requests: f64, bad: f64, disconnects: f64) -> Counts {
    let bucket = |le_ms: f64, count: f64| Bucket { le_ms, count };
    Counts {
        requests,
        bad,
        disconnects,
        buckets: vec![
            bucket(25.0, 0.9 * requests),
            bucket(50.0, 0.98 * requests),
            bucket(100.0, requests),
            bucket(f64::INFINITY, requests),
        ],
        ..Counts::default()
    }
}

#[test]
fn metrics_read_their_values_from_counts() {
    let rate = metric(MetricKind::SuccessRate, Some(99.0), None);
    let strict = MetricSpec {
        disconnects: Disconnects::Bad,
        ..rate.clone()
    };
    let p99 = metric(MetricKind::Duration, None, Some(500.0));
    let some = counts(200.0, 1.0, 100.0);
    assert_eq!(reading(&rate, Some(&some)), Reading::Value(99.0));
    assert_eq!(reading(&strict, Some(&some)), Reading::Value(49.5));
    assert_eq!(reading(&p99, Some(&some)), Reading::Value(75.0));
    let none = counts(0.0, 0.0, 0.0);
    for metric in [rate, strict, p99] {
        assert_eq!(reading(&metric, Some(&none)), Reading::NoData, "nothing came");
        assert_eq!(reading(&metric, None), Reading::NoData);
    }
}

fn of_both(canary: Counts, primary: Option<Counts>) -> Check {
    let rate = metric(MetricKind::SuccessRate, Some(99.0), None);
    let mut sample = sample(&[("m", reading(&rate, Some(&canary)))]);
    let sides = Sides {
        canary: Some(canary),
        primary,
    };
    sample.counts.insert(rate.window, sides);
    judge(&[rate], &sample).remove(0)
}

#[test]
fn canary_whose_callers_go_away_fails_though_what_it_answers_is_good() {
    let healthy = || Some(counts(900.0, 0.0, 3.0));
    let check = of_both(counts(100.0, 0.0, 51.0), healthy());
    assert_eq!((check.outcome, check.value), (Outcome::Bad, Some(100.0)));
    assert_eq!(
        check.message,
        "m: the callers of 51 of 100 requests went away before there was an answer."
    );
    let all = of_both(counts(100.0, 0.0, 100.0), healthy());
    assert_eq!((all.outcome, all.value), (Outcome::Bad, None));
    assert_eq!(
        of_both(counts(100.0, 0.0, 50.0), healthy()).outcome,
        Outcome::Pass
    );
    assert_eq!(
        of_both(counts(4.0, 0.0, 4.0), healthy()).outcome,
        Outcome::NoData,
        "too few to tell"
    );
    assert_eq!(of_both(counts(100.0, 0.0, 51.0), None).outcome, Outcome::Bad);
}

#[test]
fn window_of_the_sample_wins_over_that_of_the_specification() {
    let rate = metric(MetricKind::SuccessRate, Some(99.0), None);
    let mut sample = sample(&[("m", Reading::NoData)]);
    let window = Duration::from_secs(20);
    sample.windows.insert("m".to_owned(), window);
    let check = judge(std::slice::from_ref(&rate), &sample).remove(0);
    assert_eq!(check.message, "m has no data from the last 20 s.");
    let sides = Sides {
        canary: Some(counts(100.0, 0.0, 100.0)),
        primary: None,
    };
    sample.counts.insert(window, sides);
    assert_eq!(judge(&[rate], &sample).remove(0).outcome, Outcome::Bad);
}

#[test]
fn callers_that_leave_both_versions_alike_accuse_neither() {
    let check = of_both(counts(100.0, 0.0, 80.0), Some(counts(900.0, 0.0, 720.0)));
    assert_eq!(check.outcome, Outcome::Pass);
    let check = of_both(counts(100.0, 5.0, 80.0), Some(counts(900.0, 0.0, 720.0)));
    assert_eq!(
        check.outcome,
        Outcome::Bad,
        "and what is answered is judged as ever"
    );
}

#[test]
fn checks_come_in_the_order_of_the_metrics() {
    let named = |name: &str| MetricSpec {
        name: name.into(),
        ..metric(MetricKind::Duration, None, Some(1.0))
    };
    let checks = judge(
        &[named("z"), named("a")],
        &sample(&[("a", Reading::Value(2.0)), ("z", Reading::NoData)]),
    );
    let got: Vec<_> = checks.iter().map(|c| (c.metric.as_str(), c.outcome)).collect();
    assert_eq!(got, [("z", Outcome::NoData), ("a", Outcome::Bad)]);
}

#[test]
fn built_in_metrics_have_flaggers_names() {
    assert_eq!(
        MetricKind::from_name("request-success-rate"),
        Some(MetricKind::SuccessRate)
    );
    assert_eq!(
        MetricKind::from_name("request-duration"),
        Some(MetricKind::Duration)
    );
    assert_eq!(MetricKind::from_name("other"), None);
}

proptest! {
    #[test]
    fn bad_means_outside_and_looks_it(value in -1e4f64..1e4, min in -1e3f64..1e3, width in 0f64..1e3) {
        let check = one(metric(MetricKind::Duration, Some(min), Some(min + width)), Reading::Value(value));
        let outside = value < min || value > min + width;
        prop_assert_eq!(check.outcome == Outcome::Bad, outside);
        prop_assert_eq!(check.outcome == Outcome::Pass, !outside);
    }
}
