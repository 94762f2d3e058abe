//! The stories, in the order in which they are told.

mod smoke;

use crate::story::{Isolation, Story};

/// All stories.
pub fn all() -> Vec<Story> {
    vec![Story::new("smoke", Isolation::Shared, smoke::the_cluster_is_real)]
}
