//! The objects of one round, read once from the cache: what was decided on is what is acted on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::pointer::At;
use serde_json::Value;

use super::{
    Context,
    cache::{Availability, Cache},
    error::Error,
    index::Part,
    kinds::Kind,
    mesh::Mesh,
    promotions::Asked,
};
use crate::{
    api::Canary,
    freeze::Freeze,
    rollout::{Child, Names, RolloutSpec},
    traffic::istio::{ServiceNames, claims, destination_rule::ROOT_NAMESPACE},
    workload::{
        deployment::{self, Selector, Unfit},
        marks::Owner,
        text,
    },
};

/// Everything that one round read.
pub struct Snapshot {
    /// The Canary as JSON.
    pub object: Arc<Value>,
    /// The Canary.
    pub canary: Arc<Canary>,
    /// Our mark.
    pub owner: Owner,
    /// The three Services, for routes.
    pub services: ServiceNames,
    /// The user's Deployment.
    pub target: Option<Arc<Value>>,
    /// The primary Deployment.
    pub primary: Option<Arc<Value>>,
    /// Service `<name>`.
    pub apex_service: Option<Arc<Value>>,
    /// Service `<name>-primary`.
    pub primary_service: Option<Arc<Value>>,
    /// Service `<name>-canary`.
    pub canary_service: Option<Arc<Value>>,
    /// DestinationRule `<name>-primary`.
    pub primary_rule: Option<Arc<Value>>,
    /// DestinationRule `<name>-canary`.
    pub canary_rule: Option<Arc<Value>>,
    /// VirtualService `<name>`.
    pub routes: Option<Arc<Value>>,
    /// The other VirtualServices of the namespace that name the Service `<name>`.
    pub other_routes: Vec<Arc<Value>>,
    /// VirtualServices of other namespaces that lead to the Service `<name>`.
    pub routes_elsewhere: Vec<String>,
    /// The user's DestinationRules that may apply to the Service `<name>`.
    pub rules: Vec<Arc<Value>>,
    /// Whether Istio's kinds can be read.
    pub istio: Availability,
    /// Ready endpoints of the apex, primary and canary Services.
    pub endpoints: [i32; 3],
    /// What is asked of it.
    pub asked: Asked,
    /// The freezes that may concern it.
    pub freezes: Vec<Freeze>,
    /// The target, or while it does not exist what the primary tells of its labels and ports: Services are kept by it.
    pub outline: Option<Arc<Value>>,
    /// The telling label.
    pub selector: Option<Result<Selector, Unfit>>,
}

impl Snapshot {
    /// The VirtualServices that are to be split, VirtualService `<name>` first.
    pub fn all_routes(&self) -> impl Iterator<Item = &Arc<Value>> + Clone {
        let others = self.other_routes.iter();
        let others = others.filter(|vs| claims::is_managed(vs, &self.services) == Ok(true));
        self.routes.iter().chain(others)
    }

    /// The object that `child` stands for.
    #[must_use]
    pub fn child(&self, child: Child) -> Option<&Arc<Value>> {
        match child {
            Child::ApexService => self.apex_service.as_ref(),
            Child::PrimaryService => self.primary_service.as_ref(),
            Child::CanaryService => self.canary_service.as_ref(),
            Child::PrimaryRule => self.primary_rule.as_ref(),
            Child::CanaryRule => self.canary_rule.as_ref(),
            Child::Routes => self.routes.as_ref(),
            Child::PrimaryDeployment => self.primary.as_ref(),
            Child::Target => self.target.as_ref(),
        }
    }
}

/// Name of the object that `child` stands for.
#[must_use]
pub fn child_name(names: &Names, child: Child) -> &str {
    match child {
        Child::ApexService | Child::Routes => &names.apex,
        Child::PrimaryService | Child::PrimaryRule => &names.primary_service,
        Child::CanaryService | Child::CanaryRule => &names.canary_service,
        Child::PrimaryDeployment => &names.primary,
        Child::Target => &names.target,
    }
}

/// The freezes of a namespace, or of the cluster.
fn freezes(kind: Kind, namespace: &str) -> Part {
    Part {
        kind,
        namespace: namespace.to_owned(),
        name: namespace.to_owned(),
    }
}

