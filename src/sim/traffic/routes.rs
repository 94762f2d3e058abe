//! What proxies are told: weights of VirtualServices, and the ready pods behind each Service.

use std::{collections::BTreeMap, sync::Arc};

use crate::sim::api_server::{Kind, store::Store};

type Place = (String, String);

/// The routes of the mesh at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Routes {
    /// Weighted destinations by namespace and apex Service.
    weighted: BTreeMap<Place, Vec<(String, f64)>>,
    /// Ready addresses by namespace and Service.
    ready: BTreeMap<Place, Arc<Vec<String>>>,
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
        for (key, object) in store.list(Kind::VIRTUAL_SERVICE, None) {
            // The route for everything: the last without conditions.
            let mut http = object["spec"]["http"].as_array().into_iter().flatten();
            let route = http.rfind(|r| r.get("match").is_none() && r.get("route").is_some());
            let destinations = route.and_then(|r| r["route"].as_array()).into_iter().flatten();
            let weighted: Vec<(String, f64)> = destinations
                .map(|d| {
                    let host = d["destination"]["host"].as_str().unwrap_or_default();
                    let service = host.split('.').next().unwrap_or_default().to_owned();
                    (service, d["weight"].as_f64().unwrap_or(0.0))
                })
                .collect();
            let place = (key.namespace.clone(), key.name.clone());
            routes.weighted.insert(place, weighted);
        }
        routes
    }

    /// The Service that a request with this luck (from 0 to 1) goes to, with its ready addresses.
    #[must_use]
    pub fn choose(&self, namespace: &str, service: &str, dice: f64) -> (String, Arc<Vec<String>>) {
        let place = (namespace.to_owned(), service.to_owned());
        let chosen = self
            .weighted
            .get(&place)
            .and_then(|destinations| pick(destinations, dice));
        let chosen = chosen.unwrap_or(service).to_owned();
        let ready = self.ready.get(&(place.0, chosen.clone())).cloned();
        (chosen, ready.unwrap_or_default())
    }

    /// The share of a destination, from 0 to 1, among those of an apex Service.
    #[must_use]
    pub fn share(&self, namespace: &str, service: &str, destination: &str) -> f64 {
        let place = (namespace.to_owned(), service.to_owned());
        let Some(destinations) = self.weighted.get(&place).filter(|d| !d.is_empty()) else {
            return f64::from(u8::from(service == destination));
        };
        if let [(only, _)] = &destinations[..] {
            return f64::from(u8::from(only == destination));
        }
        let total: f64 = destinations.iter().map(|(_, w)| w).sum();
        let own: f64 = destinations
            .iter()
            .filter(|(d, _)| d == destination)
            .map(|(_, w)| w)
            .sum();
        if total > 0.0 { own / total } else { 0.0 }
    }
}

/// One alone gets everything, whatever its weight.
fn pick(destinations: &[(String, f64)], dice: f64) -> Option<&str> {
    let total: f64 = destinations.iter().map(|(_, weight)| weight).sum();
    let mut left = dice * total;
    for (service, weight) in destinations {
        if left < *weight {
            return Some(service);
        }
        left -= weight;
    }
    destinations.first().map(|(service, _)| service.as_str())
}
