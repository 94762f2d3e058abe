//! Writing the VirtualServices that lead to a Canary's Service.
//!
//! There may be several. Invariant: each is tried, whatever became of the one before, for on the way back to safety every
//! one of them counts.

use crate::pointer::At;
use serde_json::{Value, json};

use super::Round;
use crate::{
    defect::{Defect, planted},
    reconcile::{desired, error::Error, kinds::Kind},
    rollout::{Child, Weight},
    traffic::istio::{RouteError, virtual_service},
    workload::{marks, text},
};

/// What several writes came to: the first that failed, or one of which nobody knows whether it was carried out.
pub(super) fn graver(before: Result<(), Error>, now: Result<(), Error>) -> Result<(), Error> {
    match (before, now) {
        (Err(known), Err(unknown)) if unknown.outcome_unknown() && !known.outcome_unknown() => Err(unknown),
        (Ok(()), now) => now,
        (before, _) => before,
    }
}

impl Round<'_> {
    /// Splits every VirtualService that leads to the Service, whatever became of the one before; the first error is told.
    pub(super) async fn route(&self, act: &'static str, weight: Weight) -> Result<(), Error> {
        let mut outcome = Ok(());
        let mut there = false;
        for live in self.snap.all_routes() {
            let mut patch = match virtual_service::split(live, &self.snap.services, weight) {
                Ok(patch) => patch,
                // It has the name, and another one leads to the Service.
                Err(RouteError::NoManagedRoute) => continue,
                Err(error) => {
                    outcome = graver(outcome, Err(error.into()));
                    continue;
                }
            };
            there = true;
            if planted(Defect::LosesAForeignField) && live.at("/spec/http/0/timeout").is_some() {
                let lost = json!([{"op": "remove", "path": "/spec/http/0/timeout"}]);
                patch.0.extend(
                    serde_json::from_value::<json_patch::Patch>(lost)
                        .unwrap_or_default()
                        .0,
                );
            }
            outcome = graver(outcome, self.patch_routes(act, live, patch).await);
        }
        if !there && outcome.is_ok() {
            return Err(self.stale(act, Child::Routes));
        }
        outcome
    }

    /// Undoes the split of every VirtualService that leads to the Service.
    pub(super) async fn merge_routes(&self, act: &'static str) -> Result<(), Error> {
        let mut outcome = Ok(());
        for live in self.snap.all_routes() {
            // What was created for a Canary, this one or another, keeps the marks that say so.
            let patch = if marks::owner_name(live).is_some() {
                virtual_service::merge_owned(live, &self.snap.services)
            } else {
                virtual_service::merge(live, &self.snap.services)
            };
            outcome = match patch {
                Ok(patch) => graver(outcome, self.patch_routes(act, live, patch).await),
                Err(error) => graver(outcome, Err(error.into())),
            };
        }
        outcome
    }

    async fn patch_routes(
        &self,
        act: &'static str,
        live: &Value,
        mut patch: json_patch::Patch,
    ) -> Result<(), Error> {
        if patch.0.is_empty() {
            return Ok(());
        }
        if planted(Defect::PatchesRoutesUnguarded) {
            patch
                .0
                .retain(|op| !matches!(op, json_patch::PatchOperation::Test(_)));
        }
        let ops = serde_json::to_value(&patch).map_err(|source| Error::Json {
            what: "a patch",
            source,
        })?;
        self.patch(act, Kind::VirtualService, text(live, "/metadata/name"), ops)
            .await
            .map(drop)
    }

    pub(super) async fn apply_routes(&self, act: &'static str, weight: Weight) -> Result<(), Error> {
        let Some(live) = self.snap.child(Child::Routes) else {
            return self
                .apply(act, Child::Routes, desired::routes(self.spec, self.snap, weight))
                .await;
        };
        let wanted = desired::routes_spec(self.snap, weight);
        let patch = virtual_service::repair(live, &wanted, &self.snap.services, weight)?;
        match self.patch_routes(act, live, patch).await {
            // What the server does not take as it should be keeps nobody from the weights.
            Err(refused) if refused.refusal().is_some() => {
                graver(Err(refused), self.route(act, weight).await)
            }
            other => other,
        }
    }
}
