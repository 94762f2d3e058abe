//! Which VirtualServices and DestinationRules concern which Services, by the hosts that they name.
//!
//! Any of them may lead to a Service, whatever it is called itself. Of those that concern nobody nothing is kept but
//! the Services that their hosts mean.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{PoisonError, RwLock},
};

use serde_json::Value;

use super::{index::Part, kinds::Kind};
use crate::{
    traffic::istio::{Role, ServiceNames, claims, destination_rule::ROOT_NAMESPACE},
    workload::text,
};

/// Namespace and name of a Service.
pub type Place = (String, String);

/// What one object names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Named {
    services: BTreeSet<Place>,
    /// Hosts that begin with `*`.
    patterns: BTreeSet<String>,
}

#[derive(Default)]
struct Inner {
    objects: BTreeMap<Part, Named>,
    by_service: BTreeMap<Place, BTreeSet<Part>>,
    patterns: BTreeSet<Part>,
    /// What lists under way have named so far.
    listing: BTreeMap<Kind, BTreeSet<Part>>,
}

/// The hosts of all VirtualServices and DestinationRules.
#[derive(Default)]
pub struct Mesh {
    inner: RwLock<Inner>,
}

/// Whose Services an object concerns now or concerned before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    services: BTreeSet<Place>,
    patterns: BTreeSet<String>,
}

impl Touched {
    /// Whether the Service at `place` is among them.
    #[must_use]
    pub fn covers(&self, place: &Part) -> bool {
        let (namespace, name) = (place.namespace.clone(), place.name.clone());
        let names = ServiceNames {
            primary: name.clone(),
            canary: name.clone(),
            namespace: namespace.clone(),
            apex: name.clone(),
        };
        let mut patterns = self.patterns.iter();
        self.services.contains(&(namespace, name))
            || patterns.any(|pattern| names.covered(pattern, Role::Apex))
    }

    /// The Services themselves, if no wildcard is among the hosts.
    #[must_use]
    pub fn services(&self) -> Option<&BTreeSet<Place>> {
        self.patterns.is_empty().then_some(&self.services)
    }
}

impl Mesh {
    /// Takes in an object as it is now; returns whom it concerns and did not before, or the other way round.
    pub fn note(&self, part: &Part, object: &Value) -> Touched {
        let namespace = text(object, "/metadata/namespace");
        let hosts = claims::named_hosts(object);
        let (patterns, services): (BTreeSet<&str>, BTreeSet<&str>) =
            hosts.into_iter().partition(|host| host.starts_with('*'));
        let heeded = part.kind != Kind::VirtualService;
        let named = Named {
            services: services
                .into_iter()
                .map(|host| claims::service_of(host, namespace))
                .collect(),
            patterns: patterns
                .into_iter()
                .filter(|_| heeded)
                .map(str::to_owned)
                .collect(),
        };
        self.set(part, named)
    }

    /// Takes in that an object is gone.
    pub fn gone(&self, part: &Part) -> Touched {
        self.set(part, Named::default())
    }

    fn set(&self, part: &Part, named: Named) -> Touched {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(listing) = inner.listing.get_mut(&part.kind) {
            listing.insert(part.clone());
        }
        let old = inner.objects.remove(part).unwrap_or_default();
        for place in old.services.difference(&named.services) {
            if let Some(parts) = inner.by_service.get_mut(place) {
                parts.remove(part);
                if parts.is_empty() {
                    inner.by_service.remove(place);
                }
            }
        }
        for place in &named.services {
            inner
                .by_service
                .entry(place.clone())
                .or_default()
                .insert(part.clone());
        }
        if named.patterns.is_empty() {
            inner.patterns.remove(part);
        } else {
            inner.patterns.insert(part.clone());
        }
        let touched = Touched {
            services: old
                .services
                .symmetric_difference(&named.services)
                .cloned()
                .collect(),
            patterns: old
                .patterns
                .symmetric_difference(&named.patterns)
                .cloned()
                .collect(),
        };
        if named != Named::default() {
            inner.objects.insert(part.clone(), named);
        }
        touched
    }

