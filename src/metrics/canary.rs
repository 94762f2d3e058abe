//! What is exported of Canaries.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError, atomic::AtomicU64},
};

use chrono::{DateTime, Utc};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use crate::{
    api::{CanaryStatus, Outcome, Phase},
    rollout::{CanaryId, RolloutSpec},
};

type FloatGauge = Gauge<f64, AtomicU64>;

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
struct PhaseLabels {
    namespace: String,
    name: String,
    phase: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabels {
    namespace: String,
    name: String,
    metric: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BoundLabels {
    namespace: String,
    name: String,
    metric: String,
    bound: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    namespace: String,
    name: String,
    metric: String,
    outcome: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReleaseLabels {
    namespace: String,
    name: String,
    outcome: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DurationLabels {
    namespace: String,
    outcome: String,
}

/// Labels as Flagger has them: `name` is that of the target.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WorkloadLabels {
    workload: String,
    namespace: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NamespaceLabel {
    namespace: String,
}

/// The series of one Canary, which go with it, and what was seen of it.
#[derive(Default)]
struct Known {
    holds: Vec<HoldLabels>,
    phase: Option<PhaseLabels>,
    checks: Vec<CheckLabels>,
    outcomes: Vec<OutcomeLabels>,
    bounds: Vec<BoundLabels>,
    releases: Vec<ReleaseLabels>,
    workloads: Vec<WorkloadLabels>,
    target: Option<CanaryLabels>,
    targets_checks: Vec<CheckLabels>,
    /// When the newest release ended that was counted.
    counted: Option<DateTime<Utc>>,
}

/// Metrics under the names that Flagger gives them.
struct Flagger {
    status: Family<CanaryLabels, Gauge>,
    weight: Family<WorkloadLabels, Gauge>,
    total: Family<NamespaceLabel, Gauge>,
    analysis: Family<CheckLabels, FloatGauge>,
}

/// Metrics of Canaries.
pub(super) struct Canaries {
    weight: Family<CanaryLabels, Gauge>,
    status: Family<CanaryLabels, Gauge>,
    phase: Family<PhaseLabels, Gauge>,
    failed_checks: Family<CanaryLabels, Gauge>,
    held: Family<HoldLabels, Gauge>,
    held_since: Family<HoldLabels, Gauge>,
    analysis: Family<CheckLabels, FloatGauge>,
    outcome: Family<OutcomeLabels, Gauge>,
    bound: Family<BoundLabels, FloatGauge>,
    revision: Family<CanaryLabels, Gauge>,
    releases: Family<ReleaseLabels, Counter>,
    durations: Family<DurationLabels, Histogram>,
    canaries: Gauge,
    flagger: Option<Flagger>,
    known: Mutex<HashMap<CanaryId, Known>>,
}

impl Canaries {
    pub(super) fn new(registry: &mut Registry) -> Canaries {
        let canaries = Canaries {
            weight: Family::default(),
            status: Family::default(),
            phase: Family::default(),
            failed_checks: Family::default(),
            held: Family::default(),
            held_since: Family::default(),
            analysis: Family::default(),
            outcome: Family::default(),
            bound: Family::default(),
            revision: Family::default(),
            releases: Family::default(),
            // 15 s to 17 h: a release takes minutes, one that waits for a person takes days.
            durations: Family::new_with_constructor(|| Histogram::new(exponential_buckets(15.0, 2.0, 13))),
            canaries: Gauge::default(),
            flagger: None,
            known: Mutex::default(),
        };
        let mut gauge = |name: &str, help: &str, family: &Family<CanaryLabels, Gauge>| {
            registry.register(name, help, family.clone());
        };
        gauge(
            "canary_weight",
            "Intended share of the canary in percent",
            &canaries.weight,
        );
        gauge(
            "canary_status",
            "0 in progress, 1 at rest and well, 2 failed",
            &canaries.status,
        );
        gauge(
            "canary_failed_checks",
            "Failed checks of the present rollout",
            &canaries.failed_checks,
        );
        gauge(
            "canary_revision_timestamp_seconds",
            "When the present release began",
            &canaries.revision,
        );
        registry.register("canary_phase", "1 for the present phase", canaries.phase.clone());
        registry.register(
            "canary_held",
            "1 while a rollout is held for this reason",
            canaries.held.clone(),
        );
        registry.register(
            "canary_held_timestamp_seconds",
            "Since when a rollout is held for this reason",
            canaries.held_since.clone(),
        );
        registry.register(
            "canary_metric_analysis",
            "Last value of a check, in the metric's unit",
            canaries.analysis.clone(),
        );
        registry.register(
            "canary_check_outcome",
            "1 for what the last check of a metric came to",
            canaries.outcome.clone(),
        );
        registry.register(
            "canary_metric_bound",
            "Accepted range of a check, in the metric's unit",
            canaries.bound.clone(),
        );
        registry.register(
            "releases",
            "Releases that ended while this process decided, by outcome",
            canaries.releases.clone(),
        );
        registry.register(
            "release_duration_seconds",
            "From the beginning of a release to its end, by outcome",
            canaries.durations.clone(),
        );
        registry.register("canaries", "Canaries known", canaries.canaries.clone());
        canaries
    }

    /// The same once more under Flagger's names, for dashboards that ask for these.
    pub(super) fn with_flagger_names(mut self, registry: &mut Registry) -> Canaries {
        let flagger = Flagger {
            status: Family::default(),
            weight: Family::default(),
            total: Family::default(),
            analysis: Family::default(),
        };
        registry.register(
            "canary_status",
            "0 in progress, 1 otherwise, 2 failed; name is that of the target",
            flagger.status.clone(),
        );
        registry.register(
            "canary_weight",
            "Share of a workload in percent",
            flagger.weight.clone(),
        );
        registry.register("canary_total", "Canaries of a namespace", flagger.total.clone());
        registry.register(
            "canary_metric_analysis",
            "Last value of a check, in the metric's unit",
            flagger.analysis.clone(),
        );
        self.flagger = Some(flagger);
        self
    }

    pub(super) fn observe(&self, spec: &RolloutSpec, status: &CanaryStatus) {
        let labels = labels(&spec.id);
        self.weight
            .get_or_create(&labels)
            .set(i64::from(status.canary_weight));
        self.failed_checks
            .get_or_create(&labels)
            .set(i64::from(status.failed_checks));
        self.status.get_or_create(&labels).set(match status.phase {
            Some(Phase::Failed) => 2,
            Some(Phase::Initialized | Phase::Succeeded) => 1,
            _ => 0,
        });
        match status.revision.started_at {
            Some(began) => {
                self.revision.get_or_create(&labels).set(began.timestamp());
            }
            None => {
                self.revision.remove(&labels);
            }
        }
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.remove(&spec.id).unwrap_or_default();
        let CanaryId { namespace, name } = &spec.id;
        let mut known = Known {
            phase: status.phase.map(|phase| PhaseLabels {
                namespace: namespace.clone(),
                name: name.clone(),
                phase: phase.to_string(),
            }),
            ..Known::default()
        };
        for hold in status.all_holds() {
            let series = HoldLabels {
                namespace: namespace.clone(),
                name: name.clone(),
                reason: hold.reason.to_string(),
            };
            self.held.get_or_create(&series).set(1);
            self.held_since.get_or_create(&series).set(hold.since.timestamp());
            known.holds.push(series);
        }
        if let Some(series) = &known.phase {
            self.phase.get_or_create(series).set(1);
        }
        for metric in &spec.metrics {
            for (bound, value) in [("min", metric.min), ("max", metric.max)] {
                let Some(value) = value else { continue };
                let series = BoundLabels {
                    namespace: namespace.clone(),
                    name: name.clone(),
                    metric: metric.name.clone(),
                    bound,
                };
                self.bound.get_or_create(&series).set(value);
                known.bounds.push(series);
            }
        }
        for check in &status.checks {
            let series = CheckLabels {
                namespace: namespace.clone(),
                name: name.clone(),
                metric: check.name.clone(),
            };
            self.analysis
                .get_or_create(&series)
                .set(check.value.unwrap_or(f64::NAN));
            known.checks.push(series);
            let series = OutcomeLabels {
                namespace: namespace.clone(),
                name: name.clone(),
                metric: check.name.clone(),
                outcome: check.outcome.clone(),
            };
            self.outcome.get_or_create(&series).set(1);
            known.outcomes.push(series);
        }
        self.count_releases(spec, status, &before, &mut known);
        if let Some(flagger) = &self.flagger {
            flagger.observe(spec, status, &mut known);
        }
        self.drop_all_but(&before, &known);
        all.insert(spec.id.clone(), known);
        self.count(&all);
    }

    /// Counts the releases that ended since the last look. What ended before this process looked first is another one's.
    fn count_releases(&self, spec: &RolloutSpec, status: &CanaryStatus, before: &Known, known: &mut Known) {
        let newest = status.history.iter().map(|past| past.ended_at).max();
        known.releases.clone_from(&before.releases);
        // A Canary without a history has ended nothing yet: the first end counts.
        known.counted = newest.or(before.counted).or(Some(DateTime::UNIX_EPOCH));
        let Some(counted) = before.counted else { return };
        for past in status.history.iter().filter(|past| past.ended_at > counted) {
            let outcome = past.outcome.to_string();
            let series = ReleaseLabels {
                namespace: spec.id.namespace.clone(),
                name: spec.id.name.clone(),
                outcome: outcome.clone(),
            };
            self.releases.get_or_create(&series).inc();
            if !known.releases.contains(&series) {
                known.releases.push(series);
            }
            if let Some(began) = past.started_at {
                let took = (past.ended_at - began).as_seconds_f64().max(0.0);
                let series = DurationLabels {
                    namespace: spec.id.namespace.clone(),
                    outcome,
                };
                self.durations.get_or_create(&series).observe(took);
            }
        }
    }

    /// Drops every series of a Canary that is gone.
    pub(super) fn forget(&self, id: &CanaryId) {
        let labels = labels(id);
        for family in [&self.weight, &self.status, &self.failed_checks, &self.revision] {
            family.remove(&labels);
        }
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.remove(id).unwrap_or_default();
        self.drop_all_but(&before, &Known::default());
        // Its namespace may have no other.
        let namespace = || id.namespace.clone();
        if !all.keys().any(|other| other.namespace == id.namespace) {
            for outcome in Outcome::ALL {
                self.durations.remove(&DurationLabels {
                    namespace: namespace(),
                    outcome: outcome.to_string(),
                });
            }
            if let Some(flagger) = &self.flagger {
                flagger.total.remove(&NamespaceLabel {
                    namespace: namespace(),
                });
            }
        }
        self.count(&all);
    }

    fn drop_all_but(&self, before: &Known, known: &Known) {
        for old in gone(&before.holds, &known.holds) {
            self.held.remove(old);
            self.held_since.remove(old);
        }
        for old in gone(before.phase.as_slice(), known.phase.as_slice()) {
            self.phase.remove(old);
        }
        for old in gone(&before.checks, &known.checks) {
            self.analysis.remove(old);
        }
        for old in gone(&before.outcomes, &known.outcomes) {
            self.outcome.remove(old);
        }
        for old in gone(&before.bounds, &known.bounds) {
            self.bound.remove(old);
        }
        for old in gone(&before.releases, &known.releases) {
            self.releases.remove(old);
        }
        let Some(flagger) = &self.flagger else { return };
        for old in gone(&before.workloads, &known.workloads) {
            flagger.weight.remove(old);
        }
        for old in gone(before.target.as_slice(), known.target.as_slice()) {
            flagger.status.remove(old);
        }
        for old in gone(&before.targets_checks, &known.targets_checks) {
            flagger.analysis.remove(old);
        }
    }

    fn count(&self, known: &HashMap<CanaryId, Known>) {
        self.canaries.set(i64::try_from(known.len()).unwrap_or(i64::MAX));
        if let Some(flagger) = &self.flagger {
            let mut of_namespace: HashMap<&str, i64> = HashMap::new();
            for id in known.keys() {
                *of_namespace.entry(&id.namespace).or_default() += 1;
            }
            for (namespace, canaries) in of_namespace {
                let namespace = namespace.to_owned();
                flagger
                    .total
                    .get_or_create(&NamespaceLabel { namespace })
                    .set(canaries);
            }
        }
    }
}

impl Flagger {
    fn observe(&self, spec: &RolloutSpec, status: &CanaryStatus, known: &mut Known) {
        let namespace = &spec.id.namespace;
        let (target, primary) = (&spec.names.target, &spec.names.primary);
        let weight = i64::from(status.canary_weight);
        for (workload, weight) in [(target, weight), (primary, 100 - weight)] {
            let series = WorkloadLabels {
                workload: workload.clone(),
                namespace: namespace.clone(),
            };
            self.weight.get_or_create(&series).set(weight);
            known.workloads.push(series);
        }
        let series = CanaryLabels {
            namespace: namespace.clone(),
            name: target.clone(),
        };
        self.status.get_or_create(&series).set(match status.phase {
            Some(Phase::Progressing) => 0,
            Some(Phase::Failed) => 2,
            _ => 1,
        });
        known.target = Some(series);
        for check in &status.checks {
            let series = CheckLabels {
                namespace: namespace.clone(),
                name: target.clone(),
                metric: check.name.clone(),
            };
            self.analysis
                .get_or_create(&series)
                .set(check.value.unwrap_or(f64::NAN));
            known.targets_checks.push(series);
        }
    }
}

/// The series of before that are none any more.
fn gone<'a, T: PartialEq>(before: &'a [T], now: &'a [T]) -> impl Iterator<Item = &'a T> {
    before.iter().filter(move |old| !now.contains(old))
}

fn labels(id: &CanaryId) -> CanaryLabels {
    CanaryLabels {
        namespace: id.namespace.clone(),
        name: id.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use serde_json::json;

    use super::*;
    use crate::{api::Canary, rollout};

    fn spec(name: &str) -> RolloutSpec {
        let canary: Canary = serde_json::from_value(json!({
            "apiVersion": "bellwether.dev/v1beta1", "kind": "Canary",
            "metadata": {"name": name, "namespace": "shop", "uid": "1", "generation": 1},
            "spec": {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}, "service": {"port": 80},
                "analysis": {"interval": "10s", "threshold": 2, "maxWeight": 50, "stepWeight": 10,
                    "metrics": [{"name": "request-success-rate", "thresholdRange": {"min": 99}, "interval": "10s"}]}}
        }))
        .unwrap();
        rollout::validate(&canary, chrono::TimeDelta::seconds(5)).unwrap()
    }

    fn status(status: serde_json::Value) -> CanaryStatus {
        serde_json::from_value(status).unwrap()
    }

    struct Exported {
        registry: Registry,
        canaries: Canaries,
    }

    impl Exported {
        fn new() -> Exported {
            let mut registry = Registry::default();
            let canaries = Canaries::new(registry.sub_registry_with_prefix("bellwether"))
                .with_flagger_names(registry.sub_registry_with_prefix("flagger"));
            Exported { registry, canaries }
        }

        /// Every series with its value.
        fn series(&self) -> Vec<String> {
            let mut text = String::new();
            encode(&mut text, &self.registry).unwrap();
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            lines.map(str::to_owned).collect()
        }

        #[track_caller]
        fn has(&self, series: &str) {
            let all = self.series();
            assert!(
                all.iter().any(|line| line == series),
                "{series} is not in {all:#?}"
            );
        }
    }

    fn failed() -> serde_json::Value {
        json!({"phase": "Failed", "canaryWeight": 0, "failedChecks": 2,
            "checks": [{"name": "request-success-rate", "outcome": "Bad", "value": 80.5, "bound": "≥ 99 %",
                "at": "2026-01-02T03:04:05Z"}],
            "history": [{"revision": "b", "outcome": "RolledBack", "message": "bad",
                "startedAt": "2026-01-02T03:00:00Z", "endedAt": "2026-01-02T03:04:05Z"}]})
    }

    #[test]
    fn series_tell_the_state_and_go_with_it() {
        let exported = Exported::new();
        let held = json!({"phase": "Progressing", "canaryWeight": 30, "failedChecks": 1,
            "revision": {"current": "b", "startedAt": "2026-01-02T03:00:00Z"},
            "hold": {"reason": "NoData", "since": "2026-01-02T03:04:05Z", "message": "nothing"}});
        exported.canaries.observe(&spec("web"), &status(held));
        for series in [
            r#"bellwether_canary_phase{namespace="shop",name="web",phase="Progressing"} 1"#,
            r#"bellwether_canary_weight{namespace="shop",name="web"} 30"#,
            r#"bellwether_canary_revision_timestamp_seconds{namespace="shop",name="web"} 1767322800"#,
            r#"bellwether_canary_held{namespace="shop",name="web",reason="NoData"} 1"#,
            r#"bellwether_canary_held_timestamp_seconds{namespace="shop",name="web",reason="NoData"} 1767323045"#,
            r#"bellwether_canary_metric_bound{namespace="shop",name="web",metric="request-success-rate",bound="min"} 99.0"#,
            r#"flagger_canary_status{namespace="shop",name="web"} 0"#,
            r#"flagger_canary_weight{workload="web-primary",namespace="shop"} 70"#,
            r#"flagger_canary_total{namespace="shop"} 1"#,
        ] {
            exported.has(series);
        }
        exported.canaries.observe(&spec("web"), &status(failed()));
        let after = exported.series();
        assert!(
            !after
                .iter()
                .any(|line| line.contains("NoData") || line.contains("Progressing")),
            "{after:#?}"
        );
        exported.has(r#"bellwether_canary_check_outcome{namespace="shop",name="web",metric="request-success-rate",outcome="Bad"} 1"#);
        exported.has(r#"flagger_canary_metric_analysis{namespace="shop",name="web",metric="request-success-rate"} 80.5"#);
        exported.canaries.forget(&spec("web").id);
        assert_eq!(exported.series(), ["bellwether_canaries 0"]);
    }

    #[test]
    fn release_that_ends_is_counted_once_and_one_of_before_never() {
        let exported = Exported::new();
        exported.canaries.observe(&spec("old"), &status(failed()));
        assert!(!exported.series().iter().any(|line| line.contains("releases")));
        exported
            .canaries
            .observe(&spec("web"), &status(json!({"phase": "Progressing"})));
        for _ in 0..2 {
            exported.canaries.observe(&spec("web"), &status(failed()));
        }
        exported.has(r#"bellwether_releases_total{namespace="shop",name="web",outcome="RolledBack"} 1"#);
        exported
            .has(r#"bellwether_release_duration_seconds_sum{namespace="shop",outcome="RolledBack"} 245.0"#);
        // The other one keeps the series of the namespace.
        exported.canaries.forget(&spec("web").id);
        exported
            .has(r#"bellwether_release_duration_seconds_sum{namespace="shop",outcome="RolledBack"} 245.0"#);
    }
}
