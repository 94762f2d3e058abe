//! What the metrics say of the present step. No data and errors hold; only a bad value is evidence (I7).

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    capacity,
    missing::{self, Missing, since},
    plan::Plan,
    samples,
};
use crate::{
    api::{CheckStatus, HoldReason, NoticeKind, Retreat, StepStatus},
    defect::{Defect, planted},
    judge::{Check, MetricSpec, Outcome, Reading, Reporter, Sample, follows, has_requests, judge},
};

/// Holds that metrics cause and end.
pub(super) const METRIC_HOLDS: [HoldReason; 3] = [
    HoldReason::NoData,
    HoldReason::MetricsUnavailable,
    HoldReason::TrafficNotShifting,
];

/// How old the values of the checks may become in the status of a release that waits.
const VALUES: TimeDelta = TimeDelta::seconds(60);

/// What the metrics say.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// The step's evidence is not complete yet.
    Wait,
    /// Every check passed on data of this step alone.
    Pass,
    /// A check failed and was counted.
    Failed,
    /// Checks failed as often as the threshold allows; why.
    Bad(String),
    /// Metrics are missing: reason and sentence.
    Blind(HoldReason, String),
    /// Requests reached the canary before, are expected, and none arrive any more.
    Dark(String),
    /// Requests are expected at the canary and none has arrived since it has traffic: it does not answer, or the
    /// proxies do not follow the routes yet. Which of both it is, nobody can tell from here.
    Unreached(String),
}

/// Judges the latest sample, once per interval, and counts a failed check.
pub(super) fn evaluate(plan: &mut Plan<'_>) -> Verdict {
    plan.sample();
    let Some(step) = plan.next.step.clone() else {
        return Verdict::Wait;
    };
    let due = due(plan, &step);
    let Some(sample) = plan
        .seen
        .sample
        .clone()
        .filter(|s| s.at > weight_since(&step) && s.at <= plan.now)
    else {
        return overdue(plan, due);
    };
    match missing::find(plan, &step, &sample) {
        Some(Missing::Dark(text)) => return Verdict::Dark(text),
        Some(Missing::Unreached(text)) => return Verdict::Unreached(text),
        None => {}
    }
    // Before counts can tell of the present weight they are no evidence, and their absence is none either.
    let settled =
        evidence_from(plan).map(|from| from - plan.spec.drain + sample.settles_after(plan.spec.drain));
    if sample.at < due || settled.is_some_and(|settled| sample.at < settled) {
        return overdue(plan, settled.map_or(due, |settled| due.max(settled)));
    }
    let checks: Vec<Check> = judge(&plan.spec.metrics, &sample);
    let concerns = |check: &Check, from: DateTime<Utc>| {
        let mut metrics = plan.spec.metrics.iter();
        let metric = metrics.find(|metric| metric.name == check.metric);
        let window = metric.map(|metric| sample.window_of(metric));
        window.is_some_and(|w| since(&sample, w) >= from) || planted(Defect::JudgesOldSamples)
    };
    let bad: Vec<&Check> = checks
        .iter()
        .filter(|c| c.outcome == Outcome::Bad && concerns(c, step.traffic_since))
        .collect();
    // Pods that crash are not read any more, and what they answered counts.
    let ready = plan.target().is_some_and(capacity::canary_complete);
    let of_before = ready && outdated(plan, &sample).is_some();
    if !bad.is_empty() && !of_before {
        let text = bad
            .iter()
            .map(|c| c.message.clone())
            .collect::<Vec<_>>()
            .join("; ");
        return count_failed(plan, &checks, &text, sample.at);
    }
    if let Some(blind) = blindness(plan, &checks, &sample) {
        if planted(Defect::TakesBlindnessForBad) {
            return count_failed(plan, &checks, "no data", sample.at);
        }
        if planted(Defect::TakesBlindnessForGood) {
            return Verdict::Pass;
        }
        // A source that answers every other time would cost two writes and an event each time.
        return if sample.gap_is_new { Verdict::Wait } else { blind };
    }
    sees(plan);
    let step = plan.next.step.clone().unwrap_or(step);
    if sample.at < step.started_at + plan.spec.interval {
        return Verdict::Wait;
    }
    if !checks
        .iter()
        .all(|c| c.outcome == Outcome::Pass && concerns(c, step.started_at))
    {
        return Verdict::Wait;
    }
    if let Some(held) = shifting(plan, &sample) {
        return held;
    }
    record_values(plan, &checks, sample.at);
    Verdict::Pass
}

