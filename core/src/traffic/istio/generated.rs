//! The VirtualService that we create when there is none: what the Canary says about routing, as Istio's spec.
//!
//! Whatever the Canary copies from Istio's schema passes through as JSON, so that no field is lost.

use serde_json::{Map, Value, json};

use super::{Role, ServiceNames, route::canary_part};
use crate::rollout::weight::Weight;

/// Name of the HTTP route that we create.
pub const ROUTE_NAME: &str = "bellwether";

/// What a Canary says about its VirtualService. The JSON parts are Istio's own structures, unchanged.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnedRoute {
    /// The Services.
    pub names: ServiceNames,
    /// The canary's weight in percent.
    pub weight: Weight,
    /// Port of the Services.
    pub port: u16,
    /// `service.portDiscovery`.
    pub port_discovery: bool,
    /// `service.hosts`.
    pub hosts: Vec<String>,
    /// `service.gateways`; the mesh if empty.
    pub gateways: Vec<String>,
    /// `service.delegation`: another VirtualService delegates to this one, which has neither hosts nor gateways.
    pub delegation: bool,
    /// Whether `service.appProtocol` is tcp.
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
        tcp.insert("route".into(), destinations(route));
        spec.insert("tcp".into(), json!([tcp]));
    } else {
        spec.insert("http".into(), json!([http(route)]));
    }
    Value::Object(spec)
}

fn http(route: &OwnedRoute) -> Map<String, Value> {
    let mut http = Map::new();
    http.insert("name".into(), json!(ROUTE_NAME));
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
        ("match", route.r#match.clone()),
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
    http.insert("route".into(), destinations(route));
    http
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
        vec!["mesh"]
    } else {
        route.gateways.iter().map(String::as_str).collect()
    }
}

fn destinations(route: &OwnedRoute) -> Value {
    let beyond_mesh = route.gateways.first().is_some_and(|first| first != "mesh") || route.delegation;
    let destination = |role: Role, weight: i64| {
        let mut destination = json!({ "host": route.names.short(role) });
        if route.port_discovery && beyond_mesh {
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
