//! Promotions and gates: results stay, one runs at a time, images change for a Promotion alone, and nothing passes a gate
//! that is not open.

use serde_json::Value;

use super::{Seen, ledger::Ledger};
use crate::sim::api_server::Kind;

/// A Promotion's status was written.
pub(super) fn changed(seen: &Seen<'_>, found: &mut Vec<String>) {
    let none = Value::Null;
    let old = seen
        .change
        .before
        .as_deref()
        .map_or(&none, |before| &before["status"]);
    let new = &seen.change.object["status"];
    if !old["finishedAt"].is_null() && old != new {
        found.push(format!(
            "a result changes from {} to {} (result)",
            old["phase"], new["phase"]
        ));
    }
    if new["phase"] == "Running" && old["phase"] != "Running" {
        let canary = &seen.change.object["spec"]["canaryRef"]["name"];
        let namespace = &seen.change.key.namespace;
        let running = seen.store.all().filter(|(key, object)| {
            key.kind == Kind::PROMOTION
                && key.namespace == *namespace
                && object["spec"]["canaryRef"]["name"] == *canary
                && object["status"]["phase"] == "Running"
        });
        let count = running.count();
        if count > 1 {
            found.push(format!(
                "{count} promotions of one Canary are running (one at a time)"
            ));
        }
    }
    let sequence = |status: &Value| status["seq"].as_i64().unwrap_or(0);
    if old != new && sequence(new) != sequence(old) + 1 {
        found.push(format!("seq goes from {} to {} (log)", old["seq"], new["seq"]));
    }
}

/// I8: the pod template is the user's; only an image may change, and only for a Promotion that began.
pub(super) fn shipped(seen: &Seen<'_>, before: &Value, found: &mut Vec<String>) {
    let after = &*seen.change.object;
    let image = &after["spec"]["template"]["spec"]["containers"][0]["image"];
    let mut expected = before["spec"]["template"].clone();
    expected["spec"]["containers"][0]["image"] = image.clone();
    let asked = seen.store.all().any(|(key, object)| {
        key.kind == Kind::PROMOTION
            && key.namespace == seen.change.key.namespace
            && object["spec"]["image"] == *image
            && !object["status"]["startedAt"].is_null()
    });
    if expected != after["spec"]["template"] || !asked {
        found.push("the target's pod template was changed (I8)".to_owned());
    }
}

/// Whether every gate at `point` is open for the revision that the status speaks of; `status` is the Canary's.
fn open(seen: &Seen<'_>, status: &Value, point: &str) -> bool {
    let gates = seen
        .canary()
        .and_then(|canary| canary["spec"]["analysis"]["gates"].as_array());
    let mut at_point = gates.into_iter().flatten().filter(|gate| gate["at"] == point);
    at_point.all(|gate| {
        let known = status["gates"].as_array().into_iter().flatten();
        let mut known = known.filter(|known| known["name"] == gate["name"]);
        known.any(|known| known["state"] == "Open")
    })
}

/// A status that lets a release pass a gate was written while the gate was closed.
pub(super) fn passed(seen: &Seen<'_>, old: &Value, new: &Value, found: &mut Vec<String>) {
    let weight = |status: &Value| status["canaryWeight"].as_i64().unwrap_or(0);
    let same = old["revision"]["startedAt"] == new["revision"]["startedAt"];
    let skips = seen.change.object["spec"]["skipAnalysis"] == true;
    let rises = new["phase"] == "Progressing" && weight(new) > weight(old) && weight(old) == 0;
    let step = rises && same && new["retirement"].is_null();
    if step && skips {
        found.push("a step is taken although the analysis is skipped (gate)".to_owned());
    }
    if step && !open(seen, new, "pre-rollout") {
        found.push(format!("traffic passes a closed gate: {} (gate)", new["gates"]));
    }
    let begun = new["phase"] == "Promoting"
        && ["Progressing", "WaitingPromotion"]
            .iter()
            .any(|p| old["phase"] == *p);
    if begun && !open(seen, new, "confirm-promotion") {
        found.push(format!(
            "the promotion passes a closed gate: {} (gate)",
            new["gates"]
        ));
    }
}

/// Somebody asks for an image.
pub(super) fn asked(seen: &Seen<'_>, ledger: &mut Ledger) {
    let spec = &seen.change.object["spec"];
    if let (Some(image), Some(user)) = (spec["image"].as_str(), spec["requester"]["user"].as_str()) {
        ledger
            .asked
            .entry(image.to_owned())
            .or_default()
            .insert(user.to_owned());
    }
}

/// A status opens a gate: not by whoever asked for the release, where that is ruled out, whatever became of the Promotion.
pub(super) fn approved(
    seen: &Seen<'_>,
    ledger: &mut Ledger,
    (old, new): (&Value, &Value),
    found: &mut Vec<String>,
) {
    let image = |status: &Value| {
        let current = status["revision"]["current"].as_str()?;
        status["revision"]["images"][current].as_str().map(str::to_owned)
    };
    let (before, now) = (image(old), image(new));
    if before != now
        && let Some(before) = before
    {
        // It may be released again, by somebody else.
        ledger.asked.remove(&before);
    }
    let Some(now) = now else { return };
    let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    let known = list(&old["interventions"]);
    for order in list(&new["interventions"]) {
        let heeded = order["refused"].is_null() && !known.iter().any(|known| known["id"] == order["id"]);
        let retry = heeded && order["verb"] == "Retry" && order["revision"] == new["revision"]["current"];
        if let Some(by) = order["by"].as_str().filter(|_| retry) {
            ledger.asked.entry(now.clone()).or_default().insert(by.to_owned());
        }
    }
    let Some(asked) = ledger.asked.get(&now) else {
        return;
    };
    let gates = list(&seen.change.object["spec"]["analysis"]["gates"]);
    let guarded = |name: &Value| {
        let mut gates = gates.iter();
        gates.any(|gate| gate["name"] == *name && gate["approval"]["notByRequester"] == true)
    };
    let was_open = |name: &Value| {
        list(&old["gates"])
            .iter()
            .any(|gate| gate["name"] == *name && gate["state"] == "Open")
    };
    for gate in list(&new["gates"]) {
        let opens = gate["state"] == "Open" && !was_open(&gate["name"]) && guarded(&gate["name"]);
        if let Some(by) = gate["by"].as_str().filter(|by| opens && asked.contains(*by)) {
            found.push(format!(
                "{by} approves a release of {now} that they asked for (gate)"
            ));
        }
    }
}

/// The target's pods are started.
pub(super) fn started(seen: &Seen<'_>, found: &mut Vec<String>) {
    let status = seen
        .canary()
        .map_or(Value::Null, |canary| canary["status"].clone());
    let begins = ["Progressing", "Waiting"]
        .iter()
        .any(|phase| status["phase"] == *phase);
    if begins && status["retirement"].is_null() && !open(seen, &status, "confirm-rollout") {
        found.push("pods are started before a closed gate (gate)".to_owned());
    }
}
