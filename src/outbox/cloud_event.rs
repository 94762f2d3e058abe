//! A fact as a CloudEvent 1.0, in both modes of the HTTP binding. Pure.
//!
//! Invariant: the same fact is the same event, byte for byte, whoever tells it and whenever.

use chrono::SecondsFormat;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONTENT_TYPE, InvalidHeaderValue},
};
use serde_json::{Value, json};

use super::{Fact, cdevent};

/// How the data of an event are put.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// After the CDEvents vocabulary.
    #[default]
    CdEvents,
    /// Plainly.
    CloudEvents,
}

/// Where the attributes of an event go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Attributes and data in one JSON object.
    #[default]
    Structured,
    /// Attributes in headers, data in the body.
    Binary,
}

/// A CloudEvent.
#[derive(Clone, Debug, PartialEq)]
pub struct CloudEvent {
    /// The same for the same fact: what a receiver knows a repetition by.
    pub id: String,
    /// The Canary, as a URI reference.
    pub source: String,
    /// What kind of fact it is.
    pub kind: String,
    /// The Canary, as `namespace/name`.
    pub subject: String,
    /// When it became true.
    pub time: String,
    /// The number of the fact, with leading zeros: texts in their order are facts in theirs.
    pub sequence: String,
    /// The rest.
    pub data: Value,
}

/// What goes into a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Headers, without what is secret.
    pub headers: HeaderMap,
    /// Body.
    pub body: Vec<u8>,
}

/// An event that cannot be put into a request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its data are no JSON.
    #[error("data: {0}")]
    Json(#[from] serde_json::Error),
    /// An attribute cannot stand in a header.
    #[error("attribute: {0}")]
    Attribute(#[from] InvalidHeaderValue),
}

/// The part of every source and environment that names the cluster; empty if it has no name.
pub(super) fn place(cluster: Option<&str>) -> String {
    cluster.map_or(String::new(), |name| format!("/clusters/{name}"))
}

impl CloudEvent {
    /// `fact` as an event of `cluster`.
    #[must_use]
    pub fn new(fact: &Fact, cluster: Option<&str>, format: Format) -> CloudEvent {
        let (id, notice) = (&fact.canary, &fact.notice);
        let mut event = CloudEvent {
            id: format!("{}/{}", fact.uid, notice.seq),
            source: format!(
                "{}/namespaces/{}/canaries/{}",
                place(cluster),
                id.namespace,
                id.name
            ),
            kind: format!("dev.bellwether.canary.{}", predicate(&notice.reason)),
            subject: format!("{}/{}", id.namespace, id.name),
            time: notice.at.to_rfc3339_opts(SecondsFormat::AutoSi, true),
            sequence: format!("{:010}", notice.seq),
            data: facts(fact),
        };
        if format == Format::CdEvents {
            cdevent::wrap(&mut event, fact, cluster);
        }
        event
    }

    /// The event as a request.
    ///
    /// # Errors
    /// If it cannot be one.
    pub fn message(&self, mode: Mode) -> Result<Message, Error> {
        let attributes = [
            ("specversion", "1.0"),
            ("id", &self.id),
            ("source", &self.source),
            ("type", &self.kind),
            ("subject", &self.subject),
            ("time", &self.time),
            ("sequence", &self.sequence),
        ];
        let mut headers = HeaderMap::new();
        if mode == Mode::Structured {
            headers.insert(
                CONTENT_TYPE,
                HeaderValue::from_static("application/cloudevents+json"),
            );
            let mut whole = json!({"datacontenttype": "application/json", "data": self.data});
            for (name, value) in attributes {
                whole[name] = json!(value);
            }
            let body = serde_json::to_vec(&whole)?;
            return Ok(Message { headers, body });
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in attributes {
            if let Ok(name) = HeaderName::try_from(format!("ce-{name}")) {
                headers.insert(name, HeaderValue::from_str(value)?);
            }
        }
        let body = serde_json::to_vec(&self.data)?;
        Ok(Message { headers, body })
    }
}

/// The reason of a fact as the last part of a type: small letters.
pub(super) fn predicate(reason: &str) -> String {
    reason
        .chars()
        .filter(char::is_ascii_alphabetic)
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

/// All that is known of the fact.
fn facts(fact: &Fact) -> Value {
    let notice = &fact.notice;
    let mut facts = json!({
        "namespace": fact.canary.namespace,
        "canary": fact.canary.name,
        "uid": fact.uid,
        "seq": notice.seq,
        "reason": notice.reason,
        "severity": notice.kind,
        "message": notice.message,
    });
    let Some(situation) = &notice.situation else {
        return facts;
    };
    facts["weight"] = json!(situation.weight);
    let known = [
        ("phase", situation.phase.map(|phase| json!(phase))),
        ("revision", situation.revision.as_ref().map(|text| json!(text))),
        ("promoted", situation.promoted.as_ref().map(|text| json!(text))),
        ("promotedImage", situation.image.as_ref().map(|text| json!(text))),
        ("step", situation.step.map(|index| json!(index + 1))),
    ];
    for (name, value) in known {
        if let Some(value) = value {
            facts[name] = value;
        }
    }
    facts
}
