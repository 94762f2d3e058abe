//! What callers find at a Service: its ports, and how connections to it are treated.
//!
//! The Services of primary and canary offer what the Service of the callers offers, because Istio sends a request for
//! a port that the destination lacks to the only port there is, or nowhere. Invariant: what an adopted Service offers
//! is never changed, only copied.

use crate::pointer::At;
use serde_json::{Map, Value, json};

use super::serves;
use crate::{
    api::{self, ServicePort},
    workload::{deployment::Selector, text},
};

/// Fields of an adopted Service's spec, besides its ports, that its copies have as well.
const CARRIED: [&str; 6] = [
    "sessionAffinity",
    "sessionAffinityConfig",
    "internalTrafficPolicy",
    "ipFamilies",
    "ipFamilyPolicy",
    "trafficDistribution",
];

/// Annotation by which Istio knows in which namespaces a Service exists; without it the mesh's default holds.
const EXPORT_TO: &str = "networking.istio.io/exportTo";

/// Fields of a port that the copies have as well; its node port is its own.
const PORT: [&str; 5] = ["name", "port", "protocol", "appProtocol", "targetPort"];

/// Names of containers of a service mesh, whose ports are nobody's.
const PROXIES: [&str; 2] = ["istio-proxy", "envoy"];

/// What an existing Service offers.
#[must_use]
pub fn carried(live: &Value) -> Map<String, Value> {
    let Some(spec) = live.get("spec").and_then(Value::as_object) else {
        return Map::new();
    };
    let picked = |fields: &Map<String, Value>, keys: &[&str]| -> Map<String, Value> {
        let kept = keys.iter().filter_map(|key| Some((*key, fields.get(*key)?)));
        kept.filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .collect()
    };
    let mut offer = picked(spec, &CARRIED);
    let ports = spec.get("ports").and_then(Value::as_array).into_iter().flatten();
    let ports = ports.filter_map(Value::as_object).map(|port| picked(port, &PORT));
    offer.insert("ports".to_owned(), ports.collect());
    offer
}

/// In which namespaces a Service is seen, if it says so.
fn exported_to(live: &Value) -> Option<&str> {
    let annotations = live.at("/metadata/annotations")?;
    annotations.get(EXPORT_TO)?.as_str()
}

/// Lets whoever sees the Service `of` the callers see `wanted`, unless that says something itself. What `live`, which is to become
/// `wanted`, says of it already is emptied rather than kept if the Service of the callers has nothing: Istio takes that for none.
pub fn export_alike(wanted: &mut Value, of: &Value, live: Option<&Value>) {
    let emptied = live.and_then(exported_to).map(|_| "");
    if exported_to(wanted).is_none()
        && let Some(to) = exported_to(of).filter(|to| !to.is_empty()).or(emptied)
    {
        wanted["metadata"]["annotations"][EXPORT_TO] = json!(to);
    }
}

/// What a Service offers of which only the Canary says something: its port, and with `portDiscovery` every port of the
/// containers in `templates`, the first of which counts where two say something else.
#[must_use]
pub fn of_canary(service: &api::Service, templates: &[&Value]) -> Map<String, Value> {
    let mut port = json!({
        "name": service.port_name.as_deref().unwrap_or("http"),
        "port": service.port,
        "protocol": "TCP",
        "targetPort": target_port(service),
    });
    if let Some(protocol) = &service.app_protocol {
        port["appProtocol"] = json!(protocol);
    }
    let mut ports = vec![port];
    if service.port_discovery {
        for template in templates {
            discover(&mut ports, service, Some(template));
        }
    }
    Map::from_iter([("ports".to_owned(), Value::Array(ports))])
}

fn target_port(service: &api::Service) -> ServicePort {
    let given = service.target_port.clone();
    given.unwrap_or(ServicePort::Number(service.port))
}

