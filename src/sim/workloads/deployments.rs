//! The Deployment controller: ReplicaSets by pod template, pods within surge and unavailability, status.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{Workloads, pods::Pod};
use crate::{
    sim::{
        api_server::{
            Key, Kind,
            write::{By, Deletion, Writer},
        },
        traffic::meter::Meter,
    },
    workload::deployment::raw_revision,
};

const REVISION: &str = "deployment.kubernetes.io/revision";

/// Brings one Deployment a step further.
pub fn step(workloads: &mut Workloads, writer: &mut Writer, by: By<'_>, key: &Key, object: &Arc<Value>) {
    let spec = &object["spec"];
    let paused = spec["paused"] == Value::Bool(true);
    let hash = workloads.template_hash(key, object);
    let current = if paused {
        let kept = object["metadata"]["annotations"]
            .get(REVISION)
            .and_then(Value::as_str);
        // One that was paused before its first ReplicaSet has no pods.
        let Some(kept) = kept.and_then(|number| set_of_revision(writer, key, number)) else {
            write_status(workloads, writer, by, key, &hash);
            return;
        };
        kept
    } else {
        ensure_replica_set(writer, by, key, object, &hash);
        hash.clone()
    };
    scale(workloads, by.now, key, spec, &current);
    count_replicas(workloads, writer, by, key);
    write_status(workloads, writer, by, key, &current);
    trim_history(workloads, writer, by, key, (spec, &hash));
}

impl Workloads {
    /// The hash of a Deployment's template; it is taken anew with each generation only.
    fn template_hash(&mut self, key: &Key, object: &Value) -> String {
        let metadata = &object["metadata"];
        let version = (metadata["uid"].clone(), metadata["generation"].clone());
        if let Some((known, hash)) = self.hashes.get(key)
            && *known == version
        {
            return hash.clone();
        }
        let hash: String = raw_revision(&object["spec"]["template"])
            .chars()
            .take(10)
            .collect();
        self.hashes.insert(key.clone(), (version, hash.clone()));
        hash
    }
}

fn sets_of(writer: &Writer, key: &Key) -> Vec<(Key, Arc<Value>)> {
    let all = writer.store.list(Kind::REPLICA_SET, Some(&key.namespace));
    all.filter(|(_, set)| set["metadata"]["ownerReferences"][0]["name"] == key.name.as_str())
        .map(|(key, set)| (key.clone(), set.clone()))
        .collect()
}

