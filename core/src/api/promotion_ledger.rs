//! `PromotionLedger`: what became of promotions that are forgotten, so that their idempotency keys start nothing anew.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::promotion::PromotionPhase;

/// Results of promotions of one namespace that are forgotten.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[kube(
    group = "bellwether.dev",
    version = "v1beta1",
    kind = "PromotionLedger",
    plural = "promotionledgers",
    namespaced,
    doc = "A PromotionLedger keeps the results of promotions that are over and forgotten. Bellwether writes it; nobody edits it."
)]
#[serde(rename_all = "camelCase")]
pub struct PromotionLedgerSpec {
    /// The results, by name of the Promotion.
    #[serde(default)]
    pub entries: BTreeMap<String, LedgerEntry>,
}

/// What became of one promotion.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LedgerEntry {
    /// Its Canary.
    pub canary: String,
    /// Its result.
    pub result: PromotionPhase,
    /// When it ended.
    pub finished_at: DateTime<Utc>,
}
