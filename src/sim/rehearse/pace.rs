//! How long a rollout may take by its specification, and how fast it is shown.

use chrono::TimeDelta;

use super::story::{Act, Action};
use crate::rollout::RolloutSpec;

/// How late a sample, a round and a write may make a step.
const SLACK: TimeDelta = TimeDelta::seconds(30);
/// Looks at the traffic in a rollout that goes well.
const BEATS: i32 = 40;
/// Real seconds in which a rollout that goes well is shown.
const SHOWN_SECONDS: f64 = 18.0;

/// The longest window of the checks.
#[must_use]
pub fn window(spec: &RolloutSpec) -> TimeDelta {
    let windows = spec.metrics.iter().map(|metric| metric.window);
    let longest = windows.max().and_then(|window| TimeDelta::from_std(window).ok());
    longest.unwrap_or(spec.interval)
}

fn step(spec: &RolloutSpec) -> TimeDelta {
    spec.interval.max(window(spec))
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// About how long a release takes that passes everything.
#[must_use]
pub fn expected(spec: &RolloutSpec) -> TimeDelta {
    step(spec) * count(spec.steps.weights().len()) + promotion(spec) + TimeDelta::seconds(75)
}

fn promotion(spec: &RolloutSpec) -> TimeDelta {
    let step = spec.promotion_step.map(|step| i32::from(step.percent()));
    step.map_or(TimeDelta::zero(), |step| spec.interval * (100 / step + 1))
}

/// Time between two looks at the traffic.
#[must_use]
pub fn beat(spec: &RolloutSpec) -> TimeDelta {
    let seconds = (expected(spec) / BEATS).num_seconds();
    TimeDelta::seconds(seconds.max(1))
}

/// Virtual seconds in a real second, so that a rollout that goes well takes about 18 real seconds.
#[must_use]
pub fn speed(spec: &RolloutSpec) -> f64 {
    (expected(spec).as_seconds_f64() / SHOWN_SECONDS).max(1.0)
}

/// How long after the ship everything must have come to a verdict or is held for good: every step, every failed check,
/// both waits for pods, the pauses after retreats, two retreats for want of metrics, and the way back; counted from the
/// last act that may decide. Time in which Prometheus is down counts on top if it ends before.
#[must_use]
pub fn bound(spec: &RolloutSpec, acts: &[Act]) -> TimeDelta {
    let last = acts.iter().filter(|act| act.action.decides()).map(|act| act.at);
    let checks = count(spec.steps.weights().len()).saturating_add(spec.threshold);
    let mut bound = last.max().unwrap_or_default()
        + (step(spec) + SLACK) * checks
        + spec.progress_deadline * 2
        + spec.interval * 7
        + spec.max_blind * 2
        + promotion(spec)
        + TimeDelta::minutes(2);
    let mut down = None;
    for act in acts {
        match act.action {
            Action::MetricsDown | Action::MetricsEmpty => down = down.or(Some(act.at)),
            Action::MetricsUp if act.at <= bound => {
                bound += down.take().map_or(TimeDelta::zero(), |since| act.at - since);
            }
            _ => {}
        }
    }
    bound
}
