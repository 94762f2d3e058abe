//! Parse, don't validate: a Canary becomes a [`RolloutSpec`], or an error that names the field.
//!
//! The API server refuses most of this already by the rules of the CRD; an object may be older than its rules.

use chrono::TimeDelta;
use kube::ResourceExt;

use super::{CanaryId, GateSpec, Names, Opens, RolloutSpec, Steps, Weight};
use crate::{
    api::{Analysis, Canary, Gate, Metric, MetricDisconnects, MetricReporter, ReachPolicy},
    judge::{Disconnects, MetricKind, MetricSpec, Reporter},
};

/// A field that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// Path of the field.
    pub field: &'static str,
    /// What is wrong and what would be right.
    pub problem: String,
}

/// Parses `canary`. `drain` is how long proxies may go on using a changed route. What is wrong with the analysis of a
/// Canary that is being deleted does not matter, and must not keep it.
///
/// # Errors
/// The first field that cannot be used.
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
    Ok(RolloutSpec {
        id: CanaryId {
            namespace: namespace.clone(),
            name: canary.name_any(),
        },
        uid: canary.uid().unwrap_or_default(),
        generation: canary.metadata.generation.unwrap_or_default(),
        deleting: canary.metadata.deletion_timestamp.is_some(),
        names: names(canary, namespace)?,
        steps: steps(analysis)?,
        promotion_step: promotion_step(analysis)?,
        interval: duration("spec.analysis.interval", analysis.interval.as_deref(), "1m")?,
        threshold: analysis.threshold.unwrap_or(1).max(1),
        max_blind: duration("spec.analysis.maxBlind", analysis.max_blind.as_deref(), "5m")?,
        reach_assumed: analysis.reach == Some(ReachPolicy::Assumed),
        progress_deadline: TimeDelta::seconds(i64::from(
            spec.progress_deadline_seconds.unwrap_or(600).max(1),
        )),
        reporter: match analysis.reporter {
            None | Some(MetricReporter::Destination) => Reporter::Destination,
            Some(MetricReporter::Source) => Reporter::Source,
        },
        metrics: analysis.metrics.iter().map(metric).collect::<Result<_, _>>()?,
        gates: gates(&analysis.gates)?,
        skip_analysis: spec.skip_analysis,
        suspend: spec.suspend,
        revert_on_deletion: spec.revert_on_deletion,
        has_gateways: spec.service.delegation
            || spec
                .service
                .gateways
                .as_ref()
                .is_some_and(|list| list.iter().any(|g| g != "mesh")),
        drain,
    })
}

fn invalid(field: &'static str, problem: impl Into<String>) -> Invalid {
    Invalid {
        field,
        problem: problem.into(),
    }
}

fn names(canary: &Canary, namespace: String) -> Result<Names, Invalid> {
    let target = &canary.spec.target_ref;
    if target.kind != "Deployment" {
        return Err(invalid(
            "spec.targetRef.kind",
            format!("is {:?}; must be Deployment", target.kind),
        ));
    }
    if target.name.is_empty() {
        return Err(invalid("spec.targetRef.name", "must not be empty"));
    }
    let apex = canary
        .spec
        .service
        .name
        .clone()
        .filter(|n| !n.is_empty())
        .unwrap_or_else(|| target.name.clone());
    if apex.len() > 55 {
        return Err(invalid(
            "spec.service.name",
            "must have at most 55 characters, so that <name>-primary has 63",
        ));
    }
    Ok(Names {
        namespace,
        target: target.name.clone(),
        primary: format!("{}-primary", target.name),
        primary_service: format!("{apex}-primary"),
        canary_service: format!("{apex}-canary"),
        apex,
    })
}

