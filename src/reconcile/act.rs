//! Carrying out a decision: writes in order, each guarded by the resourceVersion it was decided on; the first that
//! fails ends the round.
//!
//! Invariant: every answer of the server goes into the cache, so that the next decision sees what was written.

mod routes;

use std::{collections::BTreeSet, sync::Arc};

use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions};
use serde::Deserialize;
use serde_json::{Value, json};

use self::routes::graver;
use super::{
    Context,
    cache::UNAPPLIED,
    desired,
    error::{Error, act_name, object_name},
    index::Part,
    kinds::Kind,
    observe::FINALIZER,
    served,
    snapshot::{Snapshot, child_name},
};
use crate::{
    api::CanaryStatus,
    defect::{Defect, planted},
    rollout::{Act, Child, RolloutSpec, Serves},
    traffic::istio::virtual_service,
    workload::{
        deployment::{self, Primary},
        marks::{
            self, CANARY_LABEL, EPOCH_ANNOTATION, MANAGED_BY_LABEL, MANAGER, OWNER_ANNOTATION,
            SELECTOR_ANNOTATION,
        },
        service, text,
    },
};

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

    /// Carries out `acts` in order.
    ///
    /// If they are `independent`, a refusal ends only what is about the same object; one of the routes ends everything but
    /// what is about Services, for a status that is recorded after the routes tells where they lead.
    ///
    /// # Errors
    /// The act that failed and ended the round, or else the last one that was refused.
    pub async fn perform(&mut self, acts: &[Act], independent: bool) -> Result<(), Error> {
        let mut refused: Option<Error> = None;
        let mut barred = BTreeSet::new();
        for act in acts {
            let verdict = self.verdict_alone(act, &barred)?;
            let act = verdict.as_ref().unwrap_or(act);
            if verdict.is_none() && !goes_on(act, &barred) {
                continue;
            }
            tracing::debug!(canary = %self.spec.id, ?act, "act");
            if !self.ctx.leadership.leads() {
                return Err(Error::NotLeading(self.spec.id.clone()));
            }
            let Err(error) = self.perform_one(act).await else {
                let now = self.ctx.clock.now();
                self.ctx.local.carried_out(&self.spec.id, act, now);
                self.ctx.metrics.act(act_name(act));
                continue;
            };
            if let Some(earlier) = refused.take() {
                // The last one is remembered by whoever ran the round.
                self.ctx.note_refusal(&self.spec.id, &earlier);
            }
            let apart = independent && error.refusal().is_some();
            let Some(child) = act.child().filter(|_| apart) else {
                return Err(error);
            };
            barred.insert(child);
            refused = Some(error);
        }
        refused.map_or(Ok(()), Err)
    }

    /// A verdict that falls is not lost with routes that are refused, or the release would be judged anew on what comes later: it
    /// is recorded with the weight of before, which is what the routes carry in part.
    fn verdict_alone(&self, act: &Act, refused: &BTreeSet<Child>) -> Result<Option<Act>, Error> {
        let Act::Record(next) = act else { return Ok(None) };
        if !refused.contains(&Child::Routes) || next.retirement.is_none() {
            return Ok(None);
        }
        let stored = match self.canary.get("status") {
            Some(status) => CanaryStatus::deserialize(status).map_err(|source| Error::Json {
                what: "the Canary's status",
                source,
            })?,
            None => CanaryStatus::default(),
        };
        if stored.retirement.is_some() {
            return Ok(None);
        }
        let mut next = next.clone();
        next.canary_weight = stored.canary_weight;
        Ok(Some(Act::Record(next)))
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
                let live = self
                    .snap
                    .target
                    .as_ref()
                    .ok_or_else(|| self.missing(name, &self.spec.names.target))?;
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
    fn note(&self, kind: Kind, object: &DynamicObject) -> Result<Arc<Value>, Error> {
        let json = serde_json::to_value(object).map_err(|source| Error::Json {
            what: "an answer",
            source,
        })?;
        self.ctx.cache.put(kind, json.clone());
        self.accepted(kind, text(&json, "/metadata/name"));
        Ok(Arc::new(json))
    }

    /// A write of this object was carried out.
    fn accepted(&self, kind: Kind, name: &str) {
        self.ctx.local.accepted(&self.spec.id, &object_name(kind, name));
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
        self.note(kind, &written)
    }

    /// Creates an object. Unlike an apply, which would also overwrite one that somebody (or an earlier request of ours that
    /// arrived late) created meanwhile, this is refused then.
    async fn create(&self, act: &'static str, child: Child, wanted: Value) -> Result<(), Error> {
        let kind = Kind::from(child);
        let object: DynamicObject = serde_json::from_value(wanted).map_err(|source| Error::Json {
            what: "an object to be created",
            source,
        })?;
        let params = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        let name = child_name(&self.spec.names, child);
        let api = kind.api(&self.ctx.client, &self.spec.names.namespace);
        let written = api
            .create(&params, &object)
            .await
            .map_err(|source| self.refused(act, kind, name, source))?;
        self.note(kind, &written).map(drop)
    }

    /// What we created counts as applied by us from now on, so that the next apply takes away what it leaves out.
    async fn adopt_created(
        &self,
        act: &'static str,
        child: Child,
        live: &Arc<Value>,
    ) -> Result<Arc<Value>, Error> {
        let Some(index) = live.pointer("/metadata").and_then(|m| m.get(UNAPPLIED)) else {
            return Ok(live.clone());
        };
        let entry = format!("/metadata/managedFields/{index}");
        let ops = json!([
            {"op": "test", "path": "/metadata/resourceVersion", "value": text(live, "/metadata/resourceVersion")},
            {"op": "test", "path": format!("{entry}/manager"), "value": MANAGER},
            {"op": "replace", "path": format!("{entry}/operation"), "value": "Apply"},
        ]);
        let name = child_name(&self.spec.names, child);
        self.patch(act, child.into(), name, ops).await
    }

    /// Server-side apply of `wanted`, on the resourceVersion that was decided on; a creation if there was no object.
    async fn apply(&self, act: &'static str, child: Child, mut wanted: Value) -> Result<(), Error> {
        let Some(live) = self.snap.child(child) else {
            return self.create(act, child, wanted).await;
        };
        let live = self.adopt_created(act, child, live).await?;
        wanted["metadata"]["resourceVersion"] = json!(text(&live, "/metadata/resourceVersion"));
        // Of an object that is gone by then the version alone would not be looked at: it would be created anew.
        wanted["metadata"]["uid"] = json!(text(&live, "/metadata/uid"));
        let kind = Kind::from(child);
        let api = kind.api(&self.ctx.client, &self.spec.names.namespace);
        let name = child_name(&self.spec.names, child);
        let written = api
            .patch(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&wanted))
            .await
            .map_err(|source| self.refused(act, kind, name, source))?;
        self.note(kind, &written).map(drop)
    }

    async fn point_apex(&self, act: &'static str, serves: Serves) -> Result<(), Error> {
        let target = self
            .snap
            .target
            .as_ref()
            .ok_or_else(|| self.missing(act, &self.spec.names.target))?;
        let Some(Ok(selector)) = &self.snap.selector else {
            return Err(self.stale(act, Child::ApexService));
        };
        let live = self
            .snap
            .apex_service
            .as_ref()
            .filter(|live| !self.snap.owner.owns(live));
        let Some(live) = live else {
            let wanted = desired::service_of(self.spec, self.snap, Child::ApexService, Some(serves))
                .ok_or_else(|| self.stale(act, Child::ApexService))?;
            return self.apply(act, Child::ApexService, wanted).await;
        };
        let labels = match serves {
            Serves::Primary => service::pod_labels(target, selector, serves),
            Serves::Target => service::original_selector(live)
                .unwrap_or_else(|| service::pod_labels(target, selector, serves)),
        };
        let ops = service::point_adopted(live, &labels);
        self.patch(act, Kind::Service, &self.spec.names.apex, ops)
            .await
            .map(drop)
    }

    /// Writes exactly the template that was decided on: the one in this round's snapshot (W1).
    async fn promote(&self, act: &'static str, revision: &str, replicas: Option<i32>) -> Result<(), Error> {
        let target = self
            .snap
            .target
            .as_ref()
            .ok_or_else(|| self.missing(act, &self.spec.names.target))?;
        let Some(Ok(selector)) = &self.snap.selector else {
            return Err(self.stale(act, Child::PrimaryDeployment));
        };
        if !deployment::view_target(target, 0).is_of(revision) {
            return Err(self.missing(act, &self.spec.names.target));
        }
        let present = self
            .snap
            .primary
            .as_ref()
            .map(|p| deployment::view_primary(p, 0, Some(selector)).desired);
        let primary = Primary {
            name: &self.spec.names.primary,
            selector,
            owner: &self.snap.owner,
            revision,
            replicas: replicas.or(present).unwrap_or(1),
            include: &self.ctx.settings.include_label_prefix,
        };
        let wanted = deployment::build_primary(target, &primary);
        self.apply(act, Child::PrimaryDeployment, wanted).await
    }

    async fn restore(&self, act: &'static str, revision: &str) -> Result<(), Error> {
        let live = self.live(act, Child::PrimaryDeployment)?;
        let labels = live
            .pointer("/spec/selector/matchLabels")
            .and_then(Value::as_object);
        let selector = labels
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
            .collect::<Vec<_>>()
            .join(",");
        let api: kube::Api<DynamicObject> = kube::Api::namespaced_with(
            self.ctx.client.clone(),
            &self.spec.names.namespace,
            &kube::api::ApiResource::from_gvk(&kube::core::GroupVersionKind::gvk("apps", "v1", "ReplicaSet")),
        );
        let sets = api
            .list(&ListParams::default().labels(&selector))
            .await
            .map_err(|source| Error::Read {
                what: format!("ReplicaSets of {}", self.spec.names.primary),
                source: Box::new(source),
            })?;
        let sets = sets.items.iter();
        let sets = sets.filter_map(|set| serde_json::to_value(set).ok()).collect();
        let telling = self.snap.selector.as_ref().and_then(|known| known.as_ref().ok());
        let found = deployment::restorable(sets, revision, telling);
        let set = found.ok_or_else(|| Error::RevisionGone {
            primary: self.spec.names.primary.clone(),
            revision: revision.to_owned(),
        })?;
        self.apply(
            act,
            Child::PrimaryDeployment,
            deployment::build_restored(live, &set),
        )
        .await
    }

    /// The target gets the template that the primary was built from.
    async fn hand_back(&self, act: &'static str, revision: &str) -> Result<(), Error> {
        let primary = self.live(act, Child::PrimaryDeployment)?;
        let target = self
            .snap
            .target
            .as_ref()
            .ok_or_else(|| self.missing(act, &self.spec.names.target))?;
        let Some(Ok(selector)) = &self.snap.selector else {
            return Err(self.stale(act, Child::PrimaryDeployment));
        };
        if !deployment::view_primary(primary, 0, Some(selector)).is_of(revision) {
            return Err(self.stale(act, Child::PrimaryDeployment));
        }
        let ops = json!([
            {"op": "test", "path": "/metadata/resourceVersion", "value": text(target, "/metadata/resourceVersion")},
            {"op": "replace", "path": "/spec/template", "value": deployment::handed_back(primary, selector)},
        ]);
        self.patch(act, Kind::Deployment, text(target, "/metadata/name"), ops)
            .await
            .map(drop)
    }

    async fn scale(&self, act: &'static str, live: &Value, replicas: i32) -> Result<(), Error> {
        let ops = json!([
            {"op": "test", "path": "/metadata/resourceVersion", "value": text(live, "/metadata/resourceVersion")},
            {"op": "add", "path": "/spec/replicas", "value": replicas},
        ]);
        self.patch(act, Kind::Deployment, text(live, "/metadata/name"), ops)
            .await
            .map(drop)
    }

    /// The objects that `child` stands for; of the routes those with `wanted` alone.
    fn objects(
        &self,
        act: &'static str,
        child: Child,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Vec<&'a Arc<Value>>, Error> {
        if child != Child::Routes {
            return Ok(vec![self.live(act, child)?]);
        }
        let all = self.snap.routes.iter().chain(&self.snap.other_routes);
        let found: Vec<_> = all.filter(|live| wanted(live)).collect();
        if found.is_empty() {
            return Err(self.stale(act, child));
        }
        Ok(found)
    }

    /// Writes the epoch on `child`: whatever was decided on its state before is refused from now on.
    async fn fence(&self, act: &'static str, child: Child) -> Result<(), Error> {
        let epoch = self.ctx.epoch(&self.spec.id);
        let carried = |live: &Value| {
            let annotations = live.pointer("/metadata/annotations");
            annotations.and_then(|all| all.get(EPOCH_ANNOTATION)?.as_str()) == Some(epoch.as_str())
        };
        let managed: Vec<_> = self.snap.all_routes().collect();
        let wanted = |live: &Value| !carried(live) && managed.iter().any(|one| std::ptr::eq(&***one, live));
        let mut outcome = Ok(());
        for live in self.objects(act, child, wanted)? {
            let mut ops = vec![
                json!({"op": "test", "path": "/metadata/resourceVersion", "value": text(live, "/metadata/resourceVersion")}),
            ];
            if live.pointer("/metadata/annotations").is_none() {
                ops.push(json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
            }
            let path = format!("/metadata/annotations/{}", EPOCH_ANNOTATION.replace('/', "~1"));
            ops.push(json!({"op": "add", "path": path, "value": epoch}));
            let name = text(live, "/metadata/name");
            outcome = graver(
                outcome,
                self.patch(act, child.into(), name, Value::Array(ops))
                    .await
                    .map(drop),
            );
        }
        outcome
    }

    async fn release(&self, act: &'static str, child: Child) -> Result<(), Error> {
        let marked = |live: &Value| self.snap.owner.created(live) || !unmarked(live);
        let foreign = |live: &Value| {
            let owner = marks::owner_name(live);
            owner.is_some_and(|owner| owner != self.snap.owner.name)
        };
        let mut outcome = Ok(());
        let named = self.snap.child(child);
        let free = |live: &Value| {
            named.is_some_and(|named| std::ptr::eq(&**named, live)) || !virtual_service::divided(live)
        };
        let wanted = |live: &Value| marked(live) && !foreign(live) && free(live);
        for live in self.objects(act, child, wanted)? {
            let mut ops = vec![
                json!({"op": "test", "path": "/metadata/resourceVersion", "value": text(live, "/metadata/resourceVersion")}),
            ];
            ops.extend(MARKS.into_iter().filter_map(|(map, mark)| {
                let value = live.pointer(&format!("/metadata/{map}"))?.get(mark)?;
                let foreign = mark == MANAGED_BY_LABEL && value.as_str() != Some(MANAGER);
                let path = format!("/metadata/{map}/{}", mark.replace('/', "~1"));
                (!foreign).then(|| json!({"op": "remove", "path": path}))
            }));
            let name = text(live, "/metadata/name");
            outcome = graver(
                outcome,
                self.patch(act, child.into(), name, Value::Array(ops))
                    .await
                    .map(drop),
            );
        }
        outcome
    }

    async fn delete(&self, act: &'static str, child: Child) -> Result<(), Error> {
        // Whatever was decided: what somebody else made is not ours to delete.
        let live = self
            .snap
            .child(child)
            .filter(|live| self.snap.owner.created(live))
            .ok_or_else(|| self.stale(act, child))?;
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(text(live, "/metadata/uid").to_owned()),
                resource_version: Some(text(live, "/metadata/resourceVersion").to_owned()),
            }),
            ..DeleteParams::background()
        };
        let kind = Kind::from(child);
        let name = child_name(&self.spec.names, child);
        let api = kind.api(&self.ctx.client, &self.spec.names.namespace);
        match api.delete(name, &params).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(source) => return Err(self.refused(act, kind, name, source)),
        }
        self.accepted(kind, name);
        Ok(())
    }

    async fn add_finalizer(&mut self, act: &'static str) -> Result<(), Error> {
        let mut ops = self.canary_guard();
        if self.canary.pointer("/metadata/finalizers").is_none() {
            ops.push(json!({"op": "add", "path": "/metadata/finalizers", "value": []}));
        }
        ops.push(json!({"op": "add", "path": "/metadata/finalizers/-", "value": FINALIZER}));
        self.canary = self
            .patch(act, Kind::Canary, &self.spec.id.name, Value::Array(ops))
            .await?;
        Ok(())
    }

    async fn remove_finalizer(&mut self, act: &'static str) -> Result<(), Error> {
        let list = self
            .canary
            .pointer("/metadata/finalizers")
            .and_then(Value::as_array);
        let Some(index) = list.and_then(|l| l.iter().position(|f| f == FINALIZER)) else {
            return Ok(());
        };
        let mut ops = self.canary_guard();
        ops.push(json!({"op": "test", "path": format!("/metadata/finalizers/{index}"), "value": FINALIZER}));
        ops.push(json!({"op": "remove", "path": format!("/metadata/finalizers/{index}")}));
        match self
            .patch(act, Kind::Canary, &self.spec.id.name, Value::Array(ops))
            .await
        {
            Ok(written) => self.canary = written,
            // It went with an earlier removal whose answer was lost.
            Err(Error::Write { source, .. }) if matches!(&*source, kube::Error::Api(status) if status.code == 404) =>
                {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn canary_guard(&self) -> Vec<Value> {
        vec![json!({
            "op": "test",
            "path": "/metadata/resourceVersion",
            "value": text(&self.canary, "/metadata/resourceVersion"),
        })]
    }

    /// Replaces the status on the resourceVersion that was decided on.
    async fn record(&mut self, act: &'static str, status: &CanaryStatus) -> Result<(), Error> {
        self.canary = record_status(self.ctx, &self.canary, &self.spec.names.namespace, status)
            .await
            .map_err(|error| match error {
                Error::Write { source, .. } => self.refused(act, Kind::Canary, &self.spec.id.name, *source),
                other => other,
            })?;
        self.accepted(Kind::Canary, &self.spec.id.name);
        self.ctx
            .outbox
            .tell(&self.spec.id, &self.spec.uid, &status.outbox.pending);
        Ok(())
    }
}

/// Our marks on objects that stay.
const MARKS: [(&str, &str); 8] = [
    ("labels", CANARY_LABEL),
    ("labels", MANAGED_BY_LABEL),
    ("annotations", OWNER_ANNOTATION),
    ("annotations", SELECTOR_ANNOTATION),
    ("annotations", EPOCH_ANNOTATION),
    ("annotations", virtual_service::APPLIED_ANNOTATION),
    ("annotations", virtual_service::IMPLICIT_WEIGHT_ANNOTATION),
    ("annotations", virtual_service::WEIGHT_SCALE_ANNOTATION),
];

/// Whether `live` carries no mark of ours.
fn unmarked(live: &Value) -> bool {
    let annotations = live.pointer("/metadata/annotations");
    let mut marks = MARKS.iter().filter(|(map, _)| *map == "annotations");
    marks.all(|(_, mark)| annotations.is_none_or(|all| all.get(*mark).is_none()))
}

/// Replaces the status of `canary` on its resourceVersion; returns the Canary as written.
///
/// # Errors
/// If the write is refused or fails.
pub async fn record_status(
    ctx: &Context,
    canary: &Value,
    namespace: &str,
    status: &CanaryStatus,
) -> Result<Arc<Value>, Error> {
    replace_status(ctx, Kind::Canary, canary, namespace, status).await
}

/// Replaces the status of `live` on its resourceVersion; returns the object as written.
///
/// # Errors
/// If the write is refused or fails.
pub async fn replace_status(
    ctx: &Context,
    kind: Kind,
    live: &Value,
    namespace: &str,
    status: &(impl serde::Serialize + Sync),
) -> Result<Arc<Value>, Error> {
    let mut wanted = live.clone();
    let sent = serde_json::to_value(status).map_err(|source| Error::Json {
        what: "the status",
        source,
    })?;
    wanted["status"] = sent.clone();
    if planted(Defect::RecordsUnguarded) {
        wanted["metadata"]["resourceVersion"] = Value::Null;
    }
    let object: DynamicObject = serde_json::from_value(wanted).map_err(|source| Error::Json {
        what: "the object of a status",
        source,
    })?;
    let api = kind.api(&ctx.client, namespace);
    let params = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    let written = api
        .replace_status(text(live, "/metadata/name"), &params, &object)
        .await
        .map_err(|source| Error::Write {
            act: "recording the status",
            object: object_name(kind, text(live, "/metadata/name")),
            source: Box::new(source),
        })?;
    let json = serde_json::to_value(&written).map_err(|source| Error::Json {
        what: "an answer",
        source,
    })?;
    ctx.cache.put(kind, json.clone());
    let stored = json.get("status").unwrap_or(&Value::Null);
    if let Some(field) = served::lost(&sent, stored, &format!("{kind:?}.status")) {
        ctx.local.crd_outdated(Some(field.clone()));
        return Err(Error::CrdOutdated { field });
    }
    Ok(Arc::new(json))
}
