//! Changing and reading the traffic split of a VirtualService, ours or the user's.
//!
//! [`split`] turns every destination that names the apex Service into a primary and a canary and sets their weights;
//! [`merge`] undoes that; [`read`] tells what is there. Invariant: `merge` after `split` gives back the same JSON.

use std::collections::BTreeMap;

use json_patch::Patch;
use serde_json::{Value, json};

use super::{
    Role, RouteError, ServiceNames,
    edit::{Edit, escape},
    route::{ManagedRoute, PROTOCOLS, STRATEGY_PREFIX, Unit, canary_part, list, managed_routes},
};
pub use super::{
    generated::{OwnedRoute, ROUTE_NAME, build},
    owned::{APPLIED_ANNOTATION, applied, in_shape, owned_drift, repair},
};
use crate::rollout::weight::Weight;

/// Remembers, for lone destinations whose weight was not 100, what it was: a comma-separated list of
/// `<protocol>/<route name or position>` (there was none) and `<protocol>/<route>=<weight>`.
pub const IMPLICIT_WEIGHT_ANNOTATION: &str = "bellwether.dev/implicit-weight";

/// Prefix of our labels and annotations.
const OUR_METADATA: &str = "bellwether.dev/";

/// What the routes of a VirtualService say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteState {
    /// Whether every managed destination is split into primary and canary.
    pub split: bool,
    /// Whether any destination names the primary or the canary.
    pub touched: bool,
    /// The canary's share of the managed traffic in percent; `None` if it is not split, differs between routes, or
    /// is not what any whole percentage gives.
    pub weight: Option<Weight>,
}

/// The patch after which the canary has `weight` of all traffic to the Service; empty if it has it already.
/// A foreign destination keeps its weight, and primary and canary divide the rest.
///
/// # Errors
/// If no route leads to the Service, or a part of a route cannot be understood.
pub fn split(vs: &Value, names: &ServiceNames, weight: Weight) -> Result<Patch, RouteError> {
    let mut edit = Edit::new(vs)?;
    split_in(&mut edit, names, weight)?;
    edit.finish()
}

/// [`split`] as part of a larger edit.
pub(super) fn split_in(edit: &mut Edit, names: &ServiceNames, weight: Weight) -> Result<(), RouteError> {
    let routes = managed_routes(edit.doc(), names)?;
    if routes.is_empty() {
        return Err(RouteError::NoManagedRoute);
    }
    let mut implicit = implicit_weights(edit.doc());
    for route in &routes {
        for unit in &route.units {
            if let Unit::Pair { primary, canary } = *unit {
                let part = canary_part(route.share(*unit), weight);
                set_weight(edit, route, primary, route.share(*unit) - part)?;
                set_weight(edit, route, canary, part)?;
            }
        }
        // From the last to the first, because each split moves the destinations behind it.
        for unit in route.units.iter().rev() {
            if let Unit::Single { index, role } = *unit {
                let share = route.share(*unit);
                if route.sole() && role == Role::Apex && route.weights.first() != Some(&Some(100)) {
                    implicit.insert(route.key.clone(), route.weights.first().copied().flatten());
                }
                let part = canary_part(share, weight);
                split_single(
                    edit,
                    &route.entry(index),
                    names,
                    Parts {
                        primary: share - part,
                        canary: part,
                    },
                )?;
            }
        }
    }
    if implicit != implicit_weights(edit.doc()) {
        edit.annotate(IMPLICIT_WEIGHT_ANNOTATION, &implicit_text(&implicit))?;
    }
    Ok(())
}

/// Whether `vs` already divides its traffic as [`split`] would.
#[must_use]
pub fn is_at(vs: &Value, names: &ServiceNames, weight: Weight) -> bool {
    split(vs, names, weight).is_ok_and(|patch| patch.0.is_empty())
}

