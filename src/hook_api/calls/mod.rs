//! One function per call. Each says first who must be allowed what.

mod client; // notes that a client is there
mod orders; // what is wanted of a release, and said at gates
mod outcomes; // what became of an order
mod promotions; // a promotion is started, waited for, and read
mod wait; // until there is news of an object

use std::sync::Arc;

use crate::pointer::At;
use axum::response::{IntoResponse, Response};
use kube::api::{DynamicObject, PostParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    Hook,
    auth::{Permission, User},
    problem::{Code, Problem},
    view::{CanaryView, PromotionView, typed},
};
use crate::{
    api::{Canary, GROUP, Promotion, PromotionPhase},
    explain::Explanation,
    reconcile::{index::Part, kinds::Kind},
    workload::text,
};
pub use orders::{About, Given, approval, command};
pub use outcomes::order;
pub use promotions::{log, result, start, state};

/// What the headers of a request say.
pub struct Caller {
    /// `Authorization`.
    pub authorization: Option<String>,
    /// `Idempotency-Key`.
    pub key: Option<String>,
}

const fn permission(
    verb: &'static str,
    resource: &'static str,
    subresource: Option<&'static str>,
) -> Permission {
    Permission {
        verb,
        resource,
        subresource,
    }
}

impl Hook {
    async fn admit(
        &self,
        caller: &Caller,
        permission: Permission,
        namespace: &str,
        name: &str,
    ) -> Result<User, Problem> {
        let user = self
            .gatekeeper
            .admit(caller.authorization.as_deref(), permission, namespace, name)
            .await?;
        if !self.ctx.metrics.is_ready() {
            return Err(Problem::new(
                Code::Unavailable,
                "the first lists are not complete",
            ));
        }
        Ok(user)
    }

    fn cached(&self, kind: Kind, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.ctx.cache.get(&Part {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    fn find_canary(&self, namespace: &str, name: &str) -> Result<Canary, Problem> {
        self.cached(Kind::Canary, namespace, name)
            .and_then(|object| typed(&object))
            .ok_or_else(|| Problem::new(Code::NotFound, format!("there is no Canary {namespace}/{name}")))
    }

    async fn find_promotion(&self, namespace: &str, id: &str) -> Result<Promotion, Problem> {
        self.find(Kind::Promotion, namespace, id).await
    }

    /// An object as the watch knows it, or as the API server has it if the watch does not.
    async fn find<T: DeserializeOwned>(&self, kind: Kind, namespace: &str, name: &str) -> Result<T, Problem> {
        if let Some(known) = self
            .cached(kind, namespace, name)
            .and_then(|object| typed(&object))
        {
            return Ok(known);
        }
        self.read(kind, namespace, name).await?.ok_or_else(|| {
            let kind = kind.resource().kind.to_lowercase();
            Problem::new(Code::NotFound, format!("there is no {kind} {namespace}/{name}"))
        })
    }

    async fn read<T: DeserializeOwned>(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Result<Option<T>, Problem> {
        // A name that no object can have would be a path of its own.
        if !is_name(name) || !is_name(namespace) {
            return Ok(None);
        }
        let read = kind.api(&self.ctx.client, namespace).get_opt(name).await;
        let found = match read {
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            other => other?,
        };
        Ok(found
            .and_then(|object| serde_json::to_value(&object).ok())
            .and_then(|object| typed(&object)))
    }

    fn view(&self, promotion: &Promotion) -> PromotionView {
        let namespace = promotion.metadata.namespace.clone().unwrap_or_default();
        let canary = self.find_canary(&namespace, &promotion.spec.canary_ref.name).ok();
        PromotionView::of(promotion, canary.as_ref())
    }

    /// Promotions of a Canary that are not over, by name.
    fn unfinished(&self, namespace: &str, canary: &str) -> Vec<String> {
        let part = Part {
            kind: Kind::Promotion,
            namespace: namespace.to_owned(),
            name: canary.to_owned(),
        };
        let all = self.ctx.cache.group(&part);
        all.iter()
            .filter(|object| object.at("/status/finishedAt").is_none())
            .map(|object| text(object, "/metadata/name").to_owned())
            .collect()
    }

    async fn create(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        spec: &impl serde::Serialize,
    ) -> Result<bool, Problem> {
        let object = json!({
            "apiVersion": format!("{GROUP}/v1beta1"),
            "kind": kind.resource().kind,
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        });
        let object: DynamicObject = serde_json::from_value(object)
            .map_err(|error| Problem::new(Code::Internal, format!("an object could not be made: {error}")))?;
        match kind
            .api(&self.ctx.client, namespace)
            .create(&PostParams::default(), &object)
            .await
        {
            Ok(made) => {
                // Whoever asks next need not wait for the watch.
                if let Ok(json) = serde_json::to_value(&made) {
                    self.ctx.cache.put_ahead(kind, json);
                }
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether this can be the name of an object.
fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    (1..=253).contains(&text.len())
        && text.chars().all(allowed)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
}

fn over(promotion: &Promotion) -> bool {
    let phase = promotion.status.as_ref().and_then(|status| status.phase);
    phase.is_some_and(PromotionPhase::finished)
}

/// The state of a Canary.
pub async fn canary(hook: &Hook, caller: &Caller, namespace: &str, name: &str) -> Result<Response, Problem> {
    hook.admit(caller, permission("get", "canaries", None), namespace, name)
        .await?;
    let canary = hook.find_canary(namespace, name)?;
    let view = CanaryView::of(&canary, hook.unfinished(namespace, name));
    Ok(axum::Json(view).into_response())
}

/// What a Canary is doing and why, and what comes next: no more than its object says, so the same right will do.
pub async fn explanation(
    hook: &Hook,
    caller: &Caller,
    namespace: &str,
    name: &str,
) -> Result<Response, Problem> {
    hook.admit(caller, permission("get", "canaries", None), namespace, name)
        .await?;
    let canary = hook.find_canary(namespace, name)?;
    Ok(axum::Json(Explanation::of(&canary)).into_response())
}
