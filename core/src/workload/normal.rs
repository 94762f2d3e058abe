//! The normal form of a pod template: what users meant, without what a version of the API server adds or leaves out.
//!
//! Invariant: two templates with the same normal form make the same pods. What is dropped is either absent in meaning
//! (nulls, empty values) or what the API server fills in where nothing is written.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::{marks::REVISION_ANNOTATION, tracking};

/// By the field that an object stands in: the values that the API server fills in for its fields.
static DEFAULTS: LazyLock<Value> = LazyLock::new(|| {
    let container = json!({
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "stdin": false,
        "stdinOnce": false,
        "tty": false,
    });
    let probe = json!({
        "initialDelaySeconds": 0,
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    });
    let file_mode = json!({"defaultMode": 420});
    json!({
        "spec": {
            "restartPolicy": "Always",
            "dnsPolicy": "ClusterFirst",
            "schedulerName": "default-scheduler",
            "terminationGracePeriodSeconds": 30,
            "enableServiceLinks": true,
            "hostNetwork": false,
            "hostPID": false,
            "hostIPC": false,
            "shareProcessNamespace": false,
            "setHostnameAsFQDN": false,
            "volumeMode": "Filesystem",
        },
        "containers": container,
        "initContainers": container,
        "ephemeralContainers": container,
        "ports": {"protocol": "TCP"},
        "livenessProbe": probe,
        "readinessProbe": probe,
        "startupProbe": probe,
        "httpGet": {"scheme": "HTTP", "path": "/"},
        "fieldRef": {"apiVersion": "v1"},
        "securityContext": {"procMount": "Default"},
        "volumeMounts": {"readOnly": false},
        "secret": file_mode,
        "configMap": file_mode,
        "downwardAPI": file_mode,
        "projected": file_mode,
        "serviceAccountToken": {"expirationSeconds": 3600},
    })
});

/// Fields where an empty value means something: an empty selector selects everything, an absent one nothing; an empty class
/// is no class, an absent one the cluster's default.
const MEANINGFUL: [&str; 3] = ["labelSelector", "namespaceSelector", "storageClassName"];
/// Fields whose keys are the user's own: an empty value is a value.
const FREE_MAPS: [&str; 6] = [
    "labels",
    "annotations",
    "matchLabels",
    "nodeSelector",
    "volumeAttributes",
    "options",
];

/// The normal form of `template`.
#[must_use]
pub fn normal(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("creationTimestamp");
        for marks in ["labels", "annotations"] {
            if let Some(marks) = metadata.get_mut(marks).and_then(Value::as_object_mut) {
                marks.retain(|key, _| key != REVISION_ANNOTATION && !tracking::of_templates(key));
            }
        }
    }
    strip(&mut template, "");
    template
}

/// Drops defaults and empty values below `value`, which stands in `field`.
fn strip(value: &mut Value, field: &str) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| strip(item, field)),
        Value::Object(map) if FREE_MAPS.contains(&field) => map.retain(|_, inner| !inner.is_null()),
        Value::Object(map) => {
            for (key, inner) in map.iter_mut() {
                strip(inner, key);
            }
            drop_implied(map, field);
            let defaults = DEFAULTS.get(field);
            map.retain(|key, inner| {
                let default = defaults.and_then(|defaults| defaults.get(key));
                Some(&*inner) != default && (MEANINGFUL.contains(&key.as_str()) || !empty(inner))
            });
        }
        _ => {}
    }
}

fn empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Drops fields that another one of the same object implies.
fn drop_implied(map: &mut Map<String, Value>, field: &str) {
    let same = |map: &Map<String, Value>, one: &str, other: &str| map.get(one) == map.get(other);
    if field == "spec" && same(map, "serviceAccount", "serviceAccountName") {
        // The old name of the same field, which the API server keeps filled in.
        map.remove("serviceAccount");
    }
    if ["containers", "initContainers", "ephemeralContainers"].contains(&field) {
        let image = map.get("image").and_then(Value::as_str).unwrap_or_default();
        let implied = pull_policy(image);
        if map.get("imagePullPolicy").and_then(Value::as_str) == Some(implied) {
            map.remove("imagePullPolicy");
        }
    }
}

