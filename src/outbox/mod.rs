//! Facts on their way out. They wait in the status of their Canary until they are told, so a crash loses none; each
//! has a number, so that telling one twice is harmless (I9).
//!
//! So far there is one sink: Kubernetes Events. Nothing on the reconcile path waits for it.

mod event;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{
    api::Notice,
    defect::{Defect, planted},
    reconcile::Context,
    rollout::CanaryId,
};

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

/// The way into the outbox.
pub struct Outbox {
    queue: UnboundedSender<Fact>,
    /// Number of the newest fact handed over, by Canary.
    handed: Mutex<HashMap<CanaryId, i64>>,
}

impl Outbox {
    /// An outbox, and the end from which [`deliver`] takes.
    #[must_use]
    pub fn new() -> (Outbox, UnboundedReceiver<Fact>) {
        let (queue, facts) = unbounded_channel();
        (
            Outbox {
                queue,
                handed: Mutex::default(),
            },
            facts,
        )
    }

    /// Hands over the facts that were not handed over yet. Only facts that stand in a written status may come here.
    pub fn tell(&self, canary: &CanaryId, uid: &str, pending: &[Notice]) {
        let mut handed = self.handed.lock().unwrap_or_else(PoisonError::into_inner);
        let last = handed.entry(canary.clone()).or_insert(0);
        for notice in pending.iter().filter(|notice| notice.seq > *last) {
            let fact = Fact {
                canary: canary.clone(),
                uid: uid.to_owned(),
                notice: notice.clone(),
            };
            if self.queue.send(fact).is_ok() {
                tracing::info!(%canary, reason = notice.reason, "{}", notice.message);
            }
        }
        *last = pending.last().map_or(*last, |notice| notice.seq.max(*last));
    }

    /// Forgets a Canary that is gone.
    pub fn forget(&self, canary: &CanaryId) {
        self.handed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(canary);
    }
}

/// Tells facts in order, each until it is told.
pub async fn deliver(ctx: Arc<Context>, mut facts: UnboundedReceiver<Fact>) {
    while let Some(fact) = facts.recv().await {
        let mut failures = 0;
        while let Err(error) = event::publish(&ctx.client, &fact).await {
            failures += 1;
            ctx.metrics.untold();
            tracing::warn!(canary = %fact.canary, %error, "an event could not be published");
            if !event::may_succeed(&error) || planted(Defect::ForgetsFacts) {
                break;
            }
            pause(&ctx, failures).await;
        }
        ctx.local.tell(&fact.canary, &fact.uid, fact.notice.seq);
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
