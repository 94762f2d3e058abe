//! The stories, in the order in which they are told.

mod cost;
mod faults;
mod gates;
mod people;
mod pipelines;
mod platform;
mod probing;
mod releases;
mod replicas;
mod shop;
mod smoke;
mod switches;

use std::time::Duration;

use crate::story::{Isolation, Story};

/// For stories that release more than once.
const LONG: Duration = Duration::from_mins(5);

const PROCESSES: &str = "it is about processes";
const COUNTED: &str = "it counts requests to the API server and to Prometheus";
const NAMESPACES: &str = "the simulated cluster has no Namespace objects";

/// All stories.
pub fn all() -> Vec<Story> {
    use Isolation::{Alone, Shared};
    vec![
        Story::new("smoke", Shared, smoke::the_cluster_is_real)
            .real_only("it shows that the cluster is real"),
        Story::new("api-probes", Alone, probing::api_probes)
            .real_only("the same probes run on the simulated one as tests of their own"),
        Story::new("table", Shared, releases::table).real_only("it is about what kubectl shows"),
        Story::new("bootstrap", Shared, releases::bootstrap_under_traffic),
        Story::new("good-release", Shared, releases::good_release),
        Story::new("bad-errors", Shared, releases::bad_errors),
        Story::new("bad-latency", Shared, releases::bad_latency),
        Story::new("never-ready", Shared, releases::never_ready),
        Story::new("newer-and-revert", Shared, releases::newer_and_revert),
        Story::new("killed-controller", Shared, faults::killed_controller).within(LONG),
        Story::new("dark-canary", Shared, faults::dark_canary),
        Story::new("failed-promotion", Alone, faults::failed_promotion).within(LONG),
        Story::new("fix-during-undo", Alone, faults::fix_during_undo).within(LONG),
        Story::new("two-replicas", Shared, replicas::two_replicas)
            .within(LONG)
            .real_only(PROCESSES),
        Story::new("crashing", Shared, faults::crashing),
        Story::new("skip-analysis", Shared, switches::skip_analysis),
        Story::new("field-removed", Shared, switches::field_removed),
        Story::new("suspend", Shared, switches::suspend),
        Story::new("promotion-in-steps", Shared, switches::promotion_in_steps),
        Story::new("recreate", Shared, switches::recreate),
        Story::new("created-routes", Shared, switches::created_routes),
        Story::new("rivals", Shared, switches::rivals),
        Story::new("edited-by-hand", Shared, people::edited_by_hand),
        Story::new("promotion", Shared, pipelines::promotion).within(LONG),
        Story::new("pipeline", Shared, pipelines::pipeline)
            .within(LONG)
            .real_only("it speaks HTTP, with tokens of the real API server"),
        Story::new("waiting", Alone, pipelines::waiting)
            .within(LONG)
            .real_only(PROCESSES),
        Story::new("jenkins-library", Alone, pipelines::jenkins_library)
            .within(LONG)
            .real_only("it speaks HTTP"),
        Story::new("gates", Shared, gates::gates).within(LONG),
        Story::new("jenkins-gate", Shared, gates::jenkins_gate)
            .within(LONG)
            .real_only("it speaks HTTP"),
        Story::new("approval-policy", Shared, gates::approval_policy)
            .real_only("the simulated cluster has no admission"),
        Story::new("freeze", Alone, gates::freeze).within(LONG),
        Story::new("deleted", Shared, people::deleted).within(LONG),
        Story::new("namespace-deleted", Shared, people::namespace_deleted).real_only(NAMESPACES),
        Story::new("bad-input", Shared, people::bad_input),
        Story::new("metrics-lost", Alone, faults::metrics_lost).within(LONG),
        Story::new("api-server-restarts", Alone, faults::api_server_restarts).within(LONG),
        Story::new("mesh-stops", Alone, platform::mesh_stops),
        Story::new("kind-deleted", Alone, platform::kind_deleted).within(LONG),
        Story::new("cost", Alone, cost::cost)
            .within(LONG)
            .real_only(COUNTED),
        Story::new("batching", Alone, cost::batching).real_only(COUNTED),
        // Last, as it takes the routes of the whole mesh away.
        Story::new("istio-missing", Alone, platform::istio_missing),
    ]
}
