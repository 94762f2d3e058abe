//! The PromQL of the built-in questions, for many workloads at once.
//!
//! One query answers for all canaries of a batch, so that the load on Prometheus does not grow with their number.
//! The regexes may match more than was asked (a namespace of one canary with a workload of another); the caller picks
//! what it asked for by label. Invariant: equal questions give equal text.

use std::{collections::BTreeSet, time::Duration};

use super::{Scope, pod_name};
use crate::judge::Reporter;

/// Labels that name a workload in the answer.
pub const NAMESPACE_LABEL: &str = "destination_workload_namespace";
/// See [`NAMESPACE_LABEL`].
pub const WORKLOAD_LABEL: &str = "destination_workload";
/// Label that says how requests ended: one of the classes below, or nothing if they were answered.
pub const CLASS_LABEL: &str = "bellwether_class";
/// Failed.
pub const BAD: &str = "bad";
/// Turned away.
pub const DENIED: &str = "denied";
/// Class of requests for something that is not there: 404.
pub const ABSENT: &str = "absent";
/// Given up by the caller.
pub const GONE: &str = "gone";
/// No requests, but connections.
pub const CONNECTIONS: &str = "connections";
/// Label that is `yes` for callers that the mesh does not know.
pub const STRANGER_LABEL: &str = "bellwether_stranger";
/// Label that says which part of an answer about samples a series is.
pub const PART_LABEL: &str = "bellwether_part";
/// When the newest sample of a pod was taken, in seconds since the epoch.
pub const NEWEST: &str = "newest";

/// How far back samples are counted to learn how often they come: the longest that all samples are there of is the best.
pub const LEARNT_OVER: [Duration; 2] = [Duration::from_secs(300), Duration::from_secs(60)];

/// How long a query about several canaries may be: VictoriaMetrics refuses one of more than 16 KiB (`-search.maxQueryLen`).
pub const MAX_LENGTH: usize = 15 << 10;

const BY: &str = "destination_workload_namespace, destination_workload";

/// Which of a request's labels put it into which class; a later rule wins.
const CLASSES: [(&str, &str, &str); 6] = [
    ("response_code", "403", DENIED),
    ("response_code", "404", ABSENT),
    // A gRPC call is HTTP 200 however it ended.
    ("grpc_response_status", "7", DENIED),
    ("grpc_response_status", "2|4|12|13|14|15", BAD),
    ("response_code", "5..", BAD),
    ("response_code", "0", GONE),
];

/// The query for the requests that `reporters` counted in `window`: by workload, reporter, class, and whether the mesh
/// knows the caller. A series that has one sample only in the window shows no growth and is not there.
#[must_use]
pub fn requests(scope: &Scope, reporters: &[Reporter], window: Duration) -> String {
    let selector = istio(scope, reporters);
    let range = range(window);
    let counted = format!("increase(istio_requests_total{{{selector}}}[{range}])");
    let classed = CLASSES.iter().fold(counted, |inner, (label, regex, class)| {
        format!("label_replace({inner}, \"{CLASS_LABEL}\", \"{class}\", \"{label}\", \"{regex}\")")
    });
    let known =
        format!("label_replace({classed}, \"{STRANGER_LABEL}\", \"yes\", \"source_workload\", \"unknown\")");
    let requests = format!("sum by ({BY}, reporter, {CLASS_LABEL}, {STRANGER_LABEL}) ({known})");
    if reporters.len() < 2 {
        return requests;
    }
    format!(
        "{requests} or label_replace(sum by ({BY}, reporter) \
         (increase(istio_tcp_connections_opened_total{{{selector}}}[{range}])), \
         \"{CLASS_LABEL}\", \"{CONNECTIONS}\", \"reporter\", \".*\")"
    )
}

/// The query for the durations of the requests that `reporter` counted in `window`: cumulative buckets by workload.
#[must_use]
pub fn durations(scope: &Scope, reporter: Reporter, window: Duration) -> String {
    format!(
        "sum by (le, {BY}) (increase(istio_request_duration_milliseconds_bucket{{{}}}[{}]))",
        istio(scope, &[reporter]),
        range(window)
    )
}

