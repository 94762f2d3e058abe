//! Gates: what a release waits for at three points of its way, beside its checks.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{absent, schema};

/// What a release waits for at one point of its way. Every new revision asks it anew.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.approval) != has(self.jenkins)").message("spec.analysis.gates[]: set exactly one of approval and jenkins"))]
pub struct Gate {
    /// Its name, by which it is approved; unique within the Canary.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("spec.analysis.gates[].name: must be a DNS label"))]
    pub name: String,
    /// Where the release waits.
    pub at: GatePoint,
    /// It opens when somebody approves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalGate>,
    /// It opens when a build of a Jenkins job succeeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jenkins: Option<JenkinsGate>,
    /// How long it may stay closed before the release is rolled back, such as `2h`. Default: `1h` for a job, for ever for
    /// an approval.
    #[serde(
        default,
        deserialize_with = "absent::text",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "schema::duration")]
    pub timeout: Option<String>,
}

/// The points at which a release can be made to wait; the names are Flagger's.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum GatePoint {
    /// Before the new revision's pods are started.
    ConfirmRollout,
    /// Before the new revision gets traffic; its pods are ready.
    PreRollout,
    /// Before the primary takes over a revision that passed its analysis.
    ConfirmPromotion,
}

/// Somebody has to approve.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalGate {
    /// Whoever asked for the release, by a Promotion, cannot approve it.
    #[serde(default, deserialize_with = "absent::or_default")]
    pub not_by_requester: bool,
}

/// A build of a Jenkins job has to succeed.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct JenkinsGate {
    /// Name of the Jenkins, as the controller's `--jenkins-file` names it.
    #[schemars(length(min = 1, max = 63))]
    pub instance: String,
    /// The job with its folders, such as `team/shop/acceptance`.
    #[schemars(length(min = 1, max = 500))]
    pub job: String,
    /// Parameters of the build. `$(namespace)`, `$(canary)`, `$(revision)`, `$(primaryService)`, `$(canaryService)` in a
    /// value are replaced.
    #[serde(
        default,
        deserialize_with = "absent::or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    #[schemars(schema_with = "schema::parameters")]
    pub parameters: BTreeMap<String, String>,
}

/// Where a gate stands, for the present revision.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GateStatus {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub at: GatePoint,
    /// Whether it is open.
    pub state: GateState,
    /// Since when the release has come to it.
    pub since: DateTime<Utc>,
    /// The revision that came to it, by which its job knows it: the server may return the same pod template in another form
    /// since. Absent if it is the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Who opened or rejected it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why it is as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The build, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The job that opens it: name of the Jenkins, and path of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Where the order is on its way through Jenkins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::any_object")]
    pub run: Option<Value>,
}

/// Whether a gate is open.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GateState {
    /// It waits for somebody.
    Waiting,
    /// Its job runs.
    Running,
    /// The release may pass.
    Open,
    /// The release is withdrawn.
    Rejected,
}
