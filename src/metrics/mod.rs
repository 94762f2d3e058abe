//! The controller's own metrics, in OpenMetrics text. Names follow Flagger's with our prefix; `--flagger-metrics` adds those of
//! Canaries under Flagger's own names.
//!
//! Invariant: no free text in a label, and no series of a Canary that is gone.

mod canary;
mod process;
mod requests;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::{Metric, Registry},
};

use crate::{
    api::CanaryStatus,
    reconcile::kinds::Kind,
    rollout::{CanaryId, RolloutSpec},
};
use canary::Canaries;
use process::Process;
pub use requests::{ApiRequests, HookRequests};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ActLabel {
    act: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LaneLabel {
    lane: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SinkLabel {
    sink: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SinkReasonLabels {
    sink: String,
    reason: String,
}

/// How full the queue is, and how long it lets wait.
#[derive(Clone)]
pub struct QueueMetrics {
    depth: Family<LaneLabel, Gauge>,
    waits: Family<LaneLabel, Histogram, fn() -> Histogram>,
}

impl QueueMetrics {
    /// Notes how many wait in a lane.
    pub fn depth(&self, lane: &'static str, waiting: usize) {
        let waiting = i64::try_from(waiting).unwrap_or(i64::MAX);
        self.depth.get_or_create(&LaneLabel { lane }).set(waiting);
    }

    /// Notes that somebody waited so long.
    pub fn waited(&self, lane: &'static str, span: Duration) {
        self.waits
            .get_or_create(&LaneLabel { lane })
            .observe(span.as_secs_f64());
    }
}

/// From a millisecond to half a minute.
fn rounds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 16))
}

/// The controller's own metrics.
pub struct Metrics {
    registry: Registry,
    ready: AtomicBool,
    canaries: Canaries,
    rounds: Counter,
    durations: Histogram,
    errors: Family<ReasonLabel, Counter>,
    acts: Family<ActLabel, Counter>,
    refused: Family<ActLabel, Counter>,
    watch_failures: Family<KindLabel, Counter>,
    watch_heard: Family<KindLabel, Gauge>,
    untold: Counter,
    told: Family<SinkLabel, Counter>,
    failed: Family<SinkReasonLabels, Counter>,
    gave_up: Family<SinkReasonLabels, Counter>,
    waiting: Family<SinkLabel, Gauge>,
    leader: Gauge,
    /// How full the queue is, and how long it lets wait.
    pub queue: QueueMetrics,
    /// Requests to the API server.
    pub api: ApiRequests,
    /// Requests to the hook API.
    pub hook: HookRequests,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// Metrics with a registry of their own.
    #[must_use]
    pub fn new() -> Metrics {
        Metrics::made(false)
    }

