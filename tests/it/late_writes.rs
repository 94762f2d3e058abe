//! Writes that arrive long after whoever sent them gave up: the real controller on the simulated cluster.

use std::time::Duration;

use bellwether::sim::api_server::{Delivery, Fault, Faults, Key, Kind, request::Verb};
use chrono::TimeDelta;
use serde_json::json;

use crate::shared::shop::{NS, key, run, under_canary};

/// The first write of the controller to a Deployment arrives late.
struct LateOnce(Option<Duration>);

impl Faults for LateOnce {
    fn strike(&mut self, actor: &'static str, verb: Verb, kind: Kind) -> Fault {
        let ours = actor.starts_with("bellwether") && verb.writes() && kind == Kind::DEPLOYMENT;
        let late = self.0.filter(|_| ours);
        if ours {
            self.0 = None;
        }
        late.map_or(Fault::None, Fault::Late)
    }

    fn latency(&mut self, _: &'static str) -> Duration {
        Duration::from_millis(2)
    }

    fn deliver(&mut self, _: &'static str, _: Kind) -> Delivery {
        Delivery::after(Duration::from_millis(5))
    }
}

/// An admission webhook hangs while a promotion gives the workload its image; meanwhile the promotion is called off.
#[test]
fn image_of_a_promotion_that_was_called_off_does_not_come_late() {
    run(async {
        let cluster = under_canary(3).await;
        cluster
            .server
            .set_faults(Box::new(LateOnce(Some(Duration::from_secs(40)))));
        let promotion = json!({"apiVersion": "bellwether.dev/v1beta1", "kind": "Promotion", "metadata": {"name": "p"}, "spec": {
            "canaryRef": {"name": "shop"}, "image": "shop:good-2", "policy": {"deadlineSeconds": 600},
        }});
        cluster.apply(NS, promotion).unwrap();
        cluster.pass(TimeDelta::seconds(10)).await;
        let abort = json!({"apiVersion": "bellwether.dev/v1beta1", "kind": "Command", "metadata": {"name": "c"}, "spec": {
            "canaryRef": {"name": "shop"}, "verb": "Abort", "promotion": "p", "requestedBy": "mia",
        }});
        cluster.apply(NS, abort).unwrap();
        cluster.pass(TimeDelta::seconds(60)).await;
        let promotion = cluster.get(&Key::new(Kind::PROMOTION, NS, "p")).unwrap();
        assert_eq!(promotion["status"]["phase"], "Aborted", "{}", promotion["status"]);
        let target = cluster.get(&key(Kind::DEPLOYMENT)).unwrap();
        let image = &target["spec"]["template"]["spec"]["containers"][0]["image"];
        assert_eq!(image, "shop:good-1", "{}", promotion["status"]["message"]);
    });
}
