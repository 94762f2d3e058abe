//! Facts on their way out. They wait in the status of their Canary until every sink was told, so a crash loses none; each
//! has a number, so that telling one twice is harmless (I9).
//!
//! Sinks are Kubernetes Events and any number of HTTP addresses. Nothing on the reconcile path waits for one of them, and
//! none waits for another.

mod cdevent;
pub mod cloud_event;
pub mod config;
pub mod http;
mod kubernetes;
mod lines;
mod purl;
mod sink;
#[cfg(test)]
mod tests;
pub mod verdict;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub use sink::Sink;

use crate::{
    api::Notice,
    defect::{Defect, planted},
    reconcile::Context,
    rollout::CanaryId,
};

/// What Kubernetes Events are called among the sinks.
const KUBERNETES_EVENTS: &str = "kubernetes-events";

/// A fact of one Canary.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// The Canary.
    pub canary: CanaryId,
    /// Its UID.
    pub uid: String,
    /// What there is to tell.
    pub notice: Notice,
}

/// How far the facts of one Canary have come.
#[derive(Default)]
struct Cursor {
    uid: String,
    /// Number of the newest fact handed over.
    handed: i64,
    /// Number of the newest fact published as a Kubernetes Event, or given up.
    published: i64,
}

/// The way into the outbox.
pub struct Outbox {
    queue: UnboundedSender<Fact>,
    cursors: Mutex<HashMap<CanaryId, Cursor>>,
    sinks: Vec<Sink>,
    woken: UnboundedSender<CanaryId>,
}

impl Outbox {
    /// An outbox that also tells `sinks`, and the end from which [`deliver`] takes. `woken` gets the Canaries whose facts
    /// are all told.
    #[must_use]
    pub fn new(sinks: Vec<Sink>, woken: UnboundedSender<CanaryId>) -> (Outbox, UnboundedReceiver<Fact>) {
        let (queue, facts) = unbounded_channel();
        (
            Outbox {
                queue,
                cursors: Mutex::default(),
                sinks,
                woken,
            },
            facts,
        )
    }

    /// The HTTP sinks.
    #[must_use]
    pub fn sinks(&self) -> &[Sink] {
        &self.sinks
    }

    fn cursors(&self) -> MutexGuard<'_, HashMap<CanaryId, Cursor>> {
        self.cursors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over the facts that were not handed over yet. Only facts that stand in a written status may come here.
    pub fn tell(&self, canary: &CanaryId, uid: &str, pending: &[Notice]) {
        let mut cursors = self.cursors();
        let cursor = cursors.entry(canary.clone()).or_default();
        if cursor.uid != uid {
            *cursor = Cursor {
                uid: uid.to_owned(),
                ..Cursor::default()
            };
        }
        for notice in pending.iter().filter(|notice| notice.seq > cursor.handed) {
            let fact = Fact {
                canary: canary.clone(),
                uid: uid.to_owned(),
                notice: notice.clone(),
            };
            if self.queue.send(fact).is_ok() {
                tracing::info!(%canary, reason = notice.reason, "{}", notice.message);
            }
        }
        cursor.handed = pending
            .last()
            .map_or(cursor.handed, |notice| notice.seq.max(cursor.handed));
        drop(cursors);
        for sink in self.sinks.iter().filter(|sink| sink.wants(canary)) {
            sink.put(canary, uid, pending);
        }
    }

    /// Number of the newest fact of `canary` that every sink was told.
    #[must_use]
    pub fn told(&self, canary: &CanaryId) -> i64 {
        let published = self.cursors().get(canary).map_or(0, |cursor| cursor.published);
        let wanting = self.sinks.iter().filter(|sink| sink.wants(canary));
        wanting.map(|sink| sink.passed(canary)).fold(published, i64::min)
    }

    /// Forgets a Canary that is gone.
    pub fn forget(&self, ctx: &Context, canary: &CanaryId) {
        self.cursors().remove(canary);
        for sink in &self.sinks {
            sink.forget(ctx, canary);
        }
    }

    fn published(&self, fact: &Fact) {
        let mut cursors = self.cursors();
        let cursor = cursors.get_mut(&fact.canary);
        if let Some(cursor) = cursor.filter(|cursor| cursor.uid == fact.uid) {
            cursor.published = cursor.published.max(fact.notice.seq);
        }
        drop(cursors);
        self.settled(&fact.canary);
    }

    /// A sink knows every fact of `canary`. If it was the last one, the facts can go from the status. Kubernetes Events
    /// alone are quick enough for the next round that comes anyway.
    fn settled(&self, canary: &CanaryId) {
        let handed = self.cursors().get(canary).map(|cursor| cursor.handed);
        if !self.sinks.is_empty() && handed.is_some_and(|handed| self.told(canary) >= handed) {
            // Nobody listens any more when the process ends.
            let _ = self.woken.send(canary.clone());
        }
    }
}

/// Tells every sink, until the process ends.
pub async fn deliver(ctx: Arc<Context>, facts: UnboundedReceiver<Fact>) {
    let sinks = ctx.outbox.sinks.iter();
    let posting = futures::future::join_all(sinks.map(|sink| sink::run(&ctx, sink)));
    futures::join!(publish(&ctx, facts), posting);
}

/// Publishes facts as Kubernetes Events in order, each until it is told.
async fn publish(ctx: &Context, mut facts: UnboundedReceiver<Fact>) {
    while let Some(fact) = facts.recv().await {
        let mut failures = 0;
        let told = loop {
            let Err(error) = kubernetes::publish(&ctx.client, &fact).await else {
                break true;
            };
            failures += 1;
            ctx.metrics.untold();
            tracing::warn!(canary = %fact.canary, %error, "an event could not be published");
            if !kubernetes::may_succeed(&error) || planted(Defect::ForgetsFacts) {
                break false;
            }
            pause(ctx, failures).await;
        };
        if told {
            ctx.metrics.told(KUBERNETES_EVENTS);
        } else {
            ctx.metrics.gave_up(KUBERNETES_EVENTS, "refused", 1);
        }
        ctx.outbox.published(&fact);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a failed delivery has no condition to wait for"
)]
async fn pause(ctx: &Context, failures: u32) {
    let span = std::time::Duration::from_millis(200) * 2_u32.saturating_pow(failures.min(7));
    tokio::time::sleep(ctx.jitter.spread(span)).await;
}
