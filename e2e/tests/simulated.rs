//! The stories in the simulated cluster; the same text runs on the real one by `make e2e`.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "it measures what virtual time costs, and says so"
)]

use std::time::Instant;

use anyhow::{Context, Result};
use bellwether_e2e::stories;
use bellwether_e2e::story::{Where, simulate};

const SEED: u64 = 1;

fn play(name: &str) -> Result<()> {
    let all = stories::all();
    let story = all.iter().find(|story| story.name() == name);
    let started = Instant::now();
    let simulation = simulate(story.context("no such story")?, SEED)?;
    let (played, took) = (simulation.took.as_secs_f64(), started.elapsed().as_secs_f64());
    println!("{name}: {played:.1} s played in {took:.2} s");
    for figure in simulation.figures {
        println!("  {figure}");
    }
    Ok(())
}

macro_rules! stories {
    ($($test:ident: $name:literal,)*) => {
        $(#[test]
        fn $test() -> Result<()> {
            play($name)
        })*

        #[test]
        fn every_story_that_can_is_played() {
            let both = stories::all().into_iter().filter(|story| story.runs_on() == Where::Both);
            let names: Vec<_> = both.map(|story| story.name()).collect();
            assert_eq!(names, [$($name),*]);
        }
    };
}

stories! {
    bootstrap: "bootstrap",
    good_release: "good-release",
    bad_errors: "bad-errors",
    bad_latency: "bad-latency",
    never_ready: "never-ready",
    newer_and_revert: "newer-and-revert",
    killed_controller: "killed-controller",
    killed_again_and_again: "killed-again-and-again",
    dark_canary: "dark-canary",
    failed_promotion: "failed-promotion",
    fix_during_undo: "fix-during-undo",
    pod_without_node: "pod-without-node",
    no_surge: "no-surge",
    no_history: "no-history",
    half_crashes: "half-crashes",
    crashing: "crashing",
    skip_analysis: "skip-analysis",
    field_removed: "field-removed",
    suspend: "suspend",
    promotion_in_steps: "promotion-in-steps",
    recreate: "recreate",
    created_routes: "created-routes",
    rivals: "rivals",
    two_ports: "two-ports",
    subset: "subset",
    foreign_share: "foreign-share",
    other_name: "other-name",
    refused_route: "refused-route",
    robot_at_rest: "robot-at-rest",
    robot_at_bootstrap: "robot-at-bootstrap",
    robot_mid_rollout: "robot-mid-rollout",
    robot_at_deletion: "robot-at-deletion",
    paused: "paused",
    adopted_at_night: "adopted-at-night",
    unreachable: "unreachable",
    only_denied: "only-denied",
    policy_not_covering: "policy-not-covering",
    quota: "quota",
    refused_workload: "refused-workload",
    grpc_errors: "grpc-errors",
    rare_scrapes: "rare-scrapes",
    flux: "flux",
    argocd: "argocd",
    edited_by_hand: "edited-by-hand",
    promotion: "promotion",
    gates: "gates",
    freeze: "freeze",
    deleted: "deleted",
    deleted_after_rollback: "deleted-after-rollback",
    bad_input: "bad-input",
    metrics_lost: "metrics-lost",
    api_server_restarts: "api-server-restarts",
    defaults_change: "defaults-change",
    mesh_stops: "mesh-stops",
    kind_deleted: "kind-deleted",
    istio_missing: "istio-missing",
}
