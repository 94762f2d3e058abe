//! Kubernetes objects as plain JSON, since the suite knows no more of them than a person with kubectl does.

use anyhow::{Context, Result};
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::{GroupVersionKind, TypeMeta};
use kube::{Api, Client};
use serde_json::Value;

/// The name under which the suite applies objects.
const FIELD_MANAGER: &str = "story";

/// The kinds that stories deal with most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `bellwether.dev/v1beta1` Canary
    Canary,
    /// `apps/v1` Deployment
    Deployment,
    /// `v1` Pod
    Pod,
    /// `v1` Service
    Service,
    /// `v1` Event
    Event,
    /// `networking.istio.io/v1` VirtualService
    VirtualService,
    /// `networking.istio.io/v1` DestinationRule
    DestinationRule,
}

impl Kind {
    fn resource(self) -> ApiResource {
        let (group, version, kind) = match self {
            Self::Canary => ("bellwether.dev", "v1beta1", "Canary"),
            Self::Deployment => ("apps", "v1", "Deployment"),
            Self::Pod => ("", "v1", "Pod"),
            Self::Service => ("", "v1", "Service"),
            Self::Event => ("", "v1", "Event"),
            Self::VirtualService => ("networking.istio.io", "v1", "VirtualService"),
            Self::DestinationRule => ("networking.istio.io", "v1", "DestinationRule"),
        };
        ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
    }

    /// The objects of this kind in a namespace.
    pub fn api(self, client: &Client, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(client.clone(), namespace, &self.resource())
    }
}

/// Applies an object as `kubectl apply --server-side --force-conflicts` does; in `namespace`, unless it is cluster-wide.
pub async fn apply(client: &Client, namespace: Option<&str>, object: &Value) -> Result<DynamicObject> {
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
    api.patch(
        name,
        &PatchParams::apply(FIELD_MANAGER).force(),
        &Patch::Apply(object),
    )
    .await
    .with_context(|| format!("cannot apply {} {name}", resource.kind))
}
