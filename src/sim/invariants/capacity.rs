//! I14: traffic does not go to fewer ready pods than it needs, while those that have it carry it.
//!
//! Whoever decides may not know yet what changed a moment ago: the most pods of that time count for those that get traffic,
//! the fewest for those that lose it.

use super::{Seen, ledger::Ledger, ledger::ready_endpoints, routes::SEEN};
use crate::sim::api_server::Kind;

/// Remembers how many ready pods a Service has.
pub(super) fn counted(seen: &Seen<'_>, ledger: &mut Ledger, service: &str) {
    let count = ready_endpoints(seen.store, &seen.change.key.namespace, service);
    let counts = ledger.ready.entry(service.to_owned()).or_default();
    counts.push_back((seen.at, count));
    // The last one before that time says how many there were in its beginning.
    while counts.get(1).is_some_and(|(at, _)| seen.at - *at > SEEN) {
        counts.pop_front();
    }
}

/// The fewest and the most ready pods of a Service within [`SEEN`].
fn lately(seen: &Seen<'_>, ledger: &Ledger, service: &str) -> Option<(i64, i64)> {
    let counts = ledger.ready.get(service)?;
    let begins = counts.partition_point(|(at, _)| seen.at - *at > SEEN);
    let lately = counts.range(begins.saturating_sub(1)..).map(|(_, count)| *count);
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    Some((number(lately.clone().min()?), number(lately.max()?)))
}

/// The weight went from `old` to `new`.
pub(super) fn routed(seen: &Seen<'_>, ledger: &Ledger, (old, new): (i64, i64), found: &mut Vec<String>) {
    let moves = ["Progressing", "WaitingPromotion", "Promoting", "Finalising"]
        .iter()
        .any(|phase| seen.status("phase") == phase);
    let primary = seen.get(Kind::DEPLOYMENT, &seen.names.primary);
    let asked = primary.and_then(|primary| primary["spec"]["replicas"].as_i64());
    let (Some(full), true) = (asked.filter(|full| *full > 0), moves) else {
        return;
    };
    let (Some(canary), Some(primary)) = (
        lately(seen, ledger, &seen.names.canary_service),
        lately(seen, ledger, &seen.names.primary),
    ) else {
        return;
    };
    // A pod of ten may be away.
    let most = |pods: i64| (pods * 9 + 9) / 10;
    let need = |percent: i64| (full * percent + 99) / 100;
    if new > old && primary.0 >= full && canary.1 < most(need(new)) {
        found.push(format!(
            "weight {new} of what {full} pods serve goes to {} ready pods of the canary (I14)",
            canary.1
        ));
    }
    // What is taken back may go to half of the pods.
    if new < old && canary.0 >= full && (100 - new) * full > 200 * primary.1 + full {
        found.push(format!(
            "all but weight {new} of what {full} pods serve goes to {} ready pods of the primary (I14)",
            primary.1
        ));
    }
}
