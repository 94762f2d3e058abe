//! Watching: one stream per kind fills the cache and wakes the Canaries concerned.
//!
//! Where etcd was restored from a backup without a raise of its revision, a watch goes on from a version that is not there yet, and
//! is told nothing until that is passed (kubernetes#107457). So a watch that broke off asks for the version of a list: where that is
//! older than any object was, all is listed again.
//!
//! Canaries are listed first, so that the index is filled before anything else is looked at, and objects that nobody
//! is concerned by are not kept. What names a Canary concerns it, whether or not it is there.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use kube::{
    api::{Api, DynamicObject, ListParams},
    runtime::{
        WatchStreamExt,
        utils::Backoff,
        watcher::{self, Event, watcher},
    },
};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    Context,
    cache::{Availability, Cache, part_of},
    concern,
    index::Part,
    kinds::Kind,
    queue::{Lane, Queue},
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

/// How long the API server may take to tell the version of a list, and how long to wait before it is asked once more.
const ASKED_FOR: Duration = Duration::from_secs(5);

/// Watches `kind` for ever; sends once on `listed` when the first list is complete or known to be impossible.
pub async fn watch(
    ctx: Arc<Context>,
    queue: Arc<Queue>,
    kind: Kind,
    listed: tokio::sync::oneshot::Sender<()>,
) {
    let mut listed = Some(listed);
    loop {
        follow(&ctx, &queue, kind, &mut listed).await;
        tracing::warn!(
            ?kind,
            "versions count anew: etcd was restored from a backup, and all is listed again"
        );
    }
}

/// Lists and watches until versions count anew.
async fn follow(
    ctx: &Context,
    queue: &Queue,
    kind: Kind,
    listed: &mut Option<tokio::sync::oneshot::Sender<()>>,
) {
    let restores = ctx.cache.restores();
    let api = kind.watched(&ctx.client, ctx.settings.namespace.as_deref());
    let backoff = WatchBackoff {
        failures: 0,
        jitter: ctx.jitter.clone(),
    };
    let events = watcher(api.clone(), watcher::Config::default()).backoff(backoff);
    let mut stream = events.boxed();
    // Whether the watch broke off, and nobody has told since which versions there are.
    let mut doubted = false;
    loop {
        let event = tokio::select! {
            event = stream.next() => event,
            () = tokio::time::sleep_until(Instant::now() + ctx.jitter.spread(ASKED_FOR)), if doubted => {
                doubted = !tells_version(ctx, &api).await;
                if ctx.cache.restores() != restores {
                    return;
                }
                continue;
            }
        };
        let Some(event) = event else { return };
        let first_over = match event {
            Ok(event) => take_in(ctx, queue, kind, event),
            Err(error) => {
                let first_over = note_failure(ctx, queue, kind, &error);
                let broke = matches!(
                    error,
                    watcher::Error::WatchFailed(_) | watcher::Error::WatchStartFailed(_)
                );
                if broke && ctx.cache.availability(kind) == Availability::Ready {
                    doubted = !tells_version(ctx, &api).await;
                }
                first_over
            }
        };
        if first_over && let Some(listed) = listed.take() {
            // Nobody waiting any more means that the controller ends.
            let _: Result<(), ()> = listed.send(());
        }
        if ctx.cache.restores() != restores {
            return;
        }
    }
}

/// Asks which version a list has now; returns whether it was told, or is not to be had.
async fn tells_version(ctx: &Context, api: &Api<DynamicObject>) -> bool {
    let known = ctx.cache.newest();
    let asked = ListParams::default().limit(1);
    match tokio::time::timeout(ASKED_FOR, api.list(&asked)).await {
        Ok(Ok(list)) => {
            let version = list.metadata.resource_version.unwrap_or_default();
            ctx.cache.look_at_version(&version, known);
            true
        }
        // Who may not list, or finds no such kind, is told so by the watch.
        Ok(Err(kube::Error::Api(status))) => status.code < 500 && status.code != 429,
        _ => false,
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
    ctx.cache.heard(&json);
    let part = part_of(kind, &json);
    if kind == Kind::Canary {
        register(ctx, &json);
    } else if kind.istio() {
        let touched = ctx.index.mesh.note(&part, &json);
        ctx.index.join(&part, &touched);
    }
    if kind != Kind::Canary && ctx.index.concerned(&part).is_empty() {
        // It may have concerned somebody before, and would be out of date when it does again.
        ctx.cache.forget(&part);
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
        concern(ctx, &spec);
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
