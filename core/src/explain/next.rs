//! What comes next, as far as specification and status say. Pure; what only metrics and pods decide is told as a condition.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    api::{CanaryStatus, GateState, Hold, HoldReason, Phase, StepStatus},
    rollout::{RolloutSpec, analysis_is_skipped},
};

/// Something that comes next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Next {
    /// Not before; null if nobody can say.
    pub at: Option<DateTime<Utc>>,
    /// What.
    pub what: String,
}

impl Next {
    fn at(at: DateTime<Utc>, what: impl Into<String>) -> Next {
        let what = what.into();
        Next { at: Some(at), what }
    }

    fn open(what: impl Into<String>) -> Next {
        let what = what.into();
        Next { at: None, what }
    }

    /// It goes on when something is so.
    pub(super) fn when(condition: impl std::fmt::Display) -> Next {
        Next::open(format!("it goes on when {condition}"))
    }
}

/// What comes after this status.
pub(super) fn after(spec: &RolloutSpec, status: &CanaryStatus) -> Vec<Next> {
    if spec.deleting {
        return vec![Next::open(
            "the service is handed back to the workload, then the Canary goes",
        )];
    }
    if status.retirement.is_some() && under_way(status.phase) {
        return vec![Next::open(
            "the traffic goes back to the primary, then the canary is scaled away",
        )];
    }
    let holds = status.all_holds();
    if !holds.is_empty() {
        // Everything must end before it goes on; the same sentence of two is told once.
        let mut all: Vec<Next> = Vec::new();
        for next in holds.iter().flat_map(|hold| held(spec, status, hold)) {
            if !all.contains(&next) {
                all.push(next);
            }
        }
        return all;
    }
    let deadline = spec.progress_deadline;
    match status.phase {
        None => vec![Next::open("the controller looks at it; does it run?")],
        Some(Phase::Initializing) => vec![Next::when("the primary's pods are ready and have the traffic")],
        Some(Phase::Initialized | Phase::Succeeded) => vec![change(spec)],
        Some(Phase::Failed) => vec![
            change(spec),
            Next::open(format!(
                "or the failed revision is released once more: bellwether retry {}",
                spec.id.name
            )),
        ],
        Some(Phase::Waiting | Phase::WaitingPromotion) => vec![Next::when("permission is given")],
        Some(Phase::Progressing) => progressing(spec, status),
        Some(Phase::Promoting) => {
            let ready = "when the primary's pods are ready with the new revision, the traffic returns to it";
            let mut all = vec![Next::open(ready)];
            all.extend(status.last_transition_time.map(|since| {
                let text = "if they are not ready by then, the promotion is undone";
                Next::at(since + deadline, text)
            }));
            all
        }
        Some(Phase::Finalising) => vec![Next::open(
            "the canary is scaled away when no request reaches it any more",
        )],
        Some(Phase::Terminating) => vec![Next::open("the service is handed back to the workload")],
    }
}

fn under_way(phase: Option<Phase>) -> bool {
    phase.is_none_or(|phase| !phase.at_rest())
}

fn change(spec: &RolloutSpec) -> Next {
    Next::open(format!(
        "a change of Deployment {} begins a release",
        spec.names.target
    ))
}

fn progressing(spec: &RolloutSpec, status: &CanaryStatus) -> Vec<Next> {
    let Some(step) = status.step.as_ref().filter(|_| status.canary_weight > 0) else {
        let first = if analysis_is_skipped(spec, status) {
            "when the new revision's pods are ready it is promoted without analysis".to_owned()
        } else {
            let index = status.step.as_ref().map_or(0, index);
            let weight = spec.steps.weight(index);
            format!("when the new revision's pods are ready: weight {weight}")
        };
        let mut all = vec![Next::open(first)];
        all.extend(status.last_transition_time.map(|since| {
            let text = "if they are not ready by then, the release is rolled back";
            Next::at(since + spec.progress_deadline, text)
        }));
        return all;
    };
    vec![judged(spec, status, step), failures(spec, status)]
}

/// When the present step is judged, and what follows if it passes.
fn judged(spec: &RolloutSpec, status: &CanaryStatus, step: &StepStatus) -> Next {
    // A pass is of this process' time at the weight; as soon as counts tell of it, which takes two scrapes at least.
    let due = step.last_check_at.unwrap_or(step.started_at).max(step.started_at) + spec.interval;
    let index = index(step);
    let last = spec.steps.last();
    let then = if index < last && status.canary_weight < i32::from(spec.steps.weight(last).percent()) {
        format!("weight {}", spec.steps.weight(index + 1))
    } else {
        "the primary takes the revision over".to_owned()
    };
    Next::at(due, format!("the step is judged; if every check passes: {then}"))
}