/// What the routes of `vs` say.
///
/// # Errors
/// If no route leads to the Service, or a part of a route cannot be understood.
pub fn read(vs: &Value, names: &ServiceNames) -> Result<RouteState, RouteError> {
    let routes = managed_routes(vs, names)?;
    if routes.is_empty() {
        return Err(RouteError::NoManagedRoute);
    }
    let units = || {
        routes
            .iter()
            .flat_map(|route| route.units.iter().map(move |unit| (route, *unit)))
    };
    let split = units().all(|(_, unit)| matches!(unit, Unit::Pair { .. }));
    let touched = units().any(|(_, unit)| !matches!(unit, Unit::Single { role: Role::Apex, .. }));
    let parts: Vec<(i64, i64, i64)> = units()
        .filter_map(|(route, unit)| match unit {
            Unit::Pair { primary, canary } => {
                Some((route.share(unit), route.weight(primary), route.weight(canary)))
            }
            Unit::Single { .. } => None,
        })
        .filter(|(share, _, _)| *share > 0)
        .collect();
    let weight = if split { common_weight(&parts) } else { None };
    Ok(RouteState {
        split,
        touched,
        weight,
    })
}

/// The weight that gives every part (share, primary's weight, canary's weight); of several the one nearest to the true
/// ratio, since a small share is the same for neighbouring percentages.
fn common_weight(parts: &[(i64, i64, i64)]) -> Option<Weight> {
    if parts.is_empty() {
        return None;
    }
    let gives = |weight: Weight| {
        parts.iter().all(|(share, primary, canary)| {
            let part = canary_part(*share, weight);
            part == *canary && share - part == *primary
        })
    };
    let distance = |weight: &Weight| -> i128 {
        let percent = i128::from(weight.percent());
        parts
            .iter()
            .map(|(share, _, canary)| (percent * i128::from(*share) - 100 * i128::from(*canary)).abs())
            .sum()
    };
    (0..=100)
        .filter_map(Weight::new)
        .filter(|w| gives(*w))
        .min_by_key(distance)
}

/// The patch that undoes [`split`]: primary and canary become one destination that names the apex Service, with their
/// weights together; our routes, labels and annotations go. Edits made since stay. Empty if there is nothing to undo.
///
/// # Errors
/// If a part of a route cannot be understood.
pub fn merge(vs: &Value, names: &ServiceNames) -> Result<Patch, RouteError> {
    let mut edit = merged(vs, names)?;
    for section in ["labels", "annotations"] {
        remove_our_metadata(&mut edit, section)?;
    }
    edit.finish()
}

/// As [`merge`], for a VirtualService that was created for the Canary: it keeps the marks that say so until it is
/// deleted or released.
///
/// # Errors
/// If a part of a route cannot be understood.
pub fn merge_owned(vs: &Value, names: &ServiceNames) -> Result<Patch, RouteError> {
    merged(vs, names)?.finish()
}

fn merged(vs: &Value, names: &ServiceNames) -> Result<Edit, RouteError> {
    let mut edit = Edit::new(vs)?;
    let implicit = implicit_weights(vs);
    for route in managed_routes(vs, names)? {
        merge_route(&mut edit, &route, names, implicit.get(&route.key))?;
    }
    remove_strategy_routes(&mut edit)?;
    Ok(edit)
}

fn merge_route(
    edit: &mut Edit,
    route: &ManagedRoute,
    names: &ServiceNames,
    implicit: Option<&Option<i64>>,
) -> Result<(), RouteError> {
    let mut superfluous = Vec::new();
    for unit in &route.units {
        let (kept, total) = match *unit {
            Unit::Single { role: Role::Apex, .. } => continue,
            Unit::Single { index, .. } => (index, route.weights[index]),
            Unit::Pair { primary, canary } => {
                superfluous.push(canary);
                let explicit = route.weights[primary].is_some() || route.weights[canary].is_some();
                (
                    primary,
                    explicit.then(|| route.weight(primary).saturating_add(route.weight(canary))),
                )
            }
        };
        rehost(edit, &route.entry(kept), names, Role::Apex)?;
        let restored = match implicit {
            Some(original) if route.sole() && total.is_none_or(|t| t == 100) => *original,
            _ => total,
        };
        let path = format!("{}/weight", route.entry(kept));
        match restored {
            Some(weight) => edit.set(&path, json!(weight))?,
            None if edit.doc().pointer(&path).is_some() => edit.remove(&path)?,
            None => {}
        }
    }
    superfluous.sort_unstable_by(|a, b| b.cmp(a));
    superfluous
        .into_iter()
        .try_for_each(|index| edit.remove(&route.entry(index)))
}

