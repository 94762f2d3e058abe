//! From the objects of a snapshot to the plain data of a decision. Pure.

use std::{collections::BTreeSet, sync::Arc};

use crate::pointer::At;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Context, adopted, cache::Availability, desired, index::Part, kinds::Kind, snapshot::Snapshot};
use crate::{
    api::CanaryStatus,
    defect::{Defect, planted},
    freeze,
    rollout::{Apex, Child, Observed, Requests, RolloutSpec, Routes, Serves, Weight, validate::unrouted_tls},
    traffic::istio::{
        RouteError, claims, destination_rule,
        virtual_service::{self, RouteState},
    },
    workload::{
        contains,
        deployment::{self, Selector},
        marks::{self, EPOCH_ANNOTATION, SELECTOR_ANNOTATION},
        policies::Policies,
        service, text,
    },
};

/// Our finalizer.
pub const FINALIZER: &str = "bellwether.dev/hand-back";

const SERVICES_AND_RULES: [Child; 4] = [
    Child::PrimaryService,
    Child::CanaryService,
    Child::PrimaryRule,
    Child::CanaryRule,
];

/// Turns a snapshot into what a decision sees.
#[must_use]
pub fn observe(ctx: &Context, spec: &RolloutSpec, snap: &Snapshot, now: DateTime<Utc>) -> Observed {
    let status = snap.canary.status.clone().unwrap_or_default();
    let [apex_endpoints, primary_endpoints, canary_endpoints] = snap.endpoints;
    let target = snap
        .target
        .as_ref()
        .map(|object| deployment::view_target(object, canary_endpoints));
    let apex = Apex {
        serves: apex_serves(snap),
        endpoints: apex_endpoints,
    };
    let routes = routes(spec, snap, &status, &apex);
    let epoch = ctx.epoch(&spec.id);
    let existing = existing(snap);
    let digest = target.as_ref().map(|t| t.revision.clone()).unwrap_or_default();
    let routing = match &routes {
        Routes::Present { weight, split, .. } => format!("{weight:?} {split} {:?}", apex.serves),
        other => format!("{other:?} {:?}", apex.serves),
    };
    let finalizers = snap.object.at("/metadata/finalizers").and_then(Value::as_array);
    Observed {
        finalizer: finalizers.is_some_and(|list| list.iter().any(|f| f == FINALIZER)),
        conflict: conflict(ctx, spec, snap),
        primary: snap
            .primary
            .as_ref()
            .map(|object| deployment::view_primary(object, primary_endpoints, telling(snap))),
        drifted: drifted(spec, snap, &routes),
        adopted: existing
            .iter()
            .copied()
            .filter(|child| {
                let created = |object: &Arc<Value>| snap.owner.created(object);
                !snap.child(*child).is_some_and(created)
            })
            .collect(),
        existing,
        unrestorable: ctx.local.unrestorable(&spec.id),
        unfenced: unfenced(snap, &epoch),
        requests: Requests::default(),
        aliases: ctx.aliases.get(),
        policies: Policies::default(),
        unsettled_at: ctx.local.unsettled_at(&spec.id, now),
        epoch,
        routing_since: ctx.local.routing_since(&spec.id, routing, now).min(now),
        template_since: ctx.local.template_since(&spec.id, digest, now).min(now),
        sampled_since: ctx.sampler.watched_since(&spec.id).unwrap_or(now).min(now),
        sample: ctx.sampler.latest(&spec.id),
        untold: BTreeSet::new(),
        orders: Vec::new(),
        gate_news: ctx.gates.news(&spec.id, &spec.uid),
        freezing: ctx.local.thawed(
            &spec.id,
            freeze::in_force(&snap.freezes, now),
            ctx.index.canaries(),
            now,
        ),
        repeats: ctx.local.repeats(&spec.id, now),
        refused: ctx.local.refusals(&spec.id, now),
        broken_watch: ctx.local.watches.broken(now),
        uncarried: uncarried(snap),
        routes_elsewhere: snap.routes_elsewhere.clone(),
        told: ctx.outbox.told(&spec.id),
        apex,
        routes,
        target,
        status,
    }
}