/// The pull policy that the API server fills in for an image.
fn pull_policy(image: &str) -> &'static str {
    let (name, digest) = image
        .split_once('@')
        .map_or((image, false), |(name, _)| (name, true));
    let last = name.rsplit('/').next().unwrap_or_default();
    let tag = last.split_once(':').map(|(_, tag)| tag);
    if tag == Some("latest") || (tag.is_none() && !digest) {
        "Always"
    } else {
        "IfNotPresent"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a user writes it.
    fn written() -> Value {
        json!({
            "metadata": {"labels": {"app": "shop", "team": ""}},
            "spec": {
                "serviceAccountName": "shop",
                "containers": [{
                    "name": "app",
                    "image": "registry:5000/shop:1.2",
                    "args": ["", "--verbose"],
                    "env": [{"name": "EMPTY"}, {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                    "ports": [{"containerPort": 8080}],
                    "readinessProbe": {"httpGet": {"port": 8080}},
                }],
                "volumes": [{"name": "tmp"}, {"name": "conf", "configMap": {"name": "conf"}}],
            },
        })
    }

    /// The same as an API server returns it.
    fn returned() -> Value {
        json!({
            "metadata": {"creationTimestamp": null, "labels": {"app": "shop", "team": ""}},
            "spec": {
                "serviceAccountName": "shop",
                "serviceAccount": "shop",
                "restartPolicy": "Always",
                "terminationGracePeriodSeconds": 30,
                "dnsPolicy": "ClusterFirst",
                "securityContext": {},
                "schedulerName": "default-scheduler",
                "containers": [{
                    "name": "app",
                    "image": "registry:5000/shop:1.2",
                    "imagePullPolicy": "IfNotPresent",
                    "args": ["", "--verbose"],
                    "env": [
                        {"name": "EMPTY", "value": ""},
                        {"name": "POD", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
                    ],
                    "ports": [{"containerPort": 8080, "protocol": "TCP"}],
                    "readinessProbe": {
                        "httpGet": {"path": "/", "port": 8080, "scheme": "HTTP"},
                        "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
                    },
                    "resources": {},
                    "terminationMessagePath": "/dev/termination-log",
                    "terminationMessagePolicy": "File",
                }],
                "volumes": [
                    {"name": "tmp", "emptyDir": {}},
                    {"name": "conf", "configMap": {"name": "conf", "defaultMode": 420}},
                ],
            },
        })
    }

    #[test]
    fn what_the_api_server_fills_in_is_no_part_of_it() {
        assert_eq!(normal(&written()), normal(&returned()));
    }

    #[test]
    fn what_users_write_is_part_of_it() {
        let changes = [
            ("/spec/terminationGracePeriodSeconds", json!(31)),
            ("/spec/containers/0/imagePullPolicy", json!("Always")),
            ("/spec/containers/0/args", json!(["--verbose"])),
            ("/spec/containers/0/env/0/value", json!("x")),
            ("/spec/containers/0/ports/0/protocol", json!("UDP")),
            ("/spec/containers/0/readinessProbe/periodSeconds", json!(5)),
            ("/spec/volumes/1/configMap/defaultMode", json!(256)),
            ("/metadata/labels/team", json!("x")),
        ];
        for (pointer, value) in changes {
            let mut changed = returned();
            *changed.pointer_mut(pointer).unwrap() = value;
            assert_ne!(normal(&changed), normal(&returned()), "{pointer}");
        }
        let mut marked = returned();
        marked["metadata"]["annotations"] =
            json!({"kubectl.kubernetes.io/restartedAt": "2026-11-25T12:00:00Z"});
        assert_ne!(
            normal(&marked),
            normal(&returned()),
            "a restart that somebody asked for"
        );
    }

    #[test]
    fn empty_selector_is_not_the_same_as_none() {
        let spread = |selector: Value| json!({"spec": {"topologySpreadConstraints": [{"maxSkew": 1, "labelSelector": selector}]}});
        let with = normal(&spread(json!({})));
        let without = normal(&json!({"spec": {"topologySpreadConstraints": [{"maxSkew": 1}]}}));
        assert_ne!(with, without);
    }

    #[test]
    fn empty_storage_class_is_not_the_default_one() {
        let claim = |spec: Value| json!({"spec": {"volumes": [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": spec}}}]}});
        let none = claim(json!({"storageClassName": "", "accessModes": ["ReadWriteOnce"]}));
        let default = claim(json!({"accessModes": ["ReadWriteOnce"]}));
        assert_ne!(normal(&none), normal(&default));
    }

    #[test]
    fn pull_policy_follows_the_tag_as_the_api_server_has_it() {
        let cases = [
            ("shop", "Always"),
            ("shop:latest", "Always"),
            ("registry:5000/shop", "Always"),
            ("shop:1.2", "IfNotPresent"),
            ("registry:5000/shop:1.2", "IfNotPresent"),
            ("shop@sha256:abc", "IfNotPresent"),
            ("shop:latest@sha256:abc", "Always"),
        ];
        for (image, policy) in cases {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }
}