fn remove_strategy_routes(edit: &mut Edit) -> Result<(), RouteError> {
    for protocol in PROTOCOLS {
        let path = format!("/spec/{protocol}");
        let routes = list(edit.doc(), &path)?.iter().enumerate();
        let ours: Vec<usize> = routes
            .filter(|(_, r)| {
                r.get("name")
                    .and_then(Value::as_str)
                    .is_some_and(|n| n.starts_with(STRATEGY_PREFIX))
            })
            .map(|(index, _)| index)
            .collect();
        for index in ours.into_iter().rev() {
            edit.remove(&format!("{path}/{index}"))?;
        }
    }
    Ok(())
}

fn remove_our_metadata(edit: &mut Edit, section: &str) -> Result<(), RouteError> {
    let path = format!("/metadata/{section}");
    let Some(present) = edit.doc().pointer(&path).and_then(Value::as_object) else {
        return Ok(());
    };
    let ours: Vec<String> = present
        .keys()
        .filter(|k| k.starts_with(OUR_METADATA))
        .cloned()
        .collect();
    if !ours.is_empty() && ours.len() == present.len() {
        return edit.remove(&path);
    }
    ours.iter()
        .try_for_each(|key| edit.remove(&format!("{path}/{}", escape(key))))
}

fn set_weight(edit: &mut Edit, route: &ManagedRoute, index: usize, weight: i64) -> Result<(), RouteError> {
    if route.weight(index) == weight {
        return Ok(());
    }
    let entry = route.entry(index);
    edit.expect(&format!("{entry}/destination/host"))?;
    edit.set(&format!("{entry}/weight"), json!(weight))
}

/// Weights of the two halves of a destination.
#[derive(Clone, Copy)]
struct Parts {
    primary: i64,
    canary: i64,
}

/// Puts primary and canary in the place of the destination at `entry`, each with a copy of all its other fields.
fn split_single(edit: &mut Edit, entry: &str, names: &ServiceNames, parts: Parts) -> Result<(), RouteError> {
    edit.expect(entry)?;
    rehost(edit, entry, names, Role::Canary)?;
    // A destination that had no traffic and no weight keeps having none of both.
    let path = format!("{entry}/weight");
    let weigh = parts.primary + parts.canary > 0 || edit.doc().pointer(&path).is_some();
    if weigh {
        edit.set(&path, json!(parts.canary))?;
    }
    let mut primary = edit
        .doc()
        .pointer(entry)
        .cloned()
        .ok_or_else(|| RouteError::malformed(entry))?;
    let path = format!("{entry}/destination/host");
    let host = primary
        .pointer_mut("/destination/host")
        .ok_or_else(|| RouteError::malformed(&path))?;
    let rewritten = host.as_str().and_then(|h| names.rewrite(h, Role::Primary));
    *host = json!(rewritten.ok_or_else(|| RouteError::malformed(path))?);
    if weigh {
        primary["weight"] = json!(parts.primary);
    }
    edit.insert(entry, primary)
}

fn rehost(edit: &mut Edit, entry: &str, names: &ServiceNames, role: Role) -> Result<(), RouteError> {
    let path = format!("{entry}/destination/host");
    let host = edit
        .doc()
        .pointer(&path)
        .and_then(Value::as_str)
        .and_then(|h| names.rewrite(h, role));
    edit.set(
        &path,
        json!(host.ok_or_else(|| RouteError::malformed(path.as_str()))?),
    )
}

fn implicit_weights(vs: &Value) -> BTreeMap<String, Option<i64>> {
    let path = format!("/metadata/annotations/{}", escape(IMPLICIT_WEIGHT_ANNOTATION));
    let text = vs.pointer(&path).and_then(Value::as_str).unwrap_or_default();
    text.split(',')
        .filter(|item| !item.is_empty())
        .filter_map(|item| match item.split_once('=') {
            None => Some((item.to_owned(), None)),
            Some((key, weight)) => Some((key.to_owned(), Some(weight.parse().ok()?))),
        })
        .collect()
}

fn implicit_text(implicit: &BTreeMap<String, Option<i64>>) -> String {
    let items = implicit.iter().map(|(key, weight)| match weight {
        None => key.clone(),
        Some(weight) => format!("{key}={weight}"),
    });
    items.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
