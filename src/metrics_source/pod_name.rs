//! Whose pod it is, by its name alone: `up` bears the names of namespace and pod, and not that of the workload.

/// Longest beginning of a pod's name that Kubernetes makes of its ReplicaSet's name; the rest is random.
const MAX_BASE: usize = 58;
/// Length of the random end.
const SUFFIX: usize = 5;

/// What the names of all pods of the Deployment `workload` begin with.
pub(super) fn prefix(workload: &str) -> String {
    workload.chars().chain(['-']).take(MAX_BASE).collect()
}

/// Whether the Deployment `workload` may have a pod of this name: `<workload>-<hash>-<random>`, cut where that is too long.
pub(super) fn is_of(workload: &str, pod: &str) -> bool {
    let Some(base) = pod
        .len()
        .checked_sub(SUFFIX)
        .filter(|at| pod.is_char_boundary(*at))
        .map(|at| &pod[..at])
    else {
        return false;
    };
    let Some(hash) = base.strip_prefix(&prefix(workload)) else {
        return false;
    };
    let (hash, whole) = match hash.strip_suffix('-') {
        Some(hash) => (hash, !hash.is_empty()),
        None => (hash, false),
    };
    let plain = hash.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    plain && (whole || base.len() == MAX_BASE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_told_apart_by_their_workloads_names() {
        let long = "a".repeat(60);
        let nearly = "b".repeat(50);
        let table = [
            ("web", "web-6d4cf56db6-x7k2p".to_owned(), true),
            ("web", "web-primary-6d4cf56db6-x7k2p".to_owned(), false),
            ("web-primary", "web-primary-6d4cf56db6-x7k2p".to_owned(), true),
            ("web", "web-x7k2p".to_owned(), false),
            ("web", "web-0".to_owned(), false),
            ("web", "webshop-6d4cf56db6-x7k2p".to_owned(), false),
            ("web", "web".to_owned(), false),
            (&long, format!("{}x7k2p", &long[..58]), true),
            (&nearly, format!("{nearly}-6d4cf56x7k2p"), true),
            (&nearly, format!("{nearly}-6d4cf5-x7k2p"), true),
        ];
        for (workload, pod, expected) in table {
            assert_eq!(is_of(workload, &pod), expected, "{pod} of {workload}");
            assert!(!expected || pod.starts_with(&prefix(workload)), "{pod}");
        }
    }
}
