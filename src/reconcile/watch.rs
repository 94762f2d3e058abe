//! Watching: one stream per kind fills the cache and wakes the Canaries concerned.
//!
//! Canaries are listed first, so that the index is filled before anything else is looked at, and objects that nobody
//! is concerned by are not kept. What names a Canary concerns it, whether or not it is there.

mod stream; // what is there of a kind, and every change

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use kube::{
    api::DynamicObject,
    runtime::{
        WatchStreamExt,
        utils::Backoff,
        watcher::{self, Event},
    },
};
use serde_json::Value;

use super::{
    Context,
    cache::{Availability, Cache, part_of},
    index::Part,
    kinds::Kind,
    queue::{Lane, Queue},
    snapshot,
};
use crate::{
    api::Canary,
    jitter::Jitter,
    rollout::{self, CanaryId},
};

/// How long to wait after a failed watch: doubling to five seconds, so that a restarted API server or a CRD that
/// appears is noticed soon; with jitter.
struct WatchBackoff {
    failures: u32,
    jitter: Arc<Jitter>,
}

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let base = Duration::from_millis(200 << self.failures.min(4));
        self.failures += 1;
        Some(self.jitter.spread(base.min(Duration::from_secs(3))))
    }
}

impl Backoff for WatchBackoff {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Watches `kind` for ever; sends once on `listed` when the first list is complete or known to be impossible.
pub async fn watch(
    ctx: Arc<Context>,
    queue: Arc<Queue>,
    kind: Kind,
    listed: tokio::sync::oneshot::Sender<()>,
) {
    let mut stream = stream::events(ctx.clone(), kind)
        .backoff(WatchBackoff {
            failures: 0,
            jitter: ctx.jitter.clone(),
        })
        .boxed();
    let mut listed = Some(listed);
    while let Some(event) = stream.next().await {
        let first_over = match event {
            Ok(event) => take_in(&ctx, &queue, kind, event),
            Err(error) => note_failure(&ctx, &queue, kind, &error),
        };
        if first_over && let Some(listed) = listed.take() {
            // Nobody waiting any more means that the controller ends.
            let _: Result<(), ()> = listed.send(());
        }
    }
}

/// Takes an event in; returns whether a list is complete.
fn take_in(ctx: &Context, queue: &Queue, kind: Kind, event: Event<DynamicObject>) -> bool {
    if !matches!(event, Event::Init) {
        ctx.metrics.watch_heard(kind, ctx.clock.now());
        if ctx.local.watches.heard(kind) {
            tracing::info!(?kind, "watch works again");
            wake_all(ctx, queue);
        }
    }
    match event {
        Event::Init => {
            ctx.index.mesh.begin_list(kind);
            ctx.cache.begin_list(kind, ctx.index.parts(kind));
        }
        Event::InitApply(object) => put(ctx, queue, kind, &object, Cache::put_listed),
        Event::Apply(object) => put(ctx, queue, kind, &object, Cache::put),
        Event::Delete(object) => {
            let Ok(json) = serde_json::to_value(&object) else {
                return false;
            };
            if kind.istio() {
                ctx.index.mesh.gone(&part_of(kind, &json));
            }
            if ctx.cache.remove(kind, &json) {
                let part = part_of(kind, &json);
                wake(ctx, queue, &part);
                if kind == Kind::Canary {
                    wake_neighbours(ctx, queue, &part);
                }
            }
        }
        Event::InitDone => {
            let was = ctx.cache.availability(kind);
            ctx.index.mesh.end_list(kind);
            for part in ctx.cache.end_list(kind) {
                wake(ctx, queue, &part);
                if kind == Kind::Canary {
                    wake_neighbours(ctx, queue, &part);
                }
            }
            if was != Availability::Ready {
                wake_all(ctx, queue);
            }
            return true;
        }
    }
    false
}

fn put(
    ctx: &Context,
    queue: &Queue,
    kind: Kind,
    object: &DynamicObject,
    take_in: fn(&Cache, Kind, Value) -> bool,
) {
    let Ok(json) = serde_json::to_value(object) else {
        return;
    };
    let part = part_of(kind, &json);
    if kind == Kind::Canary {
        register(ctx, &json);
    } else if kind.istio() {
        let touched = ctx.index.mesh.note(&part, &json);
        ctx.index.join(&part, &touched);
    }
    if kind != Kind::Canary && ctx.index.concerned(&part).is_empty() {
        if kind.istio() {
            // It may have concerned somebody before, and would be out of date when it does again.
            ctx.cache.forget(&part);
        }
        return;
    }
    if kind.istio() {
        ctx.cache.watched(&part);
    }
    if take_in(&ctx.cache, kind, json) {
        wake(ctx, queue, &part);
    }
}

/// A Canary's parts are in the index before any of them is looked at.
fn register(ctx: &Context, json: &Value) {
    let Ok(canary) = serde_json::from_value::<Canary>(json.clone()) else {
        return;
    };
    if let Ok(spec) = rollout::validate(&canary, ctx.settings.drain) {
        ctx.index.set(&spec.id, snapshot::parts(&spec, &ctx.index.mesh));
    }
}

/// Wakes the Canaries concerned by `part`.
pub fn wake(ctx: &Context, queue: &Queue, part: &Part) {
    if part.kind == Kind::Canary {
        let id = CanaryId {
            namespace: part.namespace.clone(),
            name: part.name.clone(),
        };
        queue.push(id.clone(), lane(ctx, &id));
        return;
    }
    for id in ctx.index.concerned(part) {
        let lane = lane(ctx, &id);
        queue.push(id, lane);
    }
}

/// Canaries that yielded to the one that is gone may go on.
fn wake_neighbours(ctx: &Context, queue: &Queue, gone: &Part) {
    let id = CanaryId {
        namespace: gone.namespace.clone(),
        name: gone.name.clone(),
    };
    for other in ctx.index.neighbours(&id) {
        let lane = lane(ctx, &other);
        queue.push(other, lane);
    }
}

/// A Canary whose canary has traffic, or whose traffic is on its way back, passes before routine work.
pub fn lane(ctx: &Context, id: &CanaryId) -> Lane {
    let part = Part {
        kind: Kind::Canary,
        namespace: id.namespace.clone(),
        name: id.name.clone(),
    };
    let canary = ctx.cache.get(&part);
    let status = canary.as_ref().and_then(|canary| canary.get("status"));
    let exposed = status
        .and_then(|status| status.get("canaryWeight")?.as_i64())
        .is_some_and(|weight| weight > 0);
    let returning = status.is_some_and(|status| status.get("retirement").is_some_and(|r| !r.is_null()));
    let retreated = status.is_some_and(|status| status.get("retreat").is_some_and(|r| !r.is_null()));
    if exposed || returning || retreated {
        Lane::Urgent
    } else {
        Lane::Routine
    }
}

fn wake_all(ctx: &Context, queue: &Queue) {
    for object in ctx.cache.all(Kind::Canary) {
        wake(ctx, queue, &part_of(Kind::Canary, &object));
    }
}

/// Notes that the kind cannot be watched; returns whether waiting for its first list makes no sense.
fn note_failure(ctx: &Context, queue: &Queue, kind: Kind, error: &watcher::Error) -> bool {
    let code = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code,
        _ => 0,
    };
    // Whoever works in one namespace need not have rights beyond it.
    let unseen = code == 403 && kind.beyond(ctx.settings.namespace.as_deref());
    let not_served = code == 404 || unseen;
    if unseen {
        if ctx.cache.availability(kind) != Availability::NotServed {
            tracing::warn!(?kind, %error, "no right to read these beyond --namespace: they are taken not to be there");
        }
    } else {
        ctx.metrics.watch_failed(kind);
        tracing::warn!(?kind, %error, "watch failed; it is tried again");
    }
    let begun = matches!(error, watcher::Error::WatchFailed(_));
    let watches = &ctx.local.watches;
    if !not_served && watches.failed(kind, error.to_string(), begun, ctx.clock.now()) {
        tracing::error!(?kind, %error, "watch is broken: nothing is raised and nothing scaled away until it works");
        wake_all(ctx, queue);
    }
    if !kind.optional() {
        return false;
    }
    let first = ctx.cache.availability(kind);
    let failed_list = matches!(error, watcher::Error::InitialListFailed(_));
    let state = if not_served {
        Availability::NotServed
    } else if failed_list && first != Availability::Ready {
        Availability::Failing(error.to_string())
    } else {
        // An interrupted watch goes on from what is known.
        return false;
    };
    if ctx.cache.unavailable(kind, state) {
        wake_all(ctx, queue);
    }
    true
}