/// Adds the ports of the containers, named as Flagger names them: as in the container, else `tcp-<container>-<n>`. The
/// one behind the Canary's own port is there already.
fn discover(ports: &mut Vec<Value>, service: &api::Service, template: Option<&Value>) {
    let list = |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned();
    let spec = template.and_then(|template| template.get("spec"));
    let containers = spec.and_then(|spec| list(spec, "containers")).unwrap_or_default();
    let target = json!(target_port(service));
    let proxy = |container: &&Value| PROXIES.contains(&text(container, "/name"));
    for container in containers.iter().filter(|container| !proxy(container)) {
        let found = list(container, "ports").unwrap_or_default();
        for (position, port) in found.iter().enumerate() {
            let (number, name) = (&port["containerPort"], text(port, "/name"));
            let protocol = port.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
            if target == *number || target == name || !number.is_number() {
                continue;
            }
            let mut name = if name.is_empty() {
                format!(
                    "{}-{}-{position}",
                    protocol.to_lowercase(),
                    text(container, "/name")
                )
            } else {
                name.to_owned()
            };
            let taken = |ports: &[Value], name: &str| ports.iter().any(|other| other["name"] == name);
            if name.len() > 63 || taken(ports, &name) {
                name = format!("{}-{number}", protocol.to_lowercase());
            }
            let same = |other: &Value| other["port"] == *number && other["protocol"] == protocol;
            if !ports.iter().any(same) && !taken(ports, &name) {
                ports.push(json!({"name": name, "port": number, "protocol": protocol, "targetPort": number}));
            }
        }
    }
}

/// The ports of an offer or a Service's spec.
fn ports(spec: Option<&Value>) -> impl Iterator<Item = &Value> {
    let list = spec.and_then(Value::as_array);
    list.into_iter().flatten()
}

/// Whether an offer has more than one port, so that a destination must say which, or takes the listener's.
#[must_use]
pub fn several_ports(offer: &Map<String, Value>) -> bool {
    ports(offer.get("ports")).nth(1).is_some()
}

/// Whether an offer has a port of this number.
#[must_use]
pub fn has_port(offer: &Map<String, Value>, number: i32) -> bool {
    ports(offer.get("ports")).any(|port| port["port"] == number)
}

/// Why the Service `live`, which was there before its Canary, cannot be taken over: each a sentence that names it and
/// says what would be right.
#[must_use]
pub fn uncarried(
    live: &Value,
    service: &api::Service,
    (target, selector): (&Value, &Selector),
) -> Vec<String> {
    let name = text(live, "/metadata/name");
    let pods = format!("{}={}", selector.label, selector.value);
    let workload = text(target, "/metadata/name");
    if text(live, "/spec/type") == "ExternalName" {
        return vec![format!(
            "Service {name}: spec.type is ExternalName, so no pod is behind it; make it ClusterIP with the selector \
             {pods}, or give spec.service.name of the Canary another name"
        )];
    }
    let mut found = Vec::new();
    if text(live, "/spec/clusterIP") == "None" {
        found.push(format!(
            "Service {name}: it is headless (spec.clusterIP is None), so callers choose pods by themselves and no \
             route divides them; create it anew with a cluster IP, or set spec.service.name of the Canary to another one"
        ));
    }
    if serves(live, target, selector).is_none() {
        let selects = live.at("/spec/selector").and_then(Value::as_object);
        let selects = selects.filter(|labels| !labels.is_empty()).map(|labels| {
            let pairs = labels
                .iter()
                .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
            pairs.collect::<Vec<_>>().join(",")
        });
        let selects = selects.map_or("nothing".to_owned(), |labels| labels);
        found.push(format!(
            "Service {name}: spec.selector selects {selects}, which are not the pods of Deployment {workload}; it must \
             select {pods}, or spec.service.name of the Canary must name another one"
        ));
    }
    let offer = carried(live);
    if !has_port(&offer, service.port) {
        let there: Vec<String> = ports(offer.get("ports"))
            .map(|port| port["port"].to_string())
            .collect();
        found.push(format!(
            "Service {name}: it has no port {}, which spec.service.port of the Canary names; its ports are {}",
            service.port,
            if there.is_empty() { "none".to_owned() } else { there.join(", ") }
        ));
    }
    found
}

#[cfg(test)]
mod tests;
