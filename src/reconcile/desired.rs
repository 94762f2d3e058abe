//! The objects that a Canary asks for, built from a snapshot. Pure.

use std::collections::BTreeSet;

use crate::pointer::At;
use serde_json::{Map, Value, json};

use super::{adopted, snapshot::Snapshot};
use crate::{
    rollout::{Child, RolloutSpec, Serves, Weight, validate::says_tcp},
    traffic::istio::{
        OwnedRoute, Role, claims,
        destination_rule::{self, Policies, Subset},
        virtual_service,
    },
    workload::{marks::SELECTOR_ANNOTATION, service},
};

/// The Service or DestinationRule `child` as it should be; `None` while the target is missing or unfit.
#[must_use]
pub fn child(spec: &RolloutSpec, snap: &Snapshot, child: Child) -> Option<Value> {
    let mut wanted = match child {
        Child::ApexService | Child::PrimaryService | Child::CanaryService => {
            service_of(spec, snap, child, None)?
        }
        Child::PrimaryRule => rule(spec, snap, Role::Primary),
        Child::CanaryRule => rule(spec, snap, Role::Canary),
        Child::Routes | Child::PrimaryDeployment | Child::Target => return None,
    };
    adopted::write_note(snap, child, &mut wanted);
    Some(wanted)
}

/// A Service as it should be. The apex Service keeps the pods it selects unless `serves` says otherwise.
#[must_use]
pub fn service_of(
    spec: &RolloutSpec,
    snap: &Snapshot,
    child: Child,
    serves: Option<Serves>,
) -> Option<Value> {
    let target = snap.outline.as_ref()?;
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
    let mut made = service::build(
        (name, &spec.names.namespace),
        &offer(snap, child),
        metadata,
        (&labels, &snap.owner),
    );
    if let Some(model) = model(snap, child) {
        let live = snap.child(child).map(|live| &**live);
        service::export_alike(&mut made, model, live);
    }
    Some(made)
}

/// The Service of the callers that was there before the Canary, and is missing, as far as it is known: with all that its copies
/// offer. It stays its owner's, so it bears no mark but the selector that it goes back to.
#[must_use]
pub fn apex_again(spec: &RolloutSpec, snap: &Snapshot, serves: Serves) -> Option<Value> {
    let target = snap.outline.as_ref()?;
    let selector = snap.selector.as_ref()?.as_ref().ok()?;
    let copies = [Child::PrimaryService, Child::CanaryService];
    let copy = copies.into_iter().find(|copy| snap.child(*copy).is_some());
    let copy = copy.unwrap_or(Child::PrimaryService);
    let mut offered = offer(snap, copy);
    offered.insert(
        "selector".to_owned(),
        service::pod_labels(target, selector, serves),
    );
    let own = service::pod_labels(target, selector, Serves::Target);
    let mut made = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": spec.names.apex,
            "namespace": spec.names.namespace,
            "annotations": {SELECTOR_ANNOTATION: own.to_string()},
        },
        "spec": offered,
    });
    if let Some(copy) = snap.child(copy) {
        service::export_alike(&mut made, copy, None);
    }
    Some(made)
}

/// The Service of the callers, if it was there before the Canary.
#[must_use]
pub fn adopted_apex(snap: &Snapshot) -> Option<&Value> {
    let live = snap.apex_service.as_deref();
    live.filter(|live| !snap.owner.created(live))
}

/// The Service that says what one of the two sides offers, and to whom: that of the callers if it was there before, or the present
/// one of the side. Who deletes the Service of the callers to create it anew takes nothing away from those behind it.
fn model(snap: &Snapshot, child: Child) -> Option<&Value> {
    let missing = snap.apex_service.is_none();
    let kept = || snap.child(child).filter(|_| missing).map(|live| &**live);
    let side = child != Child::ApexService;
    adopted_apex(snap).or_else(kept).filter(|_| side)
}

/// What a Service offers: what the one of the callers offers that was there before, else what the Canary says.
fn offer(snap: &Snapshot, child: Child) -> Map<String, Value> {
    if let Some(model) = model(snap, child) {
        return service::carried(model);
    }
    // What the primary serves stays as long as it does, whatever a new template says.
    let templates: Vec<&Value> = [&snap.primary, &snap.target]
        .into_iter()
        .flatten()
        .filter_map(|workload| workload.at("/spec/template"))
        .collect();
    service::of_canary(&snap.canary.spec.service, &templates)
}

