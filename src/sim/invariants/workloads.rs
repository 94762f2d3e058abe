//! Writes of the target and of the primary.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{
    Seen, elapsed,
    ledger::{Ledger, ready_endpoints},
    promotions, quarrel, routes,
};
use crate::{
    sim::{api_server::Kind, workloads::behaviour::Behaviour},
    workload::{deployment, marks::REVISION_ANNOTATION},
};

/// How long a write takes at most from the decision to the store, apart from those that are late.
const UNDER_WAY: TimeDelta = TimeDelta::seconds(3);

/// How long proxies may need to follow.
const DRAIN: TimeDelta = TimeDelta::seconds(3);

pub(super) fn image(deployment: &Value) -> &str {
    deployment["spec"]["template"]["spec"]["containers"][0]["image"]
        .as_str()
        .unwrap_or_default()
}

fn given(deployment: &Value) -> &str {
    deployment["spec"]["template"]["metadata"]["annotations"][REVISION_ANNOTATION]
        .as_str()
        .unwrap_or_default()
}

/// I3: the primary runs only what was analysed and passed, or what the user asked to ship.
pub(super) fn primary(seen: &Seen<'_>, ledger: &Ledger, deleted: bool, found: &mut Vec<String>) {
    if !seen.ours {
        return;
    }
    if deleted {
        let apex = seen.get(Kind::SERVICE, &seen.names.canary);
        let selects = apex.map_or("", |apex| {
            apex["spec"]["selector"]["app"].as_str().unwrap_or_default()
        });
        let target = seen.get(Kind::DEPLOYMENT, &seen.names.canary);
        if selects.ends_with("-primary") && target.is_some() {
            found.push("the primary is deleted while it serves (I12)".to_owned());
        }
        return;
    }
    let before = seen.change.before.as_deref();
    shrinks(seen, before, found);
    let revision = given(&seen.change.object);
    if before.is_some_and(|before| given(before) == revision) {
        return;
    }
    let phase = seen.status("phase");
    if phase.is_null() || phase == "Initializing" {
        return;
    }
    let promoted = seen.status("revision")["promoted"] == revision;
    if promoted || ledger.passed.contains(revision) {
        return;
    }
    // Nothing fences a create off that comes late; what it makes passed every step once, and is told apart.
    if before.is_none() && ledger.cleared_once.contains(revision) {
        return;
    }
    // The first one, created late: nothing was promoted yet, and what was to be handed back is gone with the Canary.
    if before.is_none() && phase == "Terminating" && seen.status("revision")["promoted"].is_null() {
        return;
    }
    let shipped = image(&seen.change.object);
    if phase != "Promoting" || ledger.cleared.as_deref() != Some(revision) {
        found.push(format!(
            "the primary gets {shipped} in phase {phase}, which was not analysed (I3)"
        ));
    }
}

/// What the status says is to be promoted must have passed every step (I3).
pub(super) fn cleared(seen: &Seen<'_>, ledger: &mut Ledger, new: &Value, found: &mut Vec<String>) {
    let revision = new["revision"]["current"].as_str().unwrap_or_default();
    ledger.cleared = Some(revision.to_owned());
    ledger.cleared_once.insert(revision.to_owned());
    if seen.change.object["spec"]["skipAnalysis"] == true {
        return;
    }
    let steps = steps(seen);
    let missed: Vec<&i64> = steps
        .iter()
        .filter(|weight| **weight >= ledger.floor && !ledger.visited.contains(weight))
        .collect();
    let target = seen.get(Kind::DEPLOYMENT, &seen.names.canary);
    let measured = target.filter(|target| deployment::revision(&target["spec"]["template"]) == revision);
    let shipped = measured.map_or("", image);
    if !missed.is_empty() {
        found.push(format!(
            "{shipped} is to be promoted, and was not analysed at {missed:?} (I3)"
        ));
    } else if cannot_pass(&Behaviour::of_image(shipped)) {
        found.push(format!("{shipped} is to be promoted, and cannot pass (I3)"));
    }
}

