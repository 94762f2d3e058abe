//! Parse, don't validate: a Canary becomes a [`RolloutSpec`], or an error that names every field that is wrong.
//!
//! The API server refuses most of this already by the rules of the CRD; an object may be older than its rules.

mod names; // which names its objects have
mod problems; // everything that is wrong, each with its field
#[cfg(test)]
mod tests;

use chrono::TimeDelta;
use kube::ResourceExt;

use super::{CanaryId, GateSpec, HandBack, Opens, RolloutSpec, Steps, Weight};
use crate::{
    api::{Analysis, Canary, Gate, Metric, MetricDisconnects, MetricReporter, ReachPolicy, Service},
    duration,
    judge::{Disconnects, MetricKind, MetricSpec, Reporter},
    workload::marks::{ACCEPT_POLICIES_ANNOTATION, HAND_BACK_ANNOTATION},
};
use problems::Problems;

pub use names::{says_tcp, unrouted_tls};
pub use problems::{Invalid, Problem};

/// Parses `canary`. `drain` is how long proxies may go on using a changed route. What is wrong with the analysis of a
/// Canary that is being deleted does not matter, and must not keep it.
///
/// # Errors
/// Every field that cannot be used.
pub fn validate(canary: &Canary, drain: TimeDelta) -> Result<RolloutSpec, Invalid> {
    let parsed = parse(canary, &canary.spec.analysis, drain);
    if canary.metadata.deletion_timestamp.is_none() {
        return parsed;
    }
    let any = Analysis {
        step_weights: Some(vec![100]),
        ..Analysis::default()
    };
    parsed.or_else(|_| parse(canary, &any, drain))
}

fn parse(canary: &Canary, analysis: &Analysis, drain: TimeDelta) -> Result<RolloutSpec, Invalid> {
    let spec = &canary.spec;
    let namespace = canary.namespace().unwrap_or_default();
    let mut problems = Problems::default();
    let names = names::names(canary, namespace.clone(), &mut problems);
    let judged = judged(analysis, &mut problems);
    if let Some(words) = says_tcp(&spec.service).filter(|_| !analysis.metrics.is_empty()) {
        problems.note("spec.analysis.metrics", not_http(&words));
    }
    let (Some(names), Some(judged), true) = (names, judged, problems.none()) else {
        return Err(problems.into_invalid());
    };
    Ok(RolloutSpec {
        id: CanaryId {
            namespace,
            name: canary.name_any(),
        },
        uid: canary.uid().unwrap_or_default(),
        generation: canary.metadata.generation.unwrap_or_default(),
        deleting: canary.metadata.deletion_timestamp.is_some(),
        hand_back: canary
            .annotations()
            .get(HAND_BACK_ANNOTATION)
            .and_then(|text| HandBack::parse(text)),
        accepted_policies: canary
            .annotations()
            .get(ACCEPT_POLICIES_ANNOTATION)
            .cloned()
            .unwrap_or_default(),
        names,
        steps: judged.steps,
        promotion_step: judged.promotion_step,
        interval: judged.interval,
        threshold: analysis.threshold.unwrap_or(1).max(1),
        max_blind: judged.max_blind,
        progress_deadline: TimeDelta::seconds(i64::from(
            spec.progress_deadline_seconds.unwrap_or(600).max(1),
        )),
        reach_assumed: analysis.reach == Some(ReachPolicy::Assumed),
        reporter: match analysis.reporter {
            None | Some(MetricReporter::Destination) => Reporter::Destination,
            Some(MetricReporter::Source) => Reporter::Source,
        },
        metrics: judged.metrics,
        gates: judged.gates,
        skip_analysis: spec.skip_analysis,
        suspend: spec.suspend,
        revert_on_deletion: spec.revert_on_deletion,
        has_gateways: has_gateways(&spec.service),
        drain,
    })
}

fn has_gateways(service: &Service) -> bool {
    let gateways = service.gateways.iter().flatten();
    service.delegation || gateways.into_iter().any(|gateway| gateway != "mesh")
}