/// The query for when the newest sample of each pod was taken, and how many samples there are in each of [`LEARNT_OVER`]
/// of series that are older than that. A pod counts whose `up` is 1, or of which there is a series of Istio's; those have
/// the pod's name only if the scrape configuration puts it there, and its address in any case.
#[must_use]
pub fn freshness(scope: &Scope, window: Duration) -> String {
    let up = format!("up{{{}}}", pods(scope));
    let istio = format!(
        "istio_requests_total{{{}}}",
        istio(scope, &[Reporter::Destination])
    );
    // One sample tells nothing of growth: so it is after the source lost its memory.
    let within = range(window);
    let twice = |series: &str| format!("count_over_time({series}[{within}]) > 1");
    let part = |series: String, part: &str| {
        format!("label_replace({series}, \"{PART_LABEL}\", \"{part}\", \"pod\", \".*\")")
    };
    let mut parts = vec![
        part(
            format!(
                "max by (namespace, pod) (timestamp({up}) and {up} == 1 and {})",
                twice(&up)
            ),
            NEWEST,
        ),
        part(
            format!(
                "max by ({BY}, pod, instance) (timestamp({istio}) and {})",
                twice(&istio)
            ),
            NEWEST,
        ),
    ];
    for span in LEARNT_OVER {
        let range = range(span);
        for (by, series) in [("namespace, pod", &up), (BY, &istio)] {
            let counted =
                format!("max by ({by}) (count_over_time({series}[{range}]) and {series} offset {range})");
            parts.push(part(counted, &range));
        }
    }
    // Always there, so that the source's own time is known.
    parts.push("vector(time())".to_owned());
    parts.join(" or ")
}

/// The length of the longest query about `scope`: [`freshness`] repeats its names most often.
#[must_use]
pub fn longest(scope: &Scope) -> usize {
    freshness(scope, Duration::MAX).len()
}

fn istio(scope: &Scope, reporters: &[Reporter]) -> String {
    let namespaces = scope.workloads.iter().map(|w| w.namespace.as_str()).collect();
    let names = scope.workloads.iter().map(|w| w.workload.as_str()).collect();
    let reporters: Vec<&str> = reporters.iter().map(|reporter| name(*reporter)).collect();
    let operator = if reporters.len() < 2 { "=" } else { "=~" };
    format!(
        "reporter{operator}\"{}\",{NAMESPACE_LABEL}=~\"{}\",{WORKLOAD_LABEL}=~\"{}\"{}",
        reporters.join("|"),
        alternatives(namespaces),
        alternatives(names),
        scope.selector.appended()
    )
}

/// Istio's name of a reporter.
#[must_use]
pub fn name(reporter: Reporter) -> &'static str {
    match reporter {
        Reporter::Destination => "destination",
        Reporter::Source => "source",
    }
}

