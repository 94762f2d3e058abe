//! Writing the Deployments: the primary takes a template over or returns to one, the target gets it back, either is scaled.

use crate::pointer::At;
use kube::api::{DynamicObject, ListParams};
use serde_json::{Value, json};

use super::{Round, guard};
use crate::{
    reconcile::{error::Error, kinds::Kind},
    rollout::Child,
    workload::{
        deployment::{self, Primary},
        overwrite::overwrite,
        text,
    },
};

impl Round<'_> {
    /// Writes exactly the template that was decided on: the one in this round's snapshot (W1).
    pub(super) async fn promote(
        &self,
        act: &'static str,
        revision: &str,
        replicas: Option<i32>,
    ) -> Result<(), Error> {
        let (target, selector) = self.target_with_selector(act, Child::PrimaryDeployment)?;
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
        match &self.snap.primary {
            Some(live) => self.overwrite(act, live, &wanted).await,
            None => self.create(act, Child::PrimaryDeployment, wanted).await,
        }
    }

    /// The primary `live` becomes as `wanted`, on the resourceVersion that was decided on.
    async fn overwrite(&self, act: &'static str, live: &Value, wanted: &Value) -> Result<(), Error> {
        let mut ops = vec![guard(live)];
        ops.extend(overwrite(live, wanted));
        self.patch(act, Kind::Deployment, &self.spec.names.primary, Value::Array(ops))
            .await
            .map(drop)
    }

    pub(super) async fn restore(&self, act: &'static str, revision: &str) -> Result<(), Error> {
        let live = self.live(act, Child::PrimaryDeployment)?;
        let labels = live.at("/spec/selector/matchLabels").and_then(Value::as_object);
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
        let wanted = deployment::build_restored(live, &set, &self.ctx.settings.include_label_prefix);
        self.overwrite(act, live, &wanted).await
    }

    /// The target gets the template that the primary was built from.
    pub(super) async fn hand_back(&self, act: &'static str, revision: &str) -> Result<(), Error> {
        let primary = self.live(act, Child::PrimaryDeployment)?;
        let (target, selector) = self.target_with_selector(act, Child::PrimaryDeployment)?;
        if !deployment::view_primary(primary, 0, Some(selector)).is_of(revision) {
            return Err(self.stale(act, Child::PrimaryDeployment));
        }
        let ops = json!([
            guard(target),
            {"op": "replace", "path": "/spec/template", "value": deployment::handed_back(primary, selector)},
        ]);
        self.patch(act, Kind::Deployment, text(target, "/metadata/name"), ops)
            .await
            .map(drop)
    }

    pub(super) async fn scale(&self, act: &'static str, live: &Value, replicas: i32) -> Result<(), Error> {
        let ops = json!([
            guard(live),
            {"op": "add", "path": "/spec/replicas", "value": replicas},
        ]);
        self.patch(act, Kind::Deployment, text(live, "/metadata/name"), ops)
            .await
            .map(drop)
    }
}
