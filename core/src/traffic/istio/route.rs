//! The routes of a VirtualService that lead to a Canary's Services, and the destinations in them that are ours.
//!
//! The unit of work is one destination of the user: alone (naming the apex Service) or split into a pair (primary
//! and canary). Two destinations of one route that both name the apex, say with different headers, are two units,
//! so that each can be undone exactly. A route of the user to the primary or the canary alone, say for testers, is not
//! ours; half of a pair that we made is.

use std::collections::BTreeSet;

use crate::pointer::At;
use serde_json::Value;

use super::{Role, RouteError, ServiceNames, notes::Notes};
use crate::weight::Weight;

/// Lists of routes in `spec`, by protocol.
pub(super) const PROTOCOLS: [&str; 3] = ["http", "tcp", "tls"];

/// Name of the HTTP route that we create.
pub const ROUTE_NAME: &str = "bellwether";

/// Name of the HTTP route that we create for callers in the mesh, where those at gateways need one of their own.
pub const MESH_ROUTE_NAME: &str = "bellwether.mesh";

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
    /// By what all weights were multiplied when the route was split; 1 if they were not, or are others' by now.
    pub(super) scale: i64,
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

    /// Whether the destination at `index` is neither the primary's nor the canary's.
    pub(super) fn foreign(&self, index: usize) -> bool {
        !self.units.iter().any(|unit| unit.has(index))
    }

    /// By what the user's weights are multiplied while the route is split.
    pub(super) fn wanted_scale(&self) -> i64 {
        if self.sole() {
            return 1;
        }
        let shares = self.units.iter().map(|unit| self.share(*unit) / self.scale);
        let sum = self.weights.iter().flatten();
        let sum = sum.fold(0, |sum: i64, weight| sum.saturating_add(weight / self.scale));
        least_scale(shares, sum)
    }

    /// `noted`, if the weights can still be what came of multiplying the user's with it: whoever writes others by hand
    /// means what they wrote.
    fn present_scale(&self, noted: i64) -> i64 {
        let unsplit = |unit: &Unit| matches!(unit, Unit::Single { role: Role::Apex, .. });
        let foreign = (0..self.weights.len()).filter(|index| self.foreign(*index));
        let mut all = foreign
            .map(|index| self.weight(index))
            .chain(self.units.iter().map(|unit| self.share(*unit)));
        if self.sole() || self.units.iter().any(unsplit) || !all.all(|weight| weight % noted == 0) {
            return 1;
        }
        noted
    }
}

impl Unit {
    /// The position of its first destination.
    fn first(self) -> usize {
        match self {
            Unit::Single { index, .. } => index,
            Unit::Pair { primary, canary } => primary.min(canary),
        }
    }

    fn has(self, at: usize) -> bool {
        match self {
            Unit::Single { index, .. } => index == at,
            Unit::Pair { primary, canary } => primary == at || canary == at,
        }
    }
}

/// The largest sum of weights that Istio takes.
const LARGEST_SUM: i64 = i32::MAX as i64;

