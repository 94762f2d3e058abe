//! Watches that break off, and versions that go back: the real controller on the simulated cluster.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bellwether::sim::{
    api_server::{Kind, Witness, request::Verb, store::Change, store::Store},
    cluster::SimCluster,
};
use chrono::TimeDelta;
use serde_json::json;

use crate::shared::shop::{NS, await_phase, canary, key, prepare, run, under_canary};

/// Counts what the controller reads, but for its Lease.
struct Reads(Arc<AtomicUsize>);

impl Witness for Reads {
    fn saw(&mut self, _: &Change, _: &Store) {}

    fn asked(&mut self, actor: &'static str, verb: Verb, kind: Kind, _: &Store) {
        if actor.starts_with("bellwether") && matches!(verb, Verb::Get | Verb::List) && kind != Kind::LEASE {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn reads(cluster: &SimCluster) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    cluster.server.add_witness(Box::new(Reads(count.clone())));
    count
}

/// After a restore of etcd without `--bump-revision` the API server takes a watch from a version that is not there yet, and
/// tells it nothing until that is passed (kubernetes#107457).
#[test]
fn release_after_a_restore_of_etcd_is_seen() {
    // Without versions that are lost it is a restart of the API server.
    for lost in [0, 100_000] {
        run(async {
            let cluster = under_canary(3).await;
            cluster.pass(TimeDelta::seconds(30)).await;
            // Others write, at last something of a kind that is watched.
            cluster.server.skip(lost);
            let other = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "other"}, "spec": {
                "selector": {"app": "other"}, "ports": [{"port": 80}],
            }});
            cluster.apply("elsewhere", other).unwrap();
            cluster.pass(TimeDelta::seconds(600)).await;
            let reads = reads(&cluster);
            cluster.server.stop();
            cluster.pass(TimeDelta::seconds(5)).await;
            cluster.server.restore(lost);
            cluster.pass(TimeDelta::seconds(60)).await;
            let read = reads.load(Ordering::Relaxed);
            // Each watch asks once, and lists once more if that shows what was lost.
            assert!((11..=36).contains(&read), "{lost} lost: {read} reads");
            cluster.ship(NS, "shop", "shop:good-2").unwrap();
            await_phase(&cluster, "Succeeded", 600).await;
        });
    }
}

#[test]
fn watches_that_end_in_their_time_cost_no_read() {
    run(async {
        let cluster = under_canary(5).await;
        cluster.pass(TimeDelta::seconds(30)).await;
        let reads = reads(&cluster);
        cluster.pass(TimeDelta::seconds(1800)).await;
        assert_eq!(reads.load(Ordering::Relaxed), 0);
    });
}

async fn delete_canary(cluster: &SimCluster) {
    cluster.delete(&key(Kind::CANARY)).unwrap();
    for _ in 0..120 {
        if cluster.get(&key(Kind::CANARY)).is_none() {
            return;
        }
        cluster.pass(TimeDelta::seconds(1)).await;
    }
    panic!("the Canary is not gone after two minutes");
}

/// While a process waits to lead, a Canary is created anew for another workload; the first one changes, and gets a Canary again.
#[test]
fn what_nobody_was_concerned_by_for_a_while_is_read_anew() {
    run(async {
        let mut cluster = prepare(7).await;
        cluster.elect([TimeDelta::zero(); 2]);
        cluster.start_replica(0);
        cluster.pass(TimeDelta::seconds(5)).await;
        cluster.start_replica(1);
        cluster.apply(NS, canary()).unwrap();
        await_phase(&cluster, "Initialized", 120).await;
        delete_canary(&cluster).await;
        let mut other = canary();
        other["spec"]["targetRef"]["name"] = json!("other");
        cluster.apply(NS, other).unwrap();
        cluster.pass(TimeDelta::seconds(5)).await;
        cluster.ship(NS, "shop", "shop:good-2").unwrap();
        cluster.pass(TimeDelta::seconds(30)).await;
        delete_canary(&cluster).await;
        cluster.stop_replica(0);
        cluster.pass(TimeDelta::seconds(30)).await;
        cluster.apply(NS, canary()).unwrap();
        await_phase(&cluster, "Initialized", 120).await;
        let image = |name: &str| {
            let mut of = key(Kind::DEPLOYMENT);
            of.name = name.to_owned();
            cluster.get(&of).unwrap()["spec"]["template"]["spec"]["containers"][0]["image"].clone()
        };
        assert_eq!(image("shop-primary"), image("shop"));
    });
}
