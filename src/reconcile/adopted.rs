//! What was there before its Canary, and was taken over: the callers' Service and the VirtualService of its name.
//!
//! Our own Services and DestinationRules bear a note of it. So an object that somebody deletes, to apply it again, is still
//! known to be theirs: none of ours takes its place, into which their manifest would be merged.

use crate::pointer::At;
use serde_json::{Value, json};

use super::snapshot::Snapshot;
use crate::{
    rollout::Child,
    traffic::istio::virtual_service,
    workload::{marks::ADOPTED_ANNOTATION, text},
};

/// What bears the note.
const NOTED_ON: [Child; 4] = [
    Child::PrimaryService,
    Child::CanaryService,
    Child::PrimaryRule,
    Child::CanaryRule,
];

/// What may be adopted, and how it is called in the note.
const KINDS: [(Child, &str); 2] = [(Child::ApexService, "Service"), (Child::Routes, "VirtualService")];

/// Whether the callers' Service or the VirtualService of its name was there before the Canary; of one that is missing, whether
/// it was.
#[must_use]
pub fn is_adopted(snap: &Snapshot, child: Child) -> bool {
    let Some(live) = snap.child(child) else {
        let bearers = NOTED_ON.iter().filter_map(|bearer| snap.child(*bearer));
        return bearers.into_iter().any(|bearer| notes(bearer, child));
    };
    // A VirtualService of that name may be about something else.
    let ours_to_split = || virtual_service::read(live, &snap.services).is_ok();
    !snap.owner.created(live) && (child != Child::Routes || ours_to_split())
}

fn notes(bearer: &Value, child: Child) -> bool {
    let annotations = bearer.at("/metadata/annotations");
    let note = annotations.and_then(|all| all.get(ADOPTED_ANNOTATION)?.as_str());
    let mut kinds = note.unwrap_or_default().split(',');
    kinds.any(|noted| KINDS.contains(&(child, noted)))
}

/// Writes onto `wanted`, which is what `bearer` is to become, what of the present objects was adopted. What is missing stays
/// noted: it is taken off by whoever gives the object up for good.
pub fn write_note(snap: &Snapshot, bearer: Child, wanted: &mut Value) {
    let live = snap.child(bearer);
    let adopted = |child: Child| match (snap.child(child), live) {
        (None, Some(live)) => notes(live, child),
        _ => is_adopted(snap, child),
    };
    let kinds: Vec<&str> = KINDS
        .iter()
        .filter(|(child, _)| adopted(*child))
        .map(|(_, kind)| *kind)
        .collect();
    if NOTED_ON.contains(&bearer) && !kinds.is_empty() {
        wanted["metadata"]["annotations"][ADOPTED_ANNOTATION] = json!(kinds.join(","));
    }
}

/// The objects that may bear the note, as kubectl names them.
fn bearers(snap: &Snapshot) -> Vec<String> {
    let noted = NOTED_ON.iter().filter_map(|child| snap.child(*child));
    // Also those without it by now, so that the text stays the same while it is taken off one after the other.
    noted
        .map(|bearer| {
            let kind = text(bearer, "/kind").to_lowercase();
            format!("{kind}/{}", text(bearer, "/metadata/name"))
        })
        .collect()
}

/// Why no route can be written: the user's VirtualService is missing. Where callers go meanwhile is `leads_to`.
#[must_use]
pub fn awaited(snap: &Snapshot, leads_to: Option<&str>) -> String {
    let name = &snap.services.apex;
    let meanwhile = leads_to.map_or_else(
        || format!("; Service {name} leads to no pods"),
        |pods| format!("; meanwhile Service {name} leads callers to the pods of {pods}"),
    );
    format!(
        "VirtualService {name}, which was there before Canary {}, is missing, and none is made in its place: apply it \
         again, or give it up{meanwhile} (kubectl -n {} annotate {} {ADOPTED_ANNOTATION}-)",
        text(&snap.object, "/metadata/name"),
        text(&snap.object, "/metadata/namespace"),
        bearers(snap).join(" "),
    )
}