/// Why the built-in metrics cannot judge a service whose port is TCP, as `words` say.
#[must_use]
pub fn not_http(words: &str) -> String {
    format!(
        "request-success-rate and request-duration count HTTP requests, and the service is TCP ({words}); remove them, \
         and let spec.analysis.gates judge the release"
    )
}

/// The analysis after validation.
struct Judged {
    steps: Steps,
    promotion_step: Option<Weight>,
    interval: TimeDelta,
    max_blind: TimeDelta,
    metrics: Vec<MetricSpec>,
    gates: Vec<GateSpec>,
}

/// `None` if a field cannot be used, which is noted in `problems`.
fn judged(analysis: &Analysis, problems: &mut Problems) -> Option<Judged> {
    let interval = problems.keep(span("spec.analysis.interval", analysis.interval.as_deref(), "1m"));
    let steps = steps(analysis, problems);
    let promotion_step = problems.keep(promotion_step(analysis));
    let max_blind = problems.keep(span(
        "spec.analysis.maxBlind",
        analysis.max_blind.as_deref(),
        "5m",
    ));
    let metrics = metrics(&analysis.metrics, problems);
    let gates = gates(&analysis.gates, problems);
    Some(Judged {
        steps: steps?,
        promotion_step: promotion_step?,
        interval: interval?,
        max_blind: max_blind?,
        metrics,
        gates,
    })
}

fn steps(analysis: &Analysis, problems: &mut Problems) -> Option<Steps> {
    let cap = problems.keep(percent(
        "spec.analysis.maxWeight",
        analysis.max_weight.unwrap_or(100),
    ));
    let step = problems.keep(percent(
        "spec.analysis.stepWeight",
        analysis.step_weight.unwrap_or(0),
    ));
    let (cap, step) = (cap?, step?);
    let weights = if step.is_zero() {
        capped(listed(analysis, problems)?.into_iter(), cap)
    } else {
        let step = i64::from(step.percent());
        let weights = (1..=100 / step + 1).map(|n| Weight::saturating(n * step));
        capped(weights, cap)
    };
    let steps = Steps::new(weights);
    if steps.is_none() {
        let right = "there is no step; set stepWeight (with maxWeight) or stepWeights, from 1 to 100";
        problems.note("spec.analysis", right);
    }
    steps
}

/// `stepWeights`, if all of them can be used.
fn listed(analysis: &Analysis, problems: &mut Problems) -> Option<Vec<Weight>> {
    let listed = analysis.step_weights.iter().flatten().enumerate();
    let weights: Vec<Option<Weight>> = listed
        .map(|(i, weight)| problems.keep(percent(&format!("spec.analysis.stepWeights[{i}]"), *weight)))
        .collect();
    let weights: Vec<Weight> = weights.into_iter().collect::<Option<_>>()?;
    if !weights.windows(2).all(|pair| pair[0] < pair[1]) {
        problems.note("spec.analysis.stepWeights", "must rise from step to step");
        return None;
    }
    Some(weights)
}

/// The weights below `cap`, then `cap` itself if any reaches it.
fn capped(weights: impl Iterator<Item = Weight>, cap: Weight) -> Vec<Weight> {
    let mut steps = Vec::new();
    for weight in weights {
        if weight >= cap {
            steps.push(cap);
            break;
        }
        steps.push(weight);
    }
    steps
}

fn promotion_step(analysis: &Analysis) -> Result<Option<Weight>, Problem> {
    let step = percent(
        "spec.analysis.stepWeightPromotion",
        analysis.step_weight_promotion.unwrap_or(0),
    )?;
    Ok(Some(step).filter(|s| !s.is_zero()))
}

fn percent(field: &str, value: i32) -> Result<Weight, Problem> {
    Weight::new(i64::from(value))
        .ok_or_else(|| Problem::new(field, format!("is {value}; must lie in 0 to 100")))
}