/// From when on counts are evidence of the present step: since the proxies follow the routes, and since the last check that
/// failed.
pub(super) fn evidence_from(plan: &Plan<'_>) -> Option<DateTime<Utc>> {
    if planted(Defect::JudgesOldSamples) {
        return None;
    }
    let step = plan.next.step.as_ref().filter(|_| !plan.weight().is_zero())?;
    let began = weight_since(step) + plan.spec.drain;
    Some(step.last_check_at.map_or(began, |failed| failed.max(began)))
}

/// Since when the canary has the present weight. Unlike the time from which a pass is counted, no restart of the controller
/// and no repair of the routes moves it: what is bad is found as soon as ever.
fn weight_since(step: &StepStatus) -> DateTime<Utc> {
    step.weight_since.unwrap_or(step.started_at)
}

/// When the step's next check is due: an interval after its last one, or after its beginning.
fn due(plan: &Plan<'_>, step: &StepStatus) -> DateTime<Utc> {
    let began = weight_since(step);
    step.last_check_at.unwrap_or(began).max(began) + plan.spec.interval
}

/// Whether the check that is due was done on a sample of its time, or that sample does not come. Looks again then.
pub(super) fn checked(plan: &mut Plan<'_>) -> bool {
    let Some(step) = plan.next.step.clone() else {
        return true;
    };
    let due = due(plan, &step);
    let sampled = plan.seen.sample.as_ref().is_some_and(|sample| sample.at >= due);
    sampled || samples::overdue(plan, due)
}

/// The sample of a check that is due at `due` is not there: for a while that is no news.
fn overdue(plan: &mut Plan<'_>, due: DateTime<Utc>) -> Verdict {
    if !samples::overdue(plan, due) {
        return Verdict::Wait;
    }
    let text = "no sample of the metrics arrives";
    Verdict::Blind(HoldReason::MetricsUnavailable, text.to_owned())
}

/// Since when metrics are missing at the present step; from now on, if they were not before.
pub(super) fn blind_since(plan: &mut Plan<'_>) -> Option<DateTime<Utc>> {
    let now = plan.now;
    let step = plan.next.step.as_mut()?;
    Some(*step.blind_since.get_or_insert(now))
}

/// Metrics are complete. After an interval without them a pass is counted anew: what is left of the step would be a few
/// requests.
fn sees(plan: &mut Plan<'_>) {
    let (now, interval) = (plan.now, plan.spec.interval);
    if let Some(step) = &mut plan.next.step
        && let Some(since) = step.blind_since.take()
        && now - since >= interval
    {
        step.started_at = now;
    }
}

/// Whether metrics can be read again: the source answers every question, and reads the pods that serve. Where there was nothing
/// to read, there are callers again.
pub(super) fn sees_again(plan: &mut Plan<'_>, retreat: &Retreat) -> bool {
    plan.sample();
    let callers = retreat.reason == HoldReason::NoData;
    let sample = plan.seen.sample.as_ref().filter(|s| s.at > retreat.since);
    sample.is_some_and(|s| {
        let counted = match &s.traffic.primary {
            Reading::Value(_) => !callers || has_requests(&s.traffic.primary),
            _ => false,
        };
        counted && s.unanswered().is_none() && reads_pods(plan, s)
    })
}

/// Whether the source tells which pods it reads, and reads some of the primary. Not asked where nothing depends on it.
fn reads_pods(plan: &Plan<'_>, sample: &Sample) -> bool {
    let (canary, primary) = (&sample.seen.canary, &sample.seen.primary);
    !needs_pods(plan) || (primary.is_current() == Some(true) && !matches!(canary.pods, Reading::Error(_)))
}

/// Whether a judgement rests on what pods counted, so that it matters which of them the source reads.
fn needs_pods(plan: &Plan<'_>) -> bool {
    !plan.spec.metrics.is_empty() && plan.spec.reporter != Reporter::Source
}

/// Whether metrics are missing for the primary as well, so that nothing at all can be said.
pub(super) fn blind_for_both(plan: &Plan<'_>) -> bool {
    let sample = plan.seen.sample.as_ref();
    sample.is_none_or(|sample| {
        let counted = matches!(sample.traffic.primary, Reading::Value(_));
        !counted || sample.seen.primary.is_current() == Some(false)
    })
}

/// What keeps a sample from being evidence: a metric without an answer, or, where nothing is to be judged, requests that
/// nobody can count.
fn blindness(plan: &Plan<'_>, checks: &[Check], sample: &Sample) -> Option<Verdict> {
    let text = |outcome: Outcome| {
        let told: Vec<_> = checks
            .iter()
            .filter(|c| c.outcome == outcome)
            .map(|c| c.message.clone())
            .collect();
        (!told.is_empty()).then(|| told.join("; "))
    };
    if let Some(error) = text(Outcome::Error) {
        return Some(Verdict::Blind(HoldReason::MetricsUnavailable, error));
    }
    if let Some(missing) = text(Outcome::NoData) {
        return Some(Verdict::Blind(
            HoldReason::NoData,
            missing + &too_short(plan, checks, sample),
        ));
    }
    if let Some(error) = sample.unanswered() {
        let text = format!("the requests of the canary cannot be counted: {error}");
        return Some(Verdict::Blind(HoldReason::MetricsUnavailable, text));
    }
    outdated(plan, sample)
}

