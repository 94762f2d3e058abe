//! The controller's own metrics, in OpenMetrics text. Names follow Flagger's with our prefix.
//!
//! Invariant: no free text in a label, and no series of a Canary that is gone.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::{
    api::{CanaryStatus, Phase},
    reconcile::kinds::Kind,
    rollout::CanaryId,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CanaryLabels {
    namespace: String,
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HoldLabels {
    namespace: String,
    name: String,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabels {
    namespace: String,
    name: String,
    metric: String,
    outcome: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: String,
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

/// Series of one Canary that must go with it.
type Known = std::collections::HashMap<CanaryId, (Vec<HoldLabels>, Vec<CheckLabels>)>;

/// The controller's own metrics.
pub struct Metrics {
    registry: Registry,
    ready: AtomicBool,
    weight: Family<CanaryLabels, Gauge>,
    status: Family<CanaryLabels, Gauge>,
    failed_checks: Family<CanaryLabels, Gauge>,
    held: Family<HoldLabels, Gauge>,
    check: Family<CheckLabels, Gauge<f64, std::sync::atomic::AtomicU64>>,
    rounds: Counter,
    errors: Family<ReasonLabel, Counter>,
    acts: Family<ReasonLabel, Counter>,
    refused: Family<ReasonLabel, Counter>,
    watch_failures: Family<ReasonLabel, Counter>,
    watch_heard: Family<ReasonLabel, Gauge>,
    untold: Counter,
    told: Family<SinkLabel, Counter>,
    failed: Family<SinkReasonLabels, Counter>,
    gave_up: Family<SinkReasonLabels, Counter>,
    waiting: Family<SinkLabel, Gauge>,
    canaries: Gauge<i64, AtomicI64>,
    known: Mutex<Known>,
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
        let mut metrics = Metrics {
            registry: Registry::with_prefix("bellwether"),
            ready: AtomicBool::new(false),
            weight: Family::default(),
            status: Family::default(),
            failed_checks: Family::default(),
            held: Family::default(),
            check: Family::default(),
            rounds: Counter::default(),
            errors: Family::default(),
            acts: Family::default(),
            refused: Family::default(),
            watch_failures: Family::default(),
            watch_heard: Family::default(),
            untold: Counter::default(),
            told: Family::default(),
            failed: Family::default(),
            gave_up: Family::default(),
            waiting: Family::default(),
            canaries: Gauge::default(),
            known: Mutex::default(),
        };
        let registry = &mut metrics.registry;
        registry.register(
            "canary_weight",
            "Intended share of the canary in percent",
            metrics.weight.clone(),
        );
        registry.register(
            "canary_status",
            "0 in progress, 1 at rest and well, 2 failed",
            metrics.status.clone(),
        );
        registry.register(
            "canary_failed_checks",
            "Failed checks of the present rollout",
            metrics.failed_checks.clone(),
        );
        registry.register(
            "canary_held",
            "1 while a rollout is held for this reason",
            metrics.held.clone(),
        );
        registry.register(
            "canary_metric_analysis",
            "Last value of a check, in the metric's unit",
            metrics.check.clone(),
        );
        registry.register("canaries", "Canaries known", metrics.canaries.clone());
        registry.register("reconcile_rounds", "Rounds run", metrics.rounds.clone());
        registry.register(
            "reconcile_errors",
            "Rounds failed, by reason",
            metrics.errors.clone(),
        );
        registry.register("writes", "Writes done, by kind of act", metrics.acts.clone());
        registry.register(
            "watch_failures",
            "Failed watches, by kind",
            metrics.watch_failures.clone(),
        );
        registry.register(
            "writes_refused",
            "Writes that the API server refused for good, by kind of act",
            metrics.refused.clone(),
        );
        registry.register(
            "watch_last_event_timestamp_seconds",
            "When a watch last brought something, by kind",
            metrics.watch_heard.clone(),
        );
        registry.register(
            "event_failures",
            "Tries to publish an Event that failed",
            metrics.untold.clone(),
        );
        registry.register("sink_told", "Facts told, by sink", metrics.told.clone());
        registry.register(
            "sink_failures",
            "Tries to tell a fact that failed, by sink and reason",
            metrics.failed.clone(),
        );
        registry.register(
            "sink_given_up",
            "Facts that a sink will never be told, by sink and reason",
            metrics.gave_up.clone(),
        );
        registry.register(
            "sink_waiting",
            "Facts that wait to be told, by sink",
            metrics.waiting.clone(),
        );
        metrics
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
    pub fn observe(&self, id: &CanaryId, status: &CanaryStatus) {
        let labels = labels(id);
        self.weight
            .get_or_create(&labels)
            .set(i64::from(status.canary_weight));
        self.failed_checks
            .get_or_create(&labels)
            .set(i64::from(status.failed_checks));
        let value = match status.phase {
            Some(Phase::Failed) => 2,
            Some(Phase::Initialized | Phase::Succeeded) => 1,
            _ => 0,
        };
        self.status.get_or_create(&labels).set(value);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (holds, checks) = known.remove(id).unwrap_or_default();
        self.drop_series(&holds, &checks);
        let CanaryId { namespace, name } = id.clone();
        let holds: Vec<HoldLabels> = status
            .all_holds()
            .iter()
            .map(|hold| HoldLabels {
                namespace: namespace.clone(),
                name: name.clone(),
                reason: hold.reason.to_string(),
            })
            .collect();
        for hold in &holds {
            self.held.get_or_create(hold).set(1);
        }
        let checks: Vec<CheckLabels> = status
            .checks
            .iter()
            .map(|check| {
                let (metric, outcome) = (check.name.clone(), check.outcome.clone());
                let series = CheckLabels {
                    namespace: namespace.clone(),
                    name: name.clone(),
                    metric,
                    outcome,
                };
                self.check
                    .get_or_create(&series)
                    .set(check.value.unwrap_or(f64::NAN));
                series
            })
            .collect();
        known.insert(id.clone(), (holds, checks));
        self.canaries.set(i64::try_from(known.len()).unwrap_or(i64::MAX));
    }

    /// Drops every series of a Canary that is gone.
    pub fn forget(&self, id: &CanaryId) {
        let labels = labels(id);
        for family in [&self.weight, &self.status, &self.failed_checks] {
            family.remove(&labels);
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (holds, checks) = known.remove(id).unwrap_or_default();
        self.drop_series(&holds, &checks);
        self.canaries.set(i64::try_from(known.len()).unwrap_or(i64::MAX));
    }

    fn drop_series(&self, holds: &[HoldLabels], checks: &[CheckLabels]) {
        for old in holds {
            self.held.remove(old);
        }
        for old in checks {
            self.check.remove(old);
        }
    }

    /// Counts a round, and its failure.
    pub fn round(&self, error: Option<&'static str>) {
        self.rounds.inc();
        if let Some(reason) = error {
            self.errors
                .get_or_create(&ReasonLabel {
                    reason: reason.to_owned(),
                })
                .inc();
        }
    }

    /// Counts a write.
    pub fn act(&self, name: &'static str) {
        self.acts
            .get_or_create(&ReasonLabel {
                reason: name.replace(' ', "_"),
            })
            .inc();
    }

    /// Counts a write that the API server refused for good.
    pub fn refused(&self, act: &'static str) {
        let reason = act.replace(' ', "_");
        self.refused.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Notes that a watch brought something.
    pub fn watch_heard(&self, kind: Kind, now: chrono::DateTime<chrono::Utc>) {
        let reason = format!("{kind:?}");
        self.watch_heard
            .get_or_create(&ReasonLabel { reason })
            .set(now.timestamp());
    }

    /// Counts a failed watch.
    pub fn watch_failed(&self, kind: Kind) {
        self.watch_failures
            .get_or_create(&ReasonLabel {
                reason: format!("{kind:?}"),
            })
            .inc();
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

    /// All metrics in OpenMetrics text.
    ///
    /// # Errors
    /// If a value cannot be written as text.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn labels(id: &CanaryId) -> CanaryLabels {
    CanaryLabels {
        namespace: id.namespace.clone(),
        name: id.name.clone(),
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
