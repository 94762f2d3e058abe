//! Judging a sample against the thresholds of the Canary, as Flagger does: an inclusive range per metric.

use std::{fmt::Write as _, time::Duration};

use super::{Reading, Sample};

/// What a metric measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetricKind {
    /// Share of requests without a server error, in percent.
    SuccessRate,
    /// 99th percentile of the request duration, in milliseconds.
    Duration,
}

impl MetricKind {
    /// The built-in metric of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<MetricKind> {
        match name {
            "request-success-rate" => Some(MetricKind::SuccessRate),
            "request-duration" => Some(MetricKind::Duration),
            _ => None,
        }
    }

    /// The unit of its values, as written behind a number.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            MetricKind::SuccessRate => "%",
            MetricKind::Duration => "ms",
        }
    }
}

/// One metric of an analysis.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricSpec {
    /// The name users gave it; unique within a Canary.
    pub name: String,
    /// What it measures.
    pub kind: MetricKind,
    /// How far it looks back.
    pub window: Duration,
    /// Smallest accepted value, in the unit of its kind.
    pub min: Option<f64>,
    /// Largest accepted value, in the unit of its kind.
    pub max: Option<f64>,
}

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The value lies within the range.
    Pass,
    /// The value lies outside of it: the only evidence against the release.
    Bad,
    /// There was nothing to measure.
    NoData,
    /// It could not be measured.
    Error,
}

/// One metric, judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// Name of the metric.
    pub metric: String,
    /// What it came to.
    pub outcome: Outcome,
    /// The measured value in the unit of the metric, if there is one.
    pub value: Option<f64>,
    /// The accepted range in words, such as `≥ 99 %`.
    pub bound: String,
    /// A sentence that tells all this.
    pub message: String,
}

/// Judges `sample`: one check per metric, in the order of `metrics`.
#[must_use]
pub fn judge(metrics: &[MetricSpec], sample: &Sample) -> Vec<Check> {
    metrics
        .iter()
        .map(|metric| check(metric, sample.readings.get(&metric.name)))
        .collect()
}

fn check(metric: &MetricSpec, reading: Option<&Reading>) -> Check {
    let (name, unit, bound) = (&metric.name, metric.kind.unit(), bound(metric));
    let value = reading.and_then(Reading::value);
    let (outcome, message) = match (value, reading) {
        (Some(value), _) => {
            let low = metric.min.filter(|min| value < *min);
            let high = metric.max.filter(|max| value > *max);
            match low.or(high) {
                None => (
                    Outcome::Pass,
                    format!("{name} is {} {unit}, within {bound}.", distinct(value, None)),
                ),
                Some(crossed) => {
                    let value = distinct(value, Some(crossed));
                    (
                        Outcome::Bad,
                        format!("{name} is {value} {unit}, which is not {bound}."),
                    )
                }
            }
        }
        (None, Some(Reading::Error(text))) => (Outcome::Error, format!("{name} cannot be read: {text}.")),
        (None, _) => {
            let seconds = metric.window.as_secs_f64();
            (
                Outcome::NoData,
                format!("{name} has no data from the last {} s.", number(seconds, 3)),
            )
        }
    };
    Check {
        metric: name.clone(),
        outcome,
        value,
        bound,
        message,
    }
}

fn bound(metric: &MetricSpec) -> String {
    let mut text = String::new();
    for (sign, limit) in [("≥", metric.min), ("≤", metric.max)] {
        let Some(limit) = limit else { continue };
        if !text.is_empty() {
            text.push_str(" and ");
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{sign} {} {}", number(limit, 6), metric.kind.unit());
    }
    text
}

/// `value` with two decimals, or as many more as it takes to look different from the bound it crossed.
fn distinct(value: f64, crossed: Option<f64>) -> String {
    let differs = |decimals: &usize| crossed.is_none_or(|bound| number(value, *decimals) != number(bound, 6));
    number(value, (2..12).find(differs).unwrap_or(12))
}

/// `value` with at most `decimals` decimals and no trailing zeros.
fn number(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    if text == "-0" {
        "0".to_owned()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono::DateTime;
    use proptest::prelude::*;

    use super::{super::Traffic, *};

    fn metric(kind: MetricKind, min: Option<f64>, max: Option<f64>) -> MetricSpec {
        MetricSpec {
            name: "m".into(),
            kind,
            window: Duration::from_secs(60),
            min,
            max,
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
}