    /// A list of `kind` begins; what it does not name is gone.
    pub fn begin_list(&self, kind: Kind) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        inner.listing.insert(kind, BTreeSet::new());
    }

    /// The list is complete.
    pub fn end_list(&self, kind: Kind) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let Some(listed) = inner.listing.remove(&kind) else {
            return;
        };
        let of_kind = inner.objects.keys().filter(|part| part.kind == kind);
        let stale: Vec<Part> = of_kind.filter(|part| !listed.contains(part)).cloned().collect();
        drop(inner);
        for part in stale {
            self.gone(&part);
        }
    }

    /// The VirtualServices of any namespace that name the Service of the callers, and the DestinationRules that may
    /// apply to it.
    #[must_use]
    pub fn naming(&self, names: &ServiceNames) -> BTreeSet<Part> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        // A route that is split names the Services of the two sides alone.
        let services = [&names.apex, &names.primary, &names.canary];
        let named = services
            .into_iter()
            .filter_map(|service| inner.by_service.get(&(names.namespace.clone(), service.clone())))
            .flatten();
        let covering = inner.patterns.iter().filter(|part| {
            let named = inner.objects.get(*part);
            named.is_some_and(|named| {
                named
                    .patterns
                    .iter()
                    .any(|pattern| names.covered(pattern, Role::Apex))
            })
        });
        let near = |part: &&Part| {
            part.kind == Kind::VirtualService
                || part.namespace == names.namespace
                || part.namespace == ROOT_NAMESPACE
        };
        named.chain(covering).filter(near).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names() -> ServiceNames {
        ServiceNames {
            namespace: "shop".into(),
            apex: "cart".into(),
            primary: "cart-primary".into(),
            canary: "cart-canary".into(),
        }
    }

    fn part(kind: Kind, namespace: &str, name: &str) -> Part {
        Part {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    fn rule(namespace: &str, host: &str) -> Value {
        json!({"metadata": {"namespace": namespace}, "spec": {"host": host}})
    }

    #[test]
    fn objects_of_any_name_that_mean_the_service_are_found_until_they_do_not() {
        let mesh = Mesh::default();
        let (vs, far) = (
            part(Kind::VirtualService, "shop", "front"),
            part(Kind::VirtualService, "edge", "all"),
        );
        let route = |namespace: &str, host: &str| {
            json!({"metadata": {"namespace": namespace}, "spec": {"hosts": ["x.example"],
                "http": [{"route": [{"destination": {"host": host}}]}]}})
        };
        let touched = mesh.note(&vs, &route("shop", "cart"));
        assert!(touched.covers(&part(Kind::Service, "shop", "cart")));
        assert!(!touched.covers(&part(Kind::Service, "shop", "other")));
        mesh.note(&far, &route("edge", "cart.shop.svc.cluster.local"));
        mesh.note(
            &part(Kind::VirtualService, "edge", "short"),
            &route("edge", "cart"),
        );
        assert_eq!(mesh.naming(&names()), BTreeSet::from([vs.clone(), far.clone()]));
        let touched = mesh.note(&vs, &route("shop", "cart"));
        assert_eq!(touched, Touched::default(), "nothing new");
        mesh.note(&vs, &route("shop", "cart-primary"));
        assert_eq!(
            mesh.naming(&names()),
            BTreeSet::from([vs.clone(), far.clone()]),
            "split"
        );
        mesh.note(&vs, &route("shop", "cart"));
        let touched = mesh.note(&vs, &route("shop", "other"));
        assert!(
            touched.covers(&part(Kind::Service, "shop", "cart")),
            "it led there before"
        );
        assert_eq!(mesh.naming(&names()), BTreeSet::from([far.clone()]));
        mesh.begin_list(Kind::VirtualService);
        mesh.end_list(Kind::VirtualService);
        assert_eq!(mesh.naming(&names()), BTreeSet::new(), "no list names it");
    }

    #[test]
    fn rules_with_wildcards_and_of_the_root_namespace_are_found() {
        let mesh = Mesh::default();
        let own = part(Kind::DestinationRule, "shop", "wild");
        let root = part(Kind::DestinationRule, ROOT_NAMESPACE, "all");
        let touched = mesh.note(&own, &rule("shop", "*.shop.svc.cluster.local"));
        assert!(touched.covers(&part(Kind::Service, "shop", "cart")) && touched.services().is_none());
        assert!(!touched.covers(&part(Kind::Service, "edge", "cart")));
        mesh.note(&root, &rule(ROOT_NAMESPACE, "*.local"));
        mesh.note(&part(Kind::DestinationRule, "edge", "all"), &rule("edge", "*"));
        mesh.note(
            &part(Kind::DestinationRule, "edge", "named"),
            &rule("edge", "cart.shop"),
        );
        assert_eq!(mesh.naming(&names()), BTreeSet::from([own, root]));
    }
}