/// The subsets of the Service of the callers that routes lead to. What cannot be understood leads nowhere.
#[must_use]
pub fn used_subsets(snap: &Snapshot) -> BTreeSet<String> {
    snap.all_routes()
        .filter_map(|vs| virtual_service::subsets(vs, &snap.services).ok())
        .flatten()
        .collect()
}

/// What the user's DestinationRules, and the Canary, say about connections to the Service of the callers.
#[must_use]
pub fn policies(snap: &Snapshot) -> Policies {
    let mut policies = destination_rule::applying(snap.rules.iter().map(|rule| &**rule), &snap.services);
    if let Some(policy) = &snap.canary.spec.service.traffic_policy {
        policies.overrule(policy, &snap.services);
    }
    policies
}

fn rule(spec: &RolloutSpec, snap: &Snapshot, role: Role) -> Value {
    let selector = snap.selector.as_ref().and_then(|selector| selector.as_ref().ok());
    let policies = policies(snap);
    let mut wanted = destination_rule::build(&snap.services, role, &policies, selector);
    let child = match role {
        Role::Primary => Child::PrimaryRule,
        _ => Child::CanaryRule,
    };
    let kept = kept_subsets(snap, child, &policies);
    if !kept.is_empty() {
        let mut all = wanted["subsets"].as_array().cloned().unwrap_or_default();
        all.extend(kept);
        wanted["subsets"] = Value::Array(all);
    }
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {
            "name": snap.services.short(role),
            "namespace": spec.names.namespace,
            "labels": snap.owner.labels(),
            "annotations": snap.owner.annotations(),
        },
        "spec": wanted,
    })
}

/// Subsets that routes lead to and that no rule of the user defines any more: who deletes a rule to create it anew shall
/// not lose requests meanwhile.
fn kept_subsets(snap: &Snapshot, child: Child, policies: &Policies) -> Vec<Value> {
    let live = snap
        .child(child)
        .and_then(|live| live.at("/spec/subsets")?.as_array());
    let Some(live) = live else { return Vec::new() };
    let mut used = used_subsets(snap);
    used.retain(|name| {
        !policies
            .subsets
            .iter()
            .map(Subset::name)
            .any(|known| known == name.as_str())
    });
    let kept = live
        .iter()
        .filter(|subset| subset["name"].as_str().is_some_and(|name| used.contains(name)));
    kept.cloned().collect()
}

/// The spec of a VirtualService of ours with the canary at `weight`, for those callers for whom none of the user's speaks;
/// `None` if there are none.
#[must_use]
pub fn needed_routes_spec(snap: &Snapshot, weight: Weight) -> Option<Value> {
    let owned = snap.routes.as_ref().filter(|live| snap.owner.owns(live));
    let others: Vec<&Value> = snap.all_routes().map(|vs| &**vs).collect();
    let others = &others[usize::from(owned.is_some() && !others.is_empty())..];
    claims::unclaimed(asked_routes_spec(snap, weight), others, &snap.services)
}

/// The spec of an owned VirtualService with the canary at `weight`.
#[must_use]
pub fn routes_spec(snap: &Snapshot, weight: Weight) -> Value {
    needed_routes_spec(snap, weight).unwrap_or_else(|| asked_routes_spec(snap, weight))
}

fn asked_routes_spec(snap: &Snapshot, weight: Weight) -> Value {
    let asked = &snap.canary.spec.service;
    let several_ports = service::several_ports(&offer(snap, Child::PrimaryService));
    virtual_service::build(&OwnedRoute {
        names: snap.services.clone(),
        weight,
        port: u16::try_from(asked.port).unwrap_or_default(),
        several_ports,
        port_discovery: asked.port_discovery,
        hosts: asked.hosts.clone().unwrap_or_default(),
        gateways: asked.gateways.clone().unwrap_or_default(),
        delegation: asked.delegation,
        tcp: says_tcp(asked).is_some(),
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
