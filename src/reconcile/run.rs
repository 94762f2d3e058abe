//! The run loop: watches, workers and samples, until told to stop.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use chrono::TimeDelta;
use futures::FutureExt;
use tokio::sync::{Notify, mpsc::UnboundedReceiver, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    Context, Next,
    error::{Error, Retry},
    kinds::Kind,
    queue::{Lane, Queue},
    reconcile, watch,
};
use crate::rollout::CanaryId;

/// Rounds that may run at once.
const WORKERS: usize = 8;
/// How long one round may take.
const ROUND_LIMIT: Duration = Duration::from_secs(30);
/// The longest pause after failures.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// Rounds in a row that may each write something. A rollout needs a dozen; more mean that what we write is not what
/// we then read, and that must cost neither the API server nor us more than a pause allows.
const MAX_WRITING_ROUNDS: u32 = 50;

/// Runs until `stop`: running rounds finish, no new ones begin. `sampled` names the Canaries with a new sample; `listed` is
/// told once when every kind is.
pub async fn run(
    ctx: Arc<Context>,
    mut sampled: UnboundedReceiver<CanaryId>,
    listed: Arc<Notify>,
    stop: CancellationToken,
) {
    let queue = Arc::new(Queue::new(ctx.clock.clone()));
    // Dropping this future ends every task at once.
    let mut tasks = JoinSet::new();
    for kind in [Kind::Canary].into_iter().chain(Kind::PARTS) {
        let (told, first_list) = oneshot::channel();
        let watching = watch::watch(ctx.clone(), queue.clone(), kind, told);
        let watching = stop.clone().run_until_cancelled_owned(watching);
        tasks.spawn(watching.map(drop));
        // One after the other: the index must be filled by the Canaries before anything else is looked at.
        if stop.run_until_cancelled(first_list).await.is_none() {
            break;
        }
    }
    ctx.metrics.ready();
    listed.notify_one();
    tracing::info!("every watch is listed");
    if stop
        .run_until_cancelled(ctx.leadership.acquired())
        .await
        .is_some()
    {
        tracing::info!(epoch = %ctx.leadership.epoch(), "deciding");
    }
    for _ in 0..WORKERS {
        tasks.spawn(work(ctx.clone(), queue.clone(), stop.clone()));
    }
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            id = sampled.recv() => match id {
                Some(id) => queue.push(id.clone(), watch::lane(&ctx, &id)),
                None => break,
            },
        }
    }
    while tasks.join_next().await.is_some() {}
}

async fn work(ctx: Arc<Context>, queue: Arc<Queue>, stop: CancellationToken) {
    while let Some(id) = stop.run_until_cancelled(queue.next()).await {
        let outcome = round(&ctx, &id).await;
        settle(&ctx, &queue, &id, outcome);
        queue.done(&id);
    }
}

/// One round, bounded in time; a panic in it concerns this Canary alone.
async fn round(ctx: &Context, id: &CanaryId) -> Result<Next, Error> {
    let round = AssertUnwindSafe(reconcile(ctx, id)).catch_unwind();
    match tokio::time::timeout(ROUND_LIMIT, round).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(Error::Panicked(id.clone())),
        Err(_) => Err(Error::Timeout(id.clone())),
    }
}

fn settle(ctx: &Context, queue: &Queue, id: &CanaryId, outcome: Result<Next, Error>) {
    match outcome {
        Ok(next) if next.again && ctx.local.wrote(id) > MAX_WRITING_ROUNDS => {
            retry_later(ctx, queue, id, &Error::NoProgress(id.clone()));
        }
        Ok(next) => {
            ctx.local.succeeded(id);
            ctx.metrics.round(None);
            if !next.again {
                ctx.local.rested(id);
            }
            let lane = if next.urgent { Lane::Urgent } else { Lane::Routine };
            queue.at(id, next.wake_at, lane);
            if next.again {
                queue.push(id.clone(), lane);
            }
        }
        Err(error) => retry_later(ctx, queue, id, &error),
    }
}

fn retry_later(ctx: &Context, queue: &Queue, id: &CanaryId, error: &Error) {
    ctx.metrics.round(Some(error.reason()));
    if let Error::RevisionGone { revision, .. } = error {
        ctx.local.cannot_restore(id, revision);
    }
    if error.outcome_unknown() {
        ctx.local.unsettled(id);
    }
    let failures = ctx.local.failed(id);
    let pause = ctx.jitter.spread(pause(error, failures));
    tracing::warn!(canary = %id, reason = error.reason(), %error, ?pause, "round failed");
    let at = ctx.clock.now() + TimeDelta::from_std(pause).unwrap_or_default();
    queue.at(id, Some(at), watch::lane(ctx, id));
}

/// How long to wait after the `failures`-th failure in a row.
fn pause(error: &Error, failures: u32) -> Duration {
    let first = match error.retry() {
        Retry::Soon => Duration::from_millis(20),
        Retry::Backoff => Duration::from_millis(250),
    };
    (first * 2_u32.saturating_pow(failures.saturating_sub(1).min(12))).min(MAX_PAUSE)
}
