//! By which name a template is known. A digest may have another form than the one that was recorded: an earlier version took
//! another one, or the server returns the template otherwise by now. The same template is the same revision.
//!
//! Invariant: everything after this compares revisions as text. What is recognised costs no write.

use crate::rollout::{Observed, Workload};

/// What was observed, with the revisions by the names under which they are recorded; `None` if they have them already.
pub(super) fn recognise(seen: &Observed) -> Option<Observed> {
    let known = &seen.status.revision;
    let rejected = known.rejected.iter().map(|rejected| &rejected.revision);
    let recorded: Vec<&String> = [&known.current, &known.promoted, &known.previous, &known.waiting]
        .into_iter()
        .flatten()
        .chain(rejected)
        .chain(known.requesters.keys())
        .collect();
    let target = seen
        .target
        .as_ref()
        .and_then(|target| other_name(target, &recorded));
    let mut primary = seen
        .primary
        .as_ref()
        .and_then(|primary| other_name(primary, &recorded));
    // While it is set up nothing is recorded, and the primary is compared with the target.
    if let (None, Some(target), Some(own)) = (&primary, &seen.target, &seen.primary)
        && recorded.is_empty()
        && own.revision != target.revision
        && own.same_template(target)
    {
        primary = Some(target.revision.clone());
    }
    if target.is_none() && primary.is_none() {
        return None;
    }
    let mut seen = seen.clone();
    if let (Some(workload), Some(name)) = (&seen.target, &target)
        && let Some(asked) = seen.requests.shipped.remove(&workload.revision)
    {
        if seen.requests.whole.remove(&workload.revision) {
            seen.requests.whole.insert(name.clone());
        }
        seen.requests
            .shipped
            .entry(name.clone())
            .or_default()
            .merge(&asked);
    }
    for (workload, name) in [(&mut seen.target, target), (&mut seen.primary, primary)] {
        if let (Some(workload), Some(name)) = (workload, name) {
            workload.revision = name;
        }
    }
    Some(seen)
}

/// The recorded name of the workload's template, if it is another one than its own.
fn other_name(workload: &Workload, recorded: &[&String]) -> Option<String> {
    if recorded.contains(&&workload.revision) {
        return None;
    }
    let name = recorded.iter().find(|name| workload.is_of(name));
    name.map(|name| (*name).clone())
}
