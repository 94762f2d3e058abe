//! Which VirtualServices lead to a Service, and for which callers each of them speaks.
//!
//! In the mesh Istio heeds one VirtualService for a host: two that speak for it are a mistake that whoever wrote them must
//! mend. At a gateway it merges those of one host, so each of them may have some of the routes. Invariant: hosts are resolved in the namespace of the object that names them.

use std::collections::BTreeSet;

use crate::pointer::At;
use serde_json::Value;

use super::{Role, RouteError, ServiceNames, virtual_service};
use crate::workload::text;

/// Istio's name of the callers in the mesh, where gateways are listed.
const MESH: &str = "mesh";

/// A host and a gateway, each in its normal form.
pub type Claim = (String, String);

/// Every host that `object`, a VirtualService or DestinationRule, names, as it is written.
#[must_use]
pub fn named_hosts(object: &Value) -> BTreeSet<&str> {
    let mut hosts: BTreeSet<&str> = object
        .at("/spec/host")
        .and_then(Value::as_str)
        .into_iter()
        .collect();
    hosts.extend(items(object.at("/spec/hosts")).filter_map(Value::as_str));
    hosts.extend(destinations(object));
    hosts
}

fn items(list: Option<&Value>) -> impl Iterator<Item = &Value> {
    list.and_then(Value::as_array).into_iter().flatten()
}

/// The hosts that the routes of a VirtualService lead to.
fn destinations(vs: &Value) -> impl Iterator<Item = &str> {
    let protocols = ["http", "tcp", "tls"].into_iter();
    let routes = protocols.filter_map(move |protocol| vs.get("spec")?.get(protocol)?.as_array());
    let entries = routes
        .flatten()
        .filter_map(|route| route.get("route")?.as_array());
    entries
        .flatten()
        .filter_map(|entry| entry.at("/destination/host")?.as_str())
}

/// The namespace and name of the Service that `host` means where it is written in `namespace`.
#[must_use]
pub fn service_of(host: &str, namespace: &str) -> (String, String) {
    let mut labels = host.split('.');
    let name = labels.next().unwrap_or_default();
    (labels.next().unwrap_or(namespace).to_owned(), name.to_owned())
}

/// Whether a VirtualService of any namespace leads to the Service of the callers.
#[must_use]
pub fn leads(vs: &Value, names: &ServiceNames) -> bool {
    let namespace = text(vs, "/metadata/namespace");
    destinations(vs).any(|host| names.resolve(host, namespace) == Some(Role::Apex))
}

/// Whether a VirtualService of the Canary's namespace has routes that are to be split.
///
/// # Errors
/// If it seems to, and a part of a route cannot be understood.
pub fn is_managed(vs: &Value, names: &ServiceNames) -> Result<bool, RouteError> {
    match virtual_service::read(vs, names) {
        Ok(_) => Ok(true),
        Err(RouteError::NoManagedRoute) => Ok(false),
        Err(error) if leads(vs, names) => Err(error),
        Err(_) => Ok(false),
    }
}

/// For whom a VirtualService of the Canary's namespace speaks. One that others delegate to speaks for nobody.
#[must_use]
pub fn claims(vs: &Value, names: &ServiceNames) -> BTreeSet<Claim> {
    let list = |key: &str| vs.get("spec").and_then(|spec| spec.get(key)?.as_array()).cloned();
    let gateways = list("gateways").filter(|gateways| !gateways.is_empty());
    let gateways: Vec<String> = gateways.map_or_else(
        || vec![MESH.to_owned()],
        |all| {
            all.iter()
                .filter_map(Value::as_str)
                .map(|one| gateway(one, names))
                .collect()
        },
    );
    let hosts = list("hosts").unwrap_or_default();
    hosts
        .iter()
        .filter_map(Value::as_str)
        .flat_map(|host| {
            gateways
                .iter()
                .map(move |gateway| (normal(host, names), gateway.clone()))
        })
        .collect()
}

fn gateway(name: &str, names: &ServiceNames) -> String {
    match name {
        MESH => name.to_owned(),
        _ if name.contains('/') => name.to_owned(),
        _ => format!("{}/{name}", names.namespace),
    }
}

fn normal(host: &str, names: &ServiceNames) -> String {
    match names.matches(host) {
        Some(role) => names.short(role).to_owned(),
        None => host.to_lowercase(),
    }
}

/// `wanted`, the spec of a VirtualService to be created, for those hosts alone for which none of `present` speaks at
/// any of its gateways; `None` if there is none left.
#[must_use]
pub fn unclaimed(mut wanted: Value, present: &[&Value], names: &ServiceNames) -> Option<Value> {
    let taken: BTreeSet<Claim> = present.iter().flat_map(|vs| claims(vs, names)).collect();
    let asked = claims(&serde_json::json!({ "spec": wanted }), names);
    if asked.is_empty() || taken.is_disjoint(&asked) {
        return Some(wanted);
    }
    let hosts = wanted.get_mut("hosts").and_then(Value::as_array_mut)?;
    hosts.retain(|host| {
        let host = normal(host.as_str().unwrap_or_default(), names);
        let mut own = asked.iter().filter(|(of, _)| *of == host);
        !own.all(|claim| taken.contains(claim))
    });
    (!hosts.is_empty()).then_some(wanted)
}

