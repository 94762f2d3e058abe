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
    problem::{Code, Ended, Problem},
    view::{CanaryView, PromotionView, exit_code},
};
use crate::{
    api::{Canary, GROUP, LedgerEntry, Promotion, PromotionPhase},
    explain::Explanation,
    printable::{printable, printable_json},
    reconcile::{index::Part, kinds::Kind, promotions::ledger},
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

/// Orders of one user about one Canary: those of a day, and those that have no answer yet.
const MOST_ORDERS: usize = 500;
const MOST_OPEN_ORDERS: usize = 50;

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

    /// Who asks, whatever they may.
    async fn authenticate(&self, caller: &Caller, namespace: &str) -> Result<User, Problem> {
        let authorization = caller.authorization.as_deref();
        self.gatekeeper.authenticate(authorization, namespace).await
    }

    fn cached(&self, kind: Kind, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.ctx.cache.get(&Part {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    fn find_canary(&self, namespace: &str, name: &str) -> Result<Canary, Problem> {
        let object = self.cached(Kind::Canary, namespace, name);
        let object = object
            .ok_or_else(|| Problem::new(Code::NotFound, format!("there is no Canary {namespace}/{name}")))?;
        readable(Kind::Canary, &object)
    }

    async fn find_promotion(&self, namespace: &str, id: &str) -> Result<Promotion, Problem> {
        match self.find(Kind::Promotion, namespace, id).await {
            Err(problem) if problem.code == Code::NotFound => {
                Err(self.forgotten(namespace, id).await?.unwrap_or(problem))
            }
            found => found,
        }
    }

    /// What became of a promotion that is over and forgotten.
    async fn forgotten(&self, namespace: &str, id: &str) -> Result<Option<Problem>, Problem> {
        Ok(self.ledger(namespace, id).await?.map(|entry| ended(id, &entry)))
    }

    /// The same for a key of this Canary: the end of another one's promotion is no answer.
    async fn forgotten_of(
        &self,
        namespace: &str,
        id: &str,
        canary: &str,
    ) -> Result<Option<Problem>, Problem> {
        let entry = self.ledger(namespace, id).await?;
        Ok(entry.map(|entry| {
            if entry.canary == canary {
                return ended(id, &entry);
            }
            let text = format!("{id} was a promotion of another Canary; a new promotion needs a new key");
            Problem::new(Code::KeyReused, text)
        }))
    }

    async fn ledger(&self, namespace: &str, id: &str) -> Result<Option<LedgerEntry>, Problem> {
        if !is_name(id) || !is_name(namespace) {
            return Ok(None);
        }
        Ok(ledger::find(&self.ctx.client, namespace, id).await?)
    }

    /// An object as the watch knows it, or as the API server has it if the watch does not.
    async fn find<T: DeserializeOwned>(&self, kind: Kind, namespace: &str, name: &str) -> Result<T, Problem> {
        if let Some(known) = self.cached(kind, namespace, name) {
            return readable(kind, &known);
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
        let json = found.and_then(|object| serde_json::to_value(&object).ok());
        json.map(|object| readable(kind, &object)).transpose()
    }

    fn view(&self, promotion: &Promotion) -> PromotionView {
        let namespace = promotion.metadata.namespace.clone().unwrap_or_default();
        let canary = self.find_canary(&namespace, &promotion.spec.canary_ref.name).ok();
        PromotionView::of(promotion, canary.as_ref())
    }

    /// How many promotions of a Canary there are.
    fn promotions(&self, namespace: &str, canary: &str) -> usize {
        let part = Part {
            kind: Kind::Promotion,
            namespace: namespace.to_owned(),
            name: canary.to_owned(),
        };
        self.ctx.cache.group(&part).len()
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

    /// Refuses an order for which there is no room: of one user about one Canary there are only so many, and those of others
    /// are in nobody's way.
    fn make_room(&self, kind: Kind, namespace: &str, canary: &str, user: &str) -> Result<(), Problem> {
        let part = Part {
            kind,
            namespace: namespace.to_owned(),
            name: canary.to_owned(),
        };
        let by = match kind {
            Kind::Approval => "/spec/approvedBy",
            _ => "/spec/requestedBy",
        };
        let all = self.ctx.cache.group(&part);
        let own = all.iter().filter(|object| text(object, by) == user);
        let open = own
            .clone()
            .filter(|object| object.at("/status/answeredAt").is_none());
        if own.count() < MOST_ORDERS && open.count() < MOST_OPEN_ORDERS {
            return Ok(());
        }
        let text = format!("{user} has given too many orders about Canary {canary}; they are kept for a day");
        Err(Problem::new(Code::TooManyRequests, text))
    }

    /// Creates what carries an order, unless the same order came before.
    async fn create_order(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        spec: &(impl serde::Serialize + Sync),
    ) -> Result<(), Problem> {
        if self.create(kind, namespace, name, spec).await? {
            return Ok(());
        }
        let there: Option<DynamicObject> = self.read(kind, namespace, name).await?;
        let there = there
            .map(|object| object.data["spec"].clone())
            .unwrap_or_default();
        let wanted = serde_json::to_value(spec).unwrap_or_default();
        // Words may differ: the order is the same.
        let order = |mut spec: Value| {
            for words in ["reason", "comment", "onBehalfOf"] {
                spec.as_object_mut().map(|fields| fields.remove(words));
            }
            spec
        };
        if order(there) == order(wanted) {
            return Ok(());
        }
        let text =
            format!("there is another order of the name {name}; a new order needs a new Idempotency-Key");
        Err(Problem::new(Code::KeyReused, text))
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

/// The object as its type; one that a newer version wrote is named.
fn readable<T: DeserializeOwned>(kind: Kind, object: &Value) -> Result<T, Problem> {
    let shown = printable_json(object);
    serde_path_to_error::deserialize(&*shown).map_err(|error| {
        let (kind, name) = (
            kind.resource().kind.to_lowercase(),
            text(object, "/metadata/name"),
        );
        let text = format!(
            "{kind} {name} cannot be read by this version: {}: {}",
            error.path(),
            error.inner()
        );
        Problem::new(Code::Unreadable, printable(&text))
    })
}

/// What became of a promotion that is forgotten.
fn ended(id: &str, entry: &LedgerEntry) -> Problem {
    let text = format!(
        "promotion {id} of Canary {} ended as {} at {}, and is forgotten; a new promotion needs a new key",
        entry.canary, entry.result, entry.finished_at
    );
    Problem::new(Code::Expired, text).with_end(Ended {
        result: entry.result,
        exit_code: exit_code(entry.result),
        finished_at: entry.finished_at,
    })
}

/// Whether this can be the name of an object.
pub(super) fn is_name(text: &str) -> bool {
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
