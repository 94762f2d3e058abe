//! Whether the cluster serves the CRDs of this version. The status is the memory of a rollout, and the API server drops
//! every field of it that its CRD does not have, without a word: nothing may be decided on such a memory.
//!
//! What is served stands in the API server's OpenAPI document, which every client may read. A CRD that is replaced by an
//! older one later shows in the answer to the next write of a status.

use std::time::Duration;

use crate::pointer::At;
use kube::CustomResourceExt;
use serde_json::Value;

use super::Context;
use crate::api::{Approval, Canary, Command, GROUP, Promotion, PromotionLedger};

/// How often the CRDs are looked at while they are outdated.
const AGAIN: Duration = Duration::from_secs(10);
/// What is to be done about a CRD that is outdated.
pub const REMEDY: &str = "apply the CRDs of this version: helm upgrade, or bellwether crd | kubectl apply --server-side --force-conflicts -f -";

/// Waits until the served CRDs have every field of a status that this version writes. If they cannot be looked at, the
/// answers to writes tell.
#[expect(
    clippy::disallowed_methods,
    reason = "nothing tells when a CRD of another version is applied"
)]
pub async fn await_current(ctx: &Context) {
    let mut told = None;
    loop {
        match lacking(&ctx.client).await {
            Ok(None) => break,
            Ok(Some(field)) => {
                if told.as_ref() != Some(&field) {
                    tracing::error!(
                        field,
                        "nothing is decided: the served CRD lacks a field; {REMEDY}"
                    );
                    told = Some(field);
                }
            }
            Err(error) => {
                tracing::debug!(%error, "the served CRDs cannot be looked at");
                break;
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
    if told.is_some() {
        tracing::info!("the served CRDs have every field now");
    }
}

/// The first kind, or field, that this version writes and the served CRDs do not have.
///
/// # Errors
/// If the API server's OpenAPI document cannot be read.
pub async fn lacking(client: &kube::Client) -> Result<Option<String>, kube::Error> {
    let path = format!("/openapi/v3/apis/{GROUP}/v1beta1");
    let request = http::Request::get(path)
        .body(Vec::new())
        .map_err(kube::Error::HttpError)?;
    let document: Value = client.request(request).await?;
    Ok(lacking_in(&document))
}

fn lacking_in(document: &Value) -> Option<String> {
    // Users write what is specified of a Canary; of the others the hook API writes it.
    let parts = [
        (Canary::crd(), &["status"][..]),
        (Promotion::crd(), &["status", "spec"]),
        (Command::crd(), &["status", "spec"]),
        (Approval::crd(), &["status", "spec"]),
        (PromotionLedger::crd(), &["spec"]),
    ];
    schema_of(document, "Canary")?;
    parts.iter().find_map(|(crd, parts)| {
        let kind = &crd.spec.names.kind;
        let Some(served) = schema_of(document, kind) else {
            return Some(kind.clone());
        };
        let ours = crd.spec.versions.first()?.schema.as_ref()?;
        let ours = serde_json::to_value(ours.open_api_v3_schema.as_ref()?).ok()?;
        parts.iter().find_map(|part| {
            let at = format!("/properties/{part}");
            missing(served.at(&at)?, ours.at(&at)?, &format!("{kind}.{part}"))
        })
    })
}

/// The schema of one of our kinds in an OpenAPI document.
fn schema_of<'a>(document: &'a Value, kind: &str) -> Option<&'a Value> {
    let schemas = document.at("/components/schemas")?.as_object()?;
    schemas.values().find(|schema| {
        let kinds = schema
            .get("x-kubernetes-group-version-kind")
            .and_then(Value::as_array);
        kinds.into_iter().flatten().any(|served| {
            served["group"] == GROUP && served["version"] == "v1beta1" && served["kind"] == kind
        })
    })
}

/// The first field of the schema `wanted` that the schema `served` does not have.
fn missing(served: &Value, wanted: &Value, path: &str) -> Option<String> {
    if served.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true)) {
        return None;
    }
    let fields = wanted.get("properties").and_then(Value::as_object);
    for (name, field) in fields.into_iter().flatten() {
        let path = format!("{path}.{name}");
        let Some(have) = served.get("properties").and_then(|have| have.get(name)) else {
            return Some(path);
        };
        if let Some(found) = missing(have, field, &path) {
            return Some(found);
        }
    }
    let inner = [("items", "[]"), ("additionalProperties", ".*")];
    inner.iter().find_map(|(part, shown)| {
        let wanted = wanted.get(part).filter(|part| part.is_object())?;
        missing(served.get(part)?, wanted, &format!("{path}{shown}"))
    })
}