fn pods(scope: &Scope) -> String {
    let namespaces = scope.workloads.iter().map(|w| w.namespace.as_str()).collect();
    let prefixes: BTreeSet<String> = scope
        .workloads
        .iter()
        .map(|w| pod_name::prefix(&w.workload))
        .collect();
    format!(
        "namespace=~\"{}\",pod=~\"(?:{}).*\"{}",
        alternatives(namespaces),
        alternatives(prefixes.iter().map(String::as_str).collect()),
        scope.selector.appended()
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

/// A duration as PromQL has it.
#[must_use]
pub fn range(window: Duration) -> String {
    if window.subsec_millis() == 0 {
        format!("{}s", window.as_secs())
    } else {
        format!("{}ms", window.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::WorkloadKey, *};

    fn scope(pairs: &[(&str, &str)], selector: &str) -> Scope {
        let key = |(namespace, workload): &(&str, &str)| WorkloadKey {
            namespace: (*namespace).into(),
            workload: (*workload).into(),
        };
        Scope {
            workloads: pairs.iter().map(key).collect(),
            selector: selector.parse().unwrap(),
        }
    }

    fn of_one(reporters: &[Reporter]) -> String {
        requests(&scope(&[("n", "x")], ""), reporters, Duration::from_secs(60))
    }

    #[test]
    fn one_query_names_every_workload_in_order() {
        let set = scope(&[("b", "y"), ("a", "x-primary"), ("a", "x"), ("b", "x")], "");
        let selector = "reporter=\"destination\",destination_workload_namespace=~\"a|b\",\
                        destination_workload=~\"x|x-primary|y\"";
        let text = requests(&set, &[Reporter::Destination], Duration::from_secs(30));
        assert!(
            text.contains(&format!("increase(istio_requests_total{{{selector}}}[30s])")),
            "{text}"
        );
        assert_eq!(
            durations(&set, Reporter::Destination, Duration::from_millis(1500)),
            format!(
                "sum by (le, destination_workload_namespace, destination_workload) \
                 (increase(istio_request_duration_milliseconds_bucket{{{selector}}}[1500ms]))"
            )
        );
    }

    #[test]
    fn whole_text_of_a_count_is_this() {
        assert_eq!(
            of_one(&[Reporter::Destination]),
            "sum by (destination_workload_namespace, destination_workload, reporter, bellwether_class, \
             bellwether_stranger) (label_replace(label_replace(label_replace(label_replace(label_replace(\
             label_replace(label_replace(increase(istio_requests_total{reporter=\"destination\",\
             destination_workload_namespace=~\"n\",destination_workload=~\"x\"}[60s]), \
             \"bellwether_class\", \"denied\", \"response_code\", \"403\"), \
             \"bellwether_class\", \"absent\", \"response_code\", \"404\"), \
             \"bellwether_class\", \"denied\", \"grpc_response_status\", \"7\"), \
             \"bellwether_class\", \"bad\", \"grpc_response_status\", \"2|4|12|13|14|15\"), \
             \"bellwether_class\", \"bad\", \"response_code\", \"5..\"), \
             \"bellwether_class\", \"gone\", \"response_code\", \"0\"), \
             \"bellwether_stranger\", \"yes\", \"source_workload\", \"unknown\"))"
        );
    }

    #[test]
    fn callers_are_asked_for_by_their_reporter_and_connections_beside_both() {
        let source = of_one(&[Reporter::Source]);
        assert!(
            source.contains("reporter=\"source\"") && !source.contains("tcp"),
            "{source}"
        );
        let both = of_one(&[Reporter::Destination, Reporter::Source]);
        assert!(both.contains("reporter=~\"destination|source\""), "{both}");
        assert!(
            both.contains("or label_replace(sum by")
                && both.contains("increase(istio_tcp_connections_opened_total{"),
            "{both}"
        );
    }

    #[test]
    fn matchers_stand_in_every_selector() {
        let set = scope(&[("n", "x")], "cluster=\"eu-1\"");
        let both = [Reporter::Destination, Reporter::Source];
        for text in [
            requests(&set, &both, Duration::from_secs(60)),
            durations(&set, Reporter::Source, Duration::from_secs(60)),
            freshness(&set, Duration::from_secs(37)),
        ] {
            let selectors = text.matches('{').count();
            assert!(
                selectors > 0 && text.matches(",cluster=\"eu-1\"}").count() == selectors,
                "{text}"
            );
        }
    }

    #[test]
    fn samples_are_looked_for_by_pod_and_by_series() {
        let text = freshness(
            &scope(&[("n", "x"), ("n", "x-primary")], ""),
            Duration::from_secs(37),
        );
        let up = "up{namespace=~\"n\",pod=~\"(?:x-|x-primary-).*\"}";
        assert!(
            text.contains(&format!(
                "max by (namespace, pod) (timestamp({up}) and {up} == 1 and count_over_time({up}[37s]) > 1)"
            )),
            "{text}"
        );
        assert!(
            text.contains(&format!("(count_over_time({up}[300s]) and {up} offset 300s)")),
            "{text}"
        );
        assert!(text.contains("[60s]) and istio_requests_total{"), "{text}");
        assert!(text.ends_with(" or vector(time())"), "{text}");
    }

    #[test]
    fn names_are_taken_literally() {
        let query = of_many("a.b", "x\"}|y");
        assert!(
            query.contains(r#"destination_workload_namespace=~"a\\.b""#),
            "{query}"
        );
        assert!(query.contains(r#"destination_workload=~"x\"\\}\\|y""#), "{query}");
    }

    #[test]
    fn question_about_freshness_is_the_longest() {
        let long = "a-namespace-with-a-long-name";
        for pairs in [
            &[("n", "x")][..],
            &[(long, "web"), (long, "web-primary"), ("b", "x.y")],
        ] {
            for selector in ["", "cluster=\"eu-1\""] {
                let set = scope(pairs, selector);
                for window in [Duration::from_secs(60), Duration::from_millis(86_399_999)] {
                    let both = [Reporter::Destination, Reporter::Source];
                    for text in [
                        requests(&set, &both, window),
                        durations(&set, Reporter::Destination, window),
                        freshness(&set, window),
                    ] {
                        assert!(text.len() <= longest(&set), "{} for {text}", longest(&set));
                    }
                }
            }
        }
    }

    fn of_many(namespace: &str, workload: &str) -> String {
        let set = scope(&[(namespace, workload)], "");
        requests(&set, &[Reporter::Destination], Duration::from_secs(1))
    }
}
