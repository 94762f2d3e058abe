//! The horizontal autoscaler: a Deployment gets the replicas that the load asks for, within the bounds of the object. One
//! that is scaled to zero is left alone.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Workloads;
use crate::sim::api_server::{
    Key, Kind,
    write::{By, Writer},
};

/// Brings every autoscaled Deployment to its number.
pub fn step(workloads: &Workloads, writer: &mut Writer, by: By<'_>) {
    let all = writer.store.list(Kind::AUTOSCALER, None);
    let autoscalers: Vec<(Key, Arc<Value>)> =
        all.map(|(key, object)| (key.clone(), object.clone())).collect();
    for (key, autoscaler) in autoscalers {
        if let Some(wanted) = workloads.wanted.get(&key) {
            scale(writer, by, &key, &autoscaler, *wanted);
        }
    }
}

fn scale(writer: &mut Writer, by: By<'_>, key: &Key, autoscaler: &Value, wanted: i64) {
    let spec = &autoscaler["spec"];
    let name = spec["scaleTargetRef"]["name"].as_str().unwrap_or_default();
    let target = Key::new(Kind::DEPLOYMENT, &key.namespace, name);
    let Some(deployment) = writer.store.get(&target).cloned() else {
        return;
    };
    let current = deployment["spec"]["replicas"].as_i64().unwrap_or(1);
    if current == 0 {
        return;
    }
    let least = spec["minReplicas"].as_i64().unwrap_or(1);
    let desired = wanted.min(spec["maxReplicas"].as_i64().unwrap_or(1)).max(least);
    if desired != current {
        let mut scaled = Value::clone(&deployment);
        scaled["spec"]["replicas"] = desired.into();
        let written = writer.replace(by, &target, false, scaled);
        debug_assert!(written.is_ok(), "{:?}", written.err());
    }
    let status = json!({"currentReplicas": current, "desiredReplicas": desired});
    if autoscaler["status"] != status {
        let mut told = autoscaler.clone();
        told["status"] = status;
        let written = writer.replace(by, key, true, told);
        debug_assert!(written.is_ok(), "{:?}", written.err());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::clock::SimClock;

    #[test]
    fn a_deployment_gets_what_the_load_asks_for_within_the_bounds_and_none_at_zero() {
        let by = By {
            actor: "kubernetes",
            manager: "kubernetes",
            now: SimClock::epoch(),
        };
        let (mut writer, mut workloads) = (Writer::default(), Workloads::new());
        let deployment = json!({"metadata": {"name": "shop"}, "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "shop"}},
            "template": {"metadata": {"labels": {"app": "shop"}}, "spec": {"containers": []}},
        }});
        let autoscaler = json!({"metadata": {"name": "shop"}, "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
            "minReplicas": 2, "maxReplicas": 5,
        }});
        writer.create(by, Kind::DEPLOYMENT, "ns", deployment).unwrap();
        writer.create(by, Kind::AUTOSCALER, "ns", autoscaler).unwrap();
        let target = Key::new(Kind::DEPLOYMENT, "ns", "shop");
        let key = Key::new(Kind::AUTOSCALER, "ns", "shop");
        let mut replicas = |wanted: i64, writer: &mut Writer| {
            workloads.wanted.insert(key.clone(), wanted);
            step(&workloads, writer, by);
            writer.store.get(&target).unwrap()["spec"]["replicas"].clone()
        };
        assert_eq!(replicas(4, &mut writer), 4);
        assert_eq!(replicas(9, &mut writer), 5);
        assert_eq!(replicas(0, &mut writer), 2);
        let mut off = Value::clone(writer.store.get(&target).unwrap());
        off["spec"]["replicas"] = 0.into();
        writer.replace(by, &target, false, off).unwrap();
        assert_eq!(replicas(4, &mut writer), 0);
    }
}
