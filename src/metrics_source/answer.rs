//! What the series of an answer say. An answer that is not what was asked for is refused whole: half of it could be taken for
//! all.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use chrono::DateTime;

use super::{
    Durations, Freshness, Requests, Row, Scope, SourceError, WorkloadKey, pod_name,
    query::{
        ABSENT, BAD, CLASS_LABEL, CONNECTIONS, DENIED, GONE, LEARNT_OVER, NAMESPACE_LABEL, NEWEST,
        PART_LABEL, STRANGER_LABEL, WORKLOAD_LABEL, name, range,
    },
};
use crate::judge::{Bucket, Counts, Reporter};

/// The answer to [`super::query::requests`].
pub(super) fn requests(rows: Vec<Row>) -> Result<Requests, SourceError> {
    let mut found = Requests::new();
    let mut connections = Requests::new();
    let mut seen = HashSet::new();
    for row in rows {
        let key = (workload(&row)?, reporter(&row)?);
        let (class, stranger) = (label(&row, CLASS_LABEL), label(&row, STRANGER_LABEL) == "yes");
        if !seen.insert((key.clone(), class.to_owned(), stranger)) {
            return Err(twice(&key.0));
        }
        let counts = if class == CONNECTIONS {
            connections.entry(key).or_default()
        } else {
            found.entry(key).or_default()
        };
        count(counts, class, stranger, row.value)?;
    }
    for (key, counts) in connections {
        found.entry(key).or_insert(counts);
    }
    Ok(found)
}

fn count(counts: &mut Counts, class: &str, stranger: bool, value: f64) -> Result<(), SourceError> {
    let strangers = &mut counts.strangers;
    let (of_all, of_strangers) = match class {
        "" | CONNECTIONS => (None, None),
        BAD => (Some(&mut counts.bad), Some(&mut strangers.bad)),
        DENIED => (Some(&mut counts.denied), Some(&mut strangers.denied)),
        ABSENT => (Some(&mut counts.absent), Some(&mut strangers.absent)),
        GONE => (Some(&mut counts.disconnects), Some(&mut strangers.disconnects)),
        other => {
            return Err(SourceError::Malformed(format!(
                "a series has {other:?} in its label {CLASS_LABEL}"
            )));
        }
    };
    counts.requests += value;
    of_all.into_iter().for_each(|sum| *sum += value);
    if stranger {
        of_strangers.into_iter().for_each(|sum| *sum += value);
        strangers.requests += value;
    }
    Ok(())
}

/// The answer to [`super::query::durations`]. Prometheus 3 writes the bound `5.0` that Prometheus 2 writes `5`: for as long as
/// a window has series of both, they are parts of one bucket.
pub(super) fn durations(rows: Vec<Row>) -> Result<Durations, SourceError> {
    let mut found = Durations::new();
    let mut seen = HashSet::new();
    for row in rows {
        let key = workload(&row)?;
        let le = label(&row, "le");
        let Ok(le_ms) = le.parse::<f64>() else {
            return Err(SourceError::Malformed(format!(
                "a bucket has the bound {le:?}, which is no number"
            )));
        };
        let count = row.value;
        if !seen.insert((key.clone(), le.to_owned())) {
            return Err(twice(&key));
        }
        found.entry(key).or_default().push(Bucket { le_ms, count });
    }
    for buckets in found.values_mut() {
        buckets.sort_by(|a, b| a.le_ms.total_cmp(&b.le_ms));
        buckets.dedup_by(|later, earlier| {
            let same = later.le_ms.total_cmp(&earlier.le_ms).is_eq();
            if same {
                earlier.count += later.count;
            }
            same
        });
    }
    Ok(found)
}

