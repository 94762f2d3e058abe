//! Writes of the VirtualService and of the apex Service.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use chrono::TimeDelta;

use super::{
    Kind, Seen, capacity,
    ledger::{Ledger, canary_weight, host, ready_endpoints},
    quarrel,
};

/// Remembers what the routes have, whoever is to blame for it.
pub(super) fn visited(seen: &Seen<'_>, ledger: &mut Ledger) {
    let new = canary_weight(&seen.change.object);
    if seen.change.before.as_deref().map_or(0, canary_weight) != new {
        ledger.routed_at = Some(seen.at);
    }
    ledger.visited.insert(new);
}

pub(super) fn changed(seen: &Seen<'_>, ledger: &mut Ledger, stale: bool, found: &mut Vec<String>) {
    let new = canary_weight(&seen.change.object);
    let old = seen.change.before.as_deref().map_or(0, canary_weight);
    if new != old {
        ledger.routed_at = Some(seen.at);
    }
    if !seen.ours {
        ledger.edited_at = Some(seen.at);
        return;
    }
    ledger.visited.insert(new);
    // No mark fences what does not exist: a create that was sent before a deletion may be carried out after it has begun. It is
    // removed again, and what it leads to is there until then.
    let late = seen.change.before.is_none() && seen.status("phase") == "Terminating";
    if new > old && !late {
        raised(seen, ledger, new, stale, found);
    }
    let withdrawn = !seen.status("retirement").is_null() || !seen.status("retreat").is_null();
    if new != old && !withdrawn {
        quarrel::written(seen, ledger, &format!("the weight {new}"), found);
    }
    if !stale && !late {
        capacity::routed(seen, ledger, (old, new), found);
    }
    if new < old && !stale && seen.canary().is_some() {
        let back = bare(seen, ledger, &seen.names.primary);
        let known = ledger.served.get(&seen.names.canary_service);
        let known = known.is_some_and(|since| seen.at - *since > SEEN);
        let there = ready_endpoints(seen.store, &seen.change.key.namespace, &seen.names.canary_service);
        let target = seen.get(Kind::DEPLOYMENT, &seen.names.canary).is_some();
        if target && back && known && there > 0 && new == 0 && seen.status("phase") != "Terminating" {
            found.push(format!(
                "the traffic returns to a primary without ready pods, the canary has {there} (I2)"
            ));
        }
    }
    let Some(before) = &seen.change.before else { return };
    sums(before, &seen.change.object, found);
    let foreign = foreign(before, &seen.names.canary) != foreign(&seen.change.object, &seen.names.canary);
    let ours = before["metadata"]["labels"]["bellwether.dev/canary"].is_string();
    if foreign && !ours {
        found.push("something that is not ours was changed (I8)".to_owned());
    }
}

/// How long an event may take to whoever decides.
pub(super) const SEEN: TimeDelta = TimeDelta::seconds(15);

/// Remembers since when a Service has no ready pod.
pub(super) fn endpoints(seen: &Seen<'_>, ledger: &mut Ledger) {
    let slice = &seen.change.key.name;
    let service = slice.strip_suffix("-slice").unwrap_or(slice);
    capacity::counted(seen, ledger, service);
    if ready_endpoints(seen.store, &seen.change.key.namespace, service) > 0 {
        ledger.bare.remove(service);
        ledger.served_once.insert(service.to_owned());
        ledger.served.entry(service.to_owned()).or_insert(seen.at);
    } else {
        ledger.served.remove(service);
        ledger.bare.entry(service.to_owned()).or_insert(seen.at);
    }
}

/// Whether a Service has no ready pod, and whoever decides must know.
pub(super) fn bare(seen: &Seen<'_>, ledger: &Ledger, service: &str) -> bool {
    ledger
        .bare
        .get(service)
        .is_some_and(|since| seen.at - *since > SEEN)
}

