//! What is wanted of a release, and said at gates: each becomes an object, which the leader heeds or refuses.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{Caller, over, permission};
use crate::{
    api::{AbortAction, ApprovalSpec, CanaryRef, CommandSpec, GateDecision, Promotion, Verb},
    hook_api::{
        Hook,
        auth::{Permission, User},
        body::{self, Abort, Order, RevisionOrder, RevisionSettlement, Settlement},
        extract::RequestBody,
        problem::Problem,
        view::{Accepted, OrderLinks, order_path},
    },
    promotion::names,
    reconcile::kinds::Kind,
};

/// Whoever may create Approvals may approve.
const APPROVE: Permission = permission("create", "approvals", None);

/// What an order is about, by its path.
pub enum About {
    /// The release of the promotion of this name.
    Promotion(String),
    /// A revision of the Canary of this name; the body names the revision.
    Canary(String),
}

impl About {
    fn resource(&self) -> &'static str {
        match self {
            About::Promotion(_) => "promotions",
            About::Canary(_) => "canaries",
        }
    }

    fn name(&self) -> &str {
        let (About::Promotion(name) | About::Canary(name)) = self;
        name
    }
}

/// An order as it came.
pub struct Given {
    /// What its headers say.
    pub caller: Caller,
    /// Namespace of what it is about.
    pub namespace: String,
    /// What it is about.
    pub about: About,
    /// Its body.
    pub body: RequestBody,
}

/// What an order is about, as it was found.
enum Subject {
    /// The release of a promotion.
    Promotion(Box<Promotion>),
    /// A revision of a Canary.
    Revision { canary: String, revision: String },
}

impl Subject {
    async fn find(
        hook: &Hook,
        namespace: &str,
        about: About,
        revision: Option<String>,
    ) -> Result<Subject, Problem> {
        match about {
            About::Promotion(id) => {
                let promotion = hook.find_promotion(namespace, &id).await?;
                Ok(Subject::Promotion(Box::new(promotion)))
            }
            About::Canary(canary) => {
                let revision = revision.unwrap_or_default();
                body::within("revision", &revision, 8..=64)?;
                hook.find_canary(namespace, &canary)?;
                Ok(Subject::Revision { canary, revision })
            }
        }
    }

    fn canary(&self) -> CanaryRef {
        match self {
            Subject::Promotion(promotion) => promotion.spec.canary_ref.clone(),
            Subject::Revision { canary, .. } => CanaryRef { name: canary.clone() },
        }
    }

    /// Name of the promotion, or the revision.
    fn named(&self) -> (Option<String>, Option<String>) {
        match self {
            Subject::Promotion(promotion) => (promotion.metadata.name.clone(), None),
            Subject::Revision { revision, .. } => (None, Some(revision.clone())),
        }
    }

    /// UID of the promotion.
    fn life(&self) -> Option<&str> {
        match self {
            Subject::Promotion(promotion) => promotion.metadata.uid.as_deref(),
            Subject::Revision { .. } => None,
        }
    }

    fn command(
        &self,
        verb: Verb,
        action: Option<AbortAction>,
        reason: Option<String>,
        user: User,
    ) -> CommandSpec {
        let (promotion, revision) = self.named();
        CommandSpec {
            canary_ref: self.canary(),
            verb,
            revision,
            promotion,
            action,
            reason,
            requested_by: user.name,
        }
    }

    fn approval(
        &self,
        gate: String,
        decision: GateDecision,
        comment: Option<String>,
        user: User,
    ) -> ApprovalSpec {
        let (promotion, revision) = self.named();
        ApprovalSpec {
            canary_ref: self.canary(),
            gate,
            decision,
            revision,
            promotion,
            comment,
            approved_by: user.name,
        }
    }

    /// Hands an object in. About a promotion that is over there is nothing to do.
    async fn order(
        &self,
        hook: &Hook,
        namespace: &str,
        (kind, name): (Kind, String),
        spec: &(impl serde::Serialize + Sync),
    ) -> Result<Response, Problem> {
        let promotion = match self {
            Subject::Promotion(promotion) => Some(promotion),
            Subject::Revision { .. } => None,
        };
        let state = promotion.map(|promotion| hook.view(promotion));
        if promotion.is_some_and(|promotion| over(promotion)) {
            let nothing = Accepted {
                command: None,
                promotion: state,
                links: OrderLinks { order: None },
            };
            return Ok(axum::Json(nothing).into_response());
        }
        hook.create(kind, namespace, &name, spec).await?;
        let path = order_path(kind, namespace, &name);
        let location = HeaderValue::from_str(&path).unwrap_or(HeaderValue::from_static("/"));
        let accepted = Accepted {
            command: Some(name),
            promotion: state,
            links: OrderLinks { order: Some(path) },
        };
        let headers = [(header::LOCATION, location)];
        Ok((StatusCode::ACCEPTED, headers, axum::Json(accepted)).into_response())
    }
}

/// Orders something about the release of a promotion, or about a revision of a Canary.
pub async fn command(hook: &Hook, given: Given, verb: Verb) -> Result<Response, Problem> {
    let Given {
        caller,
        namespace,
        about,
        body,
    } = given;
    let permission = permission("create", about.resource(), Some(verb.path()));
    let user = hook.admit(&caller, permission, &namespace, about.name()).await?;
    let mut action = None;
    let (revision, reason) = match (&about, verb) {
        (About::Promotion(_), Verb::Abort) => {
            let abort: Abort = body.read(hook).await?;
            action = abort.action;
            (None, abort.reason)
        }
        (About::Promotion(_), _) => (None, body.read::<Order>(hook).await?.reason),
        (About::Canary(_), _) => {
            let RevisionOrder { revision, reason } = body.read(hook).await?;
            (Some(revision), reason)
        }
    };
    body::check_words("reason", reason.as_deref())?;
    let subject = Subject::find(hook, &namespace, about, revision).await?;
    let spec = subject.command(verb, action, reason, user);
    let name = names::command(&namespace, &spec, subject.life(), &key(hook, &caller));
    subject
        .order(hook, &namespace, (Kind::Command, name), &spec)
        .await
}

/// Approves or rejects a gate, for the release of a promotion or for a revision of a Canary.
pub async fn approval(hook: &Hook, given: Given, decision: GateDecision) -> Result<Response, Problem> {
    let Given {
        caller,
        namespace,
        about,
        body,
    } = given;
    let user = hook.admit(&caller, APPROVE, &namespace, "").await?;
    let (gate, revision, comment) = match &about {
        About::Promotion(_) => {
            let Settlement { gate, comment } = body.read(hook).await?;
            (gate, None, comment)
        }
        About::Canary(_) => {
            let said: RevisionSettlement = body.read(hook).await?;
            (said.gate, Some(said.revision), said.comment)
        }
    };
    body::within("gate", &gate, 1..=63)?;
    body::check_words("comment", comment.as_deref())?;
    let subject = Subject::find(hook, &namespace, about, revision).await?;
    let spec = subject.approval(gate, decision, comment, user);
    let name = names::approval(&namespace, &spec, subject.life(), &key(hook, &caller));
    subject
        .order(hook, &namespace, (Kind::Approval, name), &spec)
        .await
}

/// What makes an order unique: the client's key, or chance if it has none.
fn key(hook: &Hook, caller: &Caller) -> String {
    caller.key.clone().unwrap_or_else(|| hook.ctx.jitter.unique())
}
