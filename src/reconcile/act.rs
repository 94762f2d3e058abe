//! Carrying out a decision: writes in order, each guarded by the resourceVersion it was decided on; the first that
//! fails ends the round.
//!
//! Invariant: every answer of the server goes into the cache, so that the next decision sees what was written.

mod canary; // the Canary itself: its finalizer and its status
mod objects; // what is created, marked and deleted
mod routes; // VirtualServices that lead to the Service
mod status; // a status is replaced
mod workloads; // target and primary

use std::{collections::BTreeSet, sync::Arc};

use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

pub use self::status::{record_status, replace_status};
use super::{
    Context, desired,
    error::{Error, FENCING, act_name, object_name},
    index::Part,
    kinds::Kind,
    snapshot::{Snapshot, child_name},
};
use crate::{
    rollout::{Act, Child, Decision, RolloutSpec},
    workload::{deployment::Selector, marks::MANAGER, text},
};

/// The first operation of every JSON Patch: nothing is written on another version than the one that was decided on.
pub(super) fn guard(live: &Value) -> Value {
    json!({"op": "test", "path": "/metadata/resourceVersion", "value": text(live, "/metadata/resourceVersion")})
}

/// One round of writes.
pub struct Round<'a> {
    ctx: &'a Context,
    spec: &'a RolloutSpec,
    snap: &'a Snapshot,
    /// The Canary as last written by this round.
    canary: Arc<Value>,
}

/// Whether `act` does not rely on what was refused, of the objects `refused`.
fn goes_on(act: &Act, refused: &BTreeSet<Child>) -> bool {
    let services = [Child::ApexService, Child::PrimaryService, Child::CanaryService];
    let child = act.child();
    let apart = !refused.contains(&Child::Routes) || child.is_some_and(|child| services.contains(&child));
    apart && child.is_none_or(|child| !refused.contains(&child))
}

