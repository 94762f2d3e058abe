//! What somebody ordered, and what came of it.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::verb::Verb;

/// An order about one revision, and what came of it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Intervention {
    /// UID of the Command, or what else makes it unique: it is heeded once.
    pub id: String,
    /// What was ordered.
    pub verb: Verb,
    /// The gate that was decided on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<String>,
    /// The revision that was meant.
    pub revision: String,
    /// Who.
    pub by: String,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// When it was heeded or refused.
    pub at: DateTime<Utc>,
    /// Why it was refused; absent if it was heeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}
