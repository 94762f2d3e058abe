//! How the VirtualService that we created is kept in shape.
//!
//! A user may add routes, rules and fields to it by hand; those stay. Hence repair is a three-way merge of what we
//! applied last (kept in an annotation), what the Canary asks for now and what is there, as a minimal patch on our own
//! routes. Our HTTP routes are those named [`ROUTE_NAME`] and [`MESH_ROUTE_NAME`]; a TCP route has no name in Istio, so
//! ours is the first that leads to the Canary's Services.

use std::collections::BTreeSet;

use crate::pointer::At;
use json_patch::Patch;
use serde_json::{Map, Value, json};

pub use super::notes::APPLIED_ANNOTATION;
use super::{
    RouteError, ServiceNames,
    edit::{Edit, escape},
    generated::{MESH_ROUTE_NAME, ROUTE_NAME, is_empty},
    notes,
    route::{Unit, list, managed_routes},
    split::split_in,
};
use crate::weight::Weight;

/// Protocols and names of the routes that may be ours.
const OWN: [(&str, &str); 3] = [("http", ROUTE_NAME), ("http", MESH_ROUTE_NAME), ("tcp", "")];

/// The value of [`APPLIED_ANNOTATION`] for a VirtualService with this spec. With it a part that is later taken out of
/// the Canary can be told from one that a user added by hand.
#[must_use]
pub fn applied(desired_spec: &Value) -> String {
    let mut spec = desired_spec.clone();
    for protocol in ["http", "tcp"] {
        let routes = spec
            .get_mut(protocol)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten();
        let entries = routes
            .filter_map(|r| r.get_mut("route")?.as_array_mut())
            .flatten();
        for fields in entries.filter_map(Value::as_object_mut) {
            fields.remove("weight");
        }
    }
    spec.to_string()
}

/// Whether our part of the `live` spec differs from the `desired` one, apart from weights. What users or the API
/// server added is no drift.
#[must_use]
pub fn owned_drift(live_spec: &Value, desired_spec: &Value) -> bool {
    for key in ["hosts", "gateways"] {
        let present = live_spec.get(key).filter(|v| !is_empty(v));
        if !same(present, desired_spec.get(key)) {
            return true;
        }
    }
    OWN.into_iter()
        .any(|(protocol, name)| match own_route(desired_spec, protocol, name) {
            Some(wanted) => !live_routes(live_spec, protocol).any(|route| covers_route(route, wanted)),
            None => protocol == "http" && live_routes(live_spec, protocol).any(|route| is_named(route, name)),
        })
}

/// Whether an owned VirtualService has the content that the Canary asks for, apart from weights: no drift, and nothing
/// left of what was taken out of the Canary. If not, [`repair`] mends it.
#[must_use]
pub fn in_shape(vs_live: &Value, desired_spec: &Value) -> bool {
    let current = note(vs_live).is_none_or(|noted| noted == applied(desired_spec));
    current
        && vs_live
            .get("spec")
            .is_some_and(|spec| !owned_drift(spec, desired_spec))
}

/// What was applied last, as far as it is known.
fn note(vs: &Value) -> Option<&str> {
    notes::annotation(vs, APPLIED_ANNOTATION)
}

fn same(live: Option<&Value>, desired: Option<&Value>) -> bool {
    match (live, desired) {
        (Some(live), Some(desired)) => covers(live, desired),
        (None, None) => true,
        _ => false,
    }
}

fn live_routes<'a>(spec: &'a Value, protocol: &str) -> impl Iterator<Item = &'a Value> {
    spec.get(protocol).and_then(Value::as_array).into_iter().flatten()
}

/// The route of ours in a spec that we built: by its name, or the first where none has a name.
fn own_route<'a>(spec: &'a Value, protocol: &str, name: &str) -> Option<&'a Value> {
    let mut routes = spec.get(protocol)?.as_array()?.iter();
    if protocol == "http" {
        routes.find(|route| is_named(route, name))
    } else {
        routes.next()
    }
}