/// The three Services of a Canary.
fn services(names: &Names) -> ServiceNames {
    ServiceNames {
        namespace: names.namespace.clone(),
        apex: names.apex.clone(),
        primary: names.primary_service.clone(),
        canary: names.canary_service.clone(),
    }
}

/// Every object that a Canary is concerned by, besides those that name it.
#[must_use]
pub fn parts(spec: &RolloutSpec, mesh: &Mesh) -> BTreeSet<Part> {
    let names = &spec.names;
    let part = |kind: Kind, name: &str| Part {
        kind,
        namespace: names.namespace.clone(),
        name: name.to_owned(),
    };
    let mut parts = BTreeSet::from([
        freezes(Kind::Freeze, &spec.id.namespace),
        freezes(Kind::ClusterFreeze, ""),
        part(Kind::Deployment, &names.target),
        part(Kind::Deployment, &names.primary),
        part(Kind::VirtualService, &names.apex),
        part(Kind::DestinationRule, &names.primary_service),
        part(Kind::DestinationRule, &names.canary_service),
    ]);
    for service in [&names.apex, &names.primary_service, &names.canary_service] {
        parts.insert(part(Kind::Service, service));
        parts.insert(part(Kind::EndpointSlice, service));
    }
    parts.extend(mesh.naming(&services(names)));
    parts
}

/// Reads everything that a round needs. Parts that came with a new Canary are read from the API server once.
///
/// # Errors
/// If such a first read fails.
pub async fn take(
    ctx: &Context,
    spec: &RolloutSpec,
    object: Arc<Value>,
    canary: Arc<Canary>,
) -> Result<Snapshot, Error> {
    let names = &spec.names;
    let parts = parts(spec, &ctx.index.mesh);
    for part in &parts {
        prime(ctx, part).await?;
    }
    let Mentions {
        routes: other_routes,
        elsewhere: routes_elsewhere,
        rules,
    } = mentions(ctx, spec, &parts);
    let asked = Asked::of(ctx, &spec.id).await?;
    let get = |kind: Kind, name: &str| {
        ctx.cache.get(&Part {
            kind,
            namespace: names.namespace.clone(),
            name: name.to_owned(),
        })
    };
    let target = get(Kind::Deployment, &names.target);
    let primary = get(Kind::Deployment, &names.primary);
    let candidates = &ctx.settings.selector_labels;
    let (selector, outline) = match (&target, &primary) {
        (Some(target), _) => (
            Some(deployment::selector(target, candidates)),
            Some(Arc::clone(target)),
        ),
        (None, Some(primary)) => {
            let selector = deployment::of_primary(primary, candidates);
            let outline = selector.as_ref().map(|known| deployment::outline(primary, known));
            (selector.map(Ok), outline.map(Arc::new))
        }
        (None, None) => (None, None),
    };
    let endpoints = [&names.apex, &names.primary_service, &names.canary_service]
        .map(|service| ready_endpoints(ctx, &names.namespace, service));
    Ok(Snapshot {
        object,
        canary,
        owner: Owner {
            name: spec.id.name.clone(),
            uid: spec.uid.clone(),
        },
        services: services(names),
        primary,
        apex_service: get(Kind::Service, &names.apex),
        primary_service: get(Kind::Service, &names.primary_service),
        canary_service: get(Kind::Service, &names.canary_service),
        primary_rule: get(Kind::DestinationRule, &names.primary_service),
        canary_rule: get(Kind::DestinationRule, &names.canary_service),
        routes: get(Kind::VirtualService, &names.apex),
        other_routes,
        routes_elsewhere,
        rules,
        istio: istio(ctx),
        asked,
        freezes: freezes_of(&ctx.cache, &spec.id.namespace, &spec.id.name),
        endpoints,
        selector,
        outline,
        target,
    })
}

/// What names the Service of the callers and is not called like it.
struct Mentions {
    routes: Vec<Arc<Value>>,
    elsewhere: Vec<String>,
    rules: Vec<Arc<Value>>,
}

