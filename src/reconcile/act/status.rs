//! Replacing the status of an object, guarded by its resourceVersion.

use std::sync::Arc;

use kube::api::{DynamicObject, PostParams};
use serde_json::Value;

use crate::{
    api::CanaryStatus,
    defect::{Defect, planted},
    reconcile::{
        Context,
        error::{Error, object_name},
        kinds::Kind,
        served,
    },
    workload::{marks::MANAGER, text},
};

/// Replaces the status of `canary` on its resourceVersion; returns the Canary as written.
///
/// # Errors
/// If the write is refused or fails.
pub async fn record_status(
    ctx: &Context,
    canary: &Value,
    namespace: &str,
    status: &CanaryStatus,
) -> Result<Arc<Value>, Error> {
    replace_status(ctx, Kind::Canary, canary, namespace, status).await
}

/// Replaces the status of `live` on its resourceVersion; returns the object as written.
///
/// # Errors
/// If the write is refused or fails.
pub async fn replace_status(
    ctx: &Context,
    kind: Kind,
    live: &Value,
    namespace: &str,
    status: &(impl serde::Serialize + Sync),
) -> Result<Arc<Value>, Error> {
    let mut wanted = live.clone();
    let sent = serde_json::to_value(status).map_err(|source| Error::Json {
        what: "the status",
        source,
    })?;
    wanted["status"] = sent.clone();
    if planted(Defect::RecordsUnguarded) {
        wanted["metadata"]["resourceVersion"] = Value::Null;
    }
    let object: DynamicObject = serde_json::from_value(wanted).map_err(|source| Error::Json {
        what: "the object of a status",
        source,
    })?;
    let api = kind.api(&ctx.client, namespace);
    let params = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    let written = api
        .replace_status(text(live, "/metadata/name"), &params, &object)
        .await
        .map_err(|source| Error::Write {
            act: "recording the status",
            object: object_name(kind, text(live, "/metadata/name")),
            source: Box::new(source),
        })?;
    let json = serde_json::to_value(&written).map_err(|source| Error::Json {
        what: "an answer",
        source,
    })?;
    ctx.cache.put(kind, json.clone());
    let stored = json.get("status").unwrap_or(&Value::Null);
    if let Some(field) = served::lost(&sent, stored, &format!("{kind:?}.status")) {
        ctx.local.crd_outdated(Some(field.clone()));
        return Err(Error::CrdOutdated { field });
    }
    Ok(Arc::new(json))
}