/// The label that tells pods of target and primary apart, as far as it is known.
fn telling(snap: &Snapshot) -> Option<&Selector> {
    snap.selector.as_ref()?.as_ref().ok()
}

/// Somebody else's object or controller in the way.
fn conflict(ctx: &Context, spec: &RolloutSpec, snap: &Snapshot) -> Option<String> {
    if let Some(other) = older_canary(ctx, spec, snap) {
        return Some(format!(
            "Canary {other} releases Deployment {} already",
            spec.names.target
        ));
    }
    if let Some(Err(unfit)) = &snap.selector {
        return Some(unfit.to_string());
    }
    let exclusive = [
        Child::PrimaryDeployment,
        Child::PrimaryService,
        Child::CanaryService,
        Child::PrimaryRule,
        Child::CanaryRule,
    ];
    for child in exclusive {
        if let Some(object) = snap.child(child).filter(|object| !snap.owner.owns(object)) {
            return Some(format!(
                "{:?} {} exists and does not belong to this Canary",
                Kind::from(child),
                text(object, "/metadata/name")
            ));
        }
    }
    let shared = [
        snap.target.as_ref(),
        snap.apex_service.as_ref(),
        snap.routes.as_ref(),
    ];
    shared.into_iter().flatten().find_map(|object| {
        let name = text(object, "/metadata/name");
        if let Some(controller) = marks::foreign_controller(object) {
            return Some(format!("{name} is controlled by {controller}"));
        }
        let owner = marks::owner_name(object).filter(|owner| *owner != snap.owner.name)?;
        Some(format!("{name} belongs to Canary {owner}"))
    })
}

/// The Canary that released this target before this one; the older one keeps it.
fn older_canary(ctx: &Context, spec: &RolloutSpec, snap: &Snapshot) -> Option<String> {
    let part = Part {
        kind: Kind::Deployment,
        namespace: spec.names.namespace.clone(),
        name: spec.names.target.clone(),
    };
    let age = |object: &Value| {
        let created = text(object, "/metadata/creationTimestamp").to_owned();
        (created, text(object, "/metadata/uid").to_owned())
    };
    let own = age(&snap.object);
    ctx.index
        .concerned(&part)
        .into_iter()
        .filter(|id| *id != spec.id)
        .find_map(|id| {
            let other = Part {
                kind: Kind::Canary,
                namespace: id.namespace.clone(),
                name: id.name.clone(),
            };
            let object = ctx.cache.get(&other)?;
            (age(&object) < own).then_some(id.name)
        })
}

/// What adopted objects offer and cannot be carried over, and what of them contradicts each other.
fn uncarried(snap: &Snapshot) -> Vec<String> {
    let mut found = Vec::new();
    let asked = &snap.canary.spec.service;
    if let (Some(live), Some(target), Some(Ok(selector))) =
        (desired::adopted_apex(snap), &snap.target, &snap.selector)
    {
        found.extend(service::uncarried(live, asked, (target, selector)));
    }
    let template = snap
        .target
        .as_ref()
        .and_then(|target| target.at("/spec/template"));
    found.extend(destination_rule::unfit_subsets(
        &desired::used_subsets(snap),
        &desired::policies(snap),
        &snap.services,
        template,
    ));
    let rules = snap.rules.iter().map(|rule| &**rule);
    found.extend(destination_rule::unheard(rules, &snap.services));
    for live in &snap.other_routes {
        if let Err(error) = claims::is_managed(live, &snap.services) {
            found.push(format!(
                "VirtualService {}: {error}",
                text(live, "/metadata/name")
            ));
        }
    }
    let all: Vec<&Value> = snap.all_routes().map(|live| &**live).collect();
    if all.iter().all(|live| snap.owner.owns(live)) {
        found.extend(unrouted_tls(&snap.owner.name, asked, &snap.services.apex));
    }
    found.extend(claims::clashes(&all, &snap.services));
    found
}

