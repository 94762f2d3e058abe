//! The routes of a VirtualService that lead to a Canary's Services, and the destinations in them that are ours.
//!
//! The unit of work is one destination of the user: alone (naming the apex Service) or split into a pair (primary
//! and canary). Two destinations of one route that both name the apex, say with different headers, are two units,
//! so that each can be undone exactly.

use serde_json::Value;

use super::{Role, RouteError, ServiceNames};
use crate::rollout::weight::Weight;

/// Lists of routes in `spec`, by protocol.
pub(super) const PROTOCOLS: [&str; 3] = ["http", "tcp", "tls"];

/// Prefix of the names of whole routes that a strategy adds; their destinations are not ours to split.
pub(super) const STRATEGY_PREFIX: &str = "bellwether-";

/// One destination of the user, in its present form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// One destination at this position.
    Single { index: usize, role: Role },
    /// Two destinations at these positions.
    Pair { primary: usize, canary: usize },
}

/// One destination that names a Service of ours.
#[derive(Debug)]
struct Ours<'a> {
    index: usize,
    role: Role,
    entry: &'a Value,
}

/// A route with at least one unit.
#[derive(Debug)]
pub(super) struct ManagedRoute {
    /// JSON pointer of the route.
    pub(super) path: String,
    /// What the implicit-weight annotation calls this route.
    pub(super) key: String,
    /// Explicit weights of all destinations, ours and foreign.
    pub(super) weights: Vec<Option<i64>>,
    pub(super) units: Vec<Unit>,
}

impl ManagedRoute {
    /// JSON pointer of the destination at `index`.
    pub(super) fn entry(&self, index: usize) -> String {
        format!("{}/route/{index}", self.path)
    }

    /// Whether one unit is all that the route has.
    pub(super) fn sole(&self) -> bool {
        match self.units.as_slice() {
            [Unit::Single { .. }] => self.weights.len() == 1,
            [Unit::Pair { .. }] => self.weights.len() == 2,
            _ => false,
        }
    }

    /// Weight at `index`; what is not set counts as 0, as in Istio.
    pub(super) fn weight(&self, index: usize) -> i64 {
        self.weights.get(index).copied().flatten().unwrap_or(0)
    }

    /// What the primary and canary of `unit` have to share. All of the route's traffic is 100 whatever its weights
    /// say, because Istio ignores the weight of a lone destination.
    pub(super) fn share(&self, unit: Unit) -> i64 {
        match unit {
            _ if self.sole() => 100,
            Unit::Single { index, .. } => self.weight(index),
            Unit::Pair { primary, canary } => self.weight(primary).saturating_add(self.weight(canary)),
        }
    }
}

/// The canary's part of `share` at `weight`: rounded, but with something for both sides of a split. A share of 1
/// cannot be split and stays with the primary until all traffic is the canary's.
pub(super) fn canary_part(share: i64, weight: Weight) -> i64 {
    let percent = i64::from(weight.percent());
    if weight.is_zero() || share <= 0 {
        0
    } else if weight == Weight::FULL {
        share
    } else if share == 1 {
        0
    } else {
        // Division first, so that no share overflows.
        let rounded = share / 100 * percent + (share % 100 * percent + 50) / 100;
        rounded.clamp(1, share - 1)
    }
}

/// Every managed route of `vs`, in order.
pub(super) fn managed_routes(vs: &Value, names: &ServiceNames) -> Result<Vec<ManagedRoute>, RouteError> {
    let mut found = Vec::new();
    for protocol in PROTOCOLS {
        for (position, route) in list(vs, &format!("/spec/{protocol}"))?.iter().enumerate() {
            let path = format!("/spec/{protocol}/{position}");
            let name = route.get("name").and_then(Value::as_str).unwrap_or_default();
            if name.starts_with(STRATEGY_PREFIX) {
                continue;
            }
            let key = format!("{protocol}/{}", route_key(name, position));
            found.extend(managed_route(vs, path, key, names)?);
        }
    }
    Ok(found)
}

