//! Conditions follow from the rest of the status; nothing else sets them.
//!
//! Invariant: `lastTransitionTime` moves only when `status` does, and `Promoted` is true only of the revision that
//! it names.

use chrono::{DateTime, Utc};

use crate::api::{CanaryStatus, Condition, HoldReason, Phase, RetirementKind};

/// Sets the conditions of `status`, keeping the times of those that did not change.
pub(super) fn derive(status: &mut CanaryStatus, generation: i64, now: DateTime<Utc>) {
    status.last_applied_spec.clone_from(&status.revision.current);
    status.last_promoted_spec.clone_from(&status.revision.promoted);
    let wanted = [
        ready(status),
        promoted(status),
        progressing(status),
        held(status),
        degraded(status),
        reconciling(status),
        stalled(status),
        reached(status),
    ];
    let old = std::mem::take(&mut status.conditions);
    status.conditions = wanted
        .into_iter()
        .map(|fact| {
            let since = old
                .iter()
                .find(|c| c.type_ == fact.type_ && c.status == fact.status);
            Condition {
                type_: fact.type_.to_owned(),
                status: fact.status.to_owned(),
                reason: fact.reason,
                message: fact.message,
                last_transition_time: since.map_or(now, |c| c.last_transition_time),
                observed_generation: Some(generation),
            }
        })
        .collect();
}

struct Fact {
    type_: &'static str,
    status: &'static str,
    reason: String,
    message: String,
}

fn phase_name(status: &CanaryStatus) -> String {
    status
        .phase
        .map_or_else(|| "Pending".to_owned(), |p| p.to_string())
}

fn short(revision: Option<&String>) -> &str {
    revision.map_or("none", |r| r.get(..12).unwrap_or(r))
}

fn at_promoted(status: &CanaryStatus) -> bool {
    status.revision.current.is_some() && status.revision.current == status.revision.promoted
}

fn ready(status: &CanaryStatus) -> Fact {
    let at_rest = matches!(status.phase, Some(Phase::Initialized | Phase::Succeeded));
    let value = if at_rest && at_promoted(status) && status.hold.is_none() {
        "True"
    } else {
        "False"
    };
    let message = status.message.clone().unwrap_or_default();
    Fact {
        type_: "Ready",
        status: value,
        reason: phase_name(status),
        message,
    }
}

fn promoted(status: &CanaryStatus) -> Fact {
    let value = match status.phase {
        Some(Phase::Failed) => "False",
        _ if at_promoted(status) => "True",
        _ => "Unknown",
    };
    let message = match value {
        "True" => format!(
            "revision {} is promoted",
            short(status.revision.promoted.as_ref())
        ),
        "False" => format!(
            "revision {} was not promoted; the primary runs {}",
            short(status.revision.current.as_ref()),
            short(status.revision.promoted.as_ref())
        ),
        _ => format!(
            "revision {} is not judged yet",
            short(status.revision.current.as_ref())
        ),
    };
    Fact {
        type_: "Promoted",
        status: value,
        reason: phase_name(status),
        message,
    }
}

fn progressing(status: &CanaryStatus) -> Fact {
    let active = status.phase.is_some_and(|phase| !phase.at_rest());
    let message = format!("revision {}", short(status.revision.current.as_ref()));
    let value = if active { "True" } else { "False" };
    Fact {
        type_: "Progressing",
        status: value,
        reason: phase_name(status),
        message,
    }
}

fn held(status: &CanaryStatus) -> Fact {
    status.hold.as_ref().map_or_else(
        || Fact {
            type_: "Held",
            status: "False",
            reason: "NotHeld".to_owned(),
            message: String::new(),
        },
        |hold| Fact {
            type_: "Held",
            status: "True",
            reason: hold.reason.to_string(),
            message: hold.message.clone(),
        },
    )
}

fn degraded(status: &CanaryStatus) -> Fact {
    let undoing = status.retirement.as_ref().filter(|r| {
        matches!(
            r.kind,
            RetirementKind::UndoOnCanary | RetirementKind::UndoOnPrimary
        )
    });
    let stuck = status.phase == Some(Phase::Failed) && status.canary_weight > 0;
    let (value, reason, message) = match (undoing, stuck) {
        (Some(undo), _) => (
            "True",
            HoldReason::PromotionFailed.to_string(),
            undo.message.clone(),
        ),
        (None, true) => (
            "True",
            HoldReason::PromotionFailed.to_string(),
            "the primary is not ready; the canary serves all traffic".to_owned(),
        ),
        (None, false) => ("False", "AsExpected".to_owned(), String::new()),
    };
    Fact {
        type_: "Degraded",
        status: value,
        reason,
        message,
    }
}

/// As kstatus reads it: something is under way.
fn reconciling(status: &CanaryStatus) -> Fact {
    let active = status.phase.is_none_or(|phase| !phase.at_rest());
    let stalled = stalled(status).status == "True";
    Fact {
        type_: "Reconciling",
        status: if active && !stalled { "True" } else { "False" },
        reason: phase_name(status),
        message: status.message.clone().unwrap_or_default(),
    }
}

/// As kstatus reads it: nothing goes on before somebody does something.
fn stalled(status: &CanaryStatus) -> Fact {
    const NEEDS_SOMEBODY: [HoldReason; 7] = [
        HoldReason::InvalidSpec,
        HoldReason::TargetConflict,
        HoldReason::TargetNotFound,
        HoldReason::RouteInvalid,
        HoldReason::RouteElsewhere,
        HoldReason::HandBackUnreleased,
        HoldReason::PolicyNotCovering,
    ];
    let hold = status
        .hold
        .as_ref()
        .filter(|hold| NEEDS_SOMEBODY.contains(&hold.reason));
    let failed = status.phase == Some(Phase::Failed);
    let (value, reason, message) = match (hold, failed) {
        (Some(hold), _) => ("True", hold.reason.to_string(), hold.message.clone()),
        (None, true) => (
            "True",
            "Failed".to_owned(),
            status.message.clone().unwrap_or_default(),
        ),
        (None, false) => ("False", "AsExpected".to_owned(), String::new()),
    };
    Fact {
        type_: "Stalled",
        status: value,
        reason,
        message,
    }
}

/// Whether requests are known to reach the primary. A service that nobody called when the primary took it over shows that
/// with its first callers.
fn reached(status: &CanaryStatus) -> Fact {
    let (value, reason, message) = if status.first_calls.is_some() {
        (
            "Unknown",
            "NoCallers",
            "nobody called the service when the primary took it over",
        )
    } else {
        ("True", "AsExpected", "")
    };
    Fact {
        type_: "Reached",
        status: value,
        reason: reason.to_owned(),
        message: message.to_owned(),
    }
}