/// Whether a Service has no ready pod, and whoever decided cannot have seen one: it never had any, or none for long.
fn never_ready(seen: &Seen<'_>, ledger: &Ledger, service: &str) -> bool {
    let there = ready_endpoints(seen.store, &seen.change.key.namespace, service);
    there == 0 && (!ledger.served_once.contains(service) || bare(seen, ledger, service))
}

/// I5: the intent stands in the status before the weight rises; I2: there are pods for it.
fn raised(seen: &Seen<'_>, ledger: &Ledger, new: i64, stale: bool, found: &mut Vec<String>) {
    let intended = seen.status("canaryWeight").as_i64().unwrap_or(0);
    // While a primary is set up, the workload keeps a share that is no release.
    let setting_up = seen.status("phase") == "Initializing";
    let kept = seen.status("transfer")["oldShare"]
        .as_i64()
        .filter(|_| setting_up);
    let intended = intended.max(kept.unwrap_or(0));
    if new > intended {
        found.push(format!("the weight rises to {new}, intended is {intended} (I5)"));
    }
    // Nothing guards a creation that arrives late: pods that were there when it was decided may be gone, and whoever sees it
    // sets it back in time.
    let created = seen.change.before.is_none() && ledger.served_once.contains(&seen.names.canary_service);
    if !stale && !created && never_ready(seen, ledger, &seen.names.canary_service) {
        found.push(format!(
            "the weight rises to {new}, and no pod of the canary is ready (I2)"
        ));
    }
}

/// I1: where all of a route is ours, its weights are percentages; see [`foreign`] for the others.
fn sums(before: &Value, after: &Value, found: &mut Vec<String>) {
    let list = |vs: &Value| vs["spec"]["http"].as_array().cloned().unwrap_or_default();
    for (old, new) in list(before).iter().zip(list(after)) {
        let sum = |route: &Value| -> i64 {
            let entries = route["route"].as_array().into_iter().flatten();
            entries.map(|d| d["weight"].as_i64().unwrap_or(100)).sum()
        };
        let entries = new["route"].as_array().into_iter().flatten();
        let mixed = entries.map(base).collect::<BTreeSet<_>>().len() > 1;
        if old["route"].is_array() && !mixed && sum(old) != sum(&new) && sum(old) == 100 {
            found.push(format!(
                "weights add up to {} and not to {} (I1)",
                sum(&new),
                sum(old)
            ));
        }
    }
}

/// The Service of the callers that a destination stands for.
fn base(entry: &Value) -> String {
    let name = host(entry);
    let base = name.strip_suffix("-primary").or(name.strip_suffix("-canary"));
    base.unwrap_or(name).to_owned()
}

/// The weight of a destination as a fraction of its route: all of them may be multiplied by one factor (I1).
fn fraction(weight: i64, total: i64) -> String {
    let (mut a, mut b) = (weight, total);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    format!("{}/{}", weight / a.max(1), total / a.max(1))
}

/// Everything but what is ours: weights and hosts of our destinations, our labels and annotations, and the factor of a
/// route's weights.
fn foreign(vs: &Value, apex: &str) -> Value {
    let mut rest = vs.clone();
    let mut metadata = Map::new();
    for section in ["labels", "annotations"] {
        let kept = rest["metadata"][section].as_object().into_iter().flatten();
        let kept = kept.filter(|(key, value)| !key.starts_with("bellwether.dev/") && *value != "bellwether");
        let kept: Map<String, Value> = kept.map(|(k, v)| (k.clone(), v.clone())).collect();
        metadata.insert(section.to_owned(), Value::Object(kept));
    }
    rest["metadata"] = Value::Object(metadata);
    for route in rest["spec"]["http"].as_array_mut().into_iter().flatten() {
        let Some(entries) = route.get_mut("route").and_then(Value::as_array_mut) else {
            continue;
        };
        let mut kept: Vec<Value> = Vec::new();
        let total = entries.iter().filter_map(|entry| entry["weight"].as_i64()).sum();
        for mut entry in std::mem::take(entries) {
            if base(&entry) == apex {
                if let Some(fields) = entry.as_object_mut() {
                    fields.remove("weight");
                }
                entry["destination"]["host"] = json!(apex);
            } else if let Some(weight) = entry["weight"].as_i64() {
                entry["weight"] = json!(fraction(weight, total));
            }
            if kept.last() != Some(&entry) {
                kept.push(entry);
            }
        }
        *entries = kept;
    }
    rest
}

