//! The objects that a Canary asks for, built from a snapshot. Pure.

use serde_json::{Value, json};

use super::snapshot::Snapshot;
use crate::{
    rollout::{Child, RolloutSpec, Serves, Weight},
    traffic::istio::{OwnedRoute, Role, destination_rule, virtual_service},
    workload::service,
};

/// The Service or DestinationRule `child` as it should be; `None` while the target is missing or unfit.
#[must_use]
pub fn child(spec: &RolloutSpec, snap: &Snapshot, child: Child) -> Option<Value> {
    match child {
        Child::ApexService | Child::PrimaryService | Child::CanaryService => {
            service_of(spec, snap, child, None)
        }
        Child::PrimaryRule => Some(rule(spec, snap, Role::Primary)),
        Child::CanaryRule => Some(rule(spec, snap, Role::Canary)),
        Child::Routes | Child::PrimaryDeployment | Child::Target => None,
    }
}

/// A Service as it should be. The apex Service keeps the pods it selects unless `serves` says otherwise.
#[must_use]
pub fn service_of(
    spec: &RolloutSpec,
    snap: &Snapshot,
    child: Child,
    serves: Option<Serves>,
) -> Option<Value> {
    let target = snap.target.as_ref()?;
    let selector = snap.selector.as_ref()?.as_ref().ok()?;
    let asked = &snap.canary.spec.service;
    let (name, metadata, selects) = match child {
        Child::PrimaryService => (
            &spec.names.primary_service,
            asked.primary.as_ref(),
            Serves::Primary,
        ),
        Child::CanaryService => (&spec.names.canary_service, asked.canary.as_ref(), Serves::Target),
        _ => {
            let present = snap
                .apex_service
                .as_ref()
                .and_then(|live| service::serves(live, target, selector));
            (&spec.names.apex, asked.apex.as_ref(), serves.or(present)?)
        }
    };
    let labels = service::pod_labels(target, selector, selects);
    Some(service::build(
        name,
        &spec.names.namespace,
        asked,
        metadata,
        (&labels, &snap.owner),
    ))
}

fn rule(spec: &RolloutSpec, snap: &Snapshot, role: Role) -> Value {
    let policy = snap.canary.spec.service.traffic_policy.as_ref();
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {
            "name": snap.services.short(role),
            "namespace": spec.names.namespace,
            "labels": snap.owner.labels(),
            "annotations": snap.owner.annotations(),
        },
        "spec": destination_rule::build(&snap.services, role, policy),
    })
}

/// The spec of an owned VirtualService with the canary at `weight`.
#[must_use]
pub fn routes_spec(snap: &Snapshot, weight: Weight) -> Value {
    let asked = &snap.canary.spec.service;
    virtual_service::build(&OwnedRoute {
        names: snap.services.clone(),
        weight,
        port: u16::try_from(asked.port).unwrap_or_default(),
        port_discovery: asked.port_discovery,
        hosts: asked.hosts.clone().unwrap_or_default(),
        gateways: asked.gateways.clone().unwrap_or_default(),
        delegation: asked.delegation,
        tcp: asked
            .app_protocol
            .as_deref()
            .is_some_and(|p| p.eq_ignore_ascii_case("tcp")),
        r#match: asked.matches.clone().map(Value::Array),
        rewrite: asked.rewrite.clone(),
        timeout: asked.timeout.clone(),
        retries: asked.retries.clone(),
        headers: asked.headers.clone(),
        cors_policy: asked.cors_policy.clone(),
    })
}

/// A whole VirtualService, to be created.
#[must_use]
pub fn routes(spec: &RolloutSpec, snap: &Snapshot, weight: Weight) -> Value {
    let routes = routes_spec(snap, weight);
    let metadata = snap.canary.spec.service.apex.clone().unwrap_or_default();
    let mut labels = json!(metadata.labels.unwrap_or_default());
    let mut annotations = json!(metadata.annotations.unwrap_or_default());
    for (key, value) in snap.owner.labels() {
        labels[key] = value;
    }
    for (key, value) in snap.owner.annotations() {
        annotations[key] = value;
    }
    annotations[virtual_service::APPLIED_ANNOTATION] = json!(virtual_service::applied(&routes));
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {
            "name": spec.names.apex,
            "namespace": spec.names.namespace,
            "labels": labels,
            "annotations": annotations,
        },
        "spec": routes,
    })
}
