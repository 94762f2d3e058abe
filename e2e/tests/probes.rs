//! The probes of the API on the simulated server; story `api-probes` makes them on the real one.

use bellwether::sim::cluster::SimCluster;
use bellwether_e2e::probes::{self, Ground};
use chrono::TimeDelta;

#[test]
fn the_simulated_api_server_answers_as_the_real_one() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let cluster = SimCluster::start(1, TimeDelta::seconds(1));
        let ground = Ground {
            client: cluster.server.client("user", Default::default()),
            namespace: "probes".to_owned(),
        };
        let first = probes::make(&ground, probes::all()).await;
        let made = first.unwrap_or_else(|wrong| panic!("{wrong}"));
        assert!(made > 20, "only {made} probes");
        cluster.server.stop();
        cluster.server.start();
        let second = probes::make(&ground, probes::after_restart()).await;
        second.unwrap_or_else(|wrong| panic!("{wrong}"));
    });
}
