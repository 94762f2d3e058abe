//! A Deployment as a decision sees it.

use crate::pointer::At;
use serde_json::Value;

use super::{
    marks::{self, REVISION_ANNOTATION},
    revision::{raw_revision, revision},
    selector::{Selector, original_template},
    text,
};

/// A Deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Target: digest of its pod template. Primary: the revision that it was given.
    pub revision: String,
    /// Other digests under which the same template may be recorded. Target: the one that earlier versions of Bellwether
    /// took. Primary: the digest of the template that it runs, if nobody edited it.
    pub aliases: Vec<String>,
    /// Primary: who changed its pod template after it was given its revision, so that it runs something else.
    pub edited_by: Option<String>,
    /// Image of the pod template's first container.
    pub image: Option<String>,
    /// The Deployment controller's own mark: uid and revision number; absent until it has seen the object.
    pub mark: Option<String>,
    /// Whether the Deployment controller has seen the present generation.
    pub up_to_date: bool,
    /// `spec.paused`.
    pub paused: bool,
    /// Pods that its rollout strategy keeps while it exchanges them: 0 for `Recreate`, else `replicas − maxUnavailable`.
    pub floor: i32,
    /// `spec.replicas`.
    pub desired: i32,
    /// Pods that exist.
    pub total: i32,
    /// Pods of the present template.
    pub updated: i32,
    /// Pods that are available.
    pub available: i32,
    /// Ready endpoints of its Service.
    pub endpoints: i32,
}

impl Workload {
    /// Whether its template is the one that is recorded as `revision`.
    #[must_use]
    pub fn is_of(&self, revision: &str) -> bool {
        self.revision == revision || self.aliases.iter().any(|alias| alias == revision)
    }

    /// Whether both have the same template, by whatever digest it is known.
    #[must_use]
    pub fn same_template(&self, other: &Workload) -> bool {
        other.is_of(&self.revision) || self.aliases.iter().any(|alias| other.is_of(alias))
    }

    /// Whether every wanted pod runs the present template, is available and can be reached.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.up_to_date
            && self.desired > 0
            && self.updated >= self.desired
            && self.available >= self.desired
            && self.total <= self.desired
            && self.endpoints >= self.desired
    }

    /// Pods that can serve a request now.
    #[must_use]
    pub fn serving(&self) -> i32 {
        self.available.min(self.endpoints).max(0)
    }

    /// Whether nothing of it runs and nothing is wanted.
    #[must_use]
    pub fn gone(&self) -> bool {
        self.up_to_date && self.desired == 0 && self.total == 0
    }
}

/// What a decision needs of the target. `endpoints` are the ready endpoints of its Service.
#[must_use]
pub fn view_target(deployment: &Value, endpoints: i32) -> Workload {
    let template = deployment.at("/spec/template").unwrap_or(&Value::Null);
    Workload {
        aliases: vec![raw_revision(template)],
        ..view(deployment, revision(template), endpoints)
    }
}

/// What a decision needs of the primary. `endpoints` are the ready endpoints of its Service; `selector` is the target's, as
/// far as it is known.
///
/// The revision is the one that it was given. Whether its template still is that revision can be told only if nothing but
/// Bellwether wrote the template (admission webhooks write in the name of whoever asks): so it counts as edited only if
/// somebody else owns a field of its pods **and** the template is not that revision.
#[must_use]
pub fn view_primary(deployment: &Value, endpoints: i32, selector: Option<&Selector>) -> Workload {
    let annotations = deployment.at("/spec/template/metadata/annotations");
    let given = annotations
        .and_then(|a| a.get(REVISION_ANNOTATION))
        .and_then(Value::as_str);
    let given = given.unwrap_or_default();
    let template = deployment.at("/spec/template").unwrap_or(&Value::Null);
    let original = selector.map(|selector| original_template(template, selector));
    // The version before gave it the digest of the raw form.
    let raw = original.as_ref().map(raw_revision);
    let original = original.as_ref().map(revision);
    let is_given = |digest: &Option<String>| digest.as_deref() == Some(given);
    let changed = original.is_some() && !is_given(&original) && !is_given(&raw);
    let edited_by = marks::template_editor(deployment).filter(|_| changed);
    Workload {
        aliases: original
            .filter(|_| changed && edited_by.is_none())
            .into_iter()
            .collect(),
        edited_by: edited_by.map(str::to_owned),
        ..view(deployment, given.to_owned(), endpoints)
    }
}

fn view(deployment: &Value, revision: String, endpoints: i32) -> Workload {
    let number = |pointer: &str| deployment.at(pointer).and_then(Value::as_i64).unwrap_or(0);
    let count = |pointer: &str| i32::try_from(number(pointer)).unwrap_or(i32::MAX);
    let annotations = deployment.at("/metadata/annotations");
    let counted = annotations
        .and_then(|a| a.get("deployment.kubernetes.io/revision"))
        .and_then(Value::as_str);
    let uid = text(deployment, "/metadata/uid");
    let image = deployment.at("/spec/template/spec/containers/0/image");
    let desired = deployment
        .at("/spec/replicas")
        .map_or(1, |_| count("/spec/replicas"));
    Workload {
        revision,
        aliases: Vec::new(),
        edited_by: None,
        image: image.and_then(Value::as_str).map(str::to_owned),
        mark: counted.map(|number| format!("{uid}/{number}")),
        up_to_date: number("/status/observedGeneration") >= number("/metadata/generation"),
        paused: deployment.at("/spec/paused") == Some(&Value::Bool(true)),
        floor: floor(deployment, desired),
        desired,
        total: count("/status/replicas"),
        updated: count("/status/updatedReplicas"),
        available: count("/status/availableReplicas"),
        endpoints,
    }
}

/// How many of `desired` pods the strategy keeps while it exchanges them, as the Deployment controller resolves it:
/// `maxSurge` is rounded up, `maxUnavailable` down, and if both come to nothing one pod may be unavailable.
fn floor(deployment: &Value, desired: i32) -> i32 {
    if text(deployment, "/spec/strategy/type") == "Recreate" {
        return 0;
    }
    let part = |field: &str, up: bool| {
        let value = deployment.at(&format!("/spec/strategy/rollingUpdate/{field}"));
        let percent = value.and_then(Value::as_str).unwrap_or("25%");
        let percent = percent.trim_end_matches('%').parse::<i64>().unwrap_or(25);
        // The API server takes any number of digits.
        let whole = i64::from(desired).saturating_mul(percent);
        let resolved = whole.saturating_add(if up { 99 } else { 0 }) / 100;
        value.and_then(Value::as_i64).unwrap_or(resolved)
    };
    let (surge, unavailable) = (part("maxSurge", true), part("maxUnavailable", false));
    let unavailable = if surge == 0 {
        unavailable.max(1)
    } else {
        unavailable
    };
    desired - i32::try_from(unavailable).unwrap_or(i32::MAX).min(desired)
}
