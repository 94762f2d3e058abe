//! `Promotion`: one request to release something on a Canary, and what became of it.

#![allow(clippy::duplicated_attributes, reason = "columns of the same type repeat it")]

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{canary_ref::CanaryRef, gate::GateStatus, schema, status::CheckStatus, verb::AbortAction};

/// A request to release something on a Canary. It ends with exactly one result.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "bellwether.dev",
    version = "v1beta1",
    kind = "Promotion",
    plural = "promotions",
    shortname = "promo",
    namespaced,
    status = "PromotionStatus",
    doc = "A Promotion asks for one release on a Canary and tells its result: Promoted, RolledBack, Aborted, Superseded or Failed.",
    printcolumn(name = "Canary", type_ = "string", json_path = ".spec.canaryRef.name"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Weight", type_ = "integer", json_path = ".status.weight"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason", priority = 1),
    printcolumn(
        name = "Revision",
        type_ = "string",
        json_path = ".status.revision",
        priority = 1
    ),
    printcolumn(
        name = "By",
        type_ = "string",
        json_path = ".spec.requester.user",
        priority = 1
    )
)]
#[x_kube(validation = Rule::new("self == oldSelf").message("spec: cannot change; create another Promotion"))]
#[x_kube(validation = Rule::new("(has(self.image) ? 1 : 0) + (has(self.images) ? 1 : 0) + (has(self.await) ? 1 : 0) == 1")
    .message("spec: set exactly one of image, images and await"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = super::schema::NeverNull)]
pub struct PromotionSpec {
    /// The Canary, in the same namespace.
    pub canary_ref: CanaryRef,
    /// Image of the workload's only container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 500))]
    pub image: Option<String>,
    /// Image by name of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::images")]
    pub images: Option<BTreeMap<String, String>>,
    /// What the workload will have when somebody else, such as a GitOps tool, has changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#await: Option<Awaited>,
    /// Who asks.
    #[serde(default)]
    pub requester: Requester,
    /// What to do when things go otherwise.
    #[serde(default)]
    pub policy: Policy,
    /// Digest of the request that made this object, so that the same key with another body is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub request_digest: Option<String>,
}

/// What the workload will have.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("(has(self.image) ? 1 : 0) + (has(self.images) ? 1 : 0) + (has(self.revision) ? 1 : 0) == 1")
    .message("spec.await: set exactly one of image, images and revision"))]
pub struct Awaited {
    /// Image of its only container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 500))]
    pub image: Option<String>,
    /// Image by name of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::images")]
    pub images: Option<BTreeMap<String, String>>,
    /// Digest of the pod template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 64))]
    pub revision: Option<String>,
}

/// Who asks; everything is optional and shown wherever the promotion is.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Requester {
    /// What kind of client, such as `jenkins`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = schema::LINE))]
    pub kind: Option<String>,
    /// Which installation of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = schema::LINE))]
    pub controller: Option<String>,
    /// Job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500), regex(pattern = schema::LINE))]
    pub job: Option<String>,
    /// Number of the build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub build_number: Option<i64>,
    /// Address of the build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2000))]
    pub build_url: Option<String>,
    /// Tag of the build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500), regex(pattern = schema::LINE))]
    pub build_tag: Option<String>,
    /// Who started the build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = schema::LINE))]
    pub user: Option<String>,
    /// Others who are behind it: whoever started the build before, or again; whom its token names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(max = 500)))]
    pub on_behalf_of: Vec<String>,
    /// Commit that was built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100), regex(pattern = schema::LINE))]
    pub commit: Option<String>,
    /// Who the hook API or the API server says it was; set by them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500))]
    pub authenticated_as: Option<String>,
}

/// What to do when things go otherwise.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// Another promotion of the Canary is not over. Default `reject`.
    #[serde(default)]
    pub conflict: Conflict,
    /// What an abort does that names no action. Default `rollback`.
    #[serde(default)]
    pub on_abort: AbortAction,
    /// What happens when whoever waits through the hook API is not heard of any more. Default `continue`: a CI server that
    /// restarts must not take a release back.
    #[serde(default)]
    pub on_client_lost: OnClientLost,
    /// Seconds of silence after which the client counts as lost. Default 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 86_400))]
    pub client_lost_seconds: Option<i64>,
    /// Seconds after which the promotion has failed and its release is rolled back. Default 3600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 604_800))]
    pub deadline_seconds: Option<i64>,
    /// After this time the promotion does not begin: a build that is run again much later does not release an old image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<DateTime<Utc>>,
    /// Seconds that the object stays after its end. Default 86400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_592_000))]
    pub ttl_seconds: Option<i64>,
}

/// What becomes of a promotion while another one is not over.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Conflict {
    /// It fails.
    #[default]
    Reject,
    /// It waits for its turn.
    Queue,
    /// It takes the other one's place.
    Supersede,
}

/// What happens when the client is lost.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum OnClientLost {
    /// The release goes on to its verdict.
    #[default]
    Continue,
    /// It is paused where it is.
    Pause,
    /// It is rolled back.
    Rollback,
}

/// What became of the request.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PromotionStatus {
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<PromotionPhase>,
    /// Grows with every change.
    #[serde(default)]
    pub seq: i64,
    /// Why it is where it is, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// One sentence for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The revision that the workload had when it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The revision that the workload has since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Share of the canary in percent.
    #[serde(default)]
    pub weight: i32,
    /// The present step, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<i32>,
    /// What holds the release back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// The gates that its release has come to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<GateStatus>,
    /// The last checks with their values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckStatus>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<DateTime<Utc>>,
    /// What happened, line by line.
    #[serde(default)]
    pub log: Log,
}

/// The newest lines of a log whose beginning may be gone.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Log {
    /// Bytes before the first line that is kept.
    #[serde(default)]
    pub dropped_bytes: i64,
    /// The lines that are kept, without their ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
}

/// Where a promotion stands.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PromotionPhase {
    /// It waits to begin: for the end of a freeze, or for what it awaits.
    Pending,
    /// It waits for another promotion.
    Queued,
    /// Its release is under way.
    Running,
    /// The primary has what was asked for.
    Promoted,
    /// The release was judged bad and rolled back.
    RolledBack,
    /// Somebody called it off.
    Aborted,
    /// Something newer took its place.
    Superseded,
    /// It could not be carried out.
    Failed,
}

impl PromotionPhase {
    /// Whether it is a result.
    #[must_use]
    pub fn finished(self) -> bool {
        !matches!(
            self,
            PromotionPhase::Pending | PromotionPhase::Queued | PromotionPhase::Running
        )
    }
}

impl std::fmt::Display for PromotionPhase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}
