//! Kubernetes Events (`events.k8s.io/v1`). Written by us and not by the client library's recorder, which merges what
//! has the same reason and keeps the first text only.

use chrono::SecondsFormat;
use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use kube::core::GroupVersionKind;
use serde_json::json;

use super::Fact;
use crate::{api::GROUP, workload::marks::MANAGER};

/// Longest note that the API server accepts, in bytes.
const NOTE_LIMIT: usize = 1000;

/// Why an Event was not published.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// It could not be put into JSON.
    #[error("event: {0}")]
    Json(#[from] serde_json::Error),
    /// The API server refused it or did not answer.
    #[error("event: {0}")]
    Api(#[from] Box<kube::Error>),
}

/// Whether another try may succeed.
pub(super) fn may_succeed(error: &Error) -> bool {
    match error {
        Error::Json(_) => false,
        Error::Api(error) => match error.as_ref() {
            kube::Error::Api(status) => !matches!(status.code, 400 | 403 | 404 | 422),
            _ => true,
        },
    }
}

/// Publishes `fact` under a name made of the Canary's UID and the fact's number: twice is the same as once.
pub(super) async fn publish(client: &kube::Client, fact: &Fact) -> Result<(), Error> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("events.k8s.io", "v1", "Event"));
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &fact.canary.namespace, &resource);
    let notice = &fact.notice;
    let mut note = notice.message.clone();
    while note.len() > NOTE_LIMIT {
        note.pop();
    }
    let uid = fact.uid.get(..8).unwrap_or(&fact.uid);
    let event: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": format!("{}.{uid}.{}", fact.canary.name, notice.seq),
            "namespace": fact.canary.namespace,
        },
        "eventTime": notice.at.to_rfc3339_opts(SecondsFormat::Micros, true),
        "reportingController": format!("{GROUP}/controller"),
        "reportingInstance": MANAGER,
        "action": notice.reason,
        "reason": notice.reason,
        "type": format!("{:?}", notice.kind),
        "note": note,
        "regarding": {
            "apiVersion": format!("{GROUP}/v1beta1"),
            "kind": "Canary",
            "name": fact.canary.name,
            "namespace": fact.canary.namespace,
            "uid": fact.uid,
        },
    }))?;
    match api.create(&PostParams::default(), &event).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(()),
        Err(error) => Err(Error::Api(Box::new(error))),
    }
}