/// Whether a Service that has one port is to get more while our own routes still leave the port of their destinations
/// open: at gateways they would lead nowhere then, so the routes come first.
fn awaits_routes(live: &Value, wanted: &Value, routes: &Routes) -> bool {
    let outdated = matches!(
        routes,
        Routes::Present {
            owned: true,
            in_shape: false,
            ..
        }
    );
    let several = |object: &Value| service::several_ports(&service::carried(object));
    outdated && !several(live) && several(wanted)
}

fn drifted(spec: &RolloutSpec, snap: &Snapshot, routes: &Routes) -> Vec<Child> {
    let mut drifted = Vec::new();
    for child in SERVICES_AND_RULES {
        let Some(wanted) = desired::child(spec, snap, child) else {
            continue;
        };
        if snap
            .child(child)
            .is_some_and(|live| awaits_routes(live, &wanted, routes))
        {
            continue;
        }
        let is_rule = matches!(child, Child::PrimaryRule | Child::CanaryRule);
        let off = snap.child(child).is_none_or(|live| {
            if is_rule {
                let spec = |object: &Value| object.get("spec").cloned().unwrap_or(Value::Null);
                destination_rule::drift(&spec(live), &spec(&wanted))
                    || !contains(&live["metadata"], &wanted["metadata"])
            } else {
                service::drifted(live, &wanted)
            }
        });
        if off {
            drifted.push(child);
        }
    }
    if let Some(live) = snap.apex_service.as_ref().filter(|live| snap.owner.owns(live))
        && let Some(wanted) = desired::child(spec, snap, Child::ApexService)
        && service::drifted(live, &wanted)
    {
        drifted.push(Child::ApexService);
    }
    drifted
}

/// What carries our marks, in the order in which it may be given up.
fn existing(snap: &Snapshot) -> Vec<Child> {
    let all = [
        Child::Routes,
        Child::PrimaryDeployment,
        Child::PrimaryRule,
        Child::CanaryRule,
        Child::PrimaryService,
        Child::CanaryService,
        Child::ApexService,
        Child::Target,
    ];
    let marked = |object: &Value| {
        let annotations = object.at("/metadata/annotations");
        let carries = |mark| annotations.is_some_and(|a| a.get(mark).is_some());
        // Somebody may have undone the split itself: our notes on it are left.
        let noted = !planted(Defect::ForgetsItsNotes)
            && (carries(virtual_service::IMPLICIT_WEIGHT_ANNOTATION)
                || carries(virtual_service::WEIGHT_SCALE_ANNOTATION));
        snap.owner.created(object)
            || carries(SELECTOR_ANNOTATION)
            || carries(EPOCH_ANNOTATION)
            || (noted && !virtual_service::divided(object))
    };
    // What is divided still is so for another Canary: the marks are its own by then.
    let others = &snap.other_routes;
    let others = others
        .iter()
        .filter(|object| marks::owner_name(object).is_none_or(|owner| owner == snap.owner.name))
        .any(|object| marked(object) && !virtual_service::divided(object));
    all.into_iter()
        .filter(|child| {
            let there = snap.child(*child).is_some_and(|object| marked(object));
            there || (*child == Child::Routes && others)
        })
        .collect()
}

/// The objects that traffic depends on and that do not carry `epoch`; the routes first.
fn unfenced(snap: &Snapshot, epoch: &str) -> Vec<Child> {
    let fenced = [
        Child::Routes,
        Child::ApexService,
        Child::PrimaryDeployment,
        Child::Target,
    ];
    let carried = |object: &Value| {
        let annotations = object.at("/metadata/annotations");
        annotations
            .and_then(|a| a.get(EPOCH_ANNOTATION))
            .is_some_and(|carried| carried == epoch)
    };
    fenced
        .into_iter()
        .filter(|child| match child {
            Child::Routes => snap.all_routes().any(|object| !carried(object)),
            child => snap.child(*child).is_some_and(|object| !carried(object)),
        })
        .collect()
}

