//! Writes of the Canary: its status, and its end.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{
    Record, Seen,
    ledger::{self, Ledger, canary_weight},
    promotions, routes,
    workloads::{self, steps},
};
use crate::sim::{api_server::Kind, chaos, workloads::behaviour::Behaviour};

const OUTCOMES: [&str; 7] = [
    "Promoted",
    "RolledBack",
    "Undone",
    "Aborted",
    "PromotionFailed",
    "Failed",
    "Initialized",
];

pub(super) fn changed(seen: &Seen<'_>, ledger: &mut Ledger, record: &mut Record, found: &mut Vec<String>) {
    let none = Value::Null;
    let old = seen
        .change
        .before
        .as_deref()
        .map_or(&none, |before| &before["status"]);
    let new = &seen.change.object["status"];
    if old == new {
        return;
    }
    told(seen, ledger, new);
    rerecorded(old, new, found);
    timeline(seen, record, old, new);
    if !seen.ours {
        return;
    }
    ledger::succeeded(seen, ledger, found);
    restless(seen, ledger, found);
    let of = |status: &Value, phases: &[&str]| phases.iter().any(|phase| status["phase"] == *phase);
    if old["revision"]["startedAt"] != new["revision"]["startedAt"] && of(new, &["Progressing", "Waiting"]) {
        record.rollouts += 1;
        // What could not be taken back from the revision before is where this one begins.
        ledger.floor = seen.weight_of_routes();
        ledger.visited = [ledger.floor].into();
        ledger.step_at = None;
    }
    if new["phase"] == "Succeeded" && old["phase"] != "Succeeded" {
        let promoted = new["revision"]["promoted"].as_str().unwrap_or_default();
        ledger.passed.insert(promoted.to_owned());
    }
    promotions::passed(seen, old, new, found);
    promotions::approved(seen, ledger, (old, new), found);
    if new["phase"] == "Promoting" && of(old, &["Waiting", "Progressing", "WaitingPromotion"]) {
        workloads::cleared(seen, ledger, new, found);
    }
    step(seen, ledger, record, (old, new), found);
    retirement(seen, ledger, (old, new), found);
    evidence(seen, record, (old, new), found);
    let stale = record.stale_until.is_some_and(|until| seen.at <= until);
    rest(seen, ledger, stale, (old, new), found);
}

/// Writes of a status within [`SPAN`] that nothing can ask for: then each undoes the one before.
const RESTLESS: usize = 60;
const SPAN: TimeDelta = TimeDelta::seconds(10);

fn restless(seen: &Seen<'_>, ledger: &mut Ledger, found: &mut Vec<String>) {
    ledger.recorded.push_back(seen.at);
    while ledger.recorded.front().is_some_and(|at| seen.at - *at > SPAN) {
        ledger.recorded.pop_front();
    }
    if ledger.recorded.len() > RESTLESS {
        found.push(format!(
            "the status was written {} times within {SPAN} (restless)",
            ledger.recorded.len()
        ));
    }
}

/// I9: outcomes must be told, whatever happens.
fn told(seen: &Seen<'_>, ledger: &mut Ledger, new: &Value) {
    let uid = seen.change.object["metadata"]["uid"].as_str().unwrap_or_default();
    for notice in new["outbox"]["pending"].as_array().into_iter().flatten() {
        if OUTCOMES.iter().any(|reason| notice["reason"] == *reason) {
            let uid = uid.get(..8).unwrap_or(uid);
            ledger
                .facts
                .insert(format!("{}.{uid}.{}", seen.names.canary, notice["seq"]));
        }
    }
}

/// I3: this server returns every template in one form only, so none may be taken for another one in a new form.
fn rerecorded(old: &Value, new: &Value, found: &mut Vec<String>) {
    let known = old["outbox"]["seq"].as_i64().unwrap_or_default();
    let mut notices = new["outbox"]["pending"].as_array().into_iter().flatten();
    let news = |notice: &Value| notice["seq"].as_i64() > Some(known);
    if notices.any(|notice| notice["reason"] == "RevisionRerecorded" && news(notice)) {
        found.push("another template is taken for the one before (I3)".to_owned());
    }
}

fn timeline(seen: &Seen<'_>, record: &mut Record, old: &Value, new: &Value) {
    let word = |status: &Value| {
        let phase = status["phase"].as_str().unwrap_or("-").to_owned();
        let hold = status["hold"]["reason"].as_str().unwrap_or_default().to_owned();
        (phase, status["canaryWeight"].as_i64().unwrap_or(0), hold)
    };
    let (before, after) = (word(old), word(new));
    if before == after {
        return;
    }
    if before.0 != after.0 {
        *record
            .transitions
            .entry(format!("{} → {}", before.0, after.0))
            .or_default() += 1;
    }
    if !after.2.is_empty() && before.2 != after.2 {
        *record.transitions.entry(format!("held {}", after.2)).or_default() += 1;
    }
    record.timeline.push(format!(
        "{} {}: {} weight {} {} · {}",
        seen.at.format("%M:%S%.3f"),
        seen.change.key.namespace,
        after.0,
        after.1,
        after.2,
        new["message"].as_str().unwrap_or_default()
    ));
}

