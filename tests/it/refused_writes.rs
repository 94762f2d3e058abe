//! Writes that the API server refuses, and CRDs that it does not serve as they are: the real controller on the simulated
//! cluster.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use bellwether::{
    api::Canary,
    reconcile::{self, act::Round, index::Part, snapshot},
    rollout::{self, Act, Decision, Sampling, Serves, Weight},
    sim::{
        api_server::{Delivery, Fault, Faults, Key, Kind, request::Verb},
        cluster::SimCluster,
    },
};
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::shared::shop::{NS, await_phase, canary, key, prepare, run, under_canary};

/// Refuses the controller's writes of one kind.
struct Refuses {
    code: u16,
    kind: Kind,
    on: Arc<AtomicBool>,
    times: Arc<AtomicU32>,
}

impl Faults for Refuses {
    fn strike(&mut self, actor: &'static str, verb: Verb, kind: Kind) -> Fault {
        let ours = actor.starts_with("bellwether") && verb.writes() && kind == self.kind;
        if !ours || !self.on.load(Ordering::Relaxed) {
            return Fault::None;
        }
        self.times.fetch_add(1, Ordering::Relaxed);
        Fault::Refuse(self.code)
    }

    fn latency(&mut self, _: &'static str) -> Duration {
        Duration::from_millis(2)
    }

    fn deliver(&mut self, _: &'static str, _: Kind) -> Delivery {
        Delivery::after(Duration::from_millis(5))
    }
}

/// Whether writes are refused now, and how many were.
fn refuse(cluster: &SimCluster, code: u16, kind: Kind) -> (Arc<AtomicBool>, Arc<AtomicU32>) {
    let (on, times) = (Arc::new(AtomicBool::new(true)), Arc::default());
    cluster.server.set_faults(Box::new(Refuses {
        code,
        kind,
        on: on.clone(),
        times: Arc::clone(&times),
    }));
    (on, times)
}

/// What the controller remembers of refused writes: act, object, times.
fn remembered(cluster: &SimCluster) -> Vec<(&'static str, String, u32)> {
    let ctx = cluster.context_of(0).unwrap();
    let id = rollout::CanaryId {
        namespace: NS.to_owned(),
        name: "shop".to_owned(),
    };
    let writes = ctx.local.refusals(&id, cluster.now());
    assert!(writes.iter().all(|write| !write.message.is_empty()));
    writes
        .into_iter()
        .map(|write| (write.act, write.object, write.times))
        .collect()
}

#[test]
fn refused_write_is_remembered_until_it_succeeds_and_tried_once_a_minute() {
    run(async {
        let mut cluster = prepare(10).await;
        let (on, times) = refuse(&cluster, 403, Kind::DEPLOYMENT);
        cluster.start_controller();
        cluster.apply(NS, canary()).unwrap();
        cluster.pass(TimeDelta::minutes(30)).await;
        let (writes, tried) = (remembered(&cluster), times.load(Ordering::Relaxed));
        let [(act, object, seen)] = writes.as_slice() else {
            panic!("{writes:?}");
        };
        assert!(object.starts_with("Deployment/shop"), "{writes:?}");
        assert!(*seen > 2 && *seen <= tried, "{seen} of {tried}");
        assert!(tried <= 90, "{tried} tries in half an hour");
        let text = cluster.context_of(0).unwrap().metrics.text(true).unwrap();
        let series = format!(
            "bellwether_writes_refused_total{{act=\"{}\"}}",
            act.replace(' ', "_")
        );
        assert!(text.contains(&series), "{text}");
        on.store(false, Ordering::Relaxed);
        await_phase(&cluster, "Initialized", 300).await;
        assert_eq!(remembered(&cluster), []);
    });
}

#[test]
fn refused_write_is_tried_again_within_seconds_while_traffic_is_at_risk() {
    run(async {
        let cluster = under_canary(11).await;
        cluster.ship(NS, "shop", "shop:errors60-2").unwrap();
        let exposed = |canary: &Value| canary["status"]["canaryWeight"] == 10;
        assert!(
            cluster
                .wait(&key(Kind::CANARY), TimeDelta::seconds(60), exposed)
                .await
        );
        // The routes follow what the status says.
        cluster.pass(TimeDelta::seconds(2)).await;
        let (on, _) = refuse(&cluster, 403, Kind::VIRTUAL_SERVICE);
        cluster.pass(TimeDelta::minutes(10)).await;
        let writes = remembered(&cluster);
        assert!(
            writes
                .iter()
                .any(|(_, object, _)| object == "VirtualService/shop"),
            "{writes:?}"
        );
        // The verdict stands, whatever is measured later; the weight is that of the routes.
        let status = cluster.get(&key(Kind::CANARY)).unwrap()["status"].clone();
        assert_eq!(status["retirement"]["kind"], "RollBack", "{status}");
        assert_eq!(status["canaryWeight"], 10);
        on.store(false, Ordering::Relaxed);
        let away = |canary: &Value| canary["status"]["canaryWeight"] == 0;
        assert!(
            cluster
                .wait(&key(Kind::CANARY), TimeDelta::seconds(10), away)
                .await
        );
    });
}