/// The answer to [`super::query::freshness`].
pub(super) fn freshness(scope: &Scope, rows: Vec<Row>) -> Result<Freshness, SourceError> {
    let now = rows.iter().map(|row| row.at).fold(f64::MIN, f64::max);
    let mut found = Freshness {
        now: DateTime::from_timestamp_millis((now * 1e3) as i64).filter(|_| !rows.is_empty()),
        ..Freshness::default()
    };
    let mut series: HashMap<WorkloadKey, HashMap<String, f64>> = HashMap::new();
    let mut up: HashMap<WorkloadKey, HashMap<String, f64>> = HashMap::new();
    for row in rows {
        let part = label(&row, PART_LABEL);
        if part.is_empty() {
            continue;
        }
        for key in keys(scope, &row)? {
            if part == NEWEST {
                let age = Duration::try_from_secs_f64((now - row.value).max(0.0)).unwrap_or(Duration::MAX);
                let pod = [label(&row, "pod"), label(&row, "instance")]
                    .into_iter()
                    .find(|name| !name.is_empty());
                let pods = found.ages.entry(key).or_default();
                let known = pods.entry(pod.unwrap_or_default().to_owned()).or_insert(age);
                *known = age.min(*known);
            } else {
                // `up` is of every job that scrapes the pod; what is counted comes with the proxies' own series.
                let own = !label(&row, WORKLOAD_LABEL).is_empty();
                let counts = if own { &mut series } else { &mut up };
                let known = counts.entry(key).or_default().entry(part.to_owned()).or_default();
                *known = known.max(row.value);
            }
        }
    }
    let learnt = |counts: HashMap<String, f64>| {
        LEARNT_OVER.iter().find_map(|span| {
            let samples = counts.get(&range(*span)).filter(|samples| **samples >= 1.0)?;
            Some(span.div_f64(*samples))
        })
    };
    up.extend(series);
    found.intervals = up
        .into_iter()
        .filter_map(|(key, counts)| Some((key, learnt(counts)?)))
        .collect();
    Ok(found)
}

/// The workloads that a series about samples concerns: the one that it names, or those whose pod it may be.
fn keys(scope: &Scope, row: &Row) -> Result<Vec<WorkloadKey>, SourceError> {
    if !label(row, WORKLOAD_LABEL).is_empty() {
        return Ok(vec![workload(row)?]);
    }
    let (namespace, pod) = (label(row, "namespace"), label(row, "pod"));
    let of = |key: &&WorkloadKey| key.namespace == namespace && pod_name::is_of(&key.workload, pod);
    Ok(scope.workloads.iter().filter(of).cloned().collect())
}

fn label<'a>(row: &'a Row, label: &str) -> &'a str {
    row.labels.get(label).map_or("", String::as_str)
}

fn workload(row: &Row) -> Result<WorkloadKey, SourceError> {
    match (row.labels.get(NAMESPACE_LABEL), row.labels.get(WORKLOAD_LABEL)) {
        (Some(namespace), Some(workload)) => Ok(WorkloadKey {
            namespace: namespace.clone(),
            workload: workload.clone(),
        }),
        _ => Err(SourceError::Malformed(format!(
            "a series lacks the labels {NAMESPACE_LABEL} and {WORKLOAD_LABEL}"
        ))),
    }
}

fn reporter(row: &Row) -> Result<Reporter, SourceError> {
    let text = label(row, "reporter");
    [Reporter::Destination, Reporter::Source]
        .into_iter()
        .find(|reporter| name(*reporter) == text)
        .ok_or_else(|| SourceError::Malformed(format!("a series has the reporter {text:?}")))
}

