//! The VirtualService that we create when there is none: what the Canary says about routing, as Istio's spec.
//!
//! Whatever the Canary copies from Istio's schema passes through as JSON, so that no field is lost.

use serde_json::{Map, Value, json};

pub use super::route::{MESH_ROUTE_NAME, ROUTE_NAME};
use super::{Role, ServiceNames, route::canary_part};
use crate::weight::Weight;

/// What Istio calls the callers in the mesh, where it lists gateways.
const MESH: &str = "mesh";

/// What a Canary says about its VirtualService. The JSON parts are Istio's own structures, unchanged.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnedRoute {
    /// The Services.
    pub names: ServiceNames,
    /// The canary's weight in percent.
    pub weight: Weight,
    /// Port of the Services that gateways lead to.
    pub port: u16,
    /// Whether the Services have more ports than that. A destination that names no port then takes the port that the
    /// caller meant: right in the mesh, and wrong at a gateway, whose port is another.
    pub several_ports: bool,
    /// `service.portDiscovery`.
    pub port_discovery: bool,
    /// `service.hosts`.
    pub hosts: Vec<String>,
    /// `service.gateways`; the mesh if empty.
    pub gateways: Vec<String>,
    /// `service.delegation`: another VirtualService delegates to this one, which has neither hosts nor gateways.
    pub delegation: bool,
    /// Whether the port is TCP by `service.appProtocol`, or by its name.
    pub tcp: bool,
    /// `service.match`: a list of HTTPMatchRequest.
    pub r#match: Option<Value>,
    /// `service.rewrite`; its `type` is not Istio's and left out.
    pub rewrite: Option<Value>,
    /// `service.timeout`, such as `15s`.
    pub timeout: Option<String>,
    /// `service.retries`.
    pub retries: Option<Value>,
    /// `service.headers`.
    pub headers: Option<Value>,
    /// `service.corsPolicy`.
    pub cors_policy: Option<Value>,
}

/// The spec of the VirtualService that `route` asks for.
#[must_use]
pub fn build(route: &OwnedRoute) -> Value {
    let mut spec = Map::new();
    if !route.delegation {
        spec.insert("hosts".into(), json!(hosts(route)));
        spec.insert("gateways".into(), json!(gateways(route)));
    }
    if route.tcp {
        let mut tcp = Map::new();
        let ports: Vec<Value> = match_list(route)
            .filter_map(|m| m.get("port"))
            .map(|p| json!({ "port": p }))
            .collect();
        if !ports.is_empty() {
            tcp.insert("match".into(), Value::Array(ports));
        }
        tcp.insert("route".into(), destinations(route, names_port(route)));
        spec.insert("tcp".into(), json!([tcp]));
    } else {
        spec.insert("http".into(), Value::Array(http_routes(route)));
    }
    Value::Object(spec)
}

/// Whether some callers come by gateways, or by another VirtualService, and some from within the mesh.
fn callers(route: &OwnedRoute) -> (bool, bool) {
    if route.delegation {
        return (true, false);
    }
    let gateways = gateways(route);
    (
        gateways.iter().any(|gateway| *gateway != MESH),
        gateways.contains(&MESH),
    )
}

/// Whether the destinations of a route for all callers name the port.
fn names_port(route: &OwnedRoute) -> bool {
    let beyond_mesh = route.gateways.first().is_some_and(|first| first != MESH) || route.delegation;
    let (_, mesh) = callers(route);
    if route.several_ports {
        !mesh
    } else {
        route.port_discovery && beyond_mesh
    }
}

/// One route, or one for gateways and one for the mesh.
fn http_routes(route: &OwnedRoute) -> Vec<Value> {
    let all = http(route, ROUTE_NAME, route.r#match.clone(), names_port(route));
    if !route.several_ports || callers(route) != (true, true) {
        return vec![all];
    }
    let (mesh, beyond): (Vec<&str>, Vec<&str>) =
        gateways(route).into_iter().partition(|gateway| *gateway == MESH);
    let sides = [(ROUTE_NAME, beyond, true), (MESH_ROUTE_NAME, mesh, false)];
    let routes: Vec<Value> = sides
        .into_iter()
        .filter_map(|(name, at, port)| Some(http(route, name, Some(matches_at(route, &at)?), port)))
        .collect();
    if routes.is_empty() { vec![all] } else { routes }
}

/// The matches of the Canary, for these gateways only; `None` if none is for any of them.
fn matches_at(route: &OwnedRoute, gateways: &[&str]) -> Option<Value> {
    let anything = [json!({})];
    let mut given: Vec<&Value> = match_list(route).collect();
    if given.is_empty() {
        given.extend(&anything);
    }
    let narrowed = given.into_iter().filter_map(|entry| {
        let own = entry.get("gateways").and_then(Value::as_array);
        let own = own.filter(|own| !own.is_empty());
        let meant: Vec<&&str> = gateways
            .iter()
            .filter(|gateway| own.is_none_or(|own| own.iter().any(|o| o == **gateway)))
            .collect();
        let mut narrowed = entry.as_object().cloned()?;
        narrowed.insert("gateways".to_owned(), json!(meant));
        (!meant.is_empty()).then_some(Value::Object(narrowed))
    });
    let narrowed: Vec<Value> = narrowed.collect();
    (!narrowed.is_empty()).then_some(Value::Array(narrowed))
}

fn http(route: &OwnedRoute, name: &str, r#match: Option<Value>, port: bool) -> Value {
    let mut http = Map::new();
    http.insert("name".into(), json!(name));
    let mut rewrite = route.rewrite.clone();
    if let Some(fields) = rewrite.as_mut().and_then(Value::as_object_mut) {
        fields.remove("type");
    }
    let timeout = route
        .timeout
        .as_deref()
        .filter(|t| !t.is_empty())
        .map(|t| json!(t));
    let parts = [
        ("match", r#match),
        ("rewrite", rewrite),
        ("timeout", timeout),
        ("retries", route.retries.clone()),
        ("headers", route.headers.clone()),
        ("corsPolicy", route.cors_policy.clone()),
    ];
    http.extend(
        parts
            .into_iter()
            .filter_map(|(key, part)| Some((key.to_owned(), part.filter(|p| !is_empty(p))?))),
    );
    http.insert("route".into(), destinations(route, port));
    Value::Object(http)
}

pub(super) fn is_empty(part: &Value) -> bool {
    match part {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

fn match_list(route: &OwnedRoute) -> impl Iterator<Item = &Value> {
    route
        .r#match
        .as_ref()
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn hosts(route: &OwnedRoute) -> Vec<&str> {
    let mut hosts: Vec<&str> = route.hosts.iter().map(String::as_str).collect();
    if !hosts
        .iter()
        .any(|host| *host == "*" || route.names.matches(host) == Some(Role::Apex))
    {
        hosts.push(&route.names.apex);
    }
    hosts
}

fn gateways(route: &OwnedRoute) -> Vec<&str> {
    if route.gateways.is_empty() {
        vec![MESH]
    } else {
        route.gateways.iter().map(String::as_str).collect()
    }
}

fn destinations(route: &OwnedRoute, port: bool) -> Value {
    let destination = |role: Role, weight: i64| {
        let mut destination = json!({ "host": route.names.short(role) });
        if port {
            destination["port"] = json!({ "number": route.port });
        }
        json!({ "destination": destination, "weight": weight })
    };
    let canary = canary_part(100, route.weight);
    json!([
        destination(Role::Primary, 100 - canary),
        destination(Role::Canary, canary)
    ])
}
