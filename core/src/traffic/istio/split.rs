//! How a VirtualService is split: primary and canary take the place of each destination that names the apex Service.

use crate::pointer::At;
use serde_json::{Value, json};

use super::{
    Role, RouteError, ServiceNames,
    edit::Edit,
    notes::Notes,
    route::{ManagedRoute, Unit, canary_part, managed_routes},
};
use crate::weight::Weight;

/// [`super::virtual_service::split`] as part of a larger edit.
pub(super) fn split_in(edit: &mut Edit, names: &ServiceNames, weight: Weight) -> Result<(), RouteError> {
    let routes = managed_routes(edit.doc(), names)?;
    if routes.is_empty() {
        return Err(RouteError::NoManagedRoute);
    }
    let mut notes = Notes::of(edit.doc());
    for route in &routes {
        split_route(edit, route, names, weight, &mut notes)?;
    }
    notes.write(edit)
}

fn split_route(
    edit: &mut Edit,
    route: &ManagedRoute,
    names: &ServiceNames,
    weight: Weight,
    notes: &mut Notes,
) -> Result<(), RouteError> {
    let scale = route.wanted_scale();
    let unsplit = |unit: &Unit| matches!(unit, Unit::Single { role: Role::Apex, .. });
    if route.sole() {
        if route.units.iter().any(unsplit) {
            notes.note_implicit(&route.key, route.weights.first().copied().flatten());
        }
    } else if scale > 1 || route.units.iter().any(unsplit) || notes.has(&route.key) {
        notes.note_scale(&route.key, scale);
    }
    for (index, present) in route
        .weights
        .iter()
        .enumerate()
        .filter(|(index, _)| route.foreign(*index))
    {
        if let Some(present) = present {
            set_weight(edit, route, index, present / route.scale * scale)?;
        }
    }
    let parts = |unit: Unit| {
        let share = if route.sole() {
            route.share(unit)
        } else {
            route.share(unit) / route.scale * scale
        };
        let canary = canary_part(share, weight);
        Parts {
            primary: share - canary,
            canary,
        }
    };
    for unit in &route.units {
        if let Unit::Pair { primary, canary } = *unit {
            set_weight(edit, route, primary, parts(*unit).primary)?;
            set_weight(edit, route, canary, parts(*unit).canary)?;
        }
    }
    // From the last to the first, because each split moves the destinations behind it.
    for unit in route.units.iter().rev() {
        if let Unit::Single { index, .. } = *unit {
            split_single(edit, &route.entry(index), names, parts(*unit))?;
        }
    }
    Ok(())
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
    let weigh = parts.primary + parts.canary > 0 || edit.doc().at(&path).is_some();
    if weigh {
        edit.set(&path, json!(parts.canary))?;
    }
    let mut primary = edit
        .doc()
        .at(entry)
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

pub(super) fn set_weight(
    edit: &mut Edit,
    route: &ManagedRoute,
    index: usize,
    weight: i64,
) -> Result<(), RouteError> {
    if route.weight(index) == weight {
        return Ok(());
    }
    let entry = route.entry(index);
    edit.expect(&format!("{entry}/destination/host"))?;
    edit.set(&format!("{entry}/weight"), json!(weight))
}

pub(super) fn rehost(
    edit: &mut Edit,
    entry: &str,
    names: &ServiceNames,
    role: Role,
) -> Result<(), RouteError> {
    let path = format!("{entry}/destination/host");
    let host = edit
        .doc()
        .at(&path)
        .and_then(Value::as_str)
        .and_then(|h| names.rewrite(h, role));
    edit.set(
        &path,
        json!(host.ok_or_else(|| RouteError::malformed(path.as_str()))?),
    )
}
