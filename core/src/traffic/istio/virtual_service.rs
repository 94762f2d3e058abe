//! Changing and reading the traffic split of a VirtualService, ours or the user's.
//!
//! [`split`] turns every destination that names the apex Service into a primary and a canary and sets their weights;
//! [`merge`] undoes that; [`read`] tells what is there. Invariant: `merge` after `split` gives back the same JSON.

use std::collections::BTreeSet;

use crate::pointer::At;
use json_patch::Patch;
use serde_json::{Value, json};

use super::{
    Role, RouteError, ServiceNames,
    edit::{Edit, escape},
    notes::Notes,
    route::{ManagedRoute, Unit, canary_part, managed_routes, split_keys},
    split::{rehost, set_weight, split_in},
};
pub use super::{
    generated::{OwnedRoute, ROUTE_NAME, build},
    notes::{IMPLICIT_WEIGHT_ANNOTATION, WEIGHT_SCALE_ANNOTATION},
    owned::{APPLIED_ANNOTATION, applied, in_shape, owned_drift, repair},
};
use crate::weight::Weight;

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
/// A foreign destination keeps its ratio to ours, and primary and canary divide the rest: where a percentage of it is no
/// whole number, all weights of the route are multiplied by one factor until [`merge`].
///
/// # Errors
/// If no route leads to the Service, or a part of a route cannot be understood.
pub fn split(vs: &Value, names: &ServiceNames, weight: Weight) -> Result<Patch, RouteError> {
    let mut edit = Edit::new(vs)?;
    split_in(&mut edit, names, weight)?;
    edit.finish()
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

/// Whether any route is divided between a primary and a canary, of this Canary or another.
#[must_use]
pub fn divided(vs: &Value) -> bool {
    split_keys(vs).is_ok_and(|keys| !keys.is_empty())
}

/// The subsets of the Service that routes lead to.
///
/// # Errors
/// If a part of a route cannot be understood.
pub fn subsets(vs: &Value, names: &ServiceNames) -> Result<BTreeSet<String>, RouteError> {
    let routes = managed_routes(vs, names)?;
    let ours = routes.iter().flat_map(|route| {
        let indices = 0..route.weights.len();
        indices
            .filter(|index| !route.foreign(*index))
            .map(|index| route.entry(index))
    });
    Ok(ours
        .filter_map(|entry| vs.at(&format!("{entry}/destination/subset"))?.as_str())
        .filter(|subset| !subset.is_empty())
        .map(str::to_owned)
        .collect())
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
/// weights together; our labels and annotations go, but for notes on routes that another Canary has split. Edits
/// made since stay. Empty if there is nothing to undo.
///
/// # Errors
/// If a part of a route cannot be understood.
pub fn merge(vs: &Value, names: &ServiceNames) -> Result<Patch, RouteError> {
    let ours: BTreeSet<String> = managed_routes(vs, names)?
        .into_iter()
        .map(|route| route.key)
        .collect();
    let mut edit = merged(vs, names)?;
    let others = Notes::of(edit.doc()).of_others(&split_keys(edit.doc())?, &ours);
    for section in ["labels", "annotations"] {
        remove_our_metadata(&mut edit, section)?;
    }
    others.write(&mut edit)?;
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
    let notes = Notes::of(vs);
    for route in managed_routes(vs, names)? {
        merge_route(&mut edit, &route, names, notes.implicit(&route.key))?;
    }
    Ok(edit)
}

fn merge_route(
    edit: &mut Edit,
    route: &ManagedRoute,
    names: &ServiceNames,
    implicit: Option<Option<i64>>,
) -> Result<(), RouteError> {
    for (index, present) in route
        .weights
        .iter()
        .enumerate()
        .filter(|(index, _)| route.foreign(*index))
    {
        if let Some(present) = present {
            set_weight(edit, route, index, present / route.scale)?;
        }
    }
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
            Some(original) if route.sole() && total.is_none_or(|t| t == 100) => original,
            _ => total.map(|total| total / route.scale),
        };
        let path = format!("{}/weight", route.entry(kept));
        match restored {
            Some(weight) => edit.set(&path, json!(weight))?,
            None if edit.doc().at(&path).is_some() => edit.remove(&path)?,
            None => {}
        }
    }
    superfluous.sort_unstable_by(|a, b| b.cmp(a));
    superfluous
        .into_iter()
        .try_for_each(|index| edit.remove(&route.entry(index)))
}

/// One key after the other: the cache does not keep every annotation, so that the whole map is not known.
fn remove_our_metadata(edit: &mut Edit, section: &str) -> Result<(), RouteError> {
    let path = format!("/metadata/{section}");
    let Some(present) = edit.doc().at(&path).and_then(Value::as_object) else {
        return Ok(());
    };
    let ours: Vec<String> = present
        .keys()
        .filter(|k| k.starts_with(OUR_METADATA))
        .cloned()
        .collect();
    ours.iter()
        .try_for_each(|key| edit.remove(&format!("{path}/{}", escape(key))))
}

#[cfg(test)]
mod tests;