fn apex_serves(snap: &Snapshot) -> Option<Serves> {
    let live = snap.apex_service.as_ref()?;
    match (&snap.outline, &snap.selector) {
        (Some(target), Some(Ok(selector))) => service::serves(live, target, selector),
        // Without both workloads nothing can be said about their labels; nothing is to be changed either.
        _ => Some(Serves::Primary),
    }
}

fn routes(spec: &RolloutSpec, snap: &Snapshot, status: &CanaryStatus, apex: &Apex) -> Routes {
    match &snap.istio {
        Availability::NotServed => return Routes::NotInstalled,
        Availability::Failing(why) => return Routes::Unavailable(why.clone()),
        Availability::Unknown => return Routes::Unavailable("not read yet".to_owned()),
        Availability::Ready => {}
    }
    let intended = Weight::saturating(i64::from(status.canary_weight));
    let owned = snap.routes.as_ref().filter(|live| snap.owner.owns(live));
    let others = snap.all_routes().skip(usize::from(snap.routes.is_some()));
    let mut all: Vec<&Value> = Vec::new();
    let awaited = snap.routes.is_none() && adopted::is_adopted(snap, Child::Routes);
    match &snap.routes {
        None if awaited && others.clone().next().is_none() => {
            let pods = |serves| match serves {
                Serves::Primary => spec.names.primary.as_str(),
                Serves::Target => spec.names.target.as_str(),
            };
            return Routes::Awaited(adopted::awaited(snap, apex.serves.map(pods)));
        }
        None if others.clone().next().is_none() => return Routes::Missing,
        None => {}
        Some(live) => match virtual_service::read(live, &snap.services) {
            Ok(_) => all.push(live),
            Err(RouteError::NoManagedRoute) if owned.is_some() => {
                let mut others = others;
                return Routes::Present {
                    weight: None,
                    split: others.any(|live| {
                        virtual_service::read(live, &snap.services).is_ok_and(|state| state.touched)
                    }),
                    owned: true,
                    in_shape: false,
                };
            }
            // It has the name, and others do the work.
            Err(RouteError::NoManagedRoute) if others.clone().next().is_some() => {}
            Err(error) => return Routes::Invalid(error.to_string()),
        },
    }
    all.extend(others.map(|live| &**live));
    let read = |live: &&Value| virtual_service::read(live, &snap.services).ok();
    let states: Vec<Option<RouteState>> = all.iter().map(read).collect();
    let known = states.iter().flatten();
    let split = known.clone().any(|state| state.touched);
    let candidates = [intended, Weight::ZERO, Weight::FULL]
        .into_iter()
        .chain(spec.steps.weights().iter().copied());
    let mut candidates = candidates.chain(known.filter_map(|state| state.weight));
    let has = |weight: Weight, (live, state): (&&Value, &Option<RouteState>)| {
        state.is_some_and(|state| state.weight == Some(weight))
            || virtual_service::is_at(live, &snap.services, weight)
    };
    // Callers for whom none of the user's speaks need one of ours.
    let lacking = snap.routes.is_none() && !awaited && desired::needed_routes_spec(snap, intended).is_some();
    let in_shape = |live: &Value| virtual_service::in_shape(live, &desired::routes_spec(snap, intended));
    let common = candidates.find(|weight| all.iter().zip(&states).all(|route| has(*weight, route)));
    Routes::Present {
        weight: common.filter(|_| !lacking),
        split,
        owned: owned.is_some() || lacking,
        in_shape: owned.is_none_or(|live| in_shape(live)) && !lacking,
    }
}