impl<'a> Round<'a> {
    /// A round on what `snap` read.
    #[must_use]
    pub fn new(ctx: &'a Context, spec: &'a RolloutSpec, snap: &'a Snapshot) -> Round<'a> {
        Round {
            ctx,
            spec,
            snap,
            canary: snap.object.clone(),
        }
    }

    /// Carries out the acts of `decision` in order.
    ///
    /// If they are independent, a refusal ends only what is about the same object; one of the routes ends everything but
    /// what is about Services, for a status that is recorded after the routes tells where they lead.
    ///
    /// # Errors
    /// The act that failed and ended the round, or else the last one that was refused.
    pub async fn perform(&mut self, decision: &Decision) -> Result<(), Error> {
        let mut refused: Option<Error> = None;
        let mut barred = BTreeSet::new();
        let mut recorded = false;
        for act in &decision.acts {
            if !goes_on(act, &barred) {
                continue;
            }
            let Err(error) = self.write(act).await else {
                recorded |= matches!(act, Act::Record(status) if status.retirement.is_some());
                continue;
            };
            if let Some(earlier) = refused.take() {
                // The last one is remembered by whoever ran the round.
                self.ctx.note_refusal(&self.spec.id, &earlier);
            }
            let apart = decision.independent && error.refusal().is_some();
            let Some(child) = act.child().filter(|_| apart) else {
                return Err(error);
            };
            barred.insert(child);
            refused = Some(error);
        }
        let Some(refusal) = refused else { return Ok(()) };
        let left_out = barred.contains(&Child::Routes) && !recorded;
        if let Some(status) = decision.verdict.clone().filter(|_| left_out)
            && let Err(error) = self.write(&Act::Record(status)).await
        {
            self.ctx.note_refusal(&self.spec.id, &refusal);
            return Err(error);
        }
        Err(refusal)
    }

    /// Carries out one act, if this process still decides.
    async fn write(&mut self, act: &Act) -> Result<(), Error> {
        tracing::debug!(canary = %self.spec.id, ?act, "act");
        if !self.ctx.leadership.leads() {
            return Err(Error::NotLeading(self.spec.id.clone()));
        }
        self.perform_one(act).await?;
        self.ctx
            .local
            .carried_out(&self.spec.id, act, self.ctx.clock.now());
        self.ctx.metrics.act(act_name(act));
        Ok(())
    }

    async fn perform_one(&mut self, act: &Act) -> Result<(), Error> {
        let name = act_name(act);
        match act {
            Act::Fence(child) => self.fence(name, *child).await,
            Act::AddFinalizer => self.add_finalizer(name).await,
            Act::RemoveFinalizer => self.remove_finalizer(name).await,
            Act::Record(status) => self.record(name, status).await,
            Act::Apply(child) => {
                let wanted =
                    desired::child(self.spec, self.snap, *child).ok_or_else(|| self.stale(name, *child))?;
                self.apply(name, *child, wanted).await
            }
            Act::ApplyRoutes(weight) => self.apply_routes(name, *weight).await,
            Act::Route(weight) => self.route(name, *weight).await,
            Act::MergeRoutes => self.merge_routes(name).await,
            Act::PointApex(serves) => self.point_apex(name, *serves).await,
            Act::Promote { revision, replicas } => self.promote(name, revision, *replicas).await,
            Act::Restore { revision } => self.restore(name, revision).await,
            Act::HandBack { revision } => self.hand_back(name, revision).await,
            Act::ScaleTarget(replicas) => {
                let live = self.target(name)?;
                self.scale(name, live, *replicas).await
            }
            Act::ScalePrimary(replicas) => {
                let live = self.live(name, Child::PrimaryDeployment)?;
                self.scale(name, live, *replicas).await
            }
            Act::Release(child) => self.release(name, *child).await,
            Act::Delete(child) => self.delete(name, *child).await,
        }
    }

    fn missing(&self, act: &'static str, what: &str) -> Error {
        Error::Stale {
            act,
            what: format!("{}/{what}", self.spec.names.namespace),
        }
    }

    fn stale(&self, act: &'static str, child: Child) -> Error {
        self.missing(act, child_name(&self.spec.names, child))
    }

    fn live(&self, act: &'static str, child: Child) -> Result<&'a Arc<Value>, Error> {
        self.snap.child(child).ok_or_else(|| self.stale(act, child))
    }

    fn target(&self, act: &'static str) -> Result<&'a Arc<Value>, Error> {
        let target = self.snap.target.as_ref();
        target.ok_or_else(|| self.missing(act, &self.spec.names.target))
    }

    /// The target and the selector of its pods, without which `child` cannot be written.
    fn target_with_selector(
        &self,
        act: &'static str,
        child: Child,
    ) -> Result<(&'a Arc<Value>, &'a Selector), Error> {
        let target = self.target(act)?;
        let Some(Ok(selector)) = &self.snap.selector else {
            return Err(self.stale(act, child));
        };
        Ok((target, selector))
    }

    /// A write failed. If a guard refused it, the object is not as it is known.
    fn refused(&self, act: &'static str, kind: Kind, name: &str, source: kube::Error) -> Error {
        let error = Error::Write {
            act,
            object: object_name(kind, name),
            source: Box::new(source),
        };
        if error.is_conflict() {
            self.ctx.cache.doubt(Part {
                kind,
                namespace: self.spec.names.namespace.clone(),
                name: name.to_owned(),
            });
        }
        error
    }

    /// Takes the server's answer into the cache.
    fn note(&self, act: &'static str, kind: Kind, object: &DynamicObject) -> Result<Arc<Value>, Error> {
        let json = serde_json::to_value(object).map_err(|source| Error::Json {
            what: "an answer",
            source,
        })?;
        self.ctx.cache.put(kind, json.clone());
        self.accepted(act, kind, text(&json, "/metadata/name"));
        Ok(Arc::new(json))
    }

    /// A write of this object was carried out.
    fn accepted(&self, act: &'static str, kind: Kind, name: &str) {
        let (local, object) = (&self.ctx.local, object_name(kind, name));
        if act == FENCING {
            local.fenced(&self.spec.id, &object);
        } else {
            local.accepted(&self.spec.id, &object);
        }
    }

    async fn patch(
        &self,
        act: &'static str,
        kind: Kind,
        name: &str,
        ops: Value,
    ) -> Result<Arc<Value>, Error> {
        let ops: json_patch::Patch = serde_json::from_value(ops).map_err(|source| Error::Json {
            what: "a patch",
            source,
        })?;
        let api = kind.api(&self.ctx.client, &self.spec.names.namespace);
        let written = api
            .patch(
                name,
                &PatchParams {
                    field_manager: Some(MANAGER.to_owned()),
                    ..PatchParams::default()
                },
                &Patch::Json::<()>(ops),
            )
            .await
            .map_err(|source| self.refused(act, kind, name, source))?;
        self.note(act, kind, &written)
    }
}
