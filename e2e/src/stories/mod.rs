//! The stories, in the order in which they are told, with what every run shows on the real cluster.
//!
//! A story that the simulated cluster tells as well is in every run only for what that one cannot show: other clocks, real
//! sockets, Envoy, the rights and rules of a real API server. The quick run is to stay below eight minutes on two cores.

mod capacity;
mod cost;
mod faults;
mod gates;
mod gitops;
mod install;
mod measures;
mod people;
mod pipelines;
mod platform;
mod probing;
mod reach;
mod refusals;
mod releases;
mod replicas;
mod robots;
mod routes;
mod shop;
mod smoke;
mod switches;
mod tenants;

use std::time::Duration;

use crate::story::{Isolation, Story};
use crate::tools::Tool;

/// For stories that release more than once.
const LONG: Duration = Duration::from_mins(5);

/// For windows of rare scrapes.
const LONGEST: Duration = Duration::from_mins(10);

const PROCESSES: &str = "it is about processes";
const COUNTED: &str = "it counts requests to the API server and to Prometheus";
const NAMESPACES: &str = "the simulated cluster has no Namespace objects";

/// All stories.
pub fn all() -> Vec<Story> {
    use Isolation::{Alone, Shared};
    vec![
        Story::new("smoke", Shared, smoke::the_cluster_is_real)
            .real_only("it shows that the cluster is real")
            .in_every_run("Envoy splits and Prometheus counts; no other story says anything without it"),
        Story::new("api-probes", Alone, probing::api_probes)
            .real_only("the same probes run on the simulated one as tests of their own")
            .in_every_run("the simulated API server answers as the real one"),
        Story::new("table", Shared, releases::table)
            .real_only("it is about what kubectl shows")
            .in_every_run("the columns of kubectl"),
        Story::new("bootstrap", Shared, releases::bootstrap_under_traffic)
            .in_every_run("no request fails at Envoy while routes move to the primary"),
        Story::new("good-release", Shared, releases::good_release).in_every_run(
            "the share that Envoy gives the canary at every weight, and how soon a change is noticed",
        ),
        Story::new("bad-errors", Shared, releases::bad_errors)
            .in_every_run("counters as Prometheus scrapes them, and Events"),
        Story::new("bad-latency", Shared, releases::bad_latency)
            .in_every_run("quantiles of histograms as Prometheus computes them"),
        Story::new("never-ready", Shared, releases::never_ready),
        Story::new("newer-and-revert", Shared, releases::newer_and_revert),
        Story::new("killed-controller", Shared, faults::killed_controller).within(LONG),
        Story::new("killed-again-and-again", Shared, faults::killed_again_and_again),
        Story::new("dark-canary", Shared, faults::dark_canary),
        Story::new("failed-promotion", Alone, faults::failed_promotion)
            .within(LONG)
            .in_every_run("a rolling update that Kubernetes' own scheduler and controllers cannot finish"),
        Story::new("fix-during-undo", Alone, faults::fix_during_undo).within(LONG),
        Story::new("pod-without-node", Alone, capacity::pod_without_node).within(LONG),
        Story::new("no-surge", Shared, capacity::no_surge),
        Story::new("no-history", Alone, capacity::no_history).within(LONG),
        Story::new("half-crashes", Shared, capacity::half_crashes),
        Story::new("two-replicas", Shared, replicas::two_replicas)
            .within(LONG)
            .real_only(PROCESSES)
            .in_every_run("a second controller takes over after SIGKILL and after SIGTERM"),
        Story::new("crashing", Shared, faults::crashing)
            .in_every_run("how Envoy and the endpoints take pods that break off"),
        Story::new("skip-analysis", Shared, switches::skip_analysis),
        Story::new("field-removed", Shared, switches::field_removed),
        Story::new("suspend", Shared, switches::suspend),
        Story::new("promotion-in-steps", Shared, switches::promotion_in_steps),
        Story::new("recreate", Shared, switches::recreate),
        Story::new("created-routes", Shared, switches::created_routes)
            .in_every_run("Istio takes the routes that the controller makes itself"),
        Story::new("rivals", Shared, switches::rivals),
        Story::new("two-ports", Shared, routes::two_ports),
        Story::new("subset", Shared, routes::subset),
        Story::new("foreign-share", Shared, routes::foreign_share),
        Story::new("other-name", Shared, routes::other_name),
        Story::new("refused-route", Shared, routes::refused_route),
        Story::new("robot-at-rest", Shared, robots::robot_at_rest).within(LONG),
        Story::new("robot-at-bootstrap", Shared, robots::robot_at_bootstrap).within(LONG),
        Story::new("robot-mid-rollout", Shared, robots::robot_mid_rollout).within(LONG),
        Story::new("robot-at-deletion", Shared, robots::robot_at_deletion).within(LONG),
        Story::new("paused", Shared, people::paused),
        Story::new("adopted-at-night", Shared, people::adopted_at_night),
        Story::new("unreachable", Shared, reach::unreachable).within(LONG),
        Story::new("only-denied", Shared, reach::only_403).within(LONG),
        Story::new("policy-not-covering", Shared, reach::policy_not_covering),
        Story::new("quota", Shared, refusals::quota).within(LONG),
        Story::new("refused-workload", Shared, refusals::refused_workload).within(LONG),
        Story::new("grpc-errors", Shared, measures::grpc_errors),
        Story::new("rare-scrapes", Shared, measures::rare_scrapes)
            .within(LONGEST)
            .rarely_scraped(),
        Story::new("flux", Shared, gitops::flux),
        Story::new("argocd", Shared, gitops::argocd),
        Story::new("edited-by-hand", Shared, people::edited_by_hand),
        Story::new("promotion", Shared, pipelines::promotion).within(LONG),
        Story::new("pipeline", Shared, pipelines::pipeline)
            .within(LONG)
            .real_only("it speaks HTTP, with tokens of the real API server")
            .in_every_run("the hook API over HTTP, TokenReview, and the rights of pipelines"),
        Story::new("waiting", Alone, pipelines::waiting)
            .within(LONG)
            .real_only(PROCESSES)
            .only_in_full("every run has its parts: pipeline, two-replicas, api-server-restarts"),
        Story::new("jenkins-library", Alone, pipelines::jenkins_library)
            .within(LONG)
            .real_only("it speaks HTTP")
            .needs(Tool::JenkinsLibrary)
            .only_in_full("every run tests the library against a fake hook, and the hook by pipeline"),
        Story::new("gates", Shared, gates::gates).within(LONG),
        Story::new("jenkins-gate", Shared, gates::jenkins_gate)
            .within(LONG)
            .real_only("it speaks HTTP")
            .in_every_run("Jenkins over HTTP, with restarts on both sides"),
        Story::new("hudson-gate", Shared, gates::hudson_gate)
            .within(LONG)
            .real_only("it speaks HTTP")
            .needs(Tool::Hudson)
            .only_in_full("every run has jenkins-gate, where a fake answers as newer cores do"),
        Story::new("approval-policy", Shared, gates::approval_policy)
            .real_only("the simulated cluster has no admission")
            .in_every_run("the admission policies that are shipped"),
        Story::new("own-release", Shared, tenants::own_release)
            .within(LONG)
            .real_only("it speaks HTTP, with tokens of an issuer")
            .in_every_run("tokens of an issuer over HTTP, and rights of the real API server"),
        Story::new("key-rotation", Shared, tenants::key_rotation)
            .within(LONG)
            .real_only("it speaks HTTP, with tokens of an issuer")
            .only_in_full("every run has its parts: own-release, and the keys in tests of the hook API"),
        Story::new("unknown-field", Alone, tenants::unknown_field)
            .within(LONG)
            .real_only("a CRD of a newer version is served")
            .only_in_full("every run has its parts as tests of what is read"),
        Story::new("flood", Alone, tenants::flood)
            .within(LONGEST)
            .real_only("it measures a real API server")
            .only_in_full("it takes minutes, and every run tests the shares"),
        Story::new("freeze", Alone, gates::freeze).within(LONG),
        Story::new("deleted", Shared, people::deleted)
            .within(LONG)
            .in_every_run("no request fails at Envoy while a service is handed back, and nothing stays"),
        Story::new("deleted-after-rollback", Shared, people::deleted_after_rollback).within(LONG),
        Story::new("namespace-deleted", Shared, people::namespace_deleted)
            .real_only(NAMESPACES)
            .in_every_run("finalizers do not keep a namespace"),
        Story::new("bad-input", Shared, people::bad_input)
            .in_every_run("the rules of the CRDs in a real API server"),
        Story::new("metrics-lost", Alone, faults::metrics_lost).within(LONG),
        Story::new("api-server-restarts", Alone, faults::api_server_restarts)
            .within(LONG)
            .in_every_run("connections and watches that really break"),
        Story::new("defaults-change", Alone, platform::defaults_change).within(LONG),
        Story::new("mesh-stops", Alone, platform::mesh_stops),
        Story::new("kind-deleted", Alone, platform::kind_deleted).within(LONG),
        Story::new("cost", Alone, cost::cost)
            .within(LONG)
            .real_only(COUNTED)
            .in_every_run("reads and writes at rest and per step"),
        Story::new("batching", Alone, cost::batching)
            .real_only(COUNTED)
            .in_every_run("how often Prometheus is asked for several Canaries"),
        Story::new("chart", Alone, install::chart)
            .real_only("the simulated cluster has no chart")
            .in_every_run("a real API server takes what the chart makes"),
        Story::new("dashboards", Shared, install::dashboards)
            .within(LONG)
            .real_only("it asks a real Prometheus")
            .needs(Tool::Dashboards)
            .only_in_full("every run has the expressions on made-up metrics"),
        // Last, as it takes the routes of the whole mesh away.
        Story::new("istio-missing", Alone, platform::istio_missing),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::{Runs, Where};

    #[test]
    fn what_the_simulated_cluster_cannot_tell_is_left_out_of_a_run_for_a_reason_of_its_own_only() {
        let told = Story::new("told", Isolation::Shared, releases::table).runs();
        for story in all() {
            let real_only = matches!(story.runs_on(), Where::RealOnly(_));
            assert!(
                !real_only || story.runs() != told,
                "{}: say in_every_run or only_in_full, with the reason",
                story.name()
            );
        }
    }

    #[test]
    fn names_are_those_of_namespaces_and_no_two_stories_have_one() {
        let names: std::collections::BTreeSet<_> = all().iter().map(Story::name).collect();
        assert_eq!(names.len(), all().len());
        let fits = |name: &str| name.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        assert!(names.iter().all(|name| fits(name)), "{names:?}");
        assert!(all().iter().any(|story| matches!(story.runs(), Runs::Every(_))));
    }
}
