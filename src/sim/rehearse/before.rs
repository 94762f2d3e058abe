//! The objects that are there before the Canary: they run, behave like the present release, and are paused where the
//! files pause them.

use serde_json::json;

use super::{
    Error,
    input::{Applied, Input},
};
use crate::sim::{
    api_server::{Key, Kind},
    cluster::SimCluster,
    workloads::behaviour::Behaviour,
};

/// Applies an object that is there before the Canary; its pods behave like the present release.
pub(super) fn apply(cluster: &SimCluster, applied: &Applied, present: &Behaviour) -> Result<(), Error> {
    let mut object = applied.object.clone();
    let image = &object["spec"]["template"]["spec"]["containers"][0]["image"];
    if let Some(image) = image.as_str() {
        // A tag says nothing here of how its pods behave.
        let mut world = cluster.world();
        let behaviours = &mut world.workloads.behaviours;
        behaviours.insert(image.to_owned(), present.clone());
    }
    if object["kind"] == "Deployment"
        && let Some(spec) = object["spec"].as_object_mut()
    {
        // It ran before somebody paused it.
        spec.remove("paused");
    }
    let done = cluster.apply(&applied.namespace, object);
    done.map(drop)
        .map_err(|refusal| Error::BadInput(format!("{}: {}", applied.place(), refusal.message)))
}

/// Pauses the Deployments that the files pause.
pub(super) fn pause(cluster: &SimCluster, input: &Input) {
    let paused = |applied: &&Applied| applied.object["spec"]["paused"] == true;
    for applied in input.objects.iter().filter(paused) {
        let name = applied.object["metadata"]["name"].as_str().unwrap_or_default();
        let key = Key::new(Kind::DEPLOYMENT, &applied.namespace, name);
        // It was applied just before.
        let _ = cluster.merge(&key, json!({"spec": {"paused": true}}));
    }
}