fn number_of(set: &Value) -> u64 {
    let number = set["metadata"]["annotations"]
        .get(REVISION)
        .and_then(Value::as_str);
    number.and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn set_of_revision(writer: &Writer, key: &Key, number: &str) -> Option<String> {
    let found = sets_of(writer, key)
        .into_iter()
        .find(|(_, set)| number_of(set).to_string() == number);
    found.and_then(|(set, _)| set.name.rsplit_once('-').map(|(_, hash)| hash.to_owned()))
}

/// The ReplicaSet of the present template, with the highest revision number, which the Deployment carries as well.
fn ensure_replica_set(writer: &mut Writer, by: By<'_>, key: &Key, object: &Value, hash: &str) {
    let sets = sets_of(writer, key);
    let highest = sets.iter().map(|(_, set)| number_of(set)).max().unwrap_or(0);
    let name = format!("{}-{hash}", key.name);
    let present = sets.iter().find(|(set, _)| set.name == name);
    let number = match present {
        Some((_, set)) if number_of(set) == highest => highest,
        _ => highest + 1,
    };
    match present {
        Some((set_key, set)) if number_of(set) != number => {
            let mut renumbered = Value::clone(set);
            renumbered["metadata"]["annotations"][REVISION] = number.to_string().into();
            expect(writer.replace(by, set_key, false, renumbered));
        }
        Some(_) => {}
        None => {
            let mut template = object["spec"]["template"].clone();
            template["metadata"]["labels"]["pod-template-hash"] = hash.into();
            let mut selector = object["spec"]["selector"].clone();
            selector["matchLabels"]["pod-template-hash"] = hash.into();
            let set = json!({
                "metadata": {
                    "name": name,
                    "labels": template["metadata"]["labels"],
                    "annotations": {REVISION: number.to_string()},
                    "ownerReferences": [{
                        "apiVersion": "apps/v1", "kind": "Deployment",
                        "controller": true, "blockOwnerDeletion": true,
                        "name": key.name, "uid": object["metadata"]["uid"],
                    }],
                },
                "spec": {"replicas": 0, "selector": selector, "template": template},
            });
            expect(writer.create(by, Kind::REPLICA_SET, &key.namespace, set));
        }
    }
    if object["metadata"]["annotations"]
        .get(REVISION)
        .and_then(Value::as_str)
        != Some(&number.to_string())
    {
        let mut marked = Value::clone(object);
        if !marked["metadata"]["annotations"].is_object() {
            marked["metadata"]["annotations"] = json!({});
        }
        marked["metadata"]["annotations"][REVISION] = number.to_string().into();
        expect(writer.replace(by, key, false, marked));
    }
}

/// The cluster's own writes are decided on the store as it is: they do not fail.
fn expect<T, E: std::fmt::Debug>(written: Result<T, E>) {
    debug_assert!(written.is_ok(), "{:?}", written.err());
}

/// How many pods there may be too many, and too few, while they are exchanged; both at zero would exchange none.
fn leeway(spec: &Value, desired: usize) -> (usize, usize) {
    let surge = share(spec, "maxSurge", desired, true);
    let unavailable = share(spec, "maxUnavailable", desired, false);
    if surge == 0 && unavailable == 0 {
        return (0, 1);
    }
    (surge, unavailable)
}

fn share(spec: &Value, field: &str, desired: usize, up: bool) -> usize {
    match &spec["strategy"]["rollingUpdate"][field] {
        Value::Number(number) => usize::try_from(number.as_u64().unwrap_or(1)).unwrap_or(1),
        Value::String(text) => {
            let percent: usize = text.trim_end_matches('%').parse().unwrap_or(25);
            if up {
                (desired * percent).div_ceil(100)
            } else {
                desired * percent / 100
            }
        }
        _ => 1,
    }
}

/// Starts and ends pods as a rolling update (or `Recreate`) allows.
fn scale(workloads: &mut Workloads, now: DateTime<Utc>, key: &Key, spec: &Value, hash: &str) {
    let desired = usize::try_from(spec["replicas"].as_u64().unwrap_or(1)).unwrap_or(1);
    let recreate = spec["strategy"]["type"] == "Recreate";
    let (surge, unavailable) = leeway(spec, desired);
    let min_ready = TimeDelta::seconds(spec["minReadySeconds"].as_i64().unwrap_or(0));
    let mut pods = workloads.pods.remove(key).unwrap_or_default();
    for pod in &mut pods {
        pod.min_ready = min_ready;
    }
    let alive = |pods: &[Pod]| pods.iter().filter(|pod| pod.ending.is_none()).count();
    let of_hash = |pods: &[Pod]| {
        pods.iter()
            .filter(|p| p.ending.is_none() && p.hash == hash)
            .count()
    };
    // Too many of the present template: the ones that are not ready go first.
    let surplus = of_hash(&pods).saturating_sub(desired);
    end(&mut pods, now, surplus, |pod| pod.hash == hash);
    if recreate {
        end(&mut pods, now, usize::MAX, |pod| pod.hash != hash);
    } else {
        let available = pods.iter().filter(|pod| pod.available(now)).count();
        let old_broken = pods
            .iter()
            .filter(|p| p.ending.is_none() && p.hash != hash && !p.available(now))
            .count();
        let spare = available.saturating_sub(desired.saturating_sub(unavailable));
        let to_end = if desired == 0 {
            usize::MAX
        } else {
            old_broken + spare
        };
        end(&mut pods, now, to_end, |pod| pod.hash != hash);
    }
    let old_left = pods.iter().any(|pod| pod.hash != hash && !pod.gone(now));
    let room = if recreate {
        if old_left { 0 } else { desired }
    } else {
        (desired + surge).saturating_sub(alive(&pods))
    };
    let missing = desired.saturating_sub(of_hash(&pods));
    let image = spec["template"]["spec"]["containers"][0]["image"]
        .as_str()
        .unwrap_or_default();
    for _ in 0..missing.min(room) {
        let behaviour = workloads.behaviour(image);
        pods.push(Pod {
            ip: workloads.address(),
            namespace: key.namespace.clone(),
            workload: key.name.clone(),
            hash: hash.to_owned(),
            labels: spec["template"]["metadata"]["labels"].clone(),
            behaviour,
            started: now,
            min_ready,
            ending: None,
            killed: None,
            pending: !workloads.schedulable,
            hung: false,
            meter: Meter::default(),
        });
    }
    if !pods.is_empty() {
        workloads.pods.insert(key.clone(), pods);
    }
}

fn end(pods: &mut [Pod], now: DateTime<Utc>, count: usize, which: impl Fn(&Pod) -> bool) {
    let mut chosen: Vec<usize> = (0..pods.len())
        .filter(|i| pods[*i].ending.is_none() && which(&pods[*i]))
        .collect();
    chosen.sort_by_key(|i| {
        (
            pods[*i].available(now),
            pods[*i].ready(now),
            std::cmp::Reverse(pods[*i].started),
        )
    });
    for i in chosen.into_iter().take(count) {
        pods[i].ending = Some(now);
    }
}

/// Each ReplicaSet asks for the pods that it has.
fn count_replicas(workloads: &Workloads, writer: &mut Writer, by: By<'_>, key: &Key) {
    for (set_key, set) in sets_of(writer, key) {
        let hash = set_key.name.rsplit_once('-').map_or("", |(_, hash)| hash);
        let pods = workloads.pods.get(key).into_iter().flatten();
        let count = pods
            .filter(|pod| pod.ending.is_none() && pod.hash == hash)
            .count();
        if set["spec"]["replicas"] != count {
            let mut counted = Value::clone(&set);
            counted["spec"]["replicas"] = count.into();
            expect(writer.replace(by, &set_key, false, counted));
        }
    }
}

fn write_status(workloads: &Workloads, writer: &mut Writer, by: By<'_>, key: &Key, hash: &str) {
    let Some(object) = writer.store.get(key).cloned() else {
        return;
    };
    let pods: Vec<&Pod> = workloads
        .pods
        .get(key)
        .into_iter()
        .flatten()
        .filter(|pod| pod.ending.is_none())
        .collect();
    let ready = pods.iter().filter(|pod| pod.ready(by.now)).count();
    let available = pods.iter().filter(|pod| pod.available(by.now)).count();
    let updated = pods.iter().filter(|pod| pod.hash == hash).count();
    let status = json!({
        "observedGeneration": object["metadata"]["generation"],
        "replicas": pods.len(),
        "updatedReplicas": updated,
        "readyReplicas": ready,
        "availableReplicas": available,
        "unavailableReplicas": pods.len() - available,
    });
    if object["status"] != status {
        let mut new = Value::clone(&object);
        new["status"] = status;
        expect(writer.replace(by, key, true, new));
    }
}

fn trim_history(
    workloads: &Workloads,
    writer: &mut Writer,
    by: By<'_>,
    key: &Key,
    (spec, present): (&Value, &str),
) {
    let limit = usize::try_from(spec["revisionHistoryLimit"].as_u64().unwrap_or(10)).unwrap_or(10);
    let in_use = |set: &Key| {
        let hash = set.name.rsplit_once('-').map(|(_, hash)| hash);
        hash.is_some_and(|hash| {
            let pods = workloads.pods.get(key).into_iter().flatten();
            pods.into_iter().any(|pod| pod.hash == hash) || present == hash
        })
    };
    let mut idle: Vec<_> = sets_of(writer, key)
        .into_iter()
        .filter(|(set, _)| !in_use(set))
        .collect();
    idle.sort_by_key(|(_, set)| std::cmp::Reverse(number_of(set)));
    for (set, _) in idle.into_iter().skip(limit) {
        expect(writer.delete(by, &set, &Deletion::default()));
    }
}
