//! Promotions, Commands and Approvals as a decision sees them.
//!
//! Invariants: none that exists is passed over: what a version does not know is named, and whoever asked is told. What people
//! typed is printable from here on.

use std::fmt::Display;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    api::{
        ApprovalSpec, CanaryRef, CommandSpec, GateDecision, Log, Policy, PromotionPhase, PromotionSpec,
        PromotionStatus, Requester, Verb,
    },
    pointer::At,
    printable::{printable, printable_json},
    promotion::{Form, SeenCommand, SeenPromotion, Unreadable},
    workload::text,
};

/// Annotation of a Promotion: when a client last asked for it, if that matters.
pub const CLIENT_SEEN: &str = "bellwether.dev/client-seen-at";

/// What every object has that is not being deleted.
struct Identity {
    name: String,
    uid: String,
    created_at: DateTime<Utc>,
}

/// `None` of an object that is being deleted: it counts no more.
fn identity(object: &Value) -> Option<Identity> {
    let there = object.at("/metadata/deletionTimestamp").is_none();
    there.then_some(Identity {
        name: text(object, "/metadata/name").to_owned(),
        uid: text(object, "/metadata/uid").to_owned(),
        created_at: text(object, "/metadata/creationTimestamp").parse().ok()?,
    })
}

/// Reads a part of an object; what is wrong with it is said with its path.
fn part<T: DeserializeOwned>(object: &Value, name: &str) -> Result<T, String> {
    let none = Value::Null;
    let part = printable_json(object.get(name).unwrap_or(&none));
    serde_path_to_error::deserialize(&*part).map_err(|error| match error.path().to_string().as_str() {
        "." => unknown(name, error.inner()),
        path => unknown(format!("{name}.{path}"), error.inner()),
    })
}

fn unknown(path: impl Display, error: &serde_json::Error) -> String {
    printable(&format!("{path}: this version cannot read it: {error}")).into_owned()
}

/// The part if it is there, and can be read.
fn readable<T: DeserializeOwned + Default>(object: &Value, path: &str) -> T {
    object
        .at(path)
        .and_then(|part| T::deserialize(&*printable_json(part)).ok())
        .unwrap_or_default()
}

/// A Promotion. Of one that is over only the end counts: there may be many, and their logs are long.
pub(super) fn promotion(object: &Value) -> Option<SeenPromotion> {
    let Identity {
        name,
        uid,
        created_at,
    } = identity(object)?;
    let spec = part(object, "spec");
    let status = match object.get("status") {
        Some(_) => part(object, "status"),
        None => Ok(PromotionStatus::default()),
    };
    let unreadable = match (&spec, &status) {
        (Ok(_), Ok(_)) => None,
        (_, Err(problem)) => Some((problem, true)),
        (Err(problem), Ok(_)) => Some((problem, false)),
    };
    let unreadable = unreadable.map(|(problem, status_too)| Unreadable {
        problem: problem.clone(),
        status_too,
        requester_too: object
            .at("/spec/requester")
            .is_some_and(|requester| <Requester as serde::Deserialize>::deserialize(requester).is_err()),
    });
    let mut status = status.unwrap_or_else(|_| status_in_part(object));
    if status.finished_at.is_some() {
        status.log = Log::default();
    }
    let client_seen_at = object
        .at("/metadata/annotations")
        .and_then(|all| all.get(CLIENT_SEEN)?.as_str()?.parse().ok());
    Some(SeenPromotion {
        name,
        uid,
        created_at,
        client_seen_at,
        spec: spec.unwrap_or_else(|_| spec_in_part(object)),
        status,
        unreadable,
    })
}

/// Of a specification that cannot be read: who asks, and how long it may take.
fn spec_in_part(object: &Value) -> PromotionSpec {
    let people: Vec<Value> = readable(object, "/spec/requester/onBehalfOf");
    let names = people.iter().filter_map(Value::as_str).map(str::to_owned);
    PromotionSpec {
        canary_ref: CanaryRef {
            name: text(object, "/spec/canaryRef/name").to_owned(),
        },
        image: None,
        images: None,
        r#await: None,
        requester: Requester {
            user: readable(object, "/spec/requester/user"),
            authenticated_as: readable(object, "/spec/requester/authenticatedAs"),
            on_behalf_of: names.collect(),
            ..Requester::default()
        },
        policy: Policy {
            deadline_seconds: readable(object, "/spec/policy/deadlineSeconds"),
            ttl_seconds: readable(object, "/spec/policy/ttlSeconds"),
            ..Policy::default()
        },
        request_digest: readable(object, "/spec/requestDigest"),
    }
}

/// Of a status that cannot be read: the revision, and whether it is over.
fn status_in_part(object: &Value) -> PromotionStatus {
    let finished_at: Option<DateTime<Utc>> = readable(object, "/status/finishedAt");
    let phase: Option<PromotionPhase> = readable(object, "/status/phase");
    PromotionStatus {
        phase: match finished_at {
            Some(_) => Some(
                phase
                    .filter(|phase| phase.finished())
                    .unwrap_or(PromotionPhase::Failed),
            ),
            None => phase.filter(|phase| !phase.finished()),
        },
        base: readable(object, "/status/base"),
        revision: readable(object, "/status/revision"),
        started_at: readable(object, "/status/startedAt"),
        finished_at,
        ..PromotionStatus::default()
    }
}

