//! The stories, in the order in which they are told.

mod releases;
mod shop;
mod smoke;

use crate::story::{Isolation, Story};

/// All stories.
pub fn all() -> Vec<Story> {
    use Isolation::Shared;
    vec![
        Story::new("smoke", Shared, smoke::the_cluster_is_real),
        Story::new("bootstrap", Shared, releases::bootstrap_under_traffic),
        Story::new("good-release", Shared, releases::good_release),
        Story::new("bad-errors", Shared, releases::bad_errors),
        Story::new("bad-latency", Shared, releases::bad_latency),
        Story::new("never-ready", Shared, releases::never_ready),
        Story::new("newer-and-revert", Shared, releases::newer_and_revert),
    ]
}
