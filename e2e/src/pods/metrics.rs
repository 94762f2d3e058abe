//! What the pods count, with the names and labels that Istio's sidecars would give it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use hyper::StatusCode;

/// gRPC's status of a server that cannot answer.
const UNAVAILABLE: u16 = 14;

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
    pub fn meter(&self, namespace: &str, labels: String) -> Arc<Meter> {
        let meter = Arc::new(Meter {
            namespace: namespace.to_owned(),
            labels,
            by_answer: Mutex::default(),
        });
        let mut meters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        meters.retain(|meter| meter.strong_count() > 0);
        meters.push(Arc::downgrade(&meter));
        meter
    }

    /// What pods of these namespaces count, in Prometheus' text format.
    pub fn render(&self, of: impl Fn(&str) -> bool) -> String {
        let meters: Vec<_> = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|meter| of(&meter.namespace))
            .collect();
        let mut text = String::from("# TYPE istio_requests_total counter\n");
        for meter in &meters {
            meter.for_each_answer(|labels, series| {
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
            meter.for_each_answer(|labels, series| series.render_histogram(&labels, &mut text));
        }
        text
    }
}

/// The counters of one pod.
pub struct Meter {
    namespace: String,
    labels: String,
    by_answer: Mutex<BTreeMap<Answer, Series>>,
}

/// How a request was answered, as the labels of a counter tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answer {
    /// The code of HTTP.
    pub code: u16,
    /// The status of gRPC, if the call was one.
    pub grpc: Option<u16>,
}

impl Answer {
    /// An answer that knows nothing of gRPC.
    pub fn http(code: StatusCode) -> Self {
        Self {
            code: code.as_u16(),
            grpc: None,
        }
    }

    /// A good answer, or one that is an error.
    pub fn of(failed: bool, grpc: bool) -> Self {
        // Not 503: the mesh tries that again by itself, and the share of failures would not be the one asked for.
        match (failed, grpc) {
            (false, false) => Self::http(StatusCode::OK),
            (true, false) => Self::http(StatusCode::INTERNAL_SERVER_ERROR),
            (_, true) => Self {
                grpc: Some(if failed { UNAVAILABLE } else { 0 }),
                ..Self::http(StatusCode::OK)
            },
        }
    }

    fn labels(self) -> String {
        let code = self.code;
        match self.grpc {
            None => format!("request_protocol=\"http\",response_code=\"{code}\""),
            Some(status) => {
                format!(
                    "request_protocol=\"grpc\",response_code=\"{code}\",grpc_response_status=\"{status}\""
                )
            }
        }
    }
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
    pub fn record(&self, answer: Answer, took: Duration) {
        let milliseconds = took.as_secs_f64() * 1_000.0;
        let mut by_answer = self.by_answer.lock().unwrap_or_else(PoisonError::into_inner);
        let series = by_answer.entry(answer).or_default();
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

    fn for_each_answer(&self, mut visit: impl FnMut(String, &Series)) {
        for (answer, series) in &*self.by_answer.lock().unwrap_or_else(PoisonError::into_inner) {
            visit(format!("{},{}", self.labels, answer.labels()), series);
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
        let meter = registry.meter("here", "pod=\"a\"".into());
        meter.record(Answer::of(false, false), Duration::from_millis(30));
        let text = registry.render(|namespace| namespace == "here");
        let series = "istio_requests_total{pod=\"a\",request_protocol=\"http\",response_code=\"200\"} 1\n";
        assert!(text.contains(series), "{text}");
        assert!(text.contains("le=\"25\"} 0\n"), "{text}");
        assert!(text.contains("le=\"50\"} 1\n"), "{text}");
        assert!(!registry.render(|namespace| namespace == "there").contains("pod="));
        drop(meter);
        assert!(!registry.render(|_| true).contains("pod="));
    }
}
