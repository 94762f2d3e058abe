//! Facts that wait to be told.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Phase;

/// Facts that wait to be told to others, each once at least.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Outbox {
    /// Number of the newest fact.
    #[serde(default)]
    pub seq: i64,
    /// Facts that are not known to be told yet, oldest first; at most sixteen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<Notice>,
}

/// A fact worth telling.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// Its number within this Canary: with the UID the idempotency key.
    pub seq: i64,
    /// Whether a person should worry.
    pub kind: NoticeKind,
    /// CamelCase kind of fact.
    pub reason: String,
    /// One sentence.
    pub message: String,
    /// When it became true.
    pub at: DateTime<Utc>,
    /// Where the rollout stood then; absent from facts of an older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(rename = "stand")]
    pub situation: Option<Situation>,
}

/// Where a rollout stood when a fact was written down: whoever tells it later would see another state.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Situation {
    /// The phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// The revision last seen and acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The revision last promoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted: Option<String>,
    /// Image of the revision last promoted, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Intended share of the canary in percent.
    #[serde(default)]
    pub weight: i32,
    /// Position in the list of steps, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<i32>,
}

/// The types of a Kubernetes Event.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// All as it should be.
    Normal,
    /// Something to look at.
    Warning,
}