fn is_named(route: &Value, name: &str) -> bool {
    route.get("name").and_then(Value::as_str) == Some(name)
}

/// Whether `live` holds everything that `desired` holds. Lists must have equal length, since a longer one means
/// something else.
fn covers(live: &Value, desired: &Value) -> bool {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => desired
            .iter()
            .all(|(key, value)| live.get(key).is_some_and(|present| covers(present, value))),
        (Value::Array(live), Value::Array(desired)) => {
            live.len() == desired.len() && live.iter().zip(desired).all(|(l, d)| covers(l, d))
        }
        _ => live == desired,
    }
}

fn covers_route(live: &Value, wanted: &Value) -> bool {
    let Some(fields) = wanted.as_object() else {
        return false;
    };
    fields
        .iter()
        .all(|(key, value)| match (key.as_str(), live.get(key)) {
            (_, None) => false,
            ("route", Some(present)) => {
                let has = |d: &Value| {
                    let mut entries = present.as_array().into_iter().flatten();
                    entries.any(|l| {
                        l.get("destination")
                            .zip(d.get("destination"))
                            .is_some_and(|(l, d)| covers(l, d))
                    })
                };
                value.as_array().is_some_and(|all| all.iter().all(has))
            }
            (_, Some(present)) => covers(present, value),
        })
}

/// A part of the spec as it was applied last and as it should be now.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    before: Option<&'a Value>,
    now: Option<&'a Value>,
}

impl<'a> Wanted<'a> {
    fn get(self, key: &str) -> Wanted<'a> {
        Wanted {
            before: self.before.and_then(|v| v.get(key)),
            now: self.now.and_then(|v| v.get(key)),
        }
    }

    fn route(self, protocol: &str, name: &str) -> Wanted<'a> {
        let own = |spec| own_route(spec, protocol, name);
        Wanted {
            before: self.before.and_then(own),
            now: self.now.and_then(own),
        }
    }

    fn keys(self) -> BTreeSet<&'a String> {
        [self.before, self.now]
            .into_iter()
            .flatten()
            .filter_map(Value::as_object)
            .flat_map(Map::keys)
            .collect()
    }
}

/// The patch that brings an owned VirtualService to `desired_spec` with the canary at `weight`: our route, hosts and
/// gateways are put right, parts that were taken out of the Canary go, every managed route gets the weight, and what
/// users added stays. Empty if all is well.
///
/// # Errors
/// If a part of a route cannot be understood.
pub fn repair(
    vs_live: &Value,
    desired_spec: &Value,
    names: &ServiceNames,
    weight: Weight,
) -> Result<Patch, RouteError> {
    let mut edit = Edit::new(vs_live)?;
    let noted = note(vs_live);
    let before: Option<Value> = noted.and_then(|text| serde_json::from_str(text).ok());
    if vs_live.get("spec").is_none_or(|spec| !spec.is_object()) {
        edit.set("/spec", json!({}))?;
    }
    for key in ["hosts", "gateways"] {
        let path = format!("/spec/{key}");
        // All of these lists is ours, whatever was applied before.
        let wanted = Wanted {
            before: vs_live.at(&path),
            now: desired_spec.get(key),
        };
        three_way(&mut edit, &path, wanted)?;
    }
    let wanted = Wanted {
        before: before.as_ref(),
        now: Some(desired_spec),
    };
    for own in OWN {
        repair_route(&mut edit, own, wanted.route(own.0, own.1), names)?;
    }
    split_in(&mut edit, names, weight)?;
    let (changed, text) = (edit.changed(), applied(desired_spec));
    // A missing note alone is not worth a write.
    if noted.map_or(changed, |noted| noted != text) {
        edit.annotate(APPLIED_ANNOTATION, &text)?;
    }
    edit.finish()
}