#[test]
fn refusal_of_the_routes_stops_no_independent_write_of_a_service_and_every_status() {
    run(async {
        let cluster = under_canary(12).await;
        let ctx = cluster.context_of(0).unwrap();
        refuse(&cluster, 403, Kind::VIRTUAL_SERVICE);
        let selected = || {
            let apex = cluster.get(&Key::new(Kind::SERVICE, NS, "shop")).unwrap();
            apex["spec"]["selector"]["app"].clone()
        };
        let message = || cluster.get(&key(Kind::CANARY)).unwrap()["status"]["message"].clone();
        let recorded = message();
        let part = Part {
            kind: reconcile::kinds::Kind::Canary,
            namespace: NS.to_owned(),
            name: "shop".to_owned(),
        };
        for (independent, leads_to) in [(false, "shop-primary"), (true, "shop")] {
            let object = ctx.cache.get(&part).unwrap();
            let canary: Canary = serde_json::from_value(Value::clone(&object)).unwrap();
            let spec = rollout::validate(&canary, TimeDelta::seconds(3)).unwrap();
            let snap = snapshot::take(&ctx, &spec, object, Arc::new(canary))
                .await
                .unwrap();
            let mut status = snap.canary.status.clone().unwrap();
            status.message = Some("the routes are written".to_owned());
            let decision = Decision {
                acts: vec![
                    Act::Route(Weight::FULL),
                    Act::Record(Box::new(status)),
                    Act::PointApex(Serves::Target),
                ],
                independent,
                verdict: None,
                wake_at: None,
                sampling: Sampling::AsBefore,
                evidence_from: None,
                urgent: false,
            };
            let done = Round::new(&ctx, &spec, &snap).perform(&decision).await;
            assert!(done.unwrap_err().refusal().is_some());
            assert_eq!(selected(), leads_to, "independent: {independent}");
            assert_eq!(
                message(),
                recorded,
                "no status tells of routes that were not written"
            );
        }
    });
}

/// The fence of the next epoch, another write of the same object, succeeds and must not hide it.
#[test]
fn write_that_is_answered_500_for_ever_is_named_and_tried_more_and_more_rarely() {
    run(async {
        let cluster = under_canary(3).await;
        let primary = Key::new(Kind::DEPLOYMENT, NS, "shop-primary");
        cluster.server.break_spec(primary.clone());
        let fenced =
            || cluster.get(&primary).unwrap()["metadata"]["annotations"]["bellwether.dev/epoch"].clone();
        let before = fenced();
        cluster.ship(NS, "shop", "shop:good-2").unwrap();
        await_phase(&cluster, "Promoting", 120).await;
        cluster.pass(TimeDelta::seconds(300)).await;
        let version = || {
            cluster
                .server
                .read(bellwether::sim::api_server::store::Store::version)
        };
        let since = version();
        cluster.pass(TimeDelta::seconds(60)).await;
        let written = version() - since;
        let hold = cluster.get(&key(Kind::CANARY)).unwrap()["status"]["hold"].clone();
        assert_eq!(hold["reason"], "WriteRefused", "{hold}");
        assert!(written < 100, "{written} writes in a minute");
        assert_ne!(fenced(), before, "a late write is refused all the same");
    });
}

/// Kubernetes takes a template that names a variable twice, or one port by two names, in a creation or an update, and not in
/// a server-side apply (kubernetes#121575).
#[test]
fn workload_that_names_a_variable_or_a_port_twice_is_promoted() {
    for (list, items) in [
        (
            "env",
            json!([{"name": "LEVEL", "value": "info"}, {"name": "LEVEL", "value": "debug"}]),
        ),
        (
            "ports",
            json!([{"name": "http", "containerPort": 8080, "protocol": "TCP"},
                {"name": "metrics", "containerPort": 8080, "protocol": "TCP"}]),
        ),
    ] {
        run(async {
            let mut cluster = prepare(3).await;
            let target = cluster.get(&key(Kind::DEPLOYMENT)).unwrap();
            let mut container = target["spec"]["template"]["spec"]["containers"][0].clone();
            container[list] = items;
            let ship = |cluster: &SimCluster, container: &Value| {
                let template = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
                cluster.merge(&key(Kind::DEPLOYMENT), template).unwrap();
            };
            ship(&cluster, &container);
            cluster.pass(TimeDelta::seconds(20)).await;
            cluster.start_controller();
            cluster.apply(NS, canary()).unwrap();
            await_phase(&cluster, "Initialized", 120).await;
            container["image"] = json!("shop:good-2");
            ship(&cluster, &container);
            await_phase(&cluster, "Succeeded", 600).await;
        });
    }
}
