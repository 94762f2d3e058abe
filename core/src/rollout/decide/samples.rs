//! Samples of the metrics that do not come.

use chrono::{DateTime, TimeDelta, Utc};

use super::plan::Plan;

/// How long a sample may be missing before that has a name.
const GRACE: TimeDelta = TimeDelta::seconds(30);

/// Whether a sample of the instant `due` should be there by now, from a source that is as far behind as it was last; looks again
/// then.
pub(super) fn overdue(plan: &mut Plan<'_>, due: DateTime<Utc>) -> bool {
    let behind = plan.seen.sample.as_ref().map(|sample| sample.behind);
    let behind = TimeDelta::from_std(behind.unwrap_or_default()).unwrap_or_default();
    plan.elapsed(due.max(plan.seen.sampled_since), GRACE + behind)
}