fn steps(analysis: &Analysis) -> Result<Steps, Invalid> {
    let cap = percent("spec.analysis.maxWeight", analysis.max_weight.unwrap_or(100))?;
    let step = percent("spec.analysis.stepWeight", analysis.step_weight.unwrap_or(0))?;
    let weights = if step.is_zero() {
        let listed = analysis.step_weights.as_deref().unwrap_or_default();
        let weights = listed
            .iter()
            .map(|w| percent("spec.analysis.stepWeights", *w))
            .collect::<Result<Vec<_>, _>>()?;
        if !weights.windows(2).all(|pair| pair[0] < pair[1]) {
            return Err(invalid(
                "spec.analysis.stepWeights",
                "must rise from step to step",
            ));
        }
        capped(weights.into_iter(), cap)
    } else {
        let step = step.percent();
        capped(
            (1..=100 / i64::from(step) + 1).map(|n| Weight::saturating(n * i64::from(step))),
            cap,
        )
    };
    Steps::new(weights).ok_or_else(|| {
        invalid(
            "spec.analysis",
            "there is no step; set stepWeight (with maxWeight) or stepWeights, from 1 to 100",
        )
    })
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

fn promotion_step(analysis: &Analysis) -> Result<Option<Weight>, Invalid> {
    let step = percent(
        "spec.analysis.stepWeightPromotion",
        analysis.step_weight_promotion.unwrap_or(0),
    )?;
    Ok(Some(step).filter(|s| !s.is_zero()))
}

fn percent(field: &'static str, value: i32) -> Result<Weight, Invalid> {
    Weight::new(i64::from(value)).ok_or_else(|| invalid(field, format!("is {value}; must lie in 0 to 100")))
}

fn metric(metric: &Metric) -> Result<MetricSpec, Invalid> {
    let kind = MetricKind::from_name(&metric.name).ok_or_else(|| {
        invalid(
            "spec.analysis.metrics[].name",
            format!(
                "{:?} is unknown; built in are request-success-rate and request-duration",
                metric.name
            ),
        )
    })?;
    let range = metric.threshold_range.as_ref();
    let (min, max) = (range.and_then(|r| r.min), range.and_then(|r| r.max));
    if min.is_none() && max.is_none() {
        return Err(invalid(
            "spec.analysis.metrics[].thresholdRange",
            "set min, max or both",
        ));
    }
    let window = duration(
        "spec.analysis.metrics[].interval",
        metric.interval.as_deref(),
        "1m",
    )?;
    let window = window.to_std().unwrap_or_default();
    let disconnects = match metric.disconnects {
        None | Some(MetricDisconnects::Ignored) => Disconnects::Ignored,
        Some(MetricDisconnects::Bad) if kind == MetricKind::SuccessRate => Disconnects::Bad,
        Some(MetricDisconnects::Bad) => {
            return Err(invalid(
                "spec.analysis.metrics[].disconnects",
                "only request-success-rate has good and bad requests; remove it",
            ));
        }
    };
    Ok(MetricSpec {
        name: metric.name.clone(),
        kind,
        window,
        min,
        max,
        disconnects,
    })
}

fn gates(gates: &[Gate]) -> Result<Vec<GateSpec>, Invalid> {
    let field = "spec.analysis.gates[]";
    for (n, gate) in gates.iter().enumerate() {
        if gates[..n].iter().any(|earlier| earlier.name == gate.name) {
            return Err(invalid(field, format!("{:?} is named twice", gate.name)));
        }
    }
    gates.iter().map(gate).collect()
}

fn gate(gate: &Gate) -> Result<GateSpec, Invalid> {
    let (opens, default) = match (&gate.approval, &gate.jenkins) {
        (Some(approval), None) => {
            let not_by_requester = approval.not_by_requester;
            (Opens::Approval { not_by_requester }, None)
        }
        (None, Some(job)) => (Opens::Jenkins(job.clone()), Some("1h")),
        _ => {
            return Err(invalid(
                "spec.analysis.gates[]",
                "set exactly one of approval and jenkins",
            ));
        }
    };
    let timeout = gate.timeout.as_deref().or(default);
    let timeout = timeout.map(|text| duration("spec.analysis.gates[].timeout", Some(text), text));
    Ok(GateSpec {
        name: gate.name.clone(),
        at: gate.at,
        opens,
        timeout: timeout.transpose()?,
    })
}

fn duration(field: &'static str, text: Option<&str>, default: &str) -> Result<TimeDelta, Invalid> {
    let text = text.unwrap_or(default);
    let problem = || {
        invalid(
            field,
            format!("{text:?} is no duration; write 30s, 1m or 1m30s, at least 1s"),
        )
    };
    let parsed: kube::core::Duration = text.parse().map_err(|_| problem())?;
    let delta = TimeDelta::from_std(std::time::Duration::from(parsed)).map_err(|_| problem())?;
    if parsed.is_negative() || delta < TimeDelta::seconds(1) {
        return Err(problem());
    }
    Ok(delta)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    use super::*;

    fn with_analysis(reporter: &str, metric: serde_json::Value) -> Canary {
        serde_json::from_value(json!({
            "apiVersion": "bellwether.dev/v1beta1", "kind": "Canary", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {
                "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "service": {"port": 80},
                "analysis": {"stepWeights": [10], "reporter": reporter, "metrics": [metric]},
            },
        }))
        .unwrap()
    }

    #[test]
    fn reporter_and_disconnects_are_taken_over_and_fit_their_metric() {
        let rate =
            json!({"name": "request-success-rate", "thresholdRange": {"min": 99}, "disconnects": "bad"});
        let spec = validate(&with_analysis("source", rate), TimeDelta::zero()).unwrap();
        assert_eq!(spec.reporter, Reporter::Source);
        assert_eq!(spec.metrics[0].disconnects, Disconnects::Bad);
        let rate = json!({"name": "request-success-rate", "thresholdRange": {"min": 99}});
        let spec = validate(&with_analysis("destination", rate), TimeDelta::zero()).unwrap();
        assert_eq!(spec.reporter, Reporter::Destination);
        assert_eq!(spec.metrics[0].disconnects, Disconnects::Ignored);
        let p99 = json!({"name": "request-duration", "thresholdRange": {"max": 500}, "disconnects": "bad"});
        let invalid = validate(&with_analysis("source", p99), TimeDelta::zero()).unwrap_err();
        assert_eq!(invalid.field, "spec.analysis.metrics[].disconnects");
    }

    #[test]
    fn canary_that_is_deleted_is_not_kept_by_what_is_wrong_with_its_analysis() {
        let mut canary: Canary = serde_json::from_value(serde_json::json!({
            "apiVersion": "bellwether.dev/v1beta1", "kind": "Canary", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {
                "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "service": {"port": 80},
                "analysis": {"interval": "soon", "stepWeights": [10]},
            },
        }))
        .unwrap();
        let invalid = validate(&canary, TimeDelta::zero()).unwrap_err();
        assert_eq!(invalid.field, "spec.analysis.interval");
        canary.metadata.deletion_timestamp = Some(Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH));
        assert_eq!(
            validate(&canary, TimeDelta::zero()).unwrap().names.primary,
            "web-primary"
        );
        canary.spec.target_ref.name.clear();
        assert!(
            validate(&canary, TimeDelta::zero()).is_err(),
            "nothing tells what is its"
        );
    }
}
