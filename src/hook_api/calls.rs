//! One function per call. Each says first who must be allowed what.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{
    Hook, WAIT_LIMIT,
    auth::{Deed, User},
    body::{self, Abort, NewPromotion, Order, RevisionOrder, RevisionSettlement, Settlement},
    problem::{Code, Problem},
    route::Wait,
    view::{Accepted, CanaryView, PromotionView, path, typed},
};
use crate::{
    api::{
        ApprovalSpec, Canary, CanaryRef, CommandSpec, Conflict, GROUP, GateDecision, Promotion,
        PromotionPhase, Requester, Verb,
    },
    freeze,
    promotion::{client_lost_after, names},
    reconcile::{index::Part, kinds::Kind, promotions::CLIENT_SEEN, snapshot},
    workload::text,
};

/// What the headers of a request say.
pub struct Caller {
    /// `Authorization`.
    pub authorization: Option<String>,
    /// `Idempotency-Key`.
    pub key: Option<String>,
}

const TEXT_SIZE: HeaderName = HeaderName::from_static("x-text-size");
const MORE_DATA: HeaderName = HeaderName::from_static("x-more-data");

const fn deed(verb: &'static str, resource: &'static str, subresource: Option<&'static str>) -> Deed {
    Deed {
        verb,
        resource,
        subresource,
    }
}

/// Whoever may create Approvals may approve.
const APPROVE: Deed = deed("create", "approvals", None);