/// The list at `path`; absent is empty.
pub(super) fn list<'a>(vs: &'a Value, path: &str) -> Result<&'a [Value], RouteError> {
    match vs.pointer(path) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(RouteError::malformed(path)),
    }
}

/// A route's name survives insertion of other routes; where there is none, its position must do.
fn route_key(name: &str, position: usize) -> String {
    let plain = !name.is_empty()
        && name.bytes().any(|b| !b.is_ascii_digit())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if plain {
        name.to_owned()
    } else {
        position.to_string()
    }
}

fn managed_route(
    vs: &Value,
    path: String,
    key: String,
    names: &ServiceNames,
) -> Result<Option<ManagedRoute>, RouteError> {
    let entries = list(vs, &format!("{path}/route"))?;
    let mut ours = Vec::new();
    let mut weights = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let at = |field: &str| RouteError::malformed(format!("{path}/route/{index}{field}"));
        let host = entry.pointer("/destination/host").and_then(Value::as_str);
        let host = host.ok_or_else(|| at("/destination/host"))?;
        weights.push(match entry.get("weight") {
            None | Some(Value::Null) => None,
            Some(weight) => Some(weight.as_i64().filter(|w| *w >= 0).ok_or_else(|| at("/weight"))?),
        });
        if let Some(role) = names.matches(host) {
            ours.push(Ours { index, role, entry });
        }
    }
    let units = units(&ours);
    Ok((!units.is_empty()).then_some(ManagedRoute {
        path,
        key,
        weights,
        units,
    }))
}

/// Pairs primaries with canaries: first those that were split from one destination and still look it, then the
/// rest in order, since a user or a strategy may have changed one half.
fn units(ours: &[Ours<'_>]) -> Vec<Unit> {
    let mut canaries: Vec<&Ours<'_>> = ours.iter().filter(|o| o.role == Role::Canary).collect();
    let mut partner = vec![None; ours.len()];
    for alike in [true, false] {
        for (slot, primary) in ours.iter().enumerate() {
            if primary.role != Role::Primary || partner[slot].is_some() {
                continue;
            }
            let fits = |c: &&Ours<'_>| !alike || rest(c.entry) == rest(primary.entry);
            if let Some(found) = canaries.iter().position(fits) {
                partner[slot] = Some(canaries.remove(found).index);
            }
        }
    }
    let lonely = |canary: &Ours<'_>| canaries.iter().any(|c| c.index == canary.index);
    ours.iter()
        .zip(&partner)
        .filter_map(|(one, partner)| match partner {
            Some(canary) => Some(Unit::Pair {
                primary: one.index,
                canary: *canary,
            }),
            None if one.role == Role::Canary && !lonely(one) => None,
            None => Some(Unit::Single {
                index: one.index,
                role: one.role,
            }),
        })
        .collect()
}

/// A destination without what tells its two halves apart.
fn rest(entry: &Value) -> Value {
    let mut rest = entry.clone();
    if let Some(fields) = rest.as_object_mut() {
        fields.remove("weight");
    }
    if let Some(destination) = rest.get_mut("destination").and_then(Value::as_object_mut) {
        destination.remove("host");
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canary_part_is_rounded_and_leaves_something_for_both() {
        let table = [
            (100, 0, 0),
            (100, 1, 1),
            (100, 37, 37),
            (100, 99, 99),
            (100, 100, 100),
            (50, 1, 1),
            (50, 5, 3),
            (50, 99, 49),
            (30, 10, 3),
            (2, 1, 1),
            (2, 99, 1),
            (2, 100, 2),
            (1, 60, 0),
            (1, 100, 1),
            (0, 50, 0),
            (250, 10, 25),
            (i64::MAX, 100, i64::MAX),
        ];
        for (share, percent, part) in table {
            assert_eq!(
                canary_part(share, Weight::saturating(percent)),
                part,
                "{percent} % of {share}"
            );
        }
    }

    #[test]
    fn a_large_share_is_split_without_overflow() {
        let half = canary_part(i64::MAX, Weight::saturating(50));
        assert!((i64::MAX / 2 - half).abs() < 100, "{half}");
    }
}