/// Which of these VirtualServices speak for the same host in the mesh: each pair as a sentence that names both.
#[must_use]
pub fn clashes(all: &[&Value], names: &ServiceNames) -> Vec<String> {
    let claimed: Vec<(&str, BTreeSet<Claim>)> = all
        .iter()
        .map(|vs| (text(vs, "/metadata/name"), claims(vs, names)))
        .collect();
    let pairs = claimed
        .iter()
        .enumerate()
        .flat_map(|(at, one)| claimed[at + 1..].iter().map(move |other| (one, other)));
    pairs
        .filter_map(|((one, claims), (other, others))| {
            let (host, _) = claims
                .intersection(others)
                .find(|(_, gateway)| gateway == MESH)?;
            Some(format!(
                "VirtualServices {one} and {other}: both route host {host} in the mesh to Service {}, and Istio heeds one of \
                 them there; put their routes into one",
                names.apex
            ))
        })
        .collect()
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

    #[expect(clippy::needless_pass_by_value, reason = "callers build it in place")]
    fn vs(name: &str, namespace: &str, spec: Value) -> Value {
        json!({ "metadata": { "name": name, "namespace": namespace, "resourceVersion": "1" }, "spec": spec })
    }

    fn to(host: &str) -> Value {
        json!([{ "route": [{ "destination": { "host": host } }] }])
    }

    #[test]
    fn short_host_in_another_namespace_leads_to_another_service() {
        for (namespace, host, expected) in [
            ("shop", "cart", true),
            ("edge", "cart", false),
            ("edge", "cart.shop", true),
            ("edge", "cart.shop.svc.cluster.local", true),
            ("edge", "cart-canary.shop", false),
        ] {
            for protocol in ["http", "tcp", "tls"] {
                let mut object = vs("x", namespace, json!({ "hosts": ["x"] }));
                object["spec"][protocol] = to(host);
                assert_eq!(
                    leads(&object, &names()),
                    expected,
                    "{namespace} {host} {protocol}"
                );
                assert!(named_hosts(&object).contains(host));
            }
        }
        assert_eq!(service_of("cart", "edge"), ("edge".to_owned(), "cart".to_owned()));
        assert_eq!(
            service_of("cart.shop.svc", "edge"),
            ("shop".to_owned(), "cart".to_owned())
        );
    }

    #[test]
    fn ours_is_made_for_those_alone_for_whom_no_other_speaks() {
        let public = vs(
            "front",
            "shop",
            json!({ "hosts": ["cart.example"], "gateways": ["edge/public"], "http": to("cart") }),
        );
        let wanted = |hosts: &[&str], gateways: &[&str]| json!({ "hosts": hosts, "gateways": gateways });
        let left = |hosts: &[&str], gateways: &[&str]| {
            let left = unclaimed(wanted(hosts, gateways), &[&public], &names());
            left.map(|spec| spec["hosts"].clone())
        };
        assert_eq!(left(&["cart"], &["mesh"]), Some(json!(["cart"])));
        assert_eq!(left(&["cart.example"], &["edge/public"]), None);
        assert_eq!(
            left(&["Cart.example", "cart"], &["edge/public"]),
            Some(json!(["cart"]))
        );
        assert_eq!(
            left(&["cart.example"], &["edge/public", "mesh"]),
            Some(json!(["cart.example"]))
        );
        let delegate = unclaimed(json!({ "http": [] }), &[&public], &names());
        assert_eq!(delegate, Some(json!({ "http": [] })));
    }

    #[test]
    fn two_that_speak_for_the_same_callers_are_named() {
        let mesh = |name: &str, host: &str| vs(name, "shop", json!({ "hosts": [host], "http": to("cart") }));
        let (one, other) = (mesh("cart", "cart"), mesh("late", "cart.shop.svc.cluster.local"));
        let found = clashes(&[&one, &other, &mesh("far", "cart.example")], &names());
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("VirtualServices cart and late: both route host cart in the mesh"),
            "{found:?}"
        );
    }

    #[test]
    fn routes_of_one_host_at_a_gateway_may_stand_in_several_virtual_services() {
        let at = |name: &str, prefix: &str, gateways: &[&str]| {
            vs(
                name,
                "shop",
                json!({ "hosts": ["www.example.com"], "gateways": gateways, "http": [{
                    "match": [{ "uri": { "prefix": prefix } }],
                    "route": [{ "destination": { "host": "cart" } }],
                }] }),
            )
        };
        let (api, admin) = (["public", "mesh"], ["shop/public"]);
        let (api, admin) = (at("api", "/api", &api), at("admin", "/admin", &admin));
        assert_eq!(clashes(&[&api, &admin], &names()), Vec::<String>::new());
        let late = at("late", "/late", &["edge/public", "mesh"]);
        let found = clashes(&[&api, &admin, &late], &names());
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("api and late"), "{found:?}");
    }
}