/// The first field of `sent` that the API server did not store.
#[must_use]
pub fn lost(sent: &Value, stored: &Value, path: &str) -> Option<String> {
    match (sent, stored) {
        (Value::Object(sent), Value::Object(stored)) => sent.iter().find_map(|(name, value)| {
            let path = format!("{path}.{name}");
            match stored.get(name) {
                Some(have) => lost(value, have, &path),
                None => (!value.is_null()).then_some(path),
            }
        }),
        (Value::Array(sent), Value::Array(stored)) => sent
            .iter()
            .zip(stored)
            .find_map(|(one, other)| lost(one, other, &format!("{path}[]"))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What an API server tells of the CRDs of this version.
    fn document() -> Value {
        let crds = [
            Canary::crd(),
            Promotion::crd(),
            Command::crd(),
            Approval::crd(),
            PromotionLedger::crd(),
        ];
        let schemas = crds.iter().map(|crd| {
            let kind = &crd.spec.names.kind;
            let crd = serde_json::to_value(crd).unwrap();
            let mut schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
            schema["x-kubernetes-group-version-kind"] =
                json!([{"group": "bellwether.dev", "version": "v1beta1", "kind": kind}]);
            (format!("dev.bellwether.v1beta1.{kind}"), schema)
        });
        let mut schemas: serde_json::Map<String, Value> = schemas.collect();
        let meta = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
        schemas.insert(meta.to_owned(), json!({"type": "object"}));
        json!({"components": {"schemas": schemas}})
    }

    fn status(document: &mut Value) -> &mut serde_json::Map<String, Value> {
        let at = "/components/schemas/dev.bellwether.v1beta1.Canary/properties/status/properties";
        document.pointer_mut(at).unwrap().as_object_mut().unwrap()
    }

    #[test]
    fn crd_of_this_version_lacks_nothing() {
        assert_eq!(lacking_in(&document()), None);
        assert_eq!(lacking_in(&json!({})), None, "not served, which the watch tells");
    }

    #[test]
    fn field_that_the_served_crd_lacks_is_named() {
        let mut old = document();
        status(&mut old).remove("epoch");
        assert_eq!(lacking_in(&old).as_deref(), Some("Canary.status.epoch"));
        let mut old = document();
        let revision = status(&mut old).get_mut("revision").unwrap();
        revision["properties"].as_object_mut().unwrap().remove("promoted");
        assert_eq!(
            lacking_in(&old).as_deref(),
            Some("Canary.status.revision.promoted")
        );
        let mut old = document();
        let conditions = status(&mut old).get_mut("conditions").unwrap();
        let fields = conditions["items"]["properties"].as_object_mut().unwrap();
        fields.remove("reason");
        assert_eq!(
            lacking_in(&old).as_deref(),
            Some("Canary.status.conditions[].reason")
        );
    }

    #[test]
    fn kind_that_is_not_served_and_field_of_an_order_are_named() {
        let mut old = document();
        let schemas = old["components"]["schemas"].as_object_mut().unwrap();
        schemas.remove("dev.bellwether.v1beta1.PromotionLedger");
        assert_eq!(lacking_in(&old).as_deref(), Some("PromotionLedger"));
        let schemas = old["components"]["schemas"].as_object_mut().unwrap();
        let order = &mut schemas["dev.bellwether.v1beta1.Approval"]["properties"]["spec"];
        order["properties"].as_object_mut().unwrap().remove("onBehalfOf");
        assert_eq!(lacking_in(&old).as_deref(), Some("Approval.spec.onBehalfOf"));
    }

    #[test]
    fn newer_crd_and_one_that_keeps_everything_lack_nothing() {
        let mut newer = document();
        status(&mut newer).insert("other".to_owned(), json!({"type": "string"}));
        assert_eq!(lacking_in(&newer), None);
        let mut open = document();
        let schema = open.pointer_mut("/components/schemas/dev.bellwether.v1beta1.Canary/properties");
        schema.unwrap()["status"] = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        assert_eq!(lacking_in(&open), None);
    }

    #[test]
    fn field_that_was_not_stored_is_found_and_an_absent_value_is_none() {
        let sent =
            json!({"phase": "Progressing", "step": {"index": 1, "reached": null}, "checks": [{"name": "a"}]});
        assert_eq!(lost(&sent, &sent, "status"), None);
        let mut stored = sent.clone();
        stored["step"].as_object_mut().unwrap().remove("reached");
        assert_eq!(lost(&sent, &stored, "status"), None);
        stored["step"].as_object_mut().unwrap().remove("index");
        assert_eq!(
            lost(&sent, &stored, "status").as_deref(),
            Some("status.step.index")
        );
        let stored = json!({"phase": "Progressing", "step": {"index": 1}, "checks": [{}]});
        assert_eq!(
            lost(&sent, &stored, "status").as_deref(),
            Some("status.checks[].name")
        );
    }
}