fn twice(key: &WorkloadKey) -> SourceError {
    SourceError::Malformed(format!(
        "more than one series for workload {}/{}",
        key.namespace, key.workload
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::Tally;

    fn row(labels: &[(&str, &str)], value: f64) -> Row {
        Row {
            labels: labels
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            value,
            at: 1000.0,
        }
    }

    fn of(workload: &str, more: &[(&str, &str)], value: f64) -> Row {
        let mut labels = vec![(NAMESPACE_LABEL, "n"), (WORKLOAD_LABEL, workload)];
        labels.extend(more);
        row(&labels, value)
    }

    fn key(workload: &str) -> WorkloadKey {
        WorkloadKey {
            namespace: "n".into(),
            workload: workload.into(),
        }
    }

    #[test]
    fn classes_add_up_to_the_requests_of_each_reporter() {
        let at = |class: &'static str| [("reporter", "destination"), (CLASS_LABEL, class)];
        let stranger = |class| [at(class).as_slice(), &[(STRANGER_LABEL, "yes")]].concat();
        let found = requests(vec![
            of("a", &at(""), 90.0),
            of("a", &stranger(""), 5.0),
            of("a", &stranger(ABSENT), 4.0),
            of("a", &at(BAD), 3.0),
            of("a", &at(DENIED), 2.0),
            of("a", &at(GONE), 1.0),
            of("a", &[("reporter", "source")], 7.0),
            of("a", &at(CONNECTIONS), 11.0),
            of("tcp", &at(CONNECTIONS), 4.0),
        ])
        .unwrap();
        let expected = Counts {
            requests: 105.0,
            bad: 3.0,
            denied: 2.0,
            absent: 4.0,
            disconnects: 1.0,
            strangers: Tally {
                requests: 9.0,
                absent: 4.0,
                ..Tally::default()
            },
            buckets: vec![],
        };
        assert_eq!(
            found[&(key("a"), Reporter::Destination)],
            expected,
            "connections carry requests"
        );
        assert_eq!(found[&(key("a"), Reporter::Source)].requests, 7.0);
        assert_eq!(found[&(key("tcp"), Reporter::Destination)].requests, 4.0);
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn answers_that_name_no_workload_or_one_twice_are_refused_whole() {
        let destination = ("reporter", "destination");
        let table = [
            requests(vec![row(&[destination], 1.0)]).unwrap_err(),
            requests(vec![of("a", &[], 1.0)]).unwrap_err(),
            requests(vec![of("a", &[destination], 1.0), of("a", &[destination], 1.0)]).unwrap_err(),
            requests(vec![of("a", &[destination, (CLASS_LABEL, "x")], 1.0)]).unwrap_err(),
            durations(vec![of("a", &[("le", "soon")], 1.0)]).unwrap_err(),
            durations(vec![of("a", &[("le", "5")], 1.0), of("a", &[("le", "5")], 1.0)]).unwrap_err(),
        ];
        for error in table {
            assert_eq!(error.reason(), "MetricsMalformed", "{error}");
        }
    }

    #[test]
    fn buckets_rise_by_their_bounds_whatever_their_order() {
        let found = durations(vec![
            of("a", &[("le", "+Inf")], 3.0),
            of("a", &[("le", "10")], 2.0),
            of("a", &[("le", "2.5")], 1.0),
        ])
        .unwrap();
        let bounds: Vec<f64> = found[&key("a")].iter().map(|bucket| bucket.le_ms).collect();
        assert_eq!(bounds, [2.5, 10.0, f64::INFINITY]);
    }

    /// Pods' series of before and after an upgrade from Prometheus 2 to 3 are in one window.
    #[test]
    fn bucket_whose_bound_is_written_in_two_ways_is_one() {
        let found = durations(vec![
            of("a", &[("le", "5")], 1.0),
            of("a", &[("le", "5.0")], 2.0),
            of("a", &[("le", "+Inf")], 4.0),
        ])
        .unwrap();
        let buckets = found[&key("a")].iter().map(|bucket| (bucket.le_ms, bucket.count));
        assert_eq!(buckets.collect::<Vec<_>>(), [(5.0, 3.0), (f64::INFINITY, 4.0)]);
    }

    #[test]
    fn pods_are_found_by_up_and_by_their_own_series() {
        let scope = Scope {
            workloads: [key("web"), key("web-primary")].into(),
            ..Scope::default()
        };
        let up = |pod: &str, part: &str, value: f64| {
            row(&[("namespace", "n"), ("pod", pod), (PART_LABEL, part)], value)
        };
        let found = freshness(
            &scope,
            vec![
                up("web-6d4cf56db6-aaaaa", NEWEST, 990.0),
                up("web-6d4cf56db6-bbbbb", NEWEST, 900.0),
                of(
                    "web",
                    &[("pod", "web-6d4cf56db6-aaaaa"), (PART_LABEL, NEWEST)],
                    995.0,
                ),
                of(
                    "web-primary",
                    &[("instance", "10.0.0.7:15020"), (PART_LABEL, NEWEST)],
                    999.5,
                ),
                up("stranger-6d4cf56db6-ccccc", NEWEST, 999.0),
                up("web-6d4cf56db6-bbbbb", "300s", 10.0),
                up("web-6d4cf56db6-aaaaa", "300s", 20.0),
                up("web-6d4cf56db6-aaaaa", "60s", 60.0),
                up("web-primary-7d4cf56db6-ddddd", "60s", 2.0),
                row(&[], 1000.0),
            ],
        )
        .unwrap();
        let age = |workload: &str, pod: &str| found.ages[&key(workload)][pod].as_secs_f64();
        assert_eq!(
            age("web", "web-6d4cf56db6-aaaaa"),
            5.0,
            "the younger of both samples"
        );
        assert_eq!(age("web", "web-6d4cf56db6-bbbbb"), 100.0);
        assert_eq!(age("web-primary", "10.0.0.7:15020"), 0.5);
        assert_eq!((found.ages[&key("web")].len(), found.ages.len()), (2, 2));
        let interval = |workload: &str| found.intervals[&key(workload)].as_secs_f64();
        assert_eq!(
            interval("web"),
            15.0,
            "of the longest span, and of the pod that lost no scrape"
        );
        assert_eq!(interval("web-primary"), 30.0);
        assert_eq!(found.now.unwrap().timestamp(), 1000);
    }
}
