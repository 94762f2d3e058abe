//! What proxies are told: routes of VirtualServices, subsets of DestinationRules, ports of Services, and the ready pods
//! behind each Service.
//!
//! A route without conditions, or with conditions on the port and the gateways alone, is for everybody that it means;
//! one with other conditions is for nobody here.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use crate::sim::api_server::{Kind, store::Store};

type Place = (String, String);

/// The routes of the mesh at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Routes {
    /// Routes by namespace and the Service that callers mean, in order.
    routes: BTreeMap<Place, Arc<Vec<Route>>>,
    /// Ready addresses by namespace and Service.
    ready: BTreeMap<Place, Arc<Vec<String>>>,
    /// Ports, and what they are called at the pods, by namespace and Service.
    ports: BTreeMap<Place, Arc<Vec<Port>>>,
    /// Labels of subsets, by namespace and Service.
    subsets: BTreeMap<Place, Arc<BTreeMap<String, Value>>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Port {
    number: i64,
    target: Value,
}

#[derive(Clone, Debug, PartialEq)]
struct Route {
    /// The ports that it is for; all if absent.
    ports: Option<Vec<i64>>,
    destinations: Vec<Destination>,
}

#[derive(Clone, Debug, PartialEq)]
struct Destination {
    service: String,
    port: Option<i64>,
    subset: Option<String>,
    weight: f64,
}

/// Where a request goes.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The Service.
    pub service: String,
    /// Its ready addresses; none if the proxy knows no such port or subset.
    pub addresses: Arc<Vec<String>>,
    /// Labels of the pods of the subset that is meant.
    pub labels: Option<Value>,
    /// Whether it goes to no port, to another port of the pods than was meant, or to a subset that nothing defines.
    pub misrouted: bool,
}

impl Routes {
    /// The routes that the objects ask for.
    #[must_use]
    pub fn of(store: &Store) -> Routes {
        let mut routes = Routes::default();
        for (key, slice) in store.list(Kind::ENDPOINT_SLICE, None) {
            let service = slice["metadata"]["labels"]["kubernetes.io/service-name"]
                .as_str()
                .unwrap_or_default();
            let endpoints = slice["endpoints"].as_array().into_iter().flatten();
            let ready = endpoints
                .filter(|endpoint| endpoint["conditions"]["ready"] == true)
                .filter_map(|endpoint| endpoint["addresses"][0].as_str().map(str::to_owned));
            let place = (key.namespace.clone(), service.to_owned());
            routes.ready.insert(place, Arc::new(ready.collect()));
        }
        for (key, object) in store.list(Kind::SERVICE, None) {
            let ports = object["spec"]["ports"].as_array().into_iter().flatten();
            let ports = ports.map(|port| Port {
                number: port["port"].as_i64().unwrap_or_default(),
                target: port["targetPort"].clone(),
            });
            let place = (key.namespace.clone(), key.name.clone());
            routes.ports.insert(place, Arc::new(ports.collect()));
        }
        for (key, object) in store.list(Kind::DESTINATION_RULE, None) {
            let subsets = object["spec"]["subsets"].as_array().into_iter().flatten();
            let subsets: BTreeMap<String, Value> = subsets
                .filter_map(|subset| Some((subset["name"].as_str()?.to_owned(), subset["labels"].clone())))
                .collect();
            let place = (key.namespace.clone(), name(&object["spec"]["host"]).to_owned());
            if !subsets.is_empty() {
                routes.subsets.insert(place, Arc::new(subsets));
            }
        }
        for (key, object) in store.list(Kind::VIRTUAL_SERVICE, None) {
            let found = Arc::new(routes_of(object));
            let hosts = object["spec"]["hosts"].as_array().into_iter().flatten().map(name);
            for service in hosts {
                let place = (key.namespace.clone(), service.to_owned());
                routes.routes.entry(place).or_insert_with(|| found.clone());
            }
            // Callers at a gateway mean the Service that the VirtualService is called after.
            routes
                .routes
                .insert((key.namespace.clone(), key.name.clone()), found);
        }
        routes
    }