/// Why values say nothing of the pods that serve now: the source reads none of them, so what it counted may be of pods that are
/// gone. Callers' proxies count whom they called, whether those are read or not.
fn outdated(plan: &Plan<'_>, sample: &Sample) -> Option<Verdict> {
    if !needs_pods(plan) {
        return None;
    }
    let target = &plan.spec.names.target;
    match sample.seen.canary.is_current() {
        Some(true) => None,
        Some(false) => Some(Verdict::Blind(
            HoldReason::NoData,
            format!(
                "no pod of {target} has a recent sample, so what is counted may be of pods that are gone; the source may be behind"
            ),
        )),
        None => Some(Verdict::Blind(
            HoldReason::MetricsUnavailable,
            format!("the source does not tell which pods of {target} it reads"),
        )),
    }
}

/// Which of the metrics without data can hardly have any: two samples do not lie within what they look back. Ends the sentence
/// that there is none.
fn too_short(plan: &Plan<'_>, checks: &[Check], sample: &Sample) -> String {
    let Some(scrape) = sample.scrape_interval else {
        return String::new();
    };
    let missing = |name: &str| {
        let mut checks = checks.iter();
        checks.any(|check| check.metric == name && check.outcome == Outcome::NoData)
    };
    let short = |metric: &&MetricSpec| metric.window < scrape * 2 && missing(&metric.name);
    let metrics = plan.spec.metrics.iter().filter(short);
    let texts = metrics.map(|metric| {
        format!(
            "; {} looks back {} s, which is less than two scrapes of {} s: an interval of {} s would do",
            metric.name,
            metric.window.as_secs(),
            scrape.as_secs(),
            scrape.mul_f64(2.5).as_secs_f64().ceil()
        )
    });
    texts.collect()
}

fn shifting(plan: &Plan<'_>, sample: &Sample) -> Option<Verdict> {
    let (Reading::Value(canary), Reading::Value(primary)) = (&sample.traffic.canary, &sample.traffic.primary)
    else {
        return None;
    };
    // Requests that a primary without pods should have got are counted nowhere.
    let primary_dead = plan.primary().is_none_or(|p| p.serving() == 0);
    if primary_dead || follows(*canary, *primary, plan.weight()) != Some(false) {
        return None;
    }
    let share = 100.0 * canary / (canary + primary);
    let text = format!(
        "the canary has {share:.1} % of the requests at weight {}",
        plan.weight()
    );
    Some(Verdict::Blind(HoldReason::TrafficNotShifting, text))
}

fn record_values(plan: &mut Plan<'_>, checks: &[Check], at: DateTime<Utc>) {
    plan.next.checks = checks
        .iter()
        .map(|check| CheckStatus {
            name: check.metric.clone(),
            outcome: format!("{:?}", check.outcome),
            value: check.value.map(|v| (v * 1e4).round() / 1e4),
            bound: check.bound.clone(),
            at,
        })
        .collect();
}

/// A release that passed and waits, maybe for days, writes new values once a minute, or when a check comes to something else.
pub(super) fn keep_recent_values(plan: &mut Plan<'_>) {
    let known = &plan.seen.status.checks;
    let same = |(new, old): (&CheckStatus, &CheckStatus)| {
        (&new.name, &new.outcome, &new.bound) == (&old.name, &old.outcome, &old.bound)
            && new.at >= old.at
            && new.at - old.at < VALUES
    };
    if known.len() == plan.next.checks.len() && plan.next.checks.iter().zip(known).all(same) {
        plan.next.checks.clone_from(known);
    }
}

fn count_failed(plan: &mut Plan<'_>, checks: &[Check], text: &str, at: DateTime<Utc>) -> Verdict {
    record_values(plan, checks, at);
    plan.next.failed_checks += 1;
    let (failed, threshold) = (plan.next.failed_checks, plan.spec.threshold);
    if let Some(step) = &mut plan.next.step {
        step.last_check_at = Some(at);
    }
    plan.end_holds(&METRIC_HOLDS);
    let text = format!("check failed ({failed} of {threshold}): {text}");
    if failed >= threshold {
        return Verdict::Bad(text);
    }
    plan.say(text.clone());
    plan.tell(NoticeKind::Warning, "CheckFailed", text);
    plan.record_first();
    Verdict::Failed
}
