//! Room for facts in the status: which goes when too many wait to be told.
//!
//! Invariant: none goes before it was written once, for only what is written is told to anybody.

use crate::api::Notice;

/// Facts that may wait to be told.
const LIMIT: usize = 16;
/// Facts that are kept as long as anything else can go.
pub const OUTCOMES: [&str; 9] = [
    "Initialized",
    "Promoted",
    "RolledBack",
    "Undone",
    "Aborted",
    "PromotionFailed",
    "Failed",
    "RolloutEnded",
    "Terminating",
];

/// Drops what is too many of `pending`, of which those up to the number `written` are written: the oldest that are no
/// outcome, else the oldest.
pub(super) fn make_room(pending: &mut Vec<Notice>, written: i64) {
    let written = |notice: &Notice| notice.seq <= written;
    let routine = |notice: &Notice| written(notice) && !OUTCOMES.contains(&notice.reason.as_str());
    while pending.len() > LIMIT {
        let goes = pending.iter().position(routine);
        let Some(goes) = goes.or_else(|| pending.iter().position(written)) else {
            return;
        };
        pending.remove(goes);
    }
}
