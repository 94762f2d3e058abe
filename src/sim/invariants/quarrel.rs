//! I16: what somebody else undoes again and again is not written again and again.

use chrono::TimeDelta;

use super::{Seen, book::Book};

/// Over which time writes are counted.
const SPAN: TimeDelta = TimeDelta::minutes(5);
/// Writes of one thing by one process within [`SPAN`]: ten at once, one a minute, and what a release has a reason for.
const BOUND: usize = 25;

/// One of the controller's processes wrote this.
pub(super) fn written(seen: &Seen<'_>, book: &mut Book, what: &str, found: &mut Vec<String>) {
    let times = book
        .repairs
        .entry((what.to_owned(), seen.change.actor))
        .or_default();
    times.push_back(seen.at);
    while times.front().is_some_and(|at| seen.at - *at > SPAN) {
        times.pop_front();
    }
    if times.len() > BOUND {
        found.push(format!(
            "{what} was written {} times within {} minutes (I16)",
            times.len(),
            SPAN.num_minutes()
        ));
    }
}
