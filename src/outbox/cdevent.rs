//! The CDEvents vocabulary, version 0.5: which fact is which event. Pure.
//!
//! What the vocabulary has no word for, or what it asks more for than is known, is a custom event.

use serde_json::json;

use super::{
    Fact,
    cloud_event::{CloudEvent, place, predicate},
    purl,
};

/// Version of the specification.
const SPECIFICATION: &str = "0.5.1";

/// Reasons that the vocabulary has a word for. All of these must name the artifact that serves.
pub(super) const KNOWN: [(&str, &str); 5] = [
    ("Initialized", "dev.cdevents.service.deployed.0.3.0"),
    ("Promoted", "dev.cdevents.service.upgraded.0.3.0"),
    ("RolledBack", "dev.cdevents.service.rolledback.0.3.0"),
    ("PromotionFailed", "dev.cdevents.service.rolledback.0.3.0"),
    ("Undone", "dev.cdevents.service.rolledback.0.3.0"),
];

/// Makes `event` a CDEvent: its type and data.
pub(super) fn wrap(event: &mut CloudEvent, fact: &Fact, cluster: Option<&str>) {
    let notice = &fact.notice;
    let facts = event.data.take();
    let image = notice
        .situation
        .as_ref()
        .and_then(|situation| situation.image.as_deref());
    let artifact = image.and_then(purl::of_image);
    let known = KNOWN.iter().find(|(reason, _)| *reason == notice.reason);
    let word = known.map(|(_, kind)| *kind).zip(artifact);
    event.kind = match &word {
        Some((kind, _)) => (*kind).to_owned(),
        None => format!(
            "dev.cdeventsx.bellwether-canary.{}.0.1.0",
            predicate(&notice.reason)
        ),
    };
    let mut subject = json!({"id": event.subject, "source": event.source});
    let mut data = json!({"context": {
        "specversion": SPECIFICATION,
        "id": event.id,
        "source": event.source,
        "type": event.kind,
        "timestamp": event.time,
    }});
    match word {
        Some((_, artifact)) => {
            let mut environment = json!({"id": fact.canary.namespace});
            if cluster.is_some() {
                environment["source"] = json!(place(cluster));
            }
            subject["content"] = json!({"environment": environment, "artifactId": artifact});
            data["customData"] = facts;
            data["customDataContentType"] = json!("application/json");
        }
        None => subject["content"] = facts,
    }
    data["subject"] = subject;
    event.data = data;
}