/// The apex Service is pointed at other pods: those must be ready (I2).
/// Whether the service is handed back to a rejected template, though nobody said so and the primary serves.
fn ships_rejected(seen: &Seen<'_>, ledger: &Ledger) -> bool {
    let Some(target) = seen.get(Kind::DEPLOYMENT, &seen.names.canary) else {
        return false;
    };
    let revision = crate::workload::deployment::revision(&target["spec"]["template"]);
    let status = seen.status("revision");
    let rejected = status["rejected"].as_array().into_iter().flatten();
    let rejected = rejected
        .into_iter()
        .any(|known| known["revision"] == revision.as_str());
    let decided = seen
        .canary()
        .is_some_and(|canary| canary["metadata"]["annotations"]["bellwether.dev/hand-back"].is_string());
    let serves = ledger.served.get(&seen.names.primary);
    let serves = serves.is_some_and(|since| seen.at - *since > SEEN);
    seen.status("phase") == "Terminating"
        && rejected
        && status["promoted"] != revision.as_str()
        && !decided
        && serves
}

pub(super) fn pointed(seen: &Seen<'_>, ledger: &mut Ledger, found: &mut Vec<String>) {
    if seen.change.key.name != seen.names.canary {
        return;
    }
    let selector = |object: &Value| object["spec"]["selector"].clone();
    let Some(before) = &seen.change.before else { return };
    let created = before["metadata"]["annotations"]["bellwether.dev/owner-uid"].is_string();
    let offers = |object: &Value| {
        let mut offered = object["spec"].clone();
        offered["selector"].take();
        offered
    };
    if seen.ours && !created && offers(before) != offers(&seen.change.object) {
        found.push("an adopted Service does not offer what it did (I18)".to_owned());
    }
    let (old, new) = (selector(before), selector(&seen.change.object));
    if old == new {
        return;
    }
    ledger.routed_at = Some(seen.at);
    if !seen.ours {
        ledger.redirected_at = Some(seen.at);
        return;
    }
    if ready_endpoints(seen.store, &seen.change.key.namespace, &seen.names.canary) > 0 {
        quarrel::written(seen, ledger, "the selector of the Service", found);
    }
    let to_primary = new["app"].as_str().is_some_and(|app| app.ends_with("-primary"));
    let (side, other) = if to_primary {
        (&seen.names.primary, &seen.names.canary_service)
    } else {
        (&seen.names.canary_service, &seen.names.primary)
    };
    if !to_primary && ships_rejected(seen, ledger) {
        found.push("a deletion ships a template that was rejected (I13)".to_owned());
    }
    let known = ledger.served.get(other);
    let known = known.is_some_and(|since| seen.at - *since > SEEN);
    // Endpoints follow pods after a moment: what is available by now is as good.
    let (here, there) = if to_primary {
        (&seen.names.primary, &seen.names.canary)
    } else {
        (&seen.names.canary, &seen.names.primary)
    };
    let available = |name: &str| {
        let deployment = seen.get(Kind::DEPLOYMENT, name);
        deployment.map_or(0, |deployment| {
            deployment["status"]["availableReplicas"].as_i64().unwrap_or(0)
        })
    };
    if known && available(here) == 0 && available(there) > 0 && never_ready(seen, ledger, side) {
        found.push(format!(
            "the Service is pointed at the pods of {side}, and none is ready (I2)"
        ));
    }
}