    /// The same, with those of Canaries once more under Flagger's names.
    #[must_use]
    pub fn with_flagger_names() -> Metrics {
        Metrics::made(true)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "when a process began is what the machine says"
    )]
    fn made(flagger: bool) -> Metrics {
        let mut root = Registry::default();
        let registry = root.sub_registry_with_prefix("bellwether");
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Version of the controller", version);
        let canaries = Canaries::new(registry);
        let queue = QueueMetrics {
            depth: registered(
                registry,
                "queue_depth",
                "Canaries that wait to be looked at, by lane",
            ),
            waits: Family::new_with_constructor(rounds),
        };
        registry.register(
            "queue_wait_seconds",
            "From the cause of a look at a Canary to its beginning, by lane",
            queue.waits.clone(),
        );
        let durations = rounds();
        registry.register(
            "reconcile_duration_seconds",
            "Length of a round",
            durations.clone(),
        );
        let metrics = Metrics {
            ready: AtomicBool::new(false),
            rounds: registered(registry, "reconcile_rounds", "Rounds run"),
            durations,
            errors: registered(registry, "reconcile_errors", "Rounds failed, by reason"),
            acts: registered(registry, "writes", "Writes done, by kind of act"),
            refused: registered(
                registry,
                "writes_refused",
                "Writes that the API server refused for good, by kind of act",
            ),
            watch_failures: registered(registry, "watch_failures", "Failed watches, by kind"),
            watch_heard: registered(
                registry,
                "watch_last_event_timestamp_seconds",
                "When a watch last brought something, by kind",
            ),
            untold: registered(
                registry,
                "event_failures",
                "Tries to publish an Event that failed",
            ),
            told: registered(registry, "sink_told", "Facts told, by sink"),
            failed: registered(
                registry,
                "sink_failures",
                "Tries to tell a fact that failed, by sink and reason",
            ),
            gave_up: registered(
                registry,
                "sink_given_up",
                "Facts that a sink will never be told, by sink and reason",
            ),
            waiting: registered(registry, "sink_waiting", "Facts that wait to be told, by sink"),
            leader: registered(registry, "leader", "1 if this process decides"),
            queue,
            api: ApiRequests::new(registry),
            hook: HookRequests::new(registry),
            canaries: if flagger {
                let names = root.sub_registry_with_prefix("flagger");
                let info = Info::new([("version", env!("CARGO_PKG_VERSION")), ("mesh_provider", "istio")]);
                names.register("mesh", "The controller under the names of Flagger", info);
                canaries.with_flagger_names(names)
            } else {
                canaries
            },
            registry: Registry::default(),
        };
        let began = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let began = began.map_or(0.0, |since| since.as_secs_f64());
        root.register_collector(Box::new(Process { began }));
        Metrics {
            registry: root,
            ..metrics
        }
    }

    /// Every watch is listed.
    pub fn ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    /// Whether every watch is listed.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Notes the state of a Canary.
    pub fn observe(&self, spec: &RolloutSpec, status: &CanaryStatus) {
        self.canaries.observe(spec, status);
    }

    /// Drops every series of a Canary that is gone.
    pub fn forget(&self, id: &CanaryId) {
        self.canaries.forget(id);
    }

    /// Counts a round that took so long, and its failure.
    pub fn round(&self, took: Duration, error: Option<&'static str>) {
        self.rounds.inc();
        self.durations.observe(took.as_secs_f64());
        if let Some(reason) = error {
            let reason = reason.to_owned();
            self.errors.get_or_create(&ReasonLabel { reason }).inc();
        }
    }

    /// Counts a write.
    pub fn act(&self, name: &'static str) {
        let act = name.replace(' ', "_");
        self.acts.get_or_create(&ActLabel { act }).inc();
    }

    /// Counts a write that the API server refused for good.
    pub fn refused(&self, act: &'static str) {
        let act = act.replace(' ', "_");
        self.refused.get_or_create(&ActLabel { act }).inc();
    }

    /// Notes that a watch brought something.
    pub fn watch_heard(&self, kind: Kind, now: chrono::DateTime<chrono::Utc>) {
        self.watch_heard
            .get_or_create(&of_kind(kind))
            .set(now.timestamp());
    }

    /// Counts a failed watch.
    pub fn watch_failed(&self, kind: Kind) {
        self.watch_failures.get_or_create(&of_kind(kind)).inc();
    }

    /// Counts a failed try to publish an Event.
    pub fn untold(&self) {
        self.untold.inc();
    }

    /// Counts a fact that `sink` was told.
    pub fn told(&self, sink: &str) {
        self.told.get_or_create(&of_sink(sink)).inc();
    }

    /// Counts a try to tell `sink` a fact that failed.
    pub fn failed(&self, sink: &str, reason: &str) {
        self.failed.get_or_create(&of_sink_for(sink, reason)).inc();
    }

    /// Counts facts that `sink` will never be told.
    pub fn gave_up(&self, sink: &str, reason: &str, facts: usize) {
        let series = of_sink_for(sink, reason);
        self.gave_up.get_or_create(&series).inc_by(facts as u64);
    }

    /// Notes how many facts wait for `sink`.
    pub fn waiting(&self, sink: &str, facts: usize) {
        let facts = i64::try_from(facts).unwrap_or(i64::MAX);
        self.waiting.get_or_create(&of_sink(sink)).set(facts);
    }

    /// All metrics in OpenMetrics text; `leads` says whether this process decides.
    ///
    /// # Errors
    /// If a value cannot be written as text.
    pub fn text(&self, leads: bool) -> Result<String, std::fmt::Error> {
        self.leader.set(i64::from(leads));
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// A metric of `registry`.
fn registered<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn of_kind(kind: Kind) -> KindLabel {
    KindLabel {
        kind: format!("{kind:?}"),
    }
}

fn of_sink(sink: &str) -> SinkLabel {
    SinkLabel {
        sink: sink.to_owned(),
    }
}

fn of_sink_for(sink: &str, reason: &str) -> SinkReasonLabels {
    SinkReasonLabels {
        sink: sink.to_owned(),
        reason: reason.to_owned(),
    }
}