fn failures(spec: &RolloutSpec, status: &CanaryStatus) -> Next {
    let left = (spec.threshold - status.failed_checks).max(1);
    let checks = if left == 1 {
        "one more failed check rolls".to_owned()
    } else {
        format!("{left} more failed checks roll")
    };
    Next::open(format!("{checks} the release back"))
}

fn index(step: &StepStatus) -> usize {
    usize::try_from(step.index).unwrap_or_default()
}

/// What opens the gates that are closed, and until when.
fn at_gates(spec: &RolloutSpec, status: &CanaryStatus) -> Vec<Next> {
    let closed = status
        .gates
        .iter()
        .filter(|gate| matches!(gate.state, GateState::Waiting | GateState::Running));
    let mut all = Vec::new();
    for gate in closed {
        let command = format!("bellwether approve {} --gate {}", spec.id.name, gate.name);
        all.push(match gate.state {
            GateState::Running => {
                Next::when(format!("its job succeeds, or somebody opens the gate: {command}"))
            }
            _ => Next::when(format!("somebody approves: {command} (or reject)")),
        });
        let known = spec.gates.iter().find(|known| known.name == gate.name);
        if let Some(timeout) = known.and_then(|known| known.timeout) {
            let text = format!(
                "if gate {} is still closed, the release is rolled back",
                gate.name
            );
            all.push(Next::at(gate.since + timeout, text));
        }
    }
    all
}

