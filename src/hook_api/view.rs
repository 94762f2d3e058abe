//! What answers say.

mod order; // an order, and what became of it

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::{
    api::{
        Canary, CheckStatus, GatePoint, GateState, GateStatus, PastRollout, Promotion, PromotionPhase,
        Requester,
    },
    rollout,
};
pub use order::{Accepted, OrderLinks, OrderView, order_path, order_resource};

/// Exit codes, the same as the command line's.
#[must_use]
pub fn exit_code(phase: PromotionPhase) -> Option<i32> {
    match phase {
        PromotionPhase::Pending | PromotionPhase::Queued | PromotionPhase::Running => None,
        PromotionPhase::Promoted => Some(0),
        PromotionPhase::RolledBack => Some(3),
        PromotionPhase::Aborted => Some(5),
        PromotionPhase::Superseded => Some(6),
        PromotionPhase::Failed => Some(8),
    }
}

/// The state of a promotion.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PromotionView {
    /// Its name.
    pub id: String,
    /// Its namespace.
    pub namespace: String,
    /// Its Canary.
    pub canary: String,
    /// Grows with every change.
    pub seq: i64,
    /// Where it stands.
    pub phase: PromotionPhase,
    /// Whether it is over.
    pub finished: bool,
    /// How it ended.
    pub result: Option<PromotionPhase>,
    /// The exit code that belongs to the result.
    pub exit_code: Option<i32>,
    /// Why it is where it is, in one word.
    pub reason: Option<String>,
    /// One sentence for a person.
    pub message: Option<String>,
    /// The revision that it released.
    pub revision: Option<String>,
    /// Share of the canary in percent.
    pub weight: i32,
    /// The present step, from 1.
    pub step: Option<i32>,
    /// Steps of the Canary.
    pub steps: Option<usize>,
    /// What holds the release back.
    pub held: Option<String>,
    /// The gates that the release has come to.
    pub gates: Vec<GateView>,
    /// The last checks with their values.
    pub checks: Vec<CheckStatus>,
    /// The image that was asked for, of a workload with one container.
    pub image: Option<String>,
    /// The images that were asked for, by name of the container.
    pub images: BTreeMap<String, String>,
    /// Who asks.
    pub requester: Requester,
    /// When it was asked for.
    pub created_at: Option<String>,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// Bytes of its log.
    pub log_bytes: i64,
    /// Paths of what belongs to it.
    pub links: Links,
}

/// Paths of what belongs to a promotion.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Links {
    /// Its state.
    #[serde(rename = "self")]
    pub itself: String,
    /// Its log.
    pub log: String,
    /// Where it is called off.
    pub abort: String,
}

/// Path of a promotion.
#[must_use]
pub fn path(namespace: &str, id: &str) -> String {
    format!("/v1/namespaces/{namespace}/promotions/{id}")
}

impl PromotionView {
    /// The state of `promotion`; `canary` tells how many steps there are.
    #[must_use]
    pub fn of(promotion: &Promotion, canary: Option<&Canary>) -> PromotionView {
        let (metadata, spec) = (&promotion.metadata, &promotion.spec);
        let status = promotion.status.clone().unwrap_or_default();
        let phase = status.phase.unwrap_or(PromotionPhase::Pending);
        let namespace = metadata.namespace.clone().unwrap_or_default();
        let id = metadata.name.clone().unwrap_or_default();
        let awaited = spec.r#await.clone().unwrap_or_default();
        let itself = path(&namespace, &id);
        PromotionView {
            canary: spec.canary_ref.name.clone(),
            seq: status.seq,
            phase,
            finished: phase.finished(),
            result: phase.finished().then_some(phase),
            exit_code: exit_code(phase),
            reason: status.reason,
            message: status.message,
            revision: status.revision,
            weight: status.weight,
            step: status.step,
            steps: canary.and_then(steps),
            held: status.held,
            gates: status.gates.into_iter().map(GateView::of).collect(),
            checks: status.checks,
            image: spec.image.clone().or(awaited.image),
            images: spec.images.clone().or(awaited.images).unwrap_or_default(),
            requester: spec.requester.clone(),
            created_at: metadata
                .creation_timestamp
                .as_ref()
                .map(|time| time.0.to_string()),
            started_at: status.started_at,
            finished_at: status.finished_at,
            log_bytes: status.log.bytes(),
            links: Links {
                log: format!("{itself}/log"),
                abort: format!("{itself}/abort"),
                itself,
            },
            namespace,
            id,
        }
    }
}

fn steps(canary: &Canary) -> Option<usize> {
    let spec = rollout::validate(canary, chrono::TimeDelta::zero()).ok()?;
    Some(spec.steps.weights().len())
}

/// The state of a Canary.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanaryView {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Where its rollout stands.
    pub phase: Option<String>,
    /// One sentence for a person.
    pub message: Option<String>,
    /// Share of the canary in percent.
    pub weight: i32,
    /// The revision last seen.
    pub revision: Option<String>,
    /// The revision promoted last.
    pub promoted: Option<String>,
    /// What holds the rollout back.
    pub held: Option<String>,
    /// The gates that the release has come to.
    pub gates: Vec<GateView>,
    /// Promotions of it that are not over.
    pub promotions: Vec<String>,
    /// Its last rollouts, newest first; at most ten.
    pub history: Vec<PastRollout>,
}

/// A gate.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateView {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub at: GatePoint,
    /// Whether it is open.
    pub state: GateState,
    /// Since when the release has come to it.
    pub since: DateTime<Utc>,
    /// Who opened or rejected it.
    pub by: Option<String>,
    /// Why it is as it is.
    pub message: Option<String>,
    /// The build, for people.
    pub url: Option<String>,
}

impl GateView {
    fn of(gate: GateStatus) -> GateView {
        GateView {
            name: gate.name,
            at: gate.at,
            state: gate.state,
            since: gate.since,
            by: gate.by,
            message: gate.message,
            url: gate.url,
        }
    }
}

impl CanaryView {
    /// The state of `canary`, with its promotions that are not over.
    #[must_use]
    pub fn of(canary: &Canary, promotions: Vec<String>) -> CanaryView {
        let status = canary.status.clone().unwrap_or_default();
        CanaryView {
            name: canary.metadata.name.clone().unwrap_or_default(),
            namespace: canary.metadata.namespace.clone().unwrap_or_default(),
            phase: status.phase.map(|phase| phase.to_string()),
            message: status.message,
            weight: status.canary_weight,
            revision: status.revision.current,
            promoted: status.revision.promoted,
            held: status.hold.map(|hold| hold.reason.to_string()),
            gates: status.gates.into_iter().map(GateView::of).collect(),
            history: status.history,
            promotions,
        }
    }
}

/// Reads an object of the cache.
#[must_use]
pub fn typed<T: serde::de::DeserializeOwned>(object: &Value) -> Option<T> {
    serde_json::from_value(object.clone()).ok()
}