/// I5: one step after the other, each only after evidence of the one before.
fn step(
    seen: &Seen<'_>,
    ledger: &mut Ledger,
    record: &Record,
    (old, new): (&Value, &Value),
    found: &mut Vec<String>,
) {
    let (Some(index), weight) = (new["step"]["index"].as_i64(), new["canaryWeight"].as_i64()) else {
        return;
    };
    let begun = old["step"]["startedAt"] != new["step"]["startedAt"];
    let old_weight = old["canaryWeight"].as_i64().unwrap_or(0);
    let steps = steps(seen);
    // What the primary cannot take back of what somebody else sends to the canary is a step that was taken.
    let routes = seen.get(Kind::VIRTUAL_SERVICE, &seen.names.canary);
    let sent = old_weight < routes.map_or(0, canary_weight) && weight <= routes.map(canary_weight);
    if begun && !sent && new["phase"] == "Progressing" && weight > Some(old_weight) {
        if !steps.contains(&weight.unwrap_or_default()) {
            found.push(format!("weight {weight:?} is none of the steps {steps:?} (I5)"));
        }
        let same_rollout = old["revision"]["startedAt"] == new["revision"]["startedAt"];
        let before = old["step"]["index"].as_i64().unwrap_or(-1);
        if same_rollout && index > before + 1 && old_weight == 0 {
            found.push(format!("step {index} follows step {before} (I5)"));
        }
        if same_rollout && old_weight > 0 && before >= 0 && index > before {
            evidence_of_step(seen, ledger, record, (old, new), found);
        }
    }
    if begun {
        ledger.step_at = Some(seen.at);
    }
}

/// When the present step began, as the status says.
fn started(status: &Value) -> Option<DateTime<Utc>> {
    status["step"]["startedAt"].as_str()?.parse().ok()
}

/// How long a step lasts at least.
fn interval(canary: &Value) -> TimeDelta {
    let text = canary["spec"]["analysis"]["interval"]
        .as_str()
        .unwrap_or_default();
    TimeDelta::seconds(
        text.strip_suffix('s')
            .and_then(|text| text.parse().ok())
            .unwrap_or(0),
    )
}

fn evidence_of_step(
    seen: &Seen<'_>,
    ledger: &Ledger,
    record: &Record,
    (old, new): (&Value, &Value),
    found: &mut Vec<String>,
) {
    let index = |status: &Value| status["step"]["index"].as_i64().unwrap_or(-1);
    let (before, index) = (index(old), index(new));
    if index > before + 1 {
        found.push(format!("step {index} follows step {before} (I5)"));
    }
    let interval = seen.canary().map_or(TimeDelta::zero(), interval);
    // A step begins when it is decided on; until that is written a slow request may take its time.
    let lasted = started(new)
        .zip(started(old))
        .map_or(TimeDelta::zero(), |(new, old)| new - old);
    // Samples are taken on whole seconds.
    if lasted < interval - TimeDelta::seconds(1) {
        found.push(format!(
            "the step before lasted {} ms only (I5)",
            lasted.num_milliseconds()
        ));
    }
    let blind = record.blind_since.zip(ledger.step_at);
    if blind.is_some_and(|(blind, began)| blind <= began) {
        found
            .push("the weight rises, and Prometheus was not to be seen since the step began (I7)".to_owned());
    }
}

/// I6: when the status speaks of a withdrawal, or of less weight, the routes are there already.
fn retirement(seen: &Seen<'_>, ledger: &Ledger, (old, new): (&Value, &Value), found: &mut Vec<String>) {
    let routed = seen.weight_of_routes();
    let claimed = new["canaryWeight"].as_i64().unwrap_or(0);
    // The primary that was given the new template takes its traffic back step by step: that is towards risk.
    let returns = ["Promoting", "Finalising", "Initializing"]
        .iter()
        .any(|phase| new["phase"] == *phase);
    let lowered = !returns && claimed < old["canaryWeight"].as_i64().unwrap_or(0);
    if lowered && routed > claimed && !edited(seen, ledger) {
        found.push(format!(
            "the status claims weight {claimed}, the routes have {routed} (I6)"
        ));
    }
}

/// I7: only a bad release fails a check.
fn evidence(seen: &Seen<'_>, record: &Record, (old, new): (&Value, &Value), found: &mut Vec<String>) {
    let count = |status: &Value| status["failedChecks"].as_i64().unwrap_or(0);
    if count(new) <= count(old) {
        return;
    }
    // What a process with a wrong clock wrote down, another one takes for right: its evidence may begin too early.
    if record.clock_was_set {
        return;
    }
    let target = seen.get(Kind::DEPLOYMENT, &seen.names.canary);
    let image = target.map_or("", |target| {
        target["spec"]["template"]["spec"]["containers"][0]["image"]
            .as_str()
            .unwrap_or_default()
    });
    // A template that was changed a moment ago may not be what was measured.
    let measured = target.is_some_and(|target| {
        crate::workload::deployment::revision(&target["spec"]["template"]) == new["revision"]["current"]
    });
    let behaviour = Behaviour::of_image(image);
    let blameless = behaviour.error_rate == 0.0 && behaviour.latency < 20.0;
    if blameless && measured {
        found.push(format!(
            "a check of {image} failed: {} (I7)",
            new["message"].as_str().unwrap_or_default()
        ));
    }
}

