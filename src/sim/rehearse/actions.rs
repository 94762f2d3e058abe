//! What a person or a mishap does during a rehearsal.

use serde_json::json;

use super::{
    Error,
    play::Stage,
    release::{Release, in_words},
    story::{Action, Side},
};
use crate::{
    api::GateDecision,
    sim::{api_server::Kind, traffic::metrics::Trouble},
};

impl Stage<'_> {
    /// Does it now, and says so.
    pub(super) fn perform(&mut self, action: &Action) -> Result<(), Error> {
        let trouble = |trouble| move |stage: &Stage<'_>| stage.cluster.world().trouble = trouble;
        match action {
            Action::MetricsDown => {
                trouble(Trouble::Down)(self);
                self.act("Prometheus cannot be reached")
            }
            Action::MetricsEmpty => {
                trouble(Trouble::Empty)(self);
                self.act("Prometheus answers, and has no data")
            }
            Action::MetricsUp => {
                trouble(Trouble::None)(self);
                self.act("Prometheus is well again")
            }
            Action::Ship(release) => self.ship(release),
            Action::Revert => self.revert(),
            Action::KillPod(side) => self.kill_pod(*side),
            Action::DeleteCanary => {
                let gone = self.cluster.delete(&self.canary_key()).is_err();
                self.act(if gone {
                    "the Canary is gone already"
                } else {
                    "the Canary is deleted"
                })
            }
            Action::Suspend => self.suspend(true),
            Action::Resume => self.suspend(false),
            Action::Approve(gate) => self.answer(gate, GateDecision::Approve),
            Action::Reject(gate) => self.answer(gate, GateDecision::Reject),
            Action::RestartController => {
                self.cluster.start_controller();
                self.act("the controller is killed and starts again")
            }
        }
    }

    fn suspend(&mut self, on: bool) -> Result<(), Error> {
        let change = json!({"spec": {"suspend": on}});
        // A Canary that is gone cannot be suspended; the timeline says that it is gone.
        let _ = self.cluster.merge(&self.canary_key(), change);
        self.act(if on {
            "the Canary is suspended"
        } else {
            "the Canary is resumed"
        })
    }

    /// Somebody approves or rejects the present revision at a gate.
    fn answer(&mut self, gate: &str, decision: GateDecision) -> Result<(), Error> {
        let (id, names) = (&self.setup.input.spec.id, &self.setup.input.spec.names);
        let Some(revision) = self.revision() else {
            return self.act(format!("nothing waits at gate {gate}"));
        };
        let approval = json!({
            "apiVersion": "bellwether.dev/v1beta1", "kind": "Approval",
            "metadata": {"name": format!("{gate}-{}", self.cluster.now().timestamp_millis())},
            "spec": {
                "canaryRef": {"name": id.name}, "gate": gate, "decision": decision, "revision": revision,
                "approvedBy": "the story",
            },
        });
        let done = self.cluster.apply(&names.namespace, approval);
        done.map_err(|refusal| Error::BadInput(format!("gate {gate}: {}", refusal.message)))?;
        self.act(match decision {
            GateDecision::Approve => format!("gate {gate} is approved"),
            GateDecision::Reject => format!("the release is rejected at gate {gate}"),
        })
    }

    fn image(&self, deployment: &str) -> Option<String> {
        let object = self.cluster.get(&self.key(Kind::DEPLOYMENT, deployment))?;
        let image = &object["spec"]["template"]["spec"]["containers"][0]["image"];
        image.as_str().map(str::to_owned)
    }

    fn set_image(&self, image: &str) -> Result<(), Error> {
        let key = self.key(Kind::DEPLOYMENT, &self.setup.input.spec.names.target);
        let present = self.cluster.get(&key).unwrap_or_default();
        let mut containers = present["spec"]["template"]["spec"]["containers"].clone();
        containers[0]["image"] = image.into();
        let change = json!({"spec": {"template": {"spec": {"containers": containers}}}});
        let shipped = self.cluster.merge(&key, change);
        shipped
            .map(drop)
            .map_err(|refusal| Error::BadInput(refusal.message))
    }

    /// Ships another image whose pods behave like `release`.
    pub(super) fn ship(&mut self, release: &Release) -> Result<(), Error> {
        self.images += 1;
        let target = self.setup.input.spec.names.target.clone();
        let present = self.image(&target).unwrap_or_default();
        let image = format!("{}:rehearsed-{}", repository(&present), self.images);
        let behaviour = release.behaviour(&self.setup.present);
        self.act(format!("{image} is shipped: {}", in_words(&behaviour)))?;
        self.cluster
            .world()
            .workloads
            .behaviours
            .insert(image.clone(), behaviour);
        self.set_image(&image)
    }

    fn revert(&mut self) -> Result<(), Error> {
        let primary = self.setup.input.spec.names.primary.clone();
        match self.image(&primary) {
            Some(image) => {
                self.act(format!("the Deployment is set back to {image}"))?;
                self.set_image(&image)
            }
            None => self.act("there is no primary whose image the Deployment could be set back to"),
        }
    }

    fn kill_pod(&mut self, side: Side) -> Result<(), Error> {
        let names = &self.setup.input.spec.names;
        let (workload, word) = match side {
            Side::Primary => (&names.primary, "primary"),
            Side::Canary => (&names.target, "canary"),
        };
        let (key, now) = (self.key(Kind::DEPLOYMENT, workload), self.cluster.now());
        let killed = {
            let mut world = self.cluster.world();
            let mut pods = world.workloads.pods.get_mut(&key).into_iter().flatten();
            let pod = pods.find(|pod| pod.ready(now));
            pod.map(|pod| {
                pod.killed = Some(now);
                // Its Deployment makes another.
                pod.ending = Some(now);
            })
        };
        self.cluster.server.nudge();
        self.act(match killed {
            Some(()) => format!("a pod of the {word} is killed"),
            None => format!("the {word} has no ready pod that could be killed"),
        })
    }
}

/// An image without tag and digest.
fn repository(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or(image);
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

#[cfg(test)]
mod tests {
    use super::repository;

    #[test]
    fn repository_is_the_image_without_tag_and_digest() {
        for (image, name) in [
            ("shop", "shop"),
            ("shop:1", "shop"),
            ("registry:5000/shop", "registry:5000/shop"),
            ("registry:5000/shop:1.2", "registry:5000/shop"),
            ("shop:1@sha256:abc", "shop"),
        ] {
            assert_eq!(repository(image), name);
        }
    }
}