fn repair_route(
    edit: &mut Edit,
    (protocol, name): (&str, &str),
    wanted: Wanted<'_>,
    names: &ServiceNames,
) -> Result<(), RouteError> {
    let path = format!("/spec/{protocol}");
    let length = list(edit.doc(), &path)?.len();
    match (own_position(edit.doc(), (protocol, name), names)?, wanted.now) {
        (Some(position), Some(_)) => merge_route(edit, &format!("{path}/{position}"), wanted, names),
        (None, Some(now)) if length == 0 => edit.set(&path, json!([now])),
        // Last, because a user's routes before it must keep their precedence.
        (None, Some(now)) => edit.insert(&format!("{path}/{length}"), now.clone()),
        (Some(position), None) if protocol == "http" || wanted.before.is_some() => {
            if length == 1 {
                edit.remove(&path)
            } else {
                edit.remove(&format!("{path}/{position}"))
            }
        }
        _ => Ok(()),
    }
}

fn own_position(
    vs: &Value,
    (protocol, name): (&str, &str),
    names: &ServiceNames,
) -> Result<Option<usize>, RouteError> {
    let path = format!("/spec/{protocol}");
    let routes = list(vs, &path)?;
    if protocol == "http" {
        return Ok(routes.iter().position(|route| is_named(route, name)));
    }
    let managed = managed_routes(vs, names)?;
    Ok((0..routes.len()).find(|index| managed.iter().any(|m| m.path == format!("{path}/{index}"))))
}

fn merge_route(
    edit: &mut Edit,
    path: &str,
    wanted: Wanted<'_>,
    names: &ServiceNames,
) -> Result<(), RouteError> {
    for key in wanted.keys().into_iter().filter(|key| *key != "route") {
        three_way(edit, &format!("{path}/{}", escape(key)), wanted.get(key))?;
    }
    let managed = managed_routes(edit.doc(), names)?
        .into_iter()
        .find(|route| route.path == path);
    let Some(managed) = managed else {
        // None of our destinations is left in our route.
        return edit.set(
            &format!("{path}/route"),
            wanted.get("route").now.cloned().unwrap_or_default(),
        );
    };
    let [unit] = managed.units.as_slice() else {
        return Ok(());
    };
    let indices = match *unit {
        Unit::Single { index, .. } => vec![index],
        Unit::Pair { primary, canary } => vec![primary, canary],
    };
    let first = |route: &'_ Value| route.at("/route/0/destination").cloned();
    let (before, now) = (wanted.before.and_then(first), wanted.now.and_then(first));
    let wanted = Wanted {
        before: before.as_ref(),
        now: now.as_ref(),
    };
    for index in indices {
        for key in wanted.keys().into_iter().filter(|key| *key != "host") {
            three_way(
                edit,
                &format!("{}/destination/{}", managed.entry(index), escape(key)),
                wanted.get(key),
            )?;
        }
    }
    Ok(())
}

/// Brings the value at `path` to what is wanted now, leaving what we neither applied nor want.
fn three_way(edit: &mut Edit, path: &str, wanted: Wanted<'_>) -> Result<(), RouteError> {
    let Some(live) = edit.doc().at(path) else {
        return wanted.now.map_or(Ok(()), |now| edit.insert(path, now.clone()));
    };
    let mergeable = live.is_object() && wanted.now.or(wanted.before).is_some_and(Value::is_object);
    match wanted.now {
        _ if mergeable => {
            for key in wanted.keys() {
                three_way(edit, &format!("{path}/{}", escape(key)), wanted.get(key))?;
            }
            let emptied = edit.doc().at(path).is_some_and(is_empty);
            if wanted.now.is_none() && emptied {
                edit.remove(path)
            } else {
                Ok(())
            }
        }
        Some(now) if covers(live, now) => Ok(()),
        Some(now) => edit.set(path, now.clone()),
        None if wanted.before.is_some() => edit.remove(path),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
