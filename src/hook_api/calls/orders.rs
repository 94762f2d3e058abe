//! What is wanted of a release, and said at gates: each becomes an object, which the leader heeds or refuses.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

use super::{Caller, deed, over};
use crate::{
    api::{AbortAction, ApprovalSpec, CanaryRef, CommandSpec, GateDecision, Promotion, Verb},
    hook_api::{
        Hook,
        auth::{Deed, User},
        body::{self, Abort, Order, RevisionOrder, RevisionSettlement, Settlement},
        extract::RequestBody,
        problem::Problem,
        view::Accepted,
    },
    promotion::names,
    reconcile::kinds::Kind,
};

/// Whoever may create Approvals may approve.
const APPROVE: Deed = deed("create", "approvals", None);

/// What an order is about.
enum Subject {
    /// The release of a promotion.
    Promotion(Box<Promotion>),
    /// A revision of a Canary.
    Revision { canary: String, revision: String },
}

impl Subject {
    async fn promotion(hook: &Hook, namespace: &str, id: &str) -> Result<Subject, Problem> {
        let promotion = hook.find_promotion(namespace, id).await?;
        Ok(Subject::Promotion(Box::new(promotion)))
    }

    fn revision(hook: &Hook, namespace: &str, canary: &str, revision: String) -> Result<Subject, Problem> {
        body::check_revision(&revision)?;
        hook.find_canary(namespace, canary)?;
        let canary = canary.to_owned();
        Ok(Subject::Revision { canary, revision })
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
        let (status, command) = if promotion.is_some_and(|promotion| over(promotion)) {
            (StatusCode::OK, None)
        } else {
            hook.create(kind, namespace, &name, spec).await?;
            (StatusCode::ACCEPTED, Some(name))
        };
        let accepted = Accepted {
            command,
            promotion: promotion.map(|promotion| hook.view(promotion)),
        };
        Ok((status, axum::Json(accepted)).into_response())
    }
}

/// Calls a promotion off.
pub async fn abort(
    hook: &Hook,
    caller: &Caller,
    namespace: &str,
    id: &str,
    body: RequestBody,
) -> Result<Response, Problem> {
    let deed = deed("create", "promotions", Some("abort"));
    let user = hook.admit(caller, deed, namespace, id).await?;
    let Abort { action, reason } = body.read(hook).await?;
    let reason = body::words("reason", reason)?;
    let subject = Subject::promotion(hook, namespace, id).await?;
    // One that was refused must not be in the way of the next.
    let about = [id, &format!("{action:?}"), &user.name, &key(hook, caller)];
    let name = names::command(namespace, &about, "abort");
    let spec = subject.command(Verb::Abort, action, reason, user);
    subject.order(hook, namespace, (Kind::Command, name), &spec).await
}

/// Orders something about the release of a promotion.
pub async fn order(
    hook: &Hook,
    caller: &Caller,
    namespace: &str,
    id: &str,
    body: RequestBody,
    verb: Verb,
) -> Result<Response, Problem> {
    let deed = deed("create", "promotions", Some(subresource(verb)));
    let user = hook.admit(caller, deed, namespace, id).await?;
    let Order { reason } = body.read(hook).await?;
    let reason = body::words("reason", reason)?;
    let subject = Subject::promotion(hook, namespace, id).await?;
    let about = [id, &user.name, &key(hook, caller)];
    let name = names::command(namespace, &about, subresource(verb));
    let spec = subject.command(verb, None, reason, user);
    subject.order(hook, namespace, (Kind::Command, name), &spec).await
}

/// Orders something about a revision of a Canary.
pub async fn revision_order(
    hook: &Hook,
    caller: &Caller,
    namespace: &str,
    canary: &str,
    body: RequestBody,
    verb: Verb,
) -> Result<Response, Problem> {
    let deed = deed("create", "canaries", Some(subresource(verb)));
    let user = hook.admit(caller, deed, namespace, canary).await?;
    let RevisionOrder { revision, reason } = body.read(hook).await?;
    let reason = body::words("reason", reason)?;
    let about = [canary, &revision, &user.name, &key(hook, caller)];
    let name = names::command(namespace, &about, subresource(verb));
    let subject = Subject::revision(hook, namespace, canary, revision)?;
    let spec = subject.command(verb, None, reason, user);
    subject.order(hook, namespace, (Kind::Command, name), &spec).await
}

/// Approves or rejects a gate for the release of a promotion.
pub async fn settle(
    hook: &Hook,
    caller: &Caller,
    namespace: &str,
    id: &str,
    body: RequestBody,
    decision: GateDecision,
) -> Result<Response, Problem> {
    let user = hook.admit(caller, APPROVE, namespace, "").await?;
    let Settlement { gate, comment } = body.read(hook).await?;
    body::check_gate(&gate)?;
    let comment = body::words("comment", comment)?;
    let subject = Subject::promotion(hook, namespace, id).await?;
    let name = names::approval(
        namespace,
        &[id, &gate, &user.name, &key(hook, caller)],
        &format!("{decision:?}"),
    );
    let spec = subject.approval(gate, decision, comment, user);
    subject
        .order(hook, namespace, (Kind::Approval, name), &spec)
        .await
}

/// Approves or rejects a gate for a revision of a Canary.
pub async fn revision_settle(
    hook: &Hook,
    caller: &Caller,
    namespace: &str,
    canary: &str,
    body: RequestBody,
    decision: GateDecision,
) -> Result<Response, Problem> {
    let user = hook.admit(caller, APPROVE, namespace, "").await?;
    let RevisionSettlement {
        gate,
        revision,
        comment,
    } = body.read(hook).await?;
    body::check_gate(&gate)?;
    let comment = body::words("comment", comment)?;
    let about = [canary, &revision, &gate, &user.name, &key(hook, caller)];
    let name = names::approval(namespace, &about, &format!("{decision:?}"));
    let subject = Subject::revision(hook, namespace, canary, revision)?;
    let spec = subject.approval(gate, decision, comment, user);
    subject
        .order(hook, namespace, (Kind::Approval, name), &spec)
        .await
}

/// What makes an order unique: the client's key, or chance if it has none.
fn key(hook: &Hook, caller: &Caller) -> String {
    caller.key.clone().unwrap_or_else(|| hook.ctx.jitter.unique())
}

fn subresource(verb: Verb) -> &'static str {
    match verb {
        Verb::Abort => "abort",
        Verb::Pause => "pause",
        Verb::Resume => "resume",
        Verb::Advance => "advance",
        Verb::SkipAnalysis => "skip-analysis",
        Verb::Undo => "undo",
        Verb::Retry => "retry",
        Verb::Approve => "approve",
        Verb::Reject => "reject",
    }
}