/// Whether somebody edited the routes just now: nobody can know yet, and a status may arrive late that was true when it was
/// sent.
fn edited(seen: &Seen<'_>, ledger: &Ledger) -> bool {
    let edited = ledger.edited_at;
    edited.is_some_and(|at| seen.at - at < routes::SEEN + chaos::LATEST)
}

/// I4: a phase of rest is written when it is true.
fn rest(
    seen: &Seen<'_>,
    ledger: &Ledger,
    stale: bool,
    (old, new): (&Value, &Value),
    found: &mut Vec<String>,
) {
    let entered = ["Initialized", "Succeeded", "Failed"]
        .iter()
        .any(|phase| new["phase"] == *phase && old["phase"] != *phase);
    if !entered || new["canaryWeight"] != 0 {
        return;
    }
    let phase = &new["phase"];
    let weight = seen.weight_of_routes();
    // What somebody edited while the watches were cut comes in after what else they show.
    if weight > 0 && !stale && !edited(seen, ledger) {
        found.push(format!("{phase} while the canary has weight {weight} (I4)"));
    }
    let Some(target) = seen.get(Kind::DEPLOYMENT, &seen.names.canary) else {
        return;
    };
    let revision = crate::workload::deployment::revision(&target["spec"]["template"]);
    let newer = new["revision"]["current"] != revision.as_str();
    let scaled = ledger.changed_at.is_some_and(|at| seen.at - at < routes::SEEN) || insists(new);
    // The pods of what was taken back go later, when nobody reaches them any more.
    if phase == "Succeeded" && target["spec"]["replicas"] != 0 && !newer && !scaled {
        found.push(format!(
            "{phase} while the canary has {} pods (I4)",
            target["spec"]["replicas"]
        ));
    }
}

/// Whether somebody insists on pods, and the status says so.
fn insists(status: &Value) -> bool {
    let single = std::iter::once(&status["hold"]);
    let holds = status["holds"].as_array().into_iter().flatten();
    single.chain(holds).any(|hold| {
        let message = hold["message"].as_str().unwrap_or_default();
        message.starts_with("somebody keeps changing spec.replicas")
    })
}

/// I11 and I12: the Canary is gone; the target serves, and nothing of ours is left.
pub(super) fn gone(seen: &Seen<'_>, ledger: &mut Ledger, found: &mut Vec<String>) {
    ledger.succession.clear();
    let names = &seen.names;
    let Some(target) = seen.get(Kind::DEPLOYMENT, &names.canary) else {
        return;
    };
    let phase = &seen.change.object["status"]["phase"];
    let set_up = !phase.is_null() && phase != "Initializing";
    let apex = seen.get(Kind::SERVICE, &names.canary);
    if apex.is_some_and(|apex| apex["spec"]["selector"]["app"] == names.primary.as_str()) {
        found.push("the Canary is gone, and its Service selects the primary (I12)".to_owned());
    }
    let live = seen.get(Kind::VIRTUAL_SERVICE, &names.canary);
    let text = live.map(|routes| routes["spec"].to_string()).unwrap_or_default();
    if text.contains("-primary") || text.contains("-canary") {
        found.push("the Canary is gone, and routes name its Services (I11)".to_owned());
    }
    if live.is_some_and(|routes| canary_weight(routes) > 0) {
        found.push("the Canary is gone, and routes lead to it (I11)".to_owned());
    }
    let strays = [
        (Kind::DEPLOYMENT, &names.primary),
        (Kind::SERVICE, &names.primary),
        (Kind::SERVICE, &names.canary_service),
        (Kind::DESTINATION_RULE, &names.primary),
        (Kind::DESTINATION_RULE, &names.canary_service),
    ];
    for (kind, name) in strays {
        if seen.get(kind, name).is_some() {
            found.push(format!(
                "the Canary is gone, {} {name} is not (I11)",
                kind.resource().kind
            ));
        }
    }
    for object in [Some(target), apex, live].into_iter().flatten() {
        let marks = object["metadata"]["annotations"].to_string();
        if marks.contains("bellwether.dev/") {
            found.push(format!(
                "the Canary is gone, marks stay on {}: {marks} (I11)",
                object["kind"]
            ));
        }
    }
    let healthy = target["spec"]["template"]["spec"]["containers"][0]["image"]
        .as_str()
        .is_some_and(|image| Behaviour::of_image(image).good());
    if set_up && healthy && routes::bare(seen, ledger, &names.canary) {
        found.push("the Canary is gone, and no pod of the target is ready (I12)".to_owned());
    }
}
