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
    /// Share of the callers' requests that were refused or did not arrive before anything moved, by their own proxies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<f64>,
    /// Whether there were times without a request while nothing had moved: then a pause is no sign that requests are missing.
    #[serde(default)]
    pub intermittent: bool,
    /// Whether somebody said that they arrive (`advance`), since nothing could tell.
    #[serde(default)]
    pub assumed: bool,
    /// Whether requests were known not to arrive in an attempt before, and have not been known to arrive since.
    #[serde(default)]
    pub missed: bool,
    /// Whether no request arrived in the last attempt, which callers who went home explain as well.
    #[serde(default)]
    pub perhaps_missed: bool,
    /// Whether the traffic moved because nobody else served, so that it goes back when somebody does.
    #[serde(default)]
    pub forced: bool,
}

/// What is known of the first callers of a service that nobody called when the primary took it over.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct FirstCallsStatus {
    /// When the primary was set up.
    pub since: DateTime<Utc>,
    /// Requests that were answered since then, as far as they were counted; ten are a proof.
    #[serde(default)]
    pub answered: i32,
    /// The latest sample that was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_at: Option<DateTime<Utc>>,
}

impl FirstCallsStatus {
    /// Nobody has called yet.
    #[must_use]
    pub fn since(since: DateTime<Utc>) -> FirstCallsStatus {
        FirstCallsStatus {
            since,
            answered: 0,
            counted_at: None,
        }
    }
}
