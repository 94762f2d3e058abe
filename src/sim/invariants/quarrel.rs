//! I16: what somebody else undoes again and again is not written again and again.

use chrono::TimeDelta;

use super::{
    Seen,
    ledger::{Ledger, ready_endpoints},
    workloads,
};
use crate::sim::api_server::Kind;

/// Over which time writes are counted.
const SPAN: TimeDelta = TimeDelta::minutes(5);
/// Writes of one thing by one process within [`SPAN`]: ten at once, one a minute, and what a release has a reason for.
const BOUND: usize = 25;
/// The same while the workload has a template that the primary does not have, or one of both has no pod: callers must not stay
/// there, so that is put right every five seconds.
const URGENT: usize = 75;

/// One of the controller's processes wrote this.
pub(super) fn written(seen: &Seen<'_>, ledger: &mut Ledger, what: &str, found: &mut Vec<String>) {
    let times = ledger
        .repairs
        .entry((what.to_owned(), seen.change.actor))
        .or_default();
    times.push_back((seen.at, unfit(seen)));
    while times.front().is_some_and(|(at, _)| seen.at - *at > SPAN) {
        times.pop_front();
    }
    let urgent = times.iter().any(|(_, unfit)| *unfit);
    if times.len() > if urgent { URGENT } else { BOUND } {
        found.push(format!(
            "{what} was written {} times within {} minutes (I16)",
            times.len(),
            SPAN.num_minutes()
        ));
    }
}

/// Whether the workload has another template than the primary, or one of both has no ready pod.
fn unfit(seen: &Seen<'_>) -> bool {
    let image = |name: &str| seen.get(Kind::DEPLOYMENT, name).map(workloads::image);
    let bare = |service: &str| ready_endpoints(seen.store, &seen.change.key.namespace, service) == 0;
    image(&seen.names.canary) != image(&seen.names.primary)
        || bare(&seen.names.canary_service)
        || bare(&seen.names.primary)
}
