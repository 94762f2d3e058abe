//! What of the files a rehearsal does not model, said in its output.

use serde_json::Value;

use super::{Applied, Input};
use crate::{rollout::Opens, sim::clock::SimClock};

/// Parts of an HTTP route that callers here do not meet.
const UNSEEN: [&str; 6] = [
    "mirror",
    "mirrors",
    "fault",
    "redirect",
    "directResponse",
    "delegate",
];

/// One sentence for everything that the rehearsal does not model, or that keeps a release from beginning.
pub(super) fn notes(input: &Input) -> Vec<String> {
    let mut notes = Vec::new();
    let names = &input.spec.names;
    if let Some(target) = input.find("Deployment", &names.target)
        && target["spec"]["paused"] == true
    {
        notes.push(format!(
            "Deployment {} is paused (spec.paused): its template waits, and with it every release, until it is resumed",
            names.target
        ));
    }
    notes.extend(input.spec.gates.iter().map(|gate| match &gate.opens {
        Opens::Approval { .. } => format!(
            "gate {}: the release waits at it until a story approves it (do: approve)",
            gate.name
        ),
        Opens::Jenkins(job) => format!(
            "not modelled: Jenkins {}, so the release waits at gate {}",
            job.instance, gate.name
        ),
    }));
    notes.extend(elsewhere(input));
    if let Some(service) = input.find("Service", &names.apex)
        && let Some(ports) = service["spec"]["ports"]
            .as_array()
            .filter(|ports| ports.len() > 1)
    {
        notes.push(format!(
            "not modelled: the {} ports of Service {} one by one; its callers call all of them alike",
            ports.len(),
            names.apex
        ));
    }
    for found in &input.objects {
        match found.kind() {
            "VirtualService" => virtual_service(input, found, &mut notes),
            "DestinationRule" => destination_rule(found, &mut notes),
            "Freeze" | "ClusterFreeze" if found.object["spec"]["windows"].is_array() => notes.push(format!(
                "the rehearsal begins on {}: the windows of {} {} count from there",
                SimClock::epoch().format("%A %F %H:%M UTC"),
                found.kind(),
                found.name()
            )),
            _ => {}
        }
    }
    notes
}

/// Whether the Service leads to other pods than the workload's.
fn elsewhere(input: &Input) -> Option<String> {
    let names = &input.spec.names;
    let service = &input.find("Service", &names.apex)?["spec"];
    let (service_name, target) = (&names.apex, &names.target);
    if service["type"] == "ExternalName" {
        return Some(format!(
            "Service {service_name} is an ExternalName and leads to no pod of Deployment {target}"
        ));
    }
    let pods = &input.find("Deployment", target)?["spec"]["template"]["metadata"]["labels"];
    let selector = service["selector"].as_object()?;
    let other = selector.iter().find(|(key, value)| pods.get(key) != Some(*value));
    other.map(|(key, value)| {
        format!(
            "Service {service_name} selects other pods: spec.selector.{key} is {value}, and the pods of Deployment \
             {target} have {}",
            pods.get(key).unwrap_or(&Value::Null)
        )
    })
}

fn virtual_service(input: &Input, found: &Applied, notes: &mut Vec<String>) {
    let names = &input.spec.names;
    let (namespace, name, object) = (&found.namespace, found.name(), &found.object);
    if *namespace != names.namespace || name != names.apex {
        notes.push(format!(
            "not modelled: callers by VirtualService {namespace}/{name}; all call Service {} of {}",
            names.apex, names.namespace
        ));
        return;
    }
    let http = object["spec"]["http"].as_array();
    let unseen = UNSEEN
        .iter()
        .filter(|part| http.into_iter().flatten().any(|route| !route[*part].is_null()));
    let unseen: Vec<&str> = unseen.copied().collect();
    if !unseen.is_empty() {
        notes.push(format!(
            "not modelled: {} in the routes of VirtualService {name}",
            unseen.join(", ")
        ));
    }
    let conditional = http
        .into_iter()
        .flatten()
        .filter(|route| !route["match"].is_null());
    if conditional.count() > 0 {
        notes.push(format!(
            "not modelled: the conditions of the routes of VirtualService {name}; callers meet its route without \
             conditions, or all of them alike if every one has some"
        ));
    }
    if ["tcp", "tls"]
        .iter()
        .any(|protocol| object["spec"][protocol].is_array())
    {
        notes.push(format!(
            "VirtualService {name} routes TCP: each connection counts as a request"
        ));
    }
}

fn destination_rule(found: &Applied, notes: &mut Vec<String>) {
    if found.object["spec"]["subsets"]
        .as_array()
        .is_some_and(|subsets| !subsets.is_empty())
    {
        notes.push(format!(
            "not modelled: subsets of DestinationRule {}; every pod of a Service answers",
            found.name()
        ));
    }
}