/// The metrics that can be used; what is wrong with the others is noted.
fn metrics(metrics: &[Metric], problems: &mut Problems) -> Vec<MetricSpec> {
    let mut parsed = Vec::new();
    for (i, given) in metrics.iter().enumerate() {
        let path = format!("spec.analysis.metrics[{i}]");
        // Readings, windows and checks are known by the name of their metric.
        if let Some(earlier) = metrics[..i].iter().position(|earlier| earlier.name == given.name) {
            let text = format!(
                "{:?} is the name of spec.analysis.metrics[{earlier}] already; write min and max of one metric into one entry",
                given.name
            );
            problems.note(format!("{path}.name"), text);
        }
        parsed.extend(metric(&path, given, problems));
    }
    parsed
}

fn metric(path: &str, metric: &Metric, problems: &mut Problems) -> Option<MetricSpec> {
    let kind = MetricKind::from_name(&metric.name);
    if kind.is_none() {
        problems.note(
            format!("{path}.name"),
            format!(
                "{:?} is unknown; built in are request-success-rate and request-duration",
                metric.name
            ),
        );
    }
    let range = metric.threshold_range.as_ref();
    let (min, max) = (range.and_then(|r| r.min), range.and_then(|r| r.max));
    if min.is_none() && max.is_none() {
        problems.note(format!("{path}.thresholdRange"), "set min, max or both");
    }
    if min.zip(max).is_some_and(|(min, max)| min > max) {
        problems.note(format!("{path}.thresholdRange"), "min must not exceed max");
    }
    let bad = metric.disconnects == Some(MetricDisconnects::Bad);
    if bad && kind == Some(MetricKind::Duration) {
        problems.note(
            format!("{path}.disconnects"),
            "only request-success-rate has good and bad requests; remove it",
        );
    }
    let field = format!("{path}.interval");
    let window = problems.keep(span(&field, metric.interval.as_deref(), "1m"));
    Some(MetricSpec {
        name: metric.name.clone(),
        kind: kind?,
        window: window?.to_std().unwrap_or_default(),
        min,
        max,
        disconnects: if bad {
            Disconnects::Bad
        } else {
            Disconnects::Ignored
        },
    })
}

/// The gates that can be used; what is wrong with the others is noted.
fn gates(gates: &[Gate], problems: &mut Problems) -> Vec<GateSpec> {
    let mut parsed = Vec::new();
    for (i, given) in gates.iter().enumerate() {
        let path = format!("spec.analysis.gates[{i}]");
        if gates[..i].iter().any(|earlier| earlier.name == given.name) {
            problems.note(format!("{path}.name"), format!("{:?} is named twice", given.name));
        }
        parsed.extend(gate(&path, given, problems));
    }
    parsed
}

fn gate(path: &str, gate: &Gate, problems: &mut Problems) -> Option<GateSpec> {
    let opens = match (&gate.approval, &gate.jenkins) {
        (Some(approval), None) => {
            let not_by_requester = approval.not_by_requester;
            Some((Opens::Approval { not_by_requester }, None))
        }
        (None, Some(job)) => Some((Opens::Jenkins(job.clone()), Some("1h"))),
        _ => {
            problems.note(path, "set exactly one of approval and jenkins");
            None
        }
    };
    let default = opens.as_ref().and_then(|(_, default)| *default);
    let timeout = gate.timeout.as_deref().filter(|text| !text.is_empty());
    let field = format!("{path}.timeout");
    let timeout = timeout.or(default).map(|text| span(&field, Some(text), text));
    let timeout = problems.keep(timeout.transpose());
    Some(GateSpec {
        name: gate.name.clone(),
        at: gate.at,
        opens: opens?.0,
        timeout: timeout?,
    })
}

fn span(field: &str, text: Option<&str>, default: &str) -> Result<TimeDelta, Problem> {
    let text = text.filter(|text| !text.is_empty()).unwrap_or(default);
    let problem = || {
        Problem::new(
            field,
            format!("{text:?} is no duration; write 30s, 1m or 1m30s, at least 1s"),
        )
    };
    duration::parse(text)
        .filter(|delta| *delta >= TimeDelta::seconds(1))
        .ok_or_else(problem)
}
