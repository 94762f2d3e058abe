//! A promotion is started, waited for, and read.

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::Value;

use super::{Caller, orders::people, over, permission, readable, wait};
use crate::{
    api::{Conflict, Promotion, PromotionPhase, Requester},
    freeze,
    hook_api::{
        Hook,
        body::NewPromotion,
        extract::RequestBody,
        problem::{Code, Problem},
        route::Wait,
        view::path,
    },
    promotion::names,
    reconcile::{kinds::Kind, snapshot},
};

const TEXT_SIZE: HeaderName = HeaderName::from_static("x-text-size");
const MORE_DATA: HeaderName = HeaderName::from_static("x-more-data");

/// Promotions of one Canary that are there at most, with those that are over: every replica keeps them in memory.
const MOST_KEPT: usize = 1_000;
/// Promotions of one Canary that may wait for their turn.
const MOST_UNFINISHED: usize = 50;

/// Starts a promotion, or finds the one that this key started.
pub async fn start(
    hook: &Hook,
    caller: &Caller,
    namespace: &str,
    canary: &str,
    body: RequestBody,
) -> Result<Response, Problem> {
    let user = hook
        .admit(
            caller,
            permission("create", "canaries", Some("promote")),
            namespace,
            canary,
        )
        .await?;
    let key = caller.key.as_ref().ok_or_else(|| {
        Problem::new(
            Code::BadRequest,
            "header Idempotency-Key is missing: without it a repeated request would release twice",
        )
    })?;
    hook.find_canary(namespace, canary)?;
    let mut wanted: NewPromotion = body.read(hook, namespace).await?;
    wanted.check()?;
    // Who asks does not count: another build may come again with the key of the first.
    let text = serde_json::to_string(&NewPromotion {
        requester: Requester::default(),
        ..wanted.clone()
    });
    let text = text.unwrap_or_default();
    let digest = names::request(&text);
    let name = names::promotion(namespace, canary, key);
    if let Some(object) = hook.cached(Kind::Promotion, namespace, &name) {
        return again(hook, &readable(Kind::Promotion, &object)?, canary, &digest);
    }
    if let Some(expired) = hook.forgotten_of(namespace, &name, canary).await? {
        return Err(expired);
    }
    if let Err(refused) = may_begin(hook, namespace, canary, &wanted) {
        // This replica's watch may be behind: what another one has started already is not refused.
        let there = hook.read::<Promotion>(Kind::Promotion, namespace, &name).await?;
        return there.map_or(Err(refused), |promotion| again(hook, &promotion, canary, &digest));
    }
    let named = std::mem::take(&mut wanted.requester.on_behalf_of);
    wanted.requester.on_behalf_of = people(named, user.actors);
    let mut spec = wanted.into_spec(canary, digest.clone());
    spec.requester.authenticated_as = Some(user.name);
    let created = hook.create(Kind::Promotion, namespace, &name, &spec).await?;
    let promotion = if created {
        hook.find_promotion(namespace, &name).await?
    } else {
        // The watch has not shown it yet: another request was faster.
        let read = hook.read::<Promotion>(Kind::Promotion, namespace, &name).await?;
        read.ok_or_else(|| Problem::new(Code::Unavailable, "the promotion went a moment ago"))?
    };
    if !created {
        return again(hook, &promotion, canary, &digest);
    }
    let location = path(namespace, &name);
    let location = HeaderValue::from_str(&location).unwrap_or(HeaderValue::from_static("/"));
    let headers = [
        (header::LOCATION, location),
        (header::RETRY_AFTER, HeaderValue::from(2)),
    ];
    Ok((StatusCode::CREATED, headers, axum::Json(hook.view(&promotion))).into_response())
}

/// Whether a new promotion may begin, as far as this replica knows.
fn may_begin(hook: &Hook, namespace: &str, canary: &str, wanted: &NewPromotion) -> Result<(), Problem> {
    if wanted
        .policy
        .not_after
        .is_some_and(|at| hook.ctx.clock.now() > at)
    {
        return Err(Problem::new(
            Code::Expired,
            "policy.notAfter: is over; whoever sends this asks again for what was to be released before",
        ));
    }
    if hook.promotions(namespace, canary) >= MOST_KEPT {
        let text = format!(
            "{MOST_KEPT} promotions of this Canary are kept; those that are over go after policy.ttlSeconds"
        );
        return Err(Problem::new(Code::TooManyRequests, text));
    }
    let others = hook.unfinished(namespace, canary);
    if others.len() >= MOST_UNFINISHED {
        let text = format!("{MOST_UNFINISHED} promotions of this Canary are not over");
        return Err(Problem::new(Code::TooManyRequests, text));
    }
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
    Ok(())
}

/// The key came before: the same promotion if it came with the same body.
fn again(hook: &Hook, promotion: &Promotion, canary: &str, digest: &str) -> Result<Response, Problem> {
    // Names are made of key and Canary, but whoever writes a Promotion by hand may give it any name.
    let of_canary = promotion.spec.canary_ref.name == canary;
    if !of_canary || promotion.spec.request_digest.as_deref() != Some(digest) {
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
    query: Wait,
) -> Result<Response, Problem> {
    wait::check(query.wait_seconds)?;
    hook.admit(caller, permission("get", "promotions", None), namespace, id)
        .await?;
    let promotion = hook.find_promotion(namespace, id).await?;
    hook.note_client(&promotion);
    let seq = promotion.status.as_ref().map_or(0, |status| status.seq);
    let after = query.after_seq.filter(|after| seq <= *after);
    let Some(after) = after.filter(|_| query.wait_seconds > 0 && !over(&promotion)) else {
        return Ok(axum::Json(hook.view(&promotion)).into_response());
    };
    // Thousands may wait: none of them keeps a copy.
    drop(promotion);
    let news = |object: &Value| is_news(object, after);
    let had_place = hook
        .wait((Kind::Promotion, namespace, id), query.wait_seconds, news)
        .await;
    let promotion = hook.find_promotion(namespace, id).await?;
    Ok(wait::answer(had_place, axum::Json(hook.view(&promotion))))
}

/// Whether the number of the promotion's state is above `after`, or the promotion is over.
fn is_news(promotion: &Value, after: i64) -> bool {
    let status = &promotion["status"];
    status["seq"].as_i64().unwrap_or(0) > after
        || PromotionPhase::deserialize(&status["phase"]).is_ok_and(PromotionPhase::finished)
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
    hook.admit(caller, permission("get", "promotions", None), namespace, id)
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
    hook.admit(caller, permission("get", "promotions", None), namespace, id)
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