impl Hook {
    async fn admit(&self, caller: &Caller, deed: Deed, namespace: &str, name: &str) -> Result<User, Problem> {
        let user = self
            .gatekeeper
            .admit(caller.authorization.as_deref(), deed, namespace, name)
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

    /// A Promotion as the watch knows it, or as the API server has it if the watch does not.
    async fn find_promotion(&self, namespace: &str, id: &str) -> Result<Promotion, Problem> {
        if let Some(promotion) = self
            .cached(Kind::Promotion, namespace, id)
            .and_then(|object| typed(&object))
        {
            return Ok(promotion);
        }
        self.read_promotion(namespace, id)
            .await?
            .ok_or_else(|| Problem::new(Code::NotFound, format!("there is no promotion {namespace}/{id}")))
    }

    async fn read_promotion(&self, namespace: &str, id: &str) -> Result<Option<Promotion>, Problem> {
        // A name that no object can have would be a path of its own.
        if !is_name(id) || !is_name(namespace) {
            return Ok(None);
        }
        let read = Kind::Promotion.api(&self.ctx.client, namespace).get_opt(id).await;
        let found = match read {
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            other => other?,
        };
        Ok(found
            .and_then(|object| serde_json::to_value(&object).ok())
            .and_then(|object| typed(&object)))
    }

    /// Notes that a client is there, if the promotion's policy asks for it; a few times within the span in which it may be
    /// silent. A note that fails is made by the next request.
    fn note_client(&self, promotion: &Promotion) {
        let Some(span) = client_lost_after(&promotion.spec.policy).filter(|_| !over(promotion)) else {
            return;
        };
        let now = self.ctx.clock.now();
        let metadata = &promotion.metadata;
        let noted = metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get(CLIENT_SEEN)?.parse::<DateTime<Utc>>().ok());
        let fresh = noted.is_some_and(|noted| now - noted < span / 4);
        let (Some(name), Some(namespace)) = (metadata.name.clone(), metadata.namespace.clone()) else {
            return;
        };
        if fresh {
            return;
        }
        let api = Kind::Promotion.api(&self.ctx.client, &namespace);
        let seen = json!({"metadata": {"annotations": {CLIENT_SEEN: now.to_rfc3339()}}});
        tokio::spawn(async move {
            let patched = api
                .patch(&name, &PatchParams::default(), &Patch::Merge(seen))
                .await;
            if let Err(error) = patched {
                tracing::warn!(promotion = name, %error, "that a client is there could not be noted");
            }
        });
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
            .filter(|object| object.pointer("/status/finishedAt").is_none())
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

/// Starts a promotion, or finds the one that this key started.
pub async fn start(
    hook: &Hook,
    caller: &Caller,
    namespace: &str,
    canary: &str,
    bytes: &Bytes,
) -> Result<Response, Problem> {
    let user = hook
        .admit(caller, deed("create", "promotions", None), namespace, "")
        .await?;
    let key = caller.key.as_ref().ok_or_else(|| {
        Problem::new(
            Code::BadRequest,
            "header Idempotency-Key is missing: without it a repeated request would release twice",
        )
    })?;
    let wanted: NewPromotion = body::read(bytes)?;
    wanted.check()?;
    hook.find_canary(namespace, canary)?;
    // Who asks does not count: another build may come again with the key of the first.
    let text = serde_json::to_string(&NewPromotion {
        requester: Requester::default(),
        ..wanted.clone()
    });
    let text = text.unwrap_or_default();
    let digest = names::request(&text);
    let name = names::promotion(namespace, canary, key);
    if let Some(promotion) = hook
        .cached(Kind::Promotion, namespace, &name)
        .and_then(|object| typed(&object))
    {
        return again(hook, &promotion, &digest);
    }
    let others = hook.unfinished(namespace, canary);
    if let Some(other) = others
        .first()
        .filter(|_| wanted.policy.conflict == Conflict::Reject)
    {
        let text = format!("promotion {other} of this Canary is not over (policy.conflict: reject)");
        return Err(Problem::new(Code::Conflict, text).with_other(path(namespace, other)));
    }
    let ctx = &hook.ctx;
    let freezes = snapshot::freezes_of(&ctx.cache, namespace, canary);
    if let Some(why) = freeze::in_force(&freezes, ctx.clock.now()).frozen
        && wanted.policy.conflict == Conflict::Reject
    {
        let text = format!("no release may begin: {why}; with policy.conflict: queue it waits for the end");
        return Err(Problem::new(Code::Frozen, text));
    }
    let mut spec = wanted.into_spec(canary, digest.clone());
    spec.requester.authenticated_as = Some(user.name);
    let created = hook.create(Kind::Promotion, namespace, &name, &spec).await?;
    let promotion = if created {
        hook.find_promotion(namespace, &name).await?
    } else {
        // The watch has not shown it yet: another request was faster.
        let read = hook.read_promotion(namespace, &name).await?;
        read.ok_or_else(|| Problem::new(Code::Unavailable, "the promotion went a moment ago"))?
    };
    if !created {
        return again(hook, &promotion, &digest);
    }
    let location = path(namespace, &name);
    let location = HeaderValue::from_str(&location).unwrap_or(HeaderValue::from_static("/"));
    let headers = [
        (header::LOCATION, location),
        (header::RETRY_AFTER, HeaderValue::from(2)),
    ];
    Ok((StatusCode::CREATED, headers, axum::Json(hook.view(&promotion))).into_response())
}

/// The key came before: the same promotion if it came with the same body.
fn again(hook: &Hook, promotion: &Promotion, digest: &str) -> Result<Response, Problem> {
    if promotion.spec.request_digest.as_deref() != Some(digest) {
        return Err(Problem::new(
            Code::KeyReused,
            "this Idempotency-Key came before with another body; a new promotion needs a new key",
        ));
    }
    Ok(axum::Json(hook.view(promotion)).into_response())
}

/// The state of a promotion, at once or when it changes.
pub async fn state(
    hook: &Hook,
    caller: &Caller,
    namespace: &str,
    id: &str,
    wait: Wait,
) -> Result<Response, Problem> {
    if wait.wait_seconds > WAIT_LIMIT {
        return Err(Problem::new(
            Code::BadRequest,
            format!("waitSeconds: must lie in 0 to {WAIT_LIMIT}"),
        ));
    }
    hook.admit(caller, deed("get", "promotions", None), namespace, id)
        .await?;
    let promotion = hook.find_promotion(namespace, id).await?;
    hook.note_client(&promotion);
    let known = |promotion: &Promotion| {
        let seq = promotion.status.as_ref().map_or(0, |status| status.seq);
        wait.after_seq.is_some_and(|after| seq <= after)
    };
    let waits = wait.wait_seconds > 0 && known(&promotion) && !over(&promotion);
    if !waits {
        return Ok(axum::Json(hook.view(&promotion)).into_response());
    }
    let _place = hook.waiters.try_acquire().map_err(|_| {
        Problem::new(
            Code::TooManyRequests,
            "too many clients wait; ask again without waiting",
        )
    })?;
    let mut changes = hook.ctx.cache.follow(Kind::Promotion, namespace, id);
    let news = async {
        loop {
            // Marked before it is looked at, so that no change is missed.
            changes.mark_unchanged();
            let seen = hook
                .cached(Kind::Promotion, namespace, id)
                .and_then(|object| typed::<Promotion>(&object));
            match seen {
                Some(promotion) if known(&promotion) => {}
                Some(promotion) => return Some(promotion),
                // It went, or its Canary did.
                None => return None,
            }
            if changes.changed().await.is_err() {
                return None;
            }
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(wait.wait_seconds), news);
    let newest = match hook.stopping.run_until_cancelled(waited).await {
        Some(Ok(Some(promotion))) => promotion,
        Some(Ok(None)) => hook.find_promotion(namespace, id).await?,
        // The time is over, or the process ends: another replica goes on.
        Some(Err(_)) | None => promotion,
    };
    Ok(axum::Json(hook.view(&newest)).into_response())
}

/// The log of a promotion from a byte on.
pub async fn log(
    hook: &Hook,
    caller: &Caller,
    namespace: &str,
    id: &str,
    start: i64,
) -> Result<Response, Problem> {
    if start < 0 {
        return Err(Problem::new(Code::BadRequest, "start: must not be negative"));
    }
    hook.admit(caller, deed("get", "promotions", None), namespace, id)
        .await?;
    let promotion = hook.find_promotion(namespace, id).await?;
    hook.note_client(&promotion);
    let part = promotion.status.as_ref().map(|status| status.log.from(start));
    let (text, end) = part.map_or_else(|| (String::new(), 0), |part| (part.text, part.end));
    let mut response = ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response();
    response.headers_mut().insert(TEXT_SIZE, HeaderValue::from(end));
    if !over(&promotion) {
        response
            .headers_mut()
            .insert(MORE_DATA, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// The result, by the status alone.
pub async fn result(hook: &Hook, caller: &Caller, namespace: &str, id: &str) -> Result<Response, Problem> {
    hook.admit(caller, deed("get", "promotions", None), namespace, id)
        .await?;
    let promotion = hook.find_promotion(namespace, id).await?;
    hook.note_client(&promotion);
    let view = hook.view(&promotion);
    let status = match view.phase {
        PromotionPhase::Pending | PromotionPhase::Queued | PromotionPhase::Running => StatusCode::ACCEPTED,
        PromotionPhase::Promoted => StatusCode::OK,
        PromotionPhase::RolledBack | PromotionPhase::Failed => StatusCode::CONFLICT,
        PromotionPhase::Aborted | PromotionPhase::Superseded => StatusCode::GONE,
    };
    Ok((status, axum::Json(view)).into_response())
}

/// The state of a Canary.
pub async fn canary(hook: &Hook, caller: &Caller, namespace: &str, name: &str) -> Result<Response, Problem> {
    hook.admit(caller, deed("get", "canaries", None), namespace, name)
        .await?;
    let canary = hook.find_canary(namespace, name)?;
    let view = CanaryView::of(&canary, hook.unfinished(namespace, name));
    Ok(axum::Json(view).into_response())
}

/// Calls a promotion off.
pub async fn abort(
    hook: &Hook,
    caller: &Caller,
    namespace: &str,
    id: &str,
    bytes: &Bytes,
) -> Result<Response, Problem> {
    let user = hook
        .admit(caller, deed("create", "promotions", Some("abort")), namespace, id)
        .await?;
    let Abort { action, reason } = body::read(bytes)?;
    let promotion = hook.find_promotion(namespace, id).await?;
    let spec = CommandSpec {
        canary_ref: promotion.spec.canary_ref.clone(),
        verb: Verb::Abort,
        revision: None,
        promotion: Some(id.to_owned()),
        action,
        reason: body::words("reason", reason)?,
        requested_by: user.name,
    };
    // One abort of a promotion is as good as many.
    let name = names::command(namespace, &[id], "abort");
    let place = Place {
        kind: Kind::Command,
        namespace,
        name: &name,
    };
    about_promotion(hook, place, &promotion, &spec).await
}

/// Orders something about the release of a promotion.
pub async fn order(
    hook: &Hook,
    caller: &Caller,
    namespace: &str,
    id: &str,
    bytes: &Bytes,
    verb: Verb,
) -> Result<Response, Problem> {
    let user = hook
        .admit(
            caller,
            deed("create", "promotions", Some(subresource(verb))),
            namespace,
            id,
        )
        .await?;
    let Order { reason } = body::read(bytes)?;
    let promotion = hook.find_promotion(namespace, id).await?;
    let spec = CommandSpec {
        canary_ref: promotion.spec.canary_ref.clone(),
        verb,
        revision: None,
        promotion: Some(id.to_owned()),
        action: None,
        reason: body::words("reason", reason)?,
        requested_by: user.name,
    };
    let name = names::command(namespace, &[id, &key(hook, caller)], subresource(verb));
    let place = Place {
        kind: Kind::Command,
        namespace,
        name: &name,
    };
    about_promotion(hook, place, &promotion, &spec).await
}

/// Approves or rejects a gate for the release of a promotion.
pub async fn settle(
    hook: &Hook,
    caller: &Caller,
    namespace: &str,
    id: &str,
    bytes: &Bytes,
    decision: GateDecision,
) -> Result<Response, Problem> {
    let user = hook.admit(caller, APPROVE, namespace, "").await?;
    let Settlement { gate, comment } = body::read(bytes)?;
    body::check_gate(&gate)?;
    let promotion = hook.find_promotion(namespace, id).await?;
    // One decision of one person about one gate is as good as many.
    let name = names::approval(namespace, &[id, &gate, &user.name], &format!("{decision:?}"));
    let spec = ApprovalSpec {
        canary_ref: promotion.spec.canary_ref.clone(),
        gate,
        decision,
        revision: None,
        promotion: Some(id.to_owned()),
        comment: body::words("comment", comment)?,
        approved_by: user.name,
    };
    let place = Place {
        kind: Kind::Approval,
        namespace,
        name: &name,
    };
    about_promotion(hook, place, &promotion, &spec).await
}

/// Approves or rejects a gate for a revision of a Canary.
pub async fn revision_settle(
    hook: &Hook,
    caller: &Caller,
    namespace: &str,
    canary: &str,
    bytes: &Bytes,
    decision: GateDecision,
) -> Result<Response, Problem> {
    let user = hook.admit(caller, APPROVE, namespace, "").await?;
    let RevisionSettlement {
        gate,
        revision,
        comment,
    } = body::read(bytes)?;
    body::check_gate(&gate)?;
    body::check_revision(&revision)?;
    hook.find_canary(namespace, canary)?;
    let subject = [canary, &revision, &gate, &key(hook, caller)];
    let name = names::approval(namespace, &subject, &format!("{decision:?}"));
    let spec = ApprovalSpec {
        canary_ref: CanaryRef {
            name: canary.to_owned(),
        },
        gate,
        decision,
        revision: Some(revision),
        promotion: None,
        comment: body::words("comment", comment)?,
        approved_by: user.name,
    };
    hook.create(Kind::Approval, namespace, &name, &spec).await?;
    let accepted = Accepted {
        command: Some(name),
        promotion: None,
    };
    Ok((StatusCode::ACCEPTED, axum::Json(accepted)).into_response())
}

/// An object to create.
struct Place<'a> {
    kind: Kind,
    namespace: &'a str,
    name: &'a str,
}

async fn about_promotion(
    hook: &Hook,
    place: Place<'_>,
    promotion: &Promotion,
    spec: &(impl serde::Serialize + Sync),
) -> Result<Response, Problem> {
    let Place {
        kind,
        namespace,
        name,
    } = place;
    let (status, command) = if over(promotion) {
        (StatusCode::OK, None)
    } else {
        hook.create(kind, namespace, name, spec).await?;
        (StatusCode::ACCEPTED, Some(name.to_owned()))
    };
    let accepted = Accepted {
        command,
        promotion: Some(hook.view(promotion)),
    };
    Ok((status, axum::Json(accepted)).into_response())
}

/// Orders something about a revision of a Canary.
pub async fn revision_order(
    hook: &Hook,
    caller: &Caller,
    namespace: &str,
    canary: &str,
    bytes: &Bytes,
    verb: Verb,
) -> Result<Response, Problem> {
    let user = hook
        .admit(
            caller,
            deed("create", "canaries", Some(subresource(verb))),
            namespace,
            canary,
        )
        .await?;
    let RevisionOrder { revision, reason } = body::read(bytes)?;
    body::check_revision(&revision)?;
    hook.find_canary(namespace, canary)?;
    let name = names::command(
        namespace,
        &[canary, &revision, &key(hook, caller)],
        subresource(verb),
    );
    let spec = CommandSpec {
        canary_ref: CanaryRef {
            name: canary.to_owned(),
        },
        verb,
        revision: Some(revision),
        promotion: None,
        action: None,
        reason: body::words("reason", reason)?,
        requested_by: user.name,
    };
    hook.create(Kind::Command, namespace, &name, &spec).await?;
    let accepted = Accepted {
        command: Some(name),
        promotion: None,
    };
    Ok((StatusCode::ACCEPTED, axum::Json(accepted)).into_response())
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
