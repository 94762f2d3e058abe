//! `Freeze` and `ClusterFreeze`: when no release may begin.

#![allow(clippy::duplicated_attributes, reason = "columns of the same type repeat it")]

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{absent, canary_ref::CanaryRef, schema};

/// When no release may begin, in one namespace or of one Canary.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "bellwether.dev",
    version = "v1beta1",
    kind = "Freeze",
    plural = "freezes",
    namespaced,
    doc = "A Freeze keeps releases of its namespace, or of one Canary, from beginning: in its windows, or at once if it has none.",
    printcolumn(name = "Canary", type_ = "string", json_path = ".spec.canaryRef.name"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason"),
    printcolumn(name = "UnderWay", type_ = "string", json_path = ".spec.underWay"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = schema::NeverNull)]
pub struct FreezeSpec {
    /// The one Canary that is meant; every one of the namespace if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary_ref: Option<CanaryRef>,
    /// Why, in a person's words.
    #[schemars(length(min = 1, max = 1000), regex(pattern = schema::LINE))]
    pub reason: String,
    /// When it is in force; until it is deleted if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub windows: Option<Vec<FreezeWindow>>,
    /// What becomes of releases that are under way. Default `finish`.
    #[serde(default, deserialize_with = "absent::or_default")]
    pub under_way: UnderWay,
}

/// When no release may begin in the whole cluster.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "bellwether.dev",
    version = "v1beta1",
    kind = "ClusterFreeze",
    plural = "clusterfreezes",
    doc = "A ClusterFreeze keeps every release of the cluster from beginning: in its windows, or at once if it has none.",
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason"),
    printcolumn(name = "UnderWay", type_ = "string", json_path = ".spec.underWay"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = schema::NeverNull)]
pub struct ClusterFreezeSpec {
    /// Why, in a person's words.
    #[schemars(length(min = 1, max = 1000), regex(pattern = schema::LINE))]
    pub reason: String,
    /// When it is in force; until it is deleted if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub windows: Option<Vec<FreezeWindow>>,
    /// What becomes of releases that are under way. Default `finish`.
    #[serde(default, deserialize_with = "absent::or_default")]
    pub under_way: UnderWay,
}

/// When a freeze is in force.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FreezeWindow {
    /// When it begins: minute, hour, day of the month, month, day of the week, as cron has them.
    #[schemars(length(min = 9, max = 200))]
    pub schedule: String,
    /// How long it lasts, such as `62h`; up to 31 days.
    #[schemars(schema_with = "schema::long_duration")]
    pub duration: String,
    /// Time zone of the schedule, such as `Europe/Berlin`. Default `UTC`.
    #[serde(
        default,
        deserialize_with = "absent::text",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 64))]
    pub time_zone: Option<String>,
}

/// What becomes of releases that are under way when a freeze begins.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum UnderWay {
    /// They go on to their verdict.
    #[default]
    Finish,
    /// They take no further step. What protects users goes on.
    Hold,
}