fn mentions(ctx: &Context, spec: &RolloutSpec, parts: &BTreeSet<Part>) -> Mentions {
    let names = &spec.names;
    let services = services(names);
    let own = [&names.apex, &names.primary_service, &names.canary_service];
    let mut found = Mentions {
        routes: Vec::new(),
        elsewhere: Vec::new(),
        rules: Vec::new(),
    };
    for part in parts {
        let near = part.namespace == names.namespace;
        match part.kind {
            Kind::VirtualService if near && part.name == names.apex => {}
            Kind::DestinationRule if near && own[1..].contains(&&part.name) => {}
            Kind::VirtualService if near => found.routes.extend(ctx.cache.get(part)),
            Kind::VirtualService => {
                let leads = ctx
                    .cache
                    .get(part)
                    .is_some_and(|vs| claims::leads(&vs, &services));
                found
                    .elsewhere
                    .extend(leads.then(|| format!("{}/{}", part.namespace, part.name)));
            }
            Kind::DestinationRule | Kind::MeshRule if near || part.namespace == ROOT_NAMESPACE => {
                found.rules.extend(ctx.cache.get(part));
            }
            _ => {}
        }
    }
    found
}

/// The freezes that may concern a Canary. Those that cannot be read may be in force; a cluster that does not serve them
/// has none.
#[must_use]
pub fn freezes_of(cache: &Cache, namespace: &str, canary: &str) -> Vec<Freeze> {
    let mut all = Vec::new();
    for (kind, namespace) in [(Kind::Freeze, namespace), (Kind::ClusterFreeze, "")] {
        if let Availability::Failing(why) = cache.availability(kind) {
            all.push(Freeze::unreadable(&format!("{kind:?}"), &why));
        }
        let objects = cache.group(&freezes(kind, namespace));
        all.extend(
            objects
                .iter()
                .filter_map(|object| read_freeze(kind, object, canary)),
        );
    }
    all
}

fn read_freeze(kind: Kind, object: &Value, canary: &str) -> Option<Freeze> {
    let name = text(object, "/metadata/name");
    let spec = object.get("spec").cloned().unwrap_or_default();
    let read = match kind {
        Kind::ClusterFreeze => serde_json::from_value(spec).map(|spec| Some(Freeze::of_cluster(name, spec))),
        _ => serde_json::from_value(spec).map(|spec| Freeze::of_namespace(name, spec, canary)),
    };
    read.unwrap_or_else(|error| {
        Some(Freeze::unreadable(
            &format!("{kind:?} {name}"),
            &error.to_string(),
        ))
    })
}

fn istio(ctx: &Context) -> Availability {
    [Kind::VirtualService, Kind::DestinationRule]
        .into_iter()
        .map(|kind| ctx.cache.availability(kind))
        .find(|state| *state != Availability::Ready)
        .unwrap_or(Availability::Ready)
}

/// Reads `part` once if it came after the watch had listed its kind, or if a write showed that it is not as it is known.
///
/// # Errors
/// If it cannot be read.
pub async fn prime(ctx: &Context, part: &Part) -> Result<(), Error> {
    let known = ctx.cache.primed(part) && !ctx.cache.doubted(part);
    if known || ctx.cache.availability(part.kind) != Availability::Ready {
        return Ok(());
    }
    ctx.cache.begin_read(part);
    let read = read(ctx, part).await;
    let (found, outcome) = match read {
        Ok(found) => (Some(found), Ok(())),
        Err(error) => (None, Err(error)),
    };
    ctx.cache.end_read(part, found);
    outcome
}

/// The objects of `part` as the API server has them.
async fn read(ctx: &Context, part: &Part) -> Result<Vec<Value>, Error> {
    let api = part.kind.api(&ctx.client, &part.namespace);
    let failed = |source: kube::Error| Error::Read {
        what: format!("{:?} {}/{}", part.kind, part.namespace, part.name),
        source: Box::new(source),
    };
    let found = if part.kind.known_by().is_some() {
        let params = match part.kind {
            Kind::EndpointSlice => {
                let selector = format!("kubernetes.io/service-name={}", part.name);
                kube::api::ListParams::default().labels(&selector)
            }
            _ => kube::api::ListParams::default(),
        };
        api.list(&params).await.map_err(failed)?.items
    } else {
        api.get_opt(&part.name)
            .await
            .map_err(failed)?
            .into_iter()
            .collect()
    };
    found
        .into_iter()
        .map(|object| {
            serde_json::to_value(&object).map_err(|source| Error::Json {
                what: "an object read",
                source,
            })
        })
        .collect()
}