pub(super) fn command(object: &Value) -> Option<SeenCommand> {
    let spec = part::<CommandSpec>(object, "spec");
    order(object, Form::Command, spec.map(|spec| (spec, None)))
}

/// An Approval is an order about a gate.
pub(super) fn approval(object: &Value) -> Option<SeenCommand> {
    let spec = part::<ApprovalSpec>(object, "spec").map(|spec| {
        let order = CommandSpec {
            canary_ref: spec.canary_ref,
            verb: spec.decision.into(),
            revision: spec.revision,
            promotion: spec.promotion,
            action: None,
            reason: spec.comment,
            requested_by: spec.approved_by,
            on_behalf_of: spec.on_behalf_of,
        };
        (order, Some(spec.gate))
    });
    order(object, Form::Approval, spec)
}

fn order(
    object: &Value,
    form: Form,
    spec: Result<(CommandSpec, Option<String>), String>,
) -> Option<SeenCommand> {
    let Identity {
        name,
        uid,
        created_at,
    } = identity(object)?;
    let unreadable = spec.as_ref().err().cloned();
    let (spec, gate) = spec.unwrap_or_else(|_| (nothing(object, form), None));
    Some(SeenCommand {
        form,
        name,
        uid,
        created_at,
        spec,
        gate,
        status: readable(object, "/status"),
        unreadable,
    })
}

/// Stands for an order that cannot be read; it is refused.
fn nothing(object: &Value, form: Form) -> CommandSpec {
    CommandSpec {
        canary_ref: CanaryRef {
            name: text(object, "/spec/canaryRef/name").to_owned(),
        },
        verb: match form {
            Form::Command => Verb::Pause,
            Form::Approval => GateDecision::Reject.into(),
        },
        revision: None,
        promotion: None,
        action: None,
        reason: None,
        requested_by: String::new(),
        on_behalf_of: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(spec: &Value, status: &Value) -> Value {
        json!({
            "metadata": {"name": "p", "uid": "u", "creationTimestamp": "2030-01-01T00:00:00Z"},
            "spec": spec,
            "status": status,
        })
    }

    #[test]
    fn unknown_field_is_named_and_the_requester_is_known() {
        let spec = json!({
            "canaryRef": {"name": "web"}, "image": "web:2",
            "requester": {"user": "mia", "onBehalfOf": ["bob", 7]},
            "policy": {"deadlineSeconds": 90, "patience": 3},
        });
        let status = json!({"phase": "Running", "seq": 3, "revision": "abc"});
        let seen = promotion(&object(&spec, &status)).unwrap();
        let unreadable = seen.unreadable.unwrap();
        assert!(unreadable.problem.starts_with("spec.policy"), "{unreadable:?}");
        assert!(
            unreadable.problem.contains("patience") && !unreadable.status_too,
            "{unreadable:?}"
        );
        assert_eq!(seen.spec.requester.user.as_deref(), Some("mia"));
        assert_eq!(seen.spec.requester.on_behalf_of, ["bob"]);
        assert_eq!(seen.spec.policy.deadline_seconds, Some(90));
        assert_eq!(
            (seen.status.phase, seen.status.seq),
            (Some(PromotionPhase::Running), 3)
        );
    }

    #[test]
    fn phase_of_a_newer_version_is_not_taken_for_an_end() {
        let spec = json!({"canaryRef": {"name": "web"}, "image": "web:2"});
        let status = json!({"phase": "Verifying", "seq": 1, "revision": "abc"});
        let seen = promotion(&object(&spec, &status)).unwrap();
        assert!(seen.unreadable.unwrap().status_too);
        assert_eq!(
            (seen.status.phase, seen.status.revision.as_deref()),
            (None, Some("abc"))
        );
        let status = json!({"phase": "Verified", "finishedAt": "2030-01-01T00:00:00Z"});
        let seen = promotion(&object(&spec, &status)).unwrap();
        assert_eq!(seen.status.phase, Some(PromotionPhase::Failed), "it is over");
    }

    #[test]
    fn order_with_an_unknown_field_is_seen() {
        let spec = json!({"canaryRef": {"name": "web"}, "verb": "Abort", "promotion": "p",
            "requestedBy": "mia", "urgency": "high"});
        let seen = command(&object(&spec, &Value::Null)).unwrap();
        assert!(seen.unreadable.unwrap().contains("urgency"));
        let spec = json!({"canaryRef": {"name": "web"}, "gate": "qa", "decision": "Perhaps",
            "promotion": "p", "approvedBy": "mia"});
        let seen = approval(&object(&spec, &Value::Null)).unwrap();
        assert!(seen.unreadable.unwrap().starts_with("spec.decision"));
    }
}
