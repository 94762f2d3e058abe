//! A hand-over of traffic to other pods.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A hand-over of traffic to other pods.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TransferStatus {
    /// Share of the pods that served before, in percent.
    pub old_share: i32,
    /// Since when the traffic is split like this.
    pub since: DateTime<Utc>,
    /// Requests a second that the pods had that served before; absent if nobody could tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// How often requests did not arrive, or the new pods were gone, and the traffic went back.
    #[serde(default)]
    pub attempts: i32,
    /// Whether requests were known to arrive; if not, nobody called.
    #[serde(default)]
    pub reached: bool,
    /// Whether they were known to arrive when the new pods had all of the traffic.
    #[serde(default)]
    pub confirmed: bool,
    /// Share of the requests that were refused before anything moved, from 0 to 1; absent if nobody could tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<f64>,
    /// Whether somebody said that they arrive (`advance`), since nothing could tell.
    #[serde(default)]
    pub assumed: bool,
    /// Whether requests were known not to arrive in an attempt before, and have not been known to arrive since.
    #[serde(default)]
    pub missed: bool,
    /// Whether the traffic moved because nobody else served, so that it goes back when somebody does.
    #[serde(default)]
    pub forced: bool,
}