    /// Where a request for a port of a Service goes that has this luck (from 0 to 1); its first port if none is named.
    #[must_use]
    pub fn choose(&self, place: &Place, port: Option<i64>, dice: f64) -> Choice {
        let meant = self.port(place, port);
        let route = self.routes.get(place).and_then(|routes| {
            let fits = |route: &&Route| match (&route.ports, meant) {
                (Some(ports), Some(meant)) => ports.contains(&meant.number),
                (ports, _) => ports.is_none(),
            };
            routes.iter().find(fits)
        });
        let chosen = route.and_then(|route| pick(&route.destinations, dice));
        let service = chosen.map_or(place.1.as_str(), |chosen| chosen.service.as_str());
        let to = (place.0.clone(), service.to_owned());
        let subset = chosen.and_then(|chosen| chosen.subset.as_ref());
        let labels = subset.and_then(|subset| self.subsets.get(&to)?.get(subset).cloned());
        let reached = match chosen.and_then(|chosen| chosen.port) {
            Some(port) => self.port(&to, Some(port)),
            None => match self.ports.get(&to).map(|ports| ports.as_slice()) {
                Some([only]) => Some(only),
                _ => self.port(&to, meant.map(|meant| meant.number)),
            },
        };
        // Where there is no Service at all, there are no pods either.
        let elsewhere = reached.map(|port| &port.target) != meant.map(|port| &port.target);
        let misrouted = (subset.is_some() && labels.is_none())
            || (elsewhere && meant.is_some() && self.ports.contains_key(&to));
        let ready = self.ready.get(&to).cloned();
        Choice {
            service: to.1,
            addresses: ready.unwrap_or_default(),
            labels,
            misrouted,
        }
    }

    fn port(&self, place: &Place, number: Option<i64>) -> Option<&Port> {
        let mut ports = self.ports.get(place)?.iter();
        match number {
            Some(number) => ports.find(|port| port.number == number),
            None => ports.next(),
        }
    }

    /// The share of a destination, from 0 to 1, among those of an apex Service.
    #[must_use]
    pub fn share(&self, namespace: &str, service: &str, destination: &str) -> f64 {
        let place = (namespace.to_owned(), service.to_owned());
        let route = self.routes.get(&place).and_then(|routes| routes.last());
        let Some(destinations) = route.map(|route| &route.destinations).filter(|d| !d.is_empty()) else {
            return f64::from(u8::from(service == destination));
        };
        if let [only] = &destinations[..] {
            return f64::from(u8::from(only.service == destination));
        }
        let total: f64 = destinations.iter().map(|d| d.weight).sum();
        let own: f64 = destinations
            .iter()
            .filter(|d| d.service == destination)
            .map(|d| d.weight)
            .sum();
        if total > 0.0 { own / total } else { 0.0 }
    }
}

/// The Service that a host names, without namespace.
fn name(host: &Value) -> &str {
    let host = host.as_str().unwrap_or_default();
    host.split('.').next().unwrap_or_default()
}

fn routes_of(object: &Value) -> Vec<Route> {
    let protocols = ["http", "tls", "tcp"].into_iter();
    let all: Vec<&Value> = protocols
        .filter_map(|protocol| object["spec"][protocol].as_array())
        .flatten()
        .filter(|route| route["route"].is_array())
        .collect();
    let gateways = object["spec"]["gateways"].as_array();
    let mesh = gateways.is_none_or(|all| all.is_empty() || all.iter().any(|gateway| gateway == "mesh"));
    let met: Vec<Route> = all
        .iter()
        .filter_map(|route| Some(to(route, ports_of(route, mesh)?)))
        .collect();
    if met.is_empty() {
        // Every route has conditions of its own: the callers of this world are those that meet the first.
        return all.first().map(|route| to(route, None)).into_iter().collect();
    }
    met
}

fn to(route: &Value, ports: Option<Vec<i64>>) -> Route {
    let entries = route["route"].as_array().into_iter().flatten();
    let destinations = entries.map(|entry| Destination {
        service: name(&entry["destination"]["host"]).to_owned(),
        port: entry["destination"]["port"]["number"].as_i64(),
        subset: entry["destination"]["subset"].as_str().map(str::to_owned),
        weight: entry["weight"].as_f64().unwrap_or(0.0),
    });
    Route {
        ports,
        destinations: destinations.collect(),
    }
}

/// The ports that a route is for, or all; `None` if it is for nobody.
fn ports_of(route: &Value, mesh: bool) -> Option<Option<Vec<i64>>> {
    let Some(matches) = route["match"].as_array().filter(|matches| !matches.is_empty()) else {
        return Some(None);
    };
    let mut ports = Vec::new();
    for entry in matches {
        let met = |(key, value): (&String, &Value)| match key.as_str() {
            "port" => true,
            "uri" => value["prefix"] == "/",
            "gateways" => {
                let mut gateways = value.as_array().into_iter().flatten();
                gateways.any(|gateway| (gateway == "mesh") == mesh)
            }
            _ => false,
        };
        if !entry.as_object()?.iter().all(met) {
            continue;
        }
        match entry["port"].as_i64() {
            Some(port) => ports.push(port),
            None => return Some(None),
        }
    }
    (!ports.is_empty()).then_some(Some(ports))
}

/// One alone gets everything, whatever its weight.
fn pick(destinations: &[Destination], dice: f64) -> Option<&Destination> {
    let total: f64 = destinations.iter().map(|d| d.weight).sum();
    let mut left = dice * total;
    for destination in destinations {
        if left < destination.weight {
            return Some(destination);
        }
        left -= destination.weight;
    }
    destinations.first()
}
