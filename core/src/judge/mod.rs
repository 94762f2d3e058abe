//! How measurements become a judgement of the canary: plain data in, plain data out.
//!
//! No data, an error and a bad value are three different things, and only the last is evidence against a release.
//! Invariant: nothing here names a client, a clock, a runtime or a log.

pub mod counts;
pub mod darkness;
pub mod evidence;
pub mod metric;
pub mod threshold;

pub use counts::{Bucket, Counts, Disconnects, Reporter, Sides, Tally, quantile};
pub use darkness::{follows, has_requests, is_dark, is_dark_for};
pub use evidence::{Reading, Sample, Seen, Traffic, UNKNOWN_INTERVAL};
pub use metric::{MetricKind, MetricSpec};
pub use threshold::{Check, Outcome, judge, reading};
