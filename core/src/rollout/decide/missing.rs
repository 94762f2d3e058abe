//! Requests that are expected at the canary and do not arrive.
//!
//! Invariant: one sample is no proof that they are missing, for the pods of both sides are not read at the same instant.

use chrono::{DateTime, TimeDelta, Utc};

use super::{plan::Plan, side};
use crate::{
    api::StepStatus,
    judge::{Reading, Sample, has_requests, is_dark, is_dark_for, quantile},
    rollout::{Serves, Weight},
};

/// How long the first requests may take to be counted.
const ARRIVAL: TimeDelta = TimeDelta::seconds(60);

/// What it means that no request is counted at the canary.
#[derive(Debug, PartialEq)]
pub(super) enum Missing {
    /// Requests reached it before, and none arrive any more.
    Dark(String),
    /// None has arrived since it has traffic.
    Unreached(String),
}

/// What it means that requests are expected at the canary and none are counted. That its count stands still is known at once;
/// that it has none at all may be a scrape that was lost, or requests that take long and are counted when they end.
pub(super) fn find(plan: &mut Plan<'_>, step: &StepStatus, sample: &Sample) -> Option<Missing> {
    let from = step.started_at + plan.spec.drain;
    let settled = since(sample, sample.traffic.window) >= from;
    let dark = settled && is_dark(&sample.traffic, plan.weight());
    if !lasts(plan, sample, dark) {
        return None;
    }
    let counted = is_counted(plan, sample);
    let text = dark_text(plan, sample);
    if sample.traffic.reached_since(step.traffic_since) {
        return counted.then_some(Missing::Dark(text));
    }
    let stands_still = matches!(sample.traffic.canary, Reading::Value(_));
    let late =
        sample.at - from >= longest_request(sample).map_or(ARRIVAL, |longest| side::window(sample) + longest);
    (stands_still || late).then(|| {
        Missing::Unreached(format!(
            "{text}; it refuses connections, or the proxies do not follow the routes"
        ))
    })
}

/// Whether requests are missing for longer than one more scrape: the first ones of a burst are read from the primary's pods before
/// they are from the canary's, or the other way round.
fn lasts(plan: &mut Plan<'_>, sample: &Sample, dark: bool) -> bool {
    let Some(step) = &mut plan.next.step else {
        return dark;
    };
    if has_requests(&sample.traffic.canary) {
        step.dark_since = None;
    }
    if !dark {
        return false;
    }
    let since = *step.dark_since.get_or_insert(sample.at);
    // Both sides have the same lag.
    let another = sample.scrape_interval.unwrap_or_default();
    sample.at - since >= TimeDelta::from_std(another).unwrap_or_default()
}

/// How long nearly all requests of the primary take: the 99th percentile. `None` where no metric wants durations.
fn longest_request(sample: &Sample) -> Option<TimeDelta> {
    let quantiles = sample.counts.values().filter_map(|sides| {
        let counts = sides.primary.as_ref()?;
        quantile(0.99, &counts.buckets)
    });
    let milliseconds = quantiles.reduce(f64::max)?;
    Some(TimeDelta::milliseconds(milliseconds.ceil() as i64))
}

/// Whether requests were expected at the canary since `since`, and none arrived: a window alone may be too short to tell.
pub(super) fn dark_since(plan: &mut Plan<'_>, since: DateTime<Utc>) -> bool {
    let Some(sample) = plan.seen.sample.clone() else {
        return false;
    };
    let span = (sample.at - since).as_seconds_f64();
    let dark = is_counted(plan, &sample) && is_dark_for(&sample.traffic, plan.weight(), span);
    lasts(plan, &sample, dark)
}

/// Whether the canary has all traffic and had no request for a whole window after `since`, while the primary's metrics
/// are there.
pub(super) fn silent_at_full(plan: &Plan<'_>, since: DateTime<Utc>) -> bool {
    let Some(sample) = plan
        .seen
        .sample
        .as_ref()
        .filter(|_| plan.weight() == Weight::FULL)
    else {
        return false;
    };
    let window = TimeDelta::from_std(sample.traffic.window).unwrap_or_default();
    let counted = matches!(sample.traffic.canary, Reading::Value(_));
    let silent = counted && !has_requests(&sample.traffic.canary);
    silent && sample.traffic.primary.value().is_some() && sample.at - since >= window
}

/// Whether the canary had requests since it has traffic.
pub(super) fn was_reached(plan: &Plan<'_>) -> bool {
    let (step, sample) = (plan.next.step.as_ref(), plan.seen.sample.as_ref());
    step.zip(sample)
        .is_some_and(|(step, sample)| sample.traffic.reached_since(step.traffic_since))
}

/// Whether requests are expected at the canary, so that it matters that nobody can count them.
pub(super) fn requests_expected(plan: &mut Plan<'_>) -> bool {
    let Some(sample) = plan.seen.sample.clone() else {
        return false;
    };
    let dark = is_dark(&sample.traffic, plan.weight());
    lasts(plan, &sample, dark)
}

/// Whether requests arrive at the canary. Where metrics are missing all the same, as with a window that holds no two scrapes,
/// nobody judges what callers meet.
pub(super) fn requests_arrive(plan: &Plan<'_>) -> bool {
    let sample = plan.seen.sample.as_ref();
    sample.is_some_and(|sample| has_requests(&sample.traffic.canary))
}

/// Whether the canary's requests are counted, so that none means none: its series stand still, or it has none while each of its
/// pods is known to be read.
fn is_counted(plan: &Plan<'_>, sample: &Sample) -> bool {
    let ready = side::serving(plan, Serves::Target).max(1);
    match sample.traffic.canary {
        Reading::Value(_) => true,
        Reading::NoData => sample.seen.canary.is_measured(ready) == Some(true),
        Reading::Error(_) => false,
    }
}

pub(super) fn since(sample: &Sample, window: std::time::Duration) -> DateTime<Utc> {
    sample.at - TimeDelta::from_std(window).unwrap_or_default()
}

fn dark_text(plan: &Plan<'_>, sample: &Sample) -> String {
    let primary = if let Reading::Value(count) = sample.traffic.primary {
        count
    } else {
        0.0
    };
    format!(
        "no request reaches the canary at weight {}, though the primary had {primary:.0} within {} s",
        plan.weight(),
        sample.traffic.window.as_secs()
    )
}
