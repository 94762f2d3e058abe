//! The PromQL of the built-in metrics, for many workloads at once.
//!
//! One query answers for all canaries of a batch, so that the load on Prometheus does not grow with their number.
//! The regexes may match more than was asked (a namespace of one canary with a workload of another); the caller picks
//! what it asked for by label. Invariant: equal questions give equal text.

use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

use super::WorkloadKey;
use crate::judge::MetricKind;

/// Labels that name a workload in the answer.
pub const NAMESPACE_LABEL: &str = "destination_workload_namespace";
/// See [`NAMESPACE_LABEL`].
pub const WORKLOAD_LABEL: &str = "destination_workload";

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    /// A built-in metric.
    Metric(MetricKind),
    /// The number of requests that were answered.
    Requests,
}

/// A question about many workloads at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// What is measured.
    pub measure: Measure,
    /// How far it looks back.
    pub window: Duration,
    /// Of whom.
    pub workloads: BTreeSet<WorkloadKey>,
}

impl Query {
    /// Its text in PromQL.
    #[must_use]
    pub fn promql(&self) -> String {
        match self.measure {
            Measure::Metric(kind) => metric(kind, &self.workloads, self.window),
            Measure::Requests => request_count(&self.workloads, self.window),
        }
    }
}

const BY: &str = "destination_workload_namespace, destination_workload";

/// The query for a built-in metric of `workloads` over `window`: percent for a success rate, milliseconds for a
/// duration. A workload without requests has no series or NaN; one whose requests all fail has 0.
#[must_use]
pub fn metric(kind: MetricKind, workloads: &BTreeSet<WorkloadKey>, window: Duration) -> String {
    let selector = selector(workloads);
    let range = range(window);
    match kind {
        MetricKind::SuccessRate => {
            let rate = |extra: &str| {
                format!("sum by ({BY}) (rate(istio_requests_total{{{selector}{extra}}}[{range}]))")
            };
            let (all, bad) = (rate(""), rate(",response_code=~\"5.*\""));
            // `or 0 * all`, because without any 5xx there is no series of them; `all > 0`, because 0/0 says nothing.
            format!("100 - 100 * ({bad} or 0 * {all}) / ({all} > 0)")
        }
        MetricKind::Duration => format!(
            "histogram_quantile(0.99, sum by (le, {BY}) \
             (rate(istio_request_duration_milliseconds_bucket{{{selector}}}[{range}])))"
        ),
    }
}

/// The query for the number of requests that `workloads` answered in `window`.
#[must_use]
pub fn request_count(workloads: &BTreeSet<WorkloadKey>, window: Duration) -> String {
    format!(
        "sum by ({BY}) (increase(istio_requests_total{{{}}}[{}]))",
        selector(workloads),
        range(window)
    )
}

fn selector(workloads: &BTreeSet<WorkloadKey>) -> String {
    let namespaces = workloads.iter().map(|w| w.namespace.as_str()).collect();
    let names = workloads.iter().map(|w| w.workload.as_str()).collect();
    format!(
        "reporter=\"destination\",{NAMESPACE_LABEL}=~\"{}\",{WORKLOAD_LABEL}=~\"{}\"",
        alternatives(namespaces),
        alternatives(names)
    )
}

/// Prometheus anchors label regexes on both sides.
fn alternatives(names: BTreeSet<&str>) -> String {
    let mut text = String::new();
    for name in names {
        if !text.is_empty() {
            text.push('|');
        }
        for c in name.chars() {
            match c {
                // The second backslash is for the string literal.
                '\\' => text.push_str(r"\\\\"),
                '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$' => {
                    text.push_str(r"\\");
                    text.push(c);
                }
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                _ => text.push(c),
            }
        }
    }
    text
}

fn range(window: Duration) -> String {
    let mut text = String::new();
    let (seconds, millis) = (window.as_secs(), window.subsec_millis());
    // Writing to a String cannot fail.
    let _ = if millis == 0 {
        write!(text, "{seconds}s")
    } else {
        write!(text, "{}ms", window.as_millis())
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workloads(pairs: &[(&str, &str)]) -> BTreeSet<WorkloadKey> {
        pairs
            .iter()
            .map(|(n, w)| WorkloadKey {
                namespace: (*n).into(),
                workload: (*w).into(),
            })
            .collect()
    }

    #[test]
    fn one_query_names_every_workload_in_order() {
        let set = workloads(&[("b", "y"), ("a", "x-primary"), ("a", "x"), ("b", "x")]);
        let selector = "reporter=\"destination\",destination_workload_namespace=~\"a|b\",\
                        destination_workload=~\"x|x-primary|y\"";
        assert_eq!(
            request_count(&set, Duration::from_secs(30)),
            format!(
                "sum by (destination_workload_namespace, destination_workload) \
                 (increase(istio_requests_total{{{selector}}}[30s]))"
            )
        );
        let rate = |extra: &str| {
            format!(
                "sum by (destination_workload_namespace, destination_workload) \
                 (rate(istio_requests_total{{{selector}{extra}}}[60s]))"
            )
        };
        assert_eq!(
            metric(MetricKind::SuccessRate, &set, Duration::from_secs(60)),
            format!(
                "100 - 100 * ({} or 0 * {}) / ({} > 0)",
                rate(",response_code=~\"5.*\""),
                rate(""),
                rate("")
            )
        );
        assert_eq!(
            metric(MetricKind::Duration, &set, Duration::from_millis(1500)),
            format!(
                "histogram_quantile(0.99, sum by (le, destination_workload_namespace, destination_workload) \
                 (rate(istio_request_duration_milliseconds_bucket{{{selector}}}[1500ms])))"
            )
        );
    }

    #[test]
    fn names_are_taken_literally() {
        let set = workloads(&[("a.b", "x\"}|y")]);
        let query = request_count(&set, Duration::from_secs(1));
        assert!(
            query.contains(r#"destination_workload_namespace=~"a\\.b""#),
            "{query}"
        );
        assert!(query.contains(r#"destination_workload=~"x\"\\}\\|y""#), "{query}");
    }
}