/// What ends a hold, and what happens if nothing does.
fn held(spec: &RolloutSpec, status: &CanaryStatus, hold: &Hold) -> Vec<Next> {
    let name = &spec.id.name;
    let retry = |text: &str| {
        let retreats = status.step.as_ref().map_or(1, |step| step.retreats).clamp(1, 3);
        Next::at(hold.since + spec.interval * (1 << (retreats - 1)), text)
    };
    match hold.reason {
        HoldReason::Paused => vec![
            Next::open(format!(
                "no step is taken until somebody orders it: bellwether resume {name}, advance or abort"
            )),
            Next::open("what is bad is rolled back all the same"),
        ],
        HoldReason::AwaitingApproval | HoldReason::AwaitingJob => at_gates(spec, status),
        HoldReason::Frozen => vec![Next::when("the freeze is over or deleted")],
        HoldReason::Suspended => vec![Next::when("spec.suspend is false; until then nothing is touched")],
        HoldReason::NoData | HoldReason::MetricsUnavailable if hold.retreated => {
            vec![Next::when("the metrics are back; the traffic is on the primary")]
        }
        HoldReason::NoData | HoldReason::MetricsUnavailable if status.step.is_none() => {
            vec![Next::when(format_args!(
                "metrics can be read, or somebody says that requests arrive: bellwether advance {name}"
            ))]
        }
        HoldReason::NoData | HoldReason::MetricsUnavailable => vec![
            Next::when("the metrics have data of the canary"),
            Next::at(
                hold.since + spec.max_blind,
                "if they are still missing, the traffic goes back to the primary (maxBlind)",
            ),
        ],
        HoldReason::Dark if hold.retreated && !hold.resumes => vec![
            Next::when("a newer revision comes"),
            Next::at(
                hold.since + spec.progress_deadline,
                "the release is rolled back (progressDeadlineSeconds)",
            ),
        ],
        HoldReason::Dark | HoldReason::TrafficNotShifting if hold.retreated => {
            vec![retry("the step is tried again if the pods are ready")]
        }
        HoldReason::Dark => vec![Next::when("requests reach the canary")],
        HoldReason::TrafficNotShifting if status.step.is_none() => vec![Next::when(format_args!(
            "no request reaches the pods any more, or somebody says that they may go: bellwether advance {name}"
        ))],
        HoldReason::TrafficNotShifting => vec![Next::when("the observed share follows the weight")],
        HoldReason::WorkloadNotReady => {
            let mut all = vec![Next::when("the pods are ready; no step before")];
            // Overtaken while the primary cannot carry the traffic, it stays where it is served.
            let overtaken = status.canary_weight > 0 && status.step.is_none();
            if status.phase == Some(Phase::Progressing) && !overtaken {
                let text = "if they are not ready by then, the release is rolled back";
                all.push(Next::at(hold.since + spec.progress_deadline, text));
            }
            all
        }
        HoldReason::PrimaryNotReady => vec![Next::when("all pods of the primary are ready; no step before")],
        HoldReason::TargetNotFound => {
            vec![Next::when(format_args!(
                "Deployment {} exists",
                spec.names.target
            ))]
        }
        HoldReason::TargetConflict => vec![Next::when(format_args!(
            "nobody else works on the same objects; if the primary was rolled back by hand: bellwether undo {name}"
        ))],
        HoldReason::RoutesUnavailable => vec![Next::when("Istio's resources can be read and written")],
        HoldReason::RouteInvalid => vec![Next::when("the VirtualService has a route that can be split")],
        HoldReason::PromotionFailed => vec![Next::when("the primary is ready; it then serves all traffic")],
        HoldReason::InvalidSpec => vec![Next::when("the specification is mended")],
        HoldReason::WriteRefused => vec![Next::when(
            "the API server accepts the write; it is tried again by itself",
        )],
        HoldReason::WatchBroken => vec![Next::when("the watch works again")],
        HoldReason::NotReached => vec![Next::when(
            "requests reach the new pods; it is tried again by itself",
        )],
        HoldReason::ReachUnknown => vec![Next::when(format_args!(
            "requests are counted, or somebody says so: bellwether advance {name}"
        ))],
        HoldReason::RouteElsewhere => vec![Next::when(
            "no VirtualService of another namespace leads to the Service",
        )],
        HoldReason::PolicyNotCovering => vec![Next::when(format_args!(
            "the policies name the primary's pods too, or somebody accepts it: kubectl annotate canary {name} \
             bellwether.dev/accept-policies=Kind/name"
        ))],
        HoldReason::CapacityLimited => vec![Next::when("the autoscaler may have enough pods")],
        HoldReason::HandBackUnreleased => vec![Next::when(format_args!(
            "somebody decides: kubectl annotate canary {name} bellwether.dev/hand-back=promoted (or as-is)"
        ))],
        HoldReason::WorkloadPaused => vec![Next::when(format_args!(
            "the Deployment is resumed: kubectl rollout resume deployment/{}",
            spec.names.target
        ))],
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde_json::{Value, json};

    use super::*;
    use crate::{api::Canary, rollout::validate};

    fn told(status: &Value) -> Vec<String> {
        let canary: Canary = serde_json::from_value(json!({
            "apiVersion": "bellwether.dev/v1beta1", "kind": "Canary",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {
                "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "service": {"port": 80},
                "analysis": {"interval": "30s", "threshold": 3, "stepWeights": [10, 50], "metrics": [
                    {"name": "request-success-rate", "interval": "1m", "thresholdRange": {"min": 99}},
                ]},
            },
            "status": status,
        }))
        .unwrap();
        let spec = validate(&canary, TimeDelta::zero()).unwrap();
        after(&spec, &canary.status.unwrap())
            .into_iter()
            .map(|next| {
                let at = next.at.map(|at| at.format("%T ").to_string());
                format!("{}{}", at.unwrap_or_default(), next.what)
            })
            .collect()
    }

    fn step(index: i32, last_check: Option<&str>) -> Value {
        json!({"index": index, "startedAt": "2026-01-01T10:00:00Z", "trafficSince": "2026-01-01T10:00:00Z",
            "lastCheckAt": last_check})
    }

    #[test]
    fn step_is_judged_when_its_interval_has_passed() {
        let status =
            json!({"phase": "Progressing", "canaryWeight": 10, "failedChecks": 1, "step": step(0, None)});
        assert_eq!(
            told(&status),
            [
                "10:00:30 the step is judged; if every check passes: weight 50 %",
                "2 more failed checks roll the release back"
            ]
        );
        let checked = Some("2026-01-01T10:02:00Z");
        let status =
            json!({"phase": "Progressing", "canaryWeight": 50, "failedChecks": 2, "step": step(1, checked)});
        assert_eq!(
            told(&status),
            [
                "10:02:30 the step is judged; if every check passes: the primary takes the revision over",
                "one more failed check rolls the release back"
            ]
        );
    }

    #[test]
    fn hold_says_what_ends_it_and_what_happens_otherwise() {
        let hold = |reason: &str, retreated: bool| {
            json!({"phase": "Progressing", "canaryWeight": 10, "step": step(0, None), "hold": {
                "reason": reason, "since": "2026-01-01T10:00:30Z", "message": "-", "retreated": retreated}})
        };
        assert_eq!(told(&hold("NoData", false)).len(), 2);
        assert!(told(&hold("NoData", false))[1].starts_with("10:05:30 "));
        assert!(told(&hold("Dark", true))[1].starts_with("10:10:30 the release is rolled back"));
        assert!(told(&hold("TrafficNotShifting", true))[0].starts_with("10:01:00 the step is tried again"));
        assert!(told(&hold("WorkloadNotReady", false))[1].starts_with("10:10:30 "));
        assert!(told(&hold("Paused", false))[0].contains("bellwether resume web"));
    }

    #[test]
    fn at_rest_a_change_begins_the_next_release() {
        assert_eq!(
            told(&json!({"phase": "Succeeded"})),
            ["a change of Deployment web begins a release"]
        );
        assert!(told(&json!({"phase": "Failed"}))[1].contains("bellwether retry web"));
        let starting = json!({"phase": "Progressing", "lastTransitionTime": "2026-01-01T10:00:00Z"});
        assert_eq!(
            told(&starting)[1],
            "10:10:00 if they are not ready by then, the release is rolled back"
        );
    }
}
