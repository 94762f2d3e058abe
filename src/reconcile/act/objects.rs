//! Writing what is created for a Canary, or adopted: applied, fenced, released, deleted.

use std::sync::Arc;

use crate::pointer::At;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use serde_json::{Value, json};

use super::{Round, guard, routes::graver};
use crate::{
    reconcile::{adopted, cache::UNAPPLIED, desired, error::Error, kinds::Kind, snapshot::child_name},
    rollout::{Child, Serves},
    traffic::istio::virtual_service,
    workload::{
        marks::{
            self, CANARY_LABEL, EPOCH_ANNOTATION, MANAGED_BY_LABEL, MANAGER, OWNER_ANNOTATION,
            SELECTOR_ANNOTATION,
        },
        service, text,
    },
};

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

/// Those of them that say how routes were written before they were divided.
const NOTES: [&str; 2] = [
    virtual_service::IMPLICIT_WEIGHT_ANNOTATION,
    virtual_service::WEIGHT_SCALE_ANNOTATION,
];

/// Whether `live` carries no mark of ours.
fn unmarked(live: &Value) -> bool {
    let annotations = live.at("/metadata/annotations");
    let mut marks = MARKS.iter().filter(|(map, _)| *map == "annotations");
    marks.all(|(_, mark)| annotations.is_none_or(|all| all.get(*mark).is_none()))
}

impl<'a> Round<'a> {
    /// Creates an object. Unlike an apply, which would also overwrite one that somebody (or an earlier request of ours that
    /// arrived late) created meanwhile, this is refused then.
    pub(super) async fn create(&self, act: &'static str, child: Child, wanted: Value) -> Result<(), Error> {
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
        self.note(act, kind, &written).map(drop)
    }

    /// What we created counts as applied by us from now on, so that the next apply takes away what it leaves out.
    async fn adopt_created(
        &self,
        act: &'static str,
        child: Child,
        live: &Arc<Value>,
    ) -> Result<Arc<Value>, Error> {
        let Some(index) = live.at("/metadata").and_then(|m| m.get(UNAPPLIED)) else {
            return Ok(live.clone());
        };
        let entry = format!("/metadata/managedFields/{index}");
        let ops = json!([
            guard(live),
            {"op": "test", "path": format!("{entry}/manager"), "value": MANAGER},
            {"op": "replace", "path": format!("{entry}/operation"), "value": "Apply"},
        ]);
        let name = child_name(&self.spec.names, child);
        self.patch(act, child.into(), name, ops).await
    }

    /// Server-side apply of `wanted`, on the resourceVersion that was decided on; a creation if there was no object.
    pub(super) async fn apply(
        &self,
        act: &'static str,
        child: Child,
        mut wanted: Value,
    ) -> Result<(), Error> {
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
        self.note(act, kind, &written).map(drop)
    }

    pub(super) async fn point_apex(&self, act: &'static str, serves: Serves) -> Result<(), Error> {
        let (Some(outline), Some(Ok(selector))) = (&self.snap.outline, &self.snap.selector) else {
            return Err(self.stale(act, Child::ApexService));
        };
        let missing = self.snap.apex_service.is_none();
        if missing && adopted::is_adopted(self.snap, Child::ApexService) {
            let wanted = desired::apex_again(self.spec, self.snap, serves)
                .ok_or_else(|| self.stale(act, Child::ApexService))?;
            return self.create(act, Child::ApexService, wanted).await;
        }
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
        let ops = service::point_adopted(live, outline, selector, serves);
        self.patch(act, Kind::Service, &self.spec.names.apex, ops)
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

    async fn patch_live(
        &self,
        act: &'static str,
        child: Child,
        live: &Value,
        ops: Vec<Value>,
    ) -> Result<(), Error> {
        let name = text(live, "/metadata/name");
        self.patch(act, child.into(), name, Value::Array(ops))
            .await
            .map(drop)
    }

    /// Writes the epoch on `child`: whatever was decided on its state before is refused from now on.
    pub(super) async fn fence(&self, act: &'static str, child: Child) -> Result<(), Error> {
        let epoch = self.ctx.epoch(&self.spec.id);
        let carried = |live: &Value| {
            let annotations = live.at("/metadata/annotations");
            annotations.and_then(|all| all.get(EPOCH_ANNOTATION)?.as_str()) == Some(epoch.as_str())
        };
        let managed: Vec<_> = self.snap.all_routes().collect();
        let wanted = |live: &Value| !carried(live) && managed.iter().any(|one| std::ptr::eq(&***one, live));
        let mut outcome = Ok(());
        for live in self.objects(act, child, wanted)? {
            let mut ops = vec![guard(live)];
            if live.at("/metadata/annotations").is_none() {
                ops.push(json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
            }
            let path = format!("/metadata/annotations/{}", EPOCH_ANNOTATION.replace('/', "~1"));
            ops.push(json!({"op": "add", "path": path, "value": epoch}));
            outcome = graver(outcome, self.patch_live(act, child, live, ops).await);
        }
        outcome
    }

    pub(super) async fn release(&self, act: &'static str, child: Child) -> Result<(), Error> {
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
            let mut ops = vec![guard(live)];
            // Notes on weights are another Canary's where routes are divided still.
            let shared = virtual_service::divided(live);
            let ours = |mark: &str| !shared || !NOTES.contains(&mark);
            let marks = MARKS.into_iter().filter(|(_, mark)| ours(mark));
            ops.extend(marks.filter_map(|(map, mark)| {
                let value = live.at(&format!("/metadata/{map}"))?.get(mark)?;
                let foreign = mark == MANAGED_BY_LABEL && value.as_str() != Some(MANAGER);
                let path = format!("/metadata/{map}/{}", mark.replace('/', "~1"));
                (!foreign).then(|| json!({"op": "remove", "path": path}))
            }));
            outcome = graver(outcome, self.patch_live(act, child, live, ops).await);
        }
        outcome
    }

    pub(super) async fn delete(&self, act: &'static str, child: Child) -> Result<(), Error> {
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
        self.accepted(act, kind, name);
        Ok(())
    }
}
