//! What became of an order, for whoever gave it and has no access to the cluster.

use axum::response::Response;
use serde_json::Value;

use super::{Caller, permission, wait};
use crate::{
    api::{Approval, Command},
    hook_api::{
        Hook,
        problem::Problem,
        view::{OrderView, order_resource},
    },
    reconcile::kinds::Kind,
};

/// The order that a Command or an Approval carries: at once, or within `seconds` when there is an outcome.
pub async fn order(
    hook: &Hook,
    caller: &Caller,
    kind: Kind,
    (namespace, name): (&str, &str),
    seconds: u64,
) -> Result<Response, Problem> {
    wait::check(seconds)?;
    hook.admit(
        caller,
        permission("get", order_resource(kind), None),
        namespace,
        name,
    )
    .await?;
    let mut order = find(hook, kind, namespace, name).await?;
    let mut had_place = true;
    if order.outcome.is_none() && seconds > 0 {
        let answered = |object: &Value| object["status"]["outcome"].is_string();
        had_place = hook.wait((kind, namespace, name), seconds, answered).await;
        order = find(hook, kind, namespace, name).await?;
    }
    Ok(wait::answer(had_place, axum::Json(order)))
}

async fn find(hook: &Hook, kind: Kind, namespace: &str, name: &str) -> Result<OrderView, Problem> {
    Ok(if kind == Kind::Approval {
        hook.find::<Approval>(kind, namespace, name).await?.into()
    } else {
        hook.find::<Command>(kind, namespace, name).await?.into()
    })
}