/// Whether no analysis can let it pass. Pods that crash, go dark or fail requests after a while may be promoted before they do.
fn cannot_pass(behaviour: &Behaviour) -> bool {
    let bad = Behaviour {
        crash_after: None,
        dark_after: None,
        ..behaviour.clone()
    };
    !bad.good() && behaviour.errors_after.is_zero()
}

/// The weights of the Canary's steps.
pub(super) fn steps(seen: &Seen<'_>) -> Vec<i64> {
    let steps = seen
        .canary()
        .and_then(|canary| canary["spec"]["analysis"]["stepWeights"].as_array());
    steps.into_iter().flatten().filter_map(Value::as_i64).collect()
}

/// The primary never has fewer pods because of us.
fn shrinks(seen: &Seen<'_>, before: Option<&Value>, found: &mut Vec<String>) {
    let replicas = |object: &Value| object["spec"]["replicas"].as_i64().unwrap_or(1);
    if let Some(before) = before
        && replicas(&seen.change.object) < replicas(before)
    {
        found.push(format!(
            "the primary shrinks from {} to {} pods",
            replicas(before),
            replicas(&seen.change.object)
        ));
    }
}

/// Whether somebody wants the promoted template back with a deletion, and that is what the target got.
fn handed_back(seen: &Seen<'_>, target: &Value) -> bool {
    let wanted = seen
        .canary()
        .is_some_and(|canary| canary["metadata"]["annotations"]["bellwether.dev/hand-back"] == "promoted");
    let revision = crate::workload::deployment::revision(&target["spec"]["template"]);
    wanted
        && seen.status("phase") == "Terminating"
        && seen.status("revision")["promoted"] == revision.as_str()
}

/// I2 and I8: the target is scaled, or given the image of a Promotion, and nothing else; and it is scaled away only when no traffic can reach it.
pub(super) fn target(seen: &Seen<'_>, ledger: &mut Ledger, stale: bool, found: &mut Vec<String>) {
    let Some(before) = seen.change.before.as_deref() else {
        return;
    };
    let after = &*seen.change.object;
    if !seen.ours {
        let changed = |field: &str| before["spec"][field] != after["spec"][field];
        if changed("replicas") || changed("template") {
            ledger.changed_at = Some(seen.at);
        }
        return;
    }
    if before["spec"]["template"] != after["spec"]["template"] && !handed_back(seen, after) {
        promotions::shipped(seen, before, found);
    }
    if before["spec"]["replicas"] != after["spec"]["replicas"] {
        quarrel::written(seen, ledger, "the replicas of the workload", found);
    }
    if before["spec"]["replicas"] == 0 && after["spec"]["replicas"] != 0 {
        promotions::started(seen, found);
    }
    if after["spec"]["replicas"] != 0 || before["spec"]["replicas"] == 0 {
        return;
    }
    let weight = seen.weight_of_routes();
    // What somebody edits while the watches are cut, or while the write is under way, nobody can know.
    let under_way = |at: DateTime<Utc>| seen.at - at < UNDER_WAY;
    let mut edits = [ledger.edited_at, ledger.redirected_at].into_iter().flatten();
    let edited = edits.any(|at| stale || under_way(at));
    if weight > 0 && !edited {
        found.push(format!("the target is scaled away at weight {weight} (I2)"));
    }
    if ledger.routed_at.is_some() && elapsed(ledger.routed_at, seen.at) < DRAIN && !edited {
        found.push("the target is scaled away before proxies can follow the routes (I2)".to_owned());
    }
    if routes::bare(seen, ledger, &seen.names.primary)
        && ready_endpoints(seen.store, &seen.change.key.namespace, &seen.names.canary_service) > 0
        && !image(after).is_empty()
        && seen.status("phase") == "Initializing"
    {
        found.push("the target is scaled away, and the primary has no ready pod (I2)".to_owned());
    }
}
