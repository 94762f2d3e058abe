//! The run loop: watches, workers and samples, until told to stop.

use std::{
    panic::{self, AssertUnwindSafe},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use chrono::TimeDelta;
use futures::FutureExt;
use tokio::sync::{Notify, mpsc::UnboundedReceiver, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Context, Next,
    error::{Error, Retry},
    kinds::Kind,
    queue::{Lane, Queue},
    reconcile, served, watch,
};
use crate::rollout::CanaryId;

/// Rounds that may run at once.
const WORKERS: usize = 8;
/// How long one round may take.
const ROUND_LIMIT: Duration = Duration::from_secs(30);
/// The longest pause after failures.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// The longest pause after failures while traffic is at risk.
const URGENT_PAUSE: Duration = Duration::from_secs(5);
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
    let queue = Arc::new(Queue::new(ctx.clock.clone(), ctx.metrics.queue.clone()));
    // Dropping this future ends every task at once.
    let mut tasks = JoinSet::new();
    let parts = Kind::parts(ctx.settings.namespace.as_deref());
    for kind in [Kind::Canary].into_iter().chain(parts) {
        let (told, first_list) = oneshot::channel();
        let watching = watch::watch(ctx.clone(), queue.clone(), kind, told);
        let watching = stop.clone().run_until_cancelled_owned(watching);
        tasks.spawn(watching.map(drop));
        // One after the other: the index must be filled by the Canaries before anything else is looked at.
        if attend(&mut tasks, &stop, first_list).await.is_none() {
            break;
        }
    }
    let current = attend(&mut tasks, &stop, served::await_current(&ctx)).await;
    if current.is_some() {
        // Until then this process is not ready, and does not try to get the Lease: one of the version before goes on.
        ctx.metrics.ready();
        listed.notify_one();
        tracing::info!("every watch is listed");
    }
    let deciding = attend(&mut tasks, &stop, ctx.leadership.acquired()).await;
    if deciding.is_some() {
        tracing::info!(epoch = %ctx.leadership.epoch(), "deciding");
    }
    for _ in 0..WORKERS {
        tasks.spawn(work(ctx.clone(), queue.clone(), stop.clone()));
    }
    while let Some(Some(id)) = attend(&mut tasks, &stop, sampled.recv()).await {
        queue.push(id.clone(), watch::lane(&ctx, &id));
    }
    while tasks.join_next().await.is_some() {}
}

/// What `awaited` comes to, unless told to stop. If one of the `tasks` panics meanwhile, so does this: decisions without a
/// watch would be taken on objects as they were.
async fn attend<T>(
    tasks: &mut JoinSet<()>,
    stop: &CancellationToken,
    awaited: impl Future<Output = T>,
) -> Option<T> {
    let mut awaited = pin!(awaited);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            Some(ended) = tasks.join_next() => if let Err(error) = ended
                && let Ok(panic) = error.try_into_panic()
            {
                panic::resume_unwind(panic);
            },
            outcome = &mut awaited => return Some(outcome),
        }
    }
}

async fn work(ctx: Arc<Context>, queue: Arc<Queue>, stop: CancellationToken) {
    while let Some(id) = stop.run_until_cancelled(queue.next()).await {
        let began = Instant::now();
        let outcome = round(&ctx, &id).await;
        let error = outcome.as_ref().err().map(Error::reason);
        ctx.metrics.round(began.elapsed(), error);
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
        Ok(next) if next.again && !next.answered && ctx.local.wrote(id) > MAX_WRITING_ROUNDS => {
            retry_later(ctx, queue, id, &Error::NoProgress(id.clone()));
        }
        Ok(next) => {
            ctx.local.succeeded(id);
            if !next.again || next.answered {
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
    if let Error::RevisionGone { revision, .. } = error {
        ctx.local.cannot_restore(id, revision);
    }
    if error.outcome_unknown() {
        ctx.local.unsettled(id, ctx.clock.now());
    }
    let failures = ctx.local.failed(id);
    // A round that records why it waits goes well; a refusal must not be tried at once again after each.
    let failures = ctx.note_refusal(id, error).unwrap_or(failures);
    let lane = watch::lane(ctx, id);
    let pause = ctx.jitter.spread(pause(error, failures, lane));
    tracing::warn!(canary = %id, reason = error.reason(), %error, ?pause, "round failed");
    let at = ctx.clock.now() + TimeDelta::from_std(pause).unwrap_or_default();
    queue.at(id, Some(at), lane);
}

/// How long to wait after the `failures`-th failure in a row. While traffic is at risk a write that fails is tried again
/// soon: what refuses it may be back at any moment.
fn pause(error: &Error, failures: u32, lane: Lane) -> Duration {
    let of_ours = matches!(error, Error::NoProgress(_) | Error::Panicked(_));
    let longest = if lane == Lane::Urgent && !of_ours {
        URGENT_PAUSE
    } else {
        MAX_PAUSE
    };
    let first = match error.retry() {
        Retry::Soon => Duration::from_millis(20),
        Retry::Backoff => Duration::from_millis(250),
    };
    (first * 2_u32.saturating_pow(failures.saturating_sub(1).min(12))).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_write_is_tried_again_within_five_seconds_while_traffic_is_at_risk() {
        let id = CanaryId {
            namespace: "n".to_owned(),
            name: "web".to_owned(),
        };
        let failed = Error::Timeout(id.clone());
        assert_eq!(pause(&failed, 1, Lane::Urgent), Duration::from_millis(250));
        assert_eq!(pause(&failed, 99, Lane::Urgent), Duration::from_secs(5));
        assert_eq!(pause(&failed, 99, Lane::Routine), Duration::from_secs(60));
        let defect = Error::NoProgress(id);
        assert_eq!(pause(&defect, 99, Lane::Urgent), Duration::from_secs(60));
    }

    #[tokio::test]
    async fn panic_in_a_watch_ends_the_controller() {
        let attended = async {
            let mut tasks = JoinSet::new();
            tasks.spawn(async {});
            tasks.spawn(async { std::panic::resume_unwind(Box::new("a defect")) });
            attend(
                &mut tasks,
                &CancellationToken::new(),
                std::future::pending::<()>(),
            )
            .await
        };
        assert!(tokio::spawn(attended).await.unwrap_err().is_panic());
    }
}
