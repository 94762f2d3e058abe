//! What the pods count, with the names and labels that Istio's sidecars would give it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// Upper bounds of the latency histogram, in milliseconds.
const BOUNDS: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1_000.0,
    2_500.0,
    5_000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

/// The counters of all pods that there are.
#[derive(Clone, Default)]
pub struct Registry(Arc<Mutex<Vec<Weak<Meter>>>>);

impl Registry {
    /// Counters for a pod; they are dropped with it.
    pub fn meter(&self, labels: String) -> Arc<Meter> {
        let meter = Arc::new(Meter {
            labels,
            by_code: Mutex::default(),
        });
        let mut meters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        meters.retain(|meter| meter.strong_count() > 0);
        meters.push(Arc::downgrade(&meter));
        meter
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self) -> String {
        let meters: Vec<_> = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        let mut text = String::from("# TYPE istio_requests_total counter\n");
        for meter in &meters {
            meter.for_each_code(|labels, series| {
                _ = writeln!(text, "istio_requests_total{{{labels}}} {}", series.count);
            });
        }
        // What Prometheus would say of a pod that it scrapes by itself.
        for meter in &meters {
            if let Some(place) = meter.place() {
                _ = writeln!(text, "up{{{place}}} 1");
            }
        }
        text += "# TYPE istio_request_duration_milliseconds histogram\n";
        for meter in &meters {
            meter.for_each_code(|labels, series| series.render_histogram(&labels, &mut text));
        }
        text
    }
}

/// The counters of one pod.
pub struct Meter {
    labels: String,
    by_code: Mutex<BTreeMap<u16, Series>>,
}

#[derive(Default)]
struct Series {
    count: u64,
    sum: f64,
    /// Not cumulative; what is beyond the last bound is in `count` only.
    buckets: [u64; BOUNDS.len()],
}

impl Meter {
    /// Counts an answer.
    pub fn record(&self, code: u16, took: Duration) {
        let milliseconds = took.as_secs_f64() * 1_000.0;
        let mut by_code = self.by_code.lock().unwrap_or_else(PoisonError::into_inner);
        let series = by_code.entry(code).or_default();
        series.count += 1;
        series.sum += milliseconds;
        let place = BOUNDS.partition_point(|bound| *bound < milliseconds);
        if let Some(bucket) = series.buckets.get_mut(place) {
            *bucket += 1;
        }
    }

    /// Namespace and pod, as the labels of a target.
    fn place(&self) -> Option<&str> {
        self.labels
            .find(",namespace=\"")
            .and_then(|at| self.labels.get(at + 1..))
    }

    fn for_each_code(&self, mut visit: impl FnMut(String, &Series)) {
        for (code, series) in &*self.by_code.lock().unwrap_or_else(PoisonError::into_inner) {
            visit(format!("{},response_code=\"{code}\"", self.labels), series);
        }
    }
}

impl Series {
    fn render_histogram(&self, labels: &str, text: &mut String) {
        let name = "istio_request_duration_milliseconds";
        let mut cumulative = 0;
        for (bound, bucket) in BOUNDS.iter().zip(self.buckets) {
            cumulative += bucket;
            _ = writeln!(text, "{name}_bucket{{{labels},le=\"{bound}\"}} {cumulative}");
        }
        _ = writeln!(text, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", self.count);
        _ = writeln!(text, "{name}_sum{{{labels}}} {}", self.sum);
        _ = writeln!(text, "{name}_count{{{labels}}} {}", self.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_in_every_bucket_above_it_and_dropped_with_its_pod() {
        let registry = Registry::default();
        let meter = registry.meter("pod=\"a\"".into());
        meter.record(200, Duration::from_millis(30));
        let text = registry.render();
        assert!(
            text.contains("istio_requests_total{pod=\"a\",response_code=\"200\"} 1\n"),
            "{text}"
        );
        assert!(text.contains("le=\"25\"} 0\n"), "{text}");
        assert!(text.contains("le=\"50\"} 1\n"), "{text}");
        drop(meter);
        assert!(!registry.render().contains("pod="));
    }
}
