//! Kubernetes objects as plain JSON, since the suite knows no more of them than a person with kubectl does.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::{GroupVersionKind, TypeMeta};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

use crate::wait;

/// The name under which the suite applies objects.
const FIELD_MANAGER: &str = "story";

/// The kinds that stories deal with most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `bellwether.dev/v1beta1` Canary
    Canary,
    /// `bellwether.dev/v1beta1` Promotion
    Promotion,
    /// `bellwether.dev/v1beta1` Command
    Command,
    /// `bellwether.dev/v1beta1` Approval
    Approval,
    /// `bellwether.dev/v1beta1` Freeze
    Freeze,
    /// `bellwether.dev/v1beta1` ClusterFreeze
    ClusterFreeze,
    /// `apps/v1` Deployment
    Deployment,
    /// `apps/v1` ReplicaSet
    ReplicaSet,
    /// `discovery.k8s.io/v1` EndpointSlice
    EndpointSlice,
    /// `v1` Pod
    Pod,
    /// `v1` Service
    Service,
    /// `events.k8s.io/v1` Event
    Event,
    /// `coordination.k8s.io/v1` Lease
    Lease,
    /// `networking.istio.io/v1` VirtualService
    VirtualService,
    /// `networking.istio.io/v1` DestinationRule
    DestinationRule,
    /// `networking.k8s.io/v1` NetworkPolicy
    NetworkPolicy,
    /// `security.istio.io/v1` AuthorizationPolicy
    AuthorizationPolicy,
}

impl Kind {
    /// `group/version`, or `version` in the core.
    pub fn api_version(self) -> String {
        self.resource().api_version
    }

    /// Its name as it stands in manifests.
    pub fn name(self) -> &'static str {
        self.parts().2
    }

    /// Its name in paths.
    pub fn plural(self) -> String {
        self.resource().plural
    }

    /// The resource as the API server knows it.
    pub fn resource(self) -> ApiResource {
        let (group, version, kind) = self.parts();
        ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
    }

    fn parts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Canary => ("bellwether.dev", "v1beta1", "Canary"),
            Self::Promotion => ("bellwether.dev", "v1beta1", "Promotion"),
            Self::Command => ("bellwether.dev", "v1beta1", "Command"),
            Self::Approval => ("bellwether.dev", "v1beta1", "Approval"),
            Self::Freeze => ("bellwether.dev", "v1beta1", "Freeze"),
            Self::ClusterFreeze => ("bellwether.dev", "v1beta1", "ClusterFreeze"),
            Self::Deployment => ("apps", "v1", "Deployment"),
            Self::ReplicaSet => ("apps", "v1", "ReplicaSet"),
            Self::EndpointSlice => ("discovery.k8s.io", "v1", "EndpointSlice"),
            Self::Pod => ("", "v1", "Pod"),
            Self::Service => ("", "v1", "Service"),
            Self::Event => ("events.k8s.io", "v1", "Event"),
            Self::Lease => ("coordination.k8s.io", "v1", "Lease"),
            Self::VirtualService => ("networking.istio.io", "v1", "VirtualService"),
            Self::DestinationRule => ("networking.istio.io", "v1", "DestinationRule"),
            Self::NetworkPolicy => ("networking.k8s.io", "v1", "NetworkPolicy"),
            Self::AuthorizationPolicy => ("security.istio.io", "v1", "AuthorizationPolicy"),
        }
    }

    /// The objects of this kind in a namespace.
    pub fn api(self, client: &Client, namespace: &str) -> Api<DynamicObject> {
        if self == Self::ClusterFreeze {
            return Api::all_with(client.clone(), &self.resource());
        }
        Api::namespaced_with(client.clone(), namespace, &self.resource())
    }
}

/// Applies an object as `kubectl apply --server-side --force-conflicts` does; in `namespace`, unless it is cluster-wide.
pub async fn apply(client: &Client, namespace: Option<&str>, object: &Value) -> Result<DynamicObject> {
    apply_as(client, FIELD_MANAGER, namespace, object).await
}

/// The same in somebody else's name.
pub async fn apply_as(
    client: &Client,
    manager: &str,
    namespace: Option<&str>,
    object: &Value,
) -> Result<DynamicObject> {
    let types: TypeMeta =
        serde_json::from_value(object.clone()).context("an object without apiVersion and kind")?;
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(types)?);
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let name = object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .context("an object without a name")?;
    api.patch(name, &PatchParams::apply(manager).force(), &Patch::Apply(object))
        .await
        .with_context(|| format!("cannot apply {} {name}", resource.kind))
}

/// Waits until exactly so many pods with this `app` label are there, all of them ready, and returns them.
pub async fn wait_pods(
    client: &Client,
    namespace: &str,
    app: &str,
    count: usize,
    within: Duration,
) -> Result<Vec<Pod>> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let what = format!("{count} ready pods of {app}");
    let of_app = |pod: &&Pod| pod.labels().get("app").is_some_and(|label| label == app);
    let pods = wait::watch_all_until(api, &what, within, |pods| {
        let mut pods = pods.iter().filter(of_app).peekable();
        (count == 0 || pods.peek().is_some()) && {
            let (all, ready) = pods.fold((0, 0), |(all, ready), pod| {
                (all + 1, ready + usize::from(is_ready(pod)))
            });
            all == count && ready == count
        }
    })
    .await?;
    Ok(pods.into_iter().filter(|pod| of_app(&pod)).collect())
}

/// The pod says that it is ready, and is not on its way out.
fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}
