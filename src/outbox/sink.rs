//! One HTTP sink: what waits for it, and its delivery. A sink that is down holds back nobody: neither another sink, nor a
//! round, nor a Canary whose events it does take.

use std::{
    collections::HashSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::sync::Notify;

use super::{
    Fact,
    cloud_event::{CloudEvent, Format, Mode},
    config::SinkConfig,
    http::{self, Http, Transport},
    lines::{Fate, Lines},
    verdict::{self, Verdict},
};
use crate::{api::Notice, reconcile::Context, rollout::CanaryId};

/// Events under way at once, each of another Canary.
const PARALLEL: usize = 8;

/// An HTTP sink.
pub struct Sink {
    name: String,
    cluster: Option<String>,
    mode: Mode,
    format: Format,
    namespaces: Option<HashSet<String>>,
    transport: Box<dyn Transport>,
    lines: Mutex<Lines>,
    changed: Notify,
    /// Facts that the status had no room for, not counted yet.
    crowded: AtomicUsize,
}

impl Sink {
    /// The sink of `config`, which is told of the Canaries of `cluster`.
    ///
    /// # Errors
    /// If no client can be made.
    pub fn over_http(config: &SinkConfig, cluster: Option<&str>) -> Result<Sink, http::Error> {
        Ok(Sink::over(config, cluster, Box::new(Http::new(config)?)))
    }

    /// The same, over another transport.
    #[must_use]
    pub fn over(config: &SinkConfig, cluster: Option<&str>, transport: Box<dyn Transport>) -> Sink {
        Sink {
            name: config.name.clone(),
            cluster: cluster.map(str::to_owned),
            mode: config.mode,
            format: config.format,
            namespaces: config.namespaces.clone(),
            transport,
            lines: Mutex::default(),
            changed: Notify::new(),
            crowded: AtomicUsize::new(0),
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is to be told of `canary`.
    pub(super) fn wants(&self, canary: &CanaryId) -> bool {
        let names = self.namespaces.as_ref();
        names.is_none_or(|names| names.contains(&canary.namespace))
    }

    /// The facts in the status of `canary` are these.
    pub(super) fn put(&self, canary: &CanaryId, uid: &str, pending: &[Notice]) {
        let put = self.lines().put(canary, uid, pending);
        if put.crowded > 0 {
            self.crowd_out(canary, put.crowded);
        }
        if put.new || put.crowded > 0 {
            self.changed.notify_one();
        }
    }

    /// Facts of `canary` went from its status before it was told.
    fn crowd_out(&self, canary: &CanaryId, facts: usize) {
        let sink = &self.name;
        tracing::error!(%canary, sink, facts, "more events wait than a status holds: the oldest are given up");
        self.crowded.fetch_add(facts, Ordering::Relaxed);
    }

    /// Number of the newest fact of `canary` that it was told or that was given up.
    pub(super) fn passed(&self, canary: &CanaryId) -> i64 {
        self.lines().passed(canary)
    }

    /// How many facts wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lines().len()
    }

    /// Forgets a Canary that is gone; what it was not told until now it will never be.
    pub(super) fn forget(&self, ctx: &Context, canary: &CanaryId) {
        let untold = self.lines().forget(canary);
        if untold > 0 {
            self.changed.notify_one();
            self.outlive(ctx, canary, untold);
        }
    }

    /// Facts of `canary` were not told before it went.
    fn outlive(&self, ctx: &Context, canary: &CanaryId, untold: usize) {
        let sink = &self.name;
        tracing::error!(%canary, sink, untold, "the Canary is gone before its last events were told");
        ctx.metrics.gave_up(sink, "gone", untold);
    }

    fn take(&self, now: Duration) -> Option<Fact> {
        self.lines().take(now)
    }

    async fn post(&self, ctx: &Context, fact: Fact) {
        let event = CloudEvent::new(&fact, self.cluster.as_deref(), self.format);
        let (canary, sink, id) = (&fact.canary, &self.name, &event.id);
        let message = match event.message(self.mode) {
            Ok(message) => message,
            Err(error) => {
                tracing::error!(%canary, sink, id, %error, "an event cannot be put and is given up");
                ctx.metrics.gave_up(sink, "malformed", 1);
                return self.pass(ctx, &fact);
            }
        };
        let answer = self.transport.post(message).await;
        let reason = answer.label();
        match answer.verdict(ctx.clock.now()) {
            Verdict::Told => {
                ctx.metrics.told(sink);
                self.pass(ctx, &fact);
            }
            Verdict::GivenUp => {
                let why = answer.text();
                tracing::error!(%canary, sink, id, kind = event.kind, why, "an event is refused and given up");
                ctx.metrics.failed(sink, &reason);
                ctx.metrics.gave_up(sink, &reason, 1);
                self.pass(ctx, &fact);
            }
            Verdict::Again(requested_pause) => {
                ctx.metrics.failed(sink, &reason);
                let failures = self.lines().fail(&fact);
                let pause = requested_pause.unwrap_or_default() + ctx.jitter.spread(verdict::pause(failures));
                let why = answer.text();
                tracing::warn!(%canary, sink, id, why, failures, ?pause, "an event could not be told");
                let fate = self.lines().retry(&fact, ctx.clock.monotonic() + pause);
                match fate {
                    Fate::Again => {}
                    Fate::Crowded => self.crowd_out(canary, 1),
                    Fate::Gone => self.outlive(ctx, canary, 1),
                }
            }
        }
    }

    fn pass(&self, ctx: &Context, fact: &Fact) {
        let last = self.lines().pass(fact, ctx.clock.monotonic());
        if last {
            ctx.outbox.settled(&fact.canary);
        }
    }
}

/// Tells `sink` what waits for it, for ever.
pub(super) async fn run(ctx: &Context, sink: &Sink) {
    let mut posts = FuturesUnordered::new();
    loop {
        let now = ctx.clock.monotonic();
        while posts.len() < PARALLEL
            && let Some(fact) = sink.take(now)
        {
            posts.push(sink.post(ctx, fact));
        }
        ctx.metrics.waiting(&sink.name, sink.waiting());
        let crowded = sink.crowded.swap(0, Ordering::Relaxed);
        if crowded > 0 {
            ctx.metrics.gave_up(&sink.name, "crowded", crowded);
        }
        let due = if posts.len() < PARALLEL {
            sink.lines().next_due()
        } else {
            None
        };
        tokio::select! {
            biased;
            Some(()) = posts.next() => {}
            () = changed(sink, due.map(|due| due.saturating_sub(now))) => {}
        }
    }
}

/// Until there is something new to tell, or something to be tried again.
async fn changed(sink: &Sink, due: Option<Duration>) {
    match due {
        None => sink.changed.notified().await,
        // Elapsing is the other way to go on; either leads to another look.
        Some(due) => {
            let due = due.max(Duration::from_millis(1));
            let _: Result<(), _> = tokio::time::timeout(due, sink.changed.notified()).await;
        }
    }
}