/// The least factor by which the weights of a route must be multiplied so that any whole percentage of each of these
/// shares is a whole number; 1 if the `sum` of all weights would become too large for Istio.
pub(super) fn least_scale(shares: impl IntoIterator<Item = i64>, sum: i64) -> i64 {
    let common = shares.into_iter().fold(100, gcd);
    let scale = 100 / common.max(1);
    match sum.checked_mul(scale) {
        Some(scaled) if scaled <= LARGEST_SUM => scale,
        _ => 1,
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
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
    let notes = Notes::of(vs);
    let mut found = Vec::new();
    for protocol in PROTOCOLS {
        for (position, route) in list(vs, &format!("/spec/{protocol}"))?.iter().enumerate() {
            let path = format!("/spec/{protocol}/{position}");
            let name = route.get("name").and_then(Value::as_str).unwrap_or_default();
            let key = route_key(name, position);
            let halves = match key {
                _ if [ROUTE_NAME, MESH_ROUTE_NAME].contains(&name) => Halves::Ours,
                _ if protocol == "tcp" && notes.created => Halves::Ours,
                Key::Name(_) => Halves::IfNoted,
                Key::Position(_) => Halves::IfAlone,
            };
            let key = format!("{protocol}/{key}");
            found.extend(managed_route(vs, path, key, names)?.map(|route| (route, halves)));
        }
    }
    // A position means another route when somebody adds one before it. Where a route is split already, the half of a pair
    // at a noted position is a route of the user.
    let alone = found.iter().all(|(found, _)| found.route.units.is_empty());
    let routes = found.into_iter().map(|(Found { mut route, lonely }, halves)| {
        let ours = match halves {
            Halves::Ours => true,
            Halves::IfNoted => notes.has(&route.key),
            Halves::IfAlone => alone && notes.has(&route.key),
        };
        if ours {
            route.units.extend(lonely);
            route.units.sort_by_key(|unit| unit.first());
        }
        route.scale = route.present_scale(notes.scale(&route.key));
        route
    });
    Ok(routes.filter(|route| !route.units.is_empty()).collect())
}

/// Whether a destination that names the primary or the canary alone is half of a pair that we made.
#[derive(Clone, Copy)]
enum Halves {
    Ours,
    IfNoted,
    IfAlone,
}

/// A route, and the primaries and canaries in it that have no partner.
struct Found {
    route: ManagedRoute,
    lonely: Vec<Unit>,
}

/// How the routes are called that lead to a primary and a canary, whosoever.
pub(super) fn split_keys(vs: &Value) -> Result<BTreeSet<String>, RouteError> {
    let mut keys = BTreeSet::new();
    for protocol in PROTOCOLS {
        for (position, route) in list(vs, &format!("/spec/{protocol}"))?.iter().enumerate() {
            let entries = route.get("route").and_then(Value::as_array).into_iter().flatten();
            let hosts = entries.filter_map(|entry| entry.at("/destination/host")?.as_str());
            let services = hosts.map(|host| host.split('.').next().unwrap_or_default());
            let sides: BTreeSet<&str> = services
                .filter_map(|service| service.rsplit_once('-').map(|(_, side)| side))
                .collect();
            if sides.contains("primary") && sides.contains("canary") {
                let name = route.get("name").and_then(Value::as_str).unwrap_or_default();
                keys.insert(format!("{protocol}/{}", route_key(name, position)));
            }
        }
    }
    Ok(keys)
}

/// The list at `path`; absent is empty.
pub(super) fn list<'a>(vs: &'a Value, path: &str) -> Result<&'a [Value], RouteError> {
    match vs.at(path) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(RouteError::malformed(path)),
    }
}

/// How a route is called in notes: its name survives insertion of other routes; where there is none, its position must
/// do.
#[derive(Clone, Copy)]
enum Key<'a> {
    Name(&'a str),
    Position(usize),
}

impl std::fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Key::Name(name) => f.write_str(name),
            Key::Position(position) => write!(f, "{position}"),
        }
    }
}

fn route_key(name: &str, position: usize) -> Key<'_> {
    let plain = !name.is_empty()
        && name.bytes().any(|b| !b.is_ascii_digit())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if plain {
        Key::Name(name)
    } else {
        Key::Position(position)
    }
}

fn managed_route(
    vs: &Value,
    path: String,
    key: String,
    names: &ServiceNames,
) -> Result<Option<Found>, RouteError> {
    let entries = list(vs, &format!("{path}/route"))?;
    let mut ours = Vec::new();
    let mut weights = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let at = |field: &str| RouteError::malformed(format!("{path}/route/{index}{field}"));
        let host = entry.at("/destination/host").and_then(Value::as_str);
        let host = host.ok_or_else(|| at("/destination/host"))?;
        weights.push(match entry.get("weight") {
            None | Some(Value::Null) => None,
            Some(weight) => Some(weight.as_i64().filter(|w| *w >= 0).ok_or_else(|| at("/weight"))?),
        });
        if let Some(role) = names.matches(host) {
            ours.push(Ours { index, role, entry });
        }
    }
    if ours.is_empty() {
        return Ok(None);
    }
    let (units, lonely) = units(&ours);
    let route = ManagedRoute {
        path,
        key,
        weights,
        units,
        scale: 1,
    };
    Ok(Some(Found { route, lonely }))
}

/// Pairs primaries with canaries: first those that were split from one destination and still look it, then the
/// rest in order, since a user or a strategy may have changed one half. Those that are left have no partner.
fn units(ours: &[Ours<'_>]) -> (Vec<Unit>, Vec<Unit>) {
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
    let single = |one: &Ours<'_>| Unit::Single {
        index: one.index,
        role: one.role,
    };
    let mut lonely: Vec<Unit> = canaries.iter().map(|one| single(one)).collect();
    let mut units = Vec::new();
    for (one, partner) in ours.iter().zip(&partner) {
        match (one.role, partner) {
            (Role::Apex, _) => units.push(single(one)),
            (Role::Primary, Some(canary)) => units.push(Unit::Pair {
                primary: one.index,
                canary: *canary,
            }),
            (Role::Primary, None) => lonely.push(single(one)),
            (Role::Canary, _) => {}
        }
    }
    (units, lonely)
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
mod tests;