/// Ready pods behind a Service.
fn ready_endpoints(ctx: &Context, namespace: &str, service: &str) -> i32 {
    let part = Part {
        kind: Kind::EndpointSlice,
        namespace: namespace.to_owned(),
        name: service.to_owned(),
    };
    ready_in(&ctx.cache.group(&part))
}

/// Ready endpoints of these EndpointSlices. A Service of two address families has each pod in two of them.
fn ready_in(slices: &[Arc<Value>]) -> i32 {
    let mut pods = BTreeSet::new();
    let mut others: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for slice in slices {
        let endpoints = slice.get("endpoints").and_then(Value::as_array);
        for endpoint in endpoints.into_iter().flatten() {
            if endpoint.at("/conditions/ready") == Some(&Value::Bool(false)) {
                continue;
            }
            let (pod, address) = (text(endpoint, "/targetRef/name"), text(endpoint, "/addresses/0"));
            if !pod.is_empty() {
                pods.insert(pod);
            } else if !address.is_empty() {
                others
                    .entry(text(slice, "/addressType"))
                    .or_default()
                    .insert(address);
            }
        }
    }
    let others = others.values().map(BTreeSet::len).max().unwrap_or(0);
    i32::try_from(pods.len() + others).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{reconcile::index::Index, rollout::validate};

    fn slice(family: &str, pods: &[(&str, &str, bool)]) -> Arc<Value> {
        let endpoints: Vec<Value> = pods
            .iter()
            .map(|(pod, address, ready)| {
                let mut endpoint = json!({"addresses": [address], "conditions": {"ready": ready}});
                if !pod.is_empty() {
                    endpoint["targetRef"] = json!({"kind": "Pod", "name": pod});
                }
                endpoint
            })
            .collect();
        Arc::new(json!({"addressType": family, "endpoints": endpoints}))
    }

    #[test]
    fn pod_of_two_address_families_counts_once() {
        let four = [
            ("a", "10.0.0.1", true),
            ("b", "10.0.0.2", true),
            ("c", "10.0.0.3", false),
        ];
        let six = [
            ("a", "fd00::1", true),
            ("b", "fd00::2", true),
            ("c", "fd00::3", false),
        ];
        assert_eq!(ready_in(&[slice("IPv4", &four), slice("IPv6", &six)]), 2);
        assert_eq!(ready_in(&[slice("IPv4", &four)]), 2);
    }

    #[test]
    fn addresses_without_a_pod_count_by_family() {
        let four = [("", "10.0.0.1", true), ("", "10.0.0.2", true)];
        let more = [("", "10.0.0.2", true), ("", "10.0.0.3", true)];
        let six = [("", "fd00::1", true)];
        let slices = [slice("IPv4", &four), slice("IPv4", &more), slice("IPv6", &six)];
        assert_eq!(ready_in(&slices), 3);
    }

    fn spec(namespace: &str, name: &str, target: &str) -> RolloutSpec {
        let canary = json!({
            "apiVersion": "bellwether.dev/v1beta1", "kind": "Canary",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
                "service": {"port": 80}, "analysis": {"stepWeights": [10]},
            },
        });
        let canary: Canary = serde_json::from_value(canary).unwrap();
        validate(&canary, chrono::TimeDelta::zero()).unwrap()
    }

    #[test]
    fn deletion_of_a_canary_wakes_only_those_that_share_an_object_with_it() {
        let index = Index::default();
        for n in 0..5000 {
            let spec = spec(&format!("n-{n}"), "web", "web");
            index.set(&spec.id, parts(&spec, &index.mesh));
        }
        let yields = spec("n-0", "other", "web");
        index.set(&yields.id, parts(&yields, &index.mesh));
        let beside = spec("n-0", "api", "api");
        index.set(&beside.id, parts(&beside, &index.mesh));
        let neighbours = index.neighbours(&spec("n-0", "web", "web").id);
        assert_eq!(neighbours.into_iter().collect::<Vec<_>>(), [yields.id]);
        assert_eq!(index.canaries(), 5002);
    }
}
