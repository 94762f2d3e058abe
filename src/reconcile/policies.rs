//! Reads the policies that may be in the way of a primary. They are never watched, for they concern no release.

use std::time::Duration;

use chrono::{DateTime, Utc};
use kube::{
    api::{Api, ApiResource, DynamicObject, ListParams},
    core::GroupVersionKind,
};
use serde_json::Value;

use super::{Context, snapshot::Snapshot};
use crate::{
    api::CanaryStatus,
    rollout::{self, RolloutSpec},
    workload::policies::{Effect, KINDS, Policies, PolicyKind},
};

/// How long a list may take: a round has to decide whatever becomes of it.
const ANSWER: Duration = Duration::from_secs(5);

/// The policies of the Canary's namespace that do not select the pods of target and primary alike: as they were read last, or
/// anew where the decision wants that. A read that fails is part of the answer, and keeps no round from deciding.
pub(super) async fn look(
    ctx: &Context,
    spec: &RolloutSpec,
    snap: &Snapshot,
    status: &CanaryStatus,
    now: DateTime<Utc>,
) -> Policies {
    let known = ctx.local.policies(&spec.id);
    let read_at = known.as_ref().map(|(at, _)| *at);
    let wanted = rollout::policies_wanted(spec, status, snap.primary.is_some(), read_at, now);
    let (Some(target), Some(Ok(selector)), true) = (&snap.target, &snap.selector, wanted) else {
        return known.map(|(_, policies)| policies).unwrap_or_default();
    };
    let reads = KINDS
        .iter()
        .map(|kind| list(&ctx.client, kind, &spec.names.namespace));
    let names = &spec.names;
    let own = [&names.apex, &names.primary_service, &names.canary_service].map(String::as_str);
    let mut found = Policies::default();
    for (kind, objects) in KINDS.iter().zip(futures::future::join_all(reads).await) {
        let plural = kind.plural;
        match objects {
            Ok(objects) => found.add(kind, &objects, (target, selector), &own),
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(kube::Error::Api(status)) if status.code == 403 => {
                found.unread.push(format!("{plural} (not allowed to list them)"));
            }
            Err(error) if kind.effect == Effect::Holds => found.failed.push(format!("{plural}: {error}")),
            Err(error) => found.unread.push(format!("{plural} ({error})")),
        }
    }
    ctx.local.read_policies(&spec.id, now, found.clone());
    found
}

/// The objects of one kind, as any replica of the API server knows them.
async fn list(client: &kube::Client, kind: &PolicyKind, namespace: &str) -> Result<Vec<Value>, kube::Error> {
    let gvk = GroupVersionKind::gvk(kind.group, kind.version, kind.kind);
    let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural);
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
    let params = ListParams::default().match_any();
    let found = tokio::time::timeout(ANSWER, api.list(&params)).await;
    let found = found
        .map_err(|_| kube::Error::Service(format!("no answer within {} s", ANSWER.as_secs()).into()))??;
    let objects = found.items.iter().map(serde_json::to_value);
    objects.collect::<Result<_, _>>().map_err(kube::Error::SerdeError)
}
