//! Reads the policies that may be in the way of a primary: once while it is set up, and again while they are in the way. They are
//! never watched, for they concern no release.

use chrono::{DateTime, TimeDelta, Utc};
use kube::{
    api::{Api, ApiResource, DynamicObject, ListParams},
    core::GroupVersionKind,
};

use super::{Context, error::Error, snapshot::Snapshot};
use crate::{
    api::{CanaryStatus, HoldReason, Phase},
    rollout::RolloutSpec,
    workload::policies::{KINDS, Policies, PolicyKind},
};

/// How old what was read may be while it is in the way.
const FRESH: TimeDelta = TimeDelta::seconds(30);

/// The policies of the Canary's namespace that select the target's pods and would not select the primary's; none where no primary
/// is being set up.
pub(super) async fn look(
    ctx: &Context,
    spec: &RolloutSpec,
    snap: &Snapshot,
    status: &CanaryStatus,
    now: DateTime<Utc>,
) -> Result<Policies, Error> {
    let sets_up = matches!(status.phase, None | Some(Phase::Initializing)) && !spec.deleting;
    let (Some(target), Some(Ok(selector)), true) = (&snap.target, &snap.selector, sets_up) else {
        return Ok(Policies::default());
    };
    let in_the_way = [HoldReason::PolicyNotCovering, HoldReason::NotReached]
        .iter()
        .any(|reason| {
            status
                .holds
                .iter()
                .chain(&status.hold)
                .any(|hold| hold.reason == *reason)
        });
    if let Some((read_at, known)) = ctx.local.policies(&spec.id)
        && !(in_the_way && now - read_at >= FRESH)
    {
        return Ok(known);
    }
    let reads = KINDS
        .iter()
        .map(|kind| list(&ctx.client, kind, &spec.names.namespace));
    let mut found = Policies::default();
    for (kind, objects) in KINDS.iter().zip(futures::future::join_all(reads).await) {
        match objects? {
            Some(objects) => found.add(kind, &objects, target, selector),
            None => found
                .unread
                .push(format!("{} (not allowed to list {})", kind.kind, kind.plural)),
        }
    }
    ctx.local.read_policies(&spec.id, now, found.clone());
    Ok(found)
}

/// The objects of one kind; `None` without the right to read them. A kind that is not served has none.
async fn list(
    client: &kube::Client,
    kind: &PolicyKind,
    namespace: &str,
) -> Result<Option<Vec<serde_json::Value>>, Error> {
    let gvk = GroupVersionKind::gvk(kind.group, kind.version, kind.kind);
    let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural);
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
    match api.list(&ListParams::default()).await {
        Ok(found) => {
            let objects = found
                .items
                .iter()
                .map(serde_json::to_value)
                .collect::<Result<_, _>>();
            objects.map(Some).map_err(|source| Error::Json {
                what: "a policy",
                source,
            })
        }
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(None),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Some(Vec::new())),
        Err(source) => Err(Error::Read {
            what: format!("{} of {namespace}", kind.plural),
            source: Box::new(source),
        }),
    }
}
