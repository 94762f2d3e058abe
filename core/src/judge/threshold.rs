//! Judging a sample against the thresholds of the Canary, as Flagger does: an inclusive range per metric.

use std::{fmt::Write as _, time::Duration};

use super::{Counts, MetricKind, MetricSpec, Reading, Sample};

/// Requests of which half may be given up before that is a failed check.
const MIN_REQUESTS: f64 = 10.0;

/// The value that `metric` has by these counts; `None` are counts of which no growth can be told.
#[must_use]
pub fn reading(metric: &MetricSpec, counts: Option<&Counts>) -> Reading {
    let value = counts.and_then(|counts| match metric.kind {
        MetricKind::SuccessRate => counts.success_rate(metric.disconnects),
        MetricKind::Duration => counts.p99(),
    });
    value.map_or(Reading::NoData, Reading::of)
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
        .map(|metric| {
            let (reading, window) = (sample.readings.get(&metric.name), sample.window_of(metric));
            given_up(metric, sample).unwrap_or_else(|| check(metric, reading, window))
        })
        .collect()
}

/// The failed check of a canary of which callers wait for more than half of the answers in vain: the rest may be good and
/// says nothing. Where callers leave the primary as well, as they do with streams, that is no fault of the release.
fn given_up(metric: &MetricSpec, sample: &Sample) -> Option<Check> {
    let sides = sample.counts.get(&sample.window_of(metric))?;
    let canary = sides.canary.as_ref()?;
    let primary = sides.primary.as_ref();
    if metric.kind != MetricKind::SuccessRate
        || !canary.mostly_disconnects(MIN_REQUESTS)
        || primary.is_some_and(|primary| primary.mostly_disconnects(MIN_REQUESTS))
    {
        return None;
    }
    let message = format!(
        "{}: the callers of {:.0} of {:.0} requests went away before there was an answer.",
        metric.name, canary.disconnects, canary.requests
    );
    Some(Check {
        metric: metric.name.clone(),
        outcome: Outcome::Bad,
        value: canary.success_rate(metric.disconnects),
        bound: bound(metric),
        message,
    })
}

fn check(metric: &MetricSpec, reading: Option<&Reading>, window: Duration) -> Check {
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
            let seconds = window.as_secs_f64();
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
mod tests;
