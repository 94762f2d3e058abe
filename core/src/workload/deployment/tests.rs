use serde_json::{Value, json};

use super::*;
use crate::workload::marks::note_template_editor;

fn target(image: &str) -> Value {
    json!({
        "metadata": {"name": "shop", "namespace": "n", "labels": {
            "app": "shop",
            "team": "checkout",
            "app.kubernetes.io/instance": "shop-prod",
            "applyset.kubernetes.io/part-of": "applyset-x",
            "kapp.k14s.io/app": "1700000000",
            "objectset.rio.cattle.io/hash": "abc",
        }, "annotations": {
            "team/on-call": "someone",
            "argocd.argoproj.io/tracking-id": "shop:apps/Deployment:n/shop",
            "deployment.kubernetes.io/revision": "7",
        }},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "shop", "tier": "web"}},
            "template": {
                "metadata": {
                    "creationTimestamp": null,
                    "labels": {"app": "shop", "tier": "web", "app.kubernetes.io/instance": "shop-prod"},
                    "annotations": {"argocd.argoproj.io/tracking-id": "x", "sidecar.istio.io/inject": "true"},
                },
                "spec": {
                    "terminationGracePeriodSeconds": 30,
                    "containers": [{"name": "app", "image": image, "imagePullPolicy": "IfNotPresent"}],
                    "topologySpreadConstraints": [{"maxSkew": 1, "labelSelector": {"matchLabels": {"app": "shop"}}}],
                },
            },
        },
    })
}

fn telling() -> Selector {
    selector(&target("shop:1"), &["app".to_owned()]).unwrap()
}

fn built(target: &Value, include: &[&str]) -> Value {
    let owner = Owner {
        name: "shop".to_owned(),
        uid: "u".to_owned(),
    };
    let include: Vec<String> = include.iter().map(|prefix| (*prefix).to_owned()).collect();
    let primary = Primary {
        name: "shop-primary",
        selector: &telling(),
        owner: &owner,
        revision: &revision(&target["spec"]["template"]),
        replicas: 2,
        include: &include,
    };
    build_primary(target, &primary)
}

/// The primary as the cache keeps it, after `manager` wrote the fields `pods` of its pods' spec.
fn edited(mut primary: Value, manager: &str, pods: &Value) -> Value {
    primary["metadata"]["managedFields"] = json!([
        {"manager": "bellwether", "operation": "Apply", "fieldsV1": {"f:spec": {"f:template": {"f:spec": {}}}}},
        {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status",
            "fieldsV1": {"f:status": {}}},
        {"manager": manager, "operation": "Update", "fieldsV1": {"f:spec": {"f:template": pods}}},
    ]);
    note_template_editor(&mut primary);
    primary
}

#[test]
fn primary_is_no_part_of_what_tools_prune() {
    let primary = built(&target("shop:1"), &[]);
    let keys = |marks: &str| -> Vec<String> {
        let map = primary["metadata"][marks].as_object().unwrap();
        map.keys().cloned().collect()
    };
    let mut labels = keys("labels");
    labels.sort();
    assert_eq!(
        labels,
        [
            "app",
            "app.kubernetes.io/managed-by",
            "bellwether.dev/canary",
            "tier"
        ]
    );
    assert_eq!(primary["metadata"]["labels"]["app"], "shop-primary");
    assert_eq!(keys("annotations"), ["bellwether.dev/owner-uid"]);
}

#[test]
fn labels_that_are_asked_for_are_taken_over_and_marks_of_tools_never() {
    let of = |include: &[&str]| built(&target("shop:1"), include)["metadata"].clone();
    let team = of(&["team"]);
    assert_eq!(team["labels"]["team"], "checkout");
    assert_eq!(team["annotations"]["team/on-call"], "someone");
    let all = of(&["*"]);
    assert_eq!(all["labels"]["team"], "checkout");
    assert_eq!(all["labels"]["app.kubernetes.io/managed-by"], "bellwether");
    for (marks, key) in [
        ("labels", "app.kubernetes.io/instance"),
        ("labels", "applyset.kubernetes.io/part-of"),
        ("labels", "kapp.k14s.io/app"),
        ("labels", "objectset.rio.cattle.io/hash"),
        ("annotations", "argocd.argoproj.io/tracking-id"),
        ("annotations", "deployment.kubernetes.io/revision"),
    ] {
        assert_eq!(all[marks].get(key), None, "{key}");
    }
}

#[test]
fn pods_of_the_primary_keep_what_their_user_and_their_selector_ask_for() {
    let mut target = target("shop:1");
    for labels in ["/spec/selector/matchLabels", "/spec/template/metadata/labels"] {
        target.pointer_mut(labels).unwrap()["kapp.k14s.io/app"] = json!("17");
    }
    let primary = built(&target, &[]);
    let labels = &primary["spec"]["template"]["metadata"]["labels"];
    for (key, value) in primary["spec"]["selector"]["matchLabels"].as_object().unwrap() {
        assert_eq!(labels.get(key), Some(value), "{key}");
    }
    assert_eq!(labels["app.kubernetes.io/instance"], "shop-prod");
    let annotations = &primary["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations["sidecar.istio.io/inject"], "true");
    assert_eq!(annotations.get("argocd.argoproj.io/tracking-id"), None);
}

#[test]
fn primary_keeps_what_a_failed_promotion_returns_to() {
    for (asked, kept) in [(json!(0), 2), (json!(1), 2), (json!(5), 5), (Value::Null, 10)] {
        let mut target = target("shop:1");
        target["spec"]["revisionHistoryLimit"] = asked;
        assert_eq!(built(&target, &[])["spec"]["revisionHistoryLimit"], kept);
    }
}

#[test]
fn template_of_the_primary_is_known_to_be_the_targets() {
    let target = target("shop:1");
    let primary = built(&target, &[]);
    let view = view_primary(&primary, 2, Some(&telling()));
    assert_eq!(view.revision, revision(&target["spec"]["template"]));
    assert!(view.aliases.is_empty(), "{:?}", view.aliases);
    assert!(view_target(&target, 0).same_template(&view));
}

#[test]
fn what_earlier_versions_recorded_is_the_same_template() {
    let target = target("shop:1");
    let recorded = raw_revision(&target["spec"]["template"]);
    let view = view_target(&target, 0);
    assert!(view.is_of(&recorded) && view.is_of(&revision(&target["spec"]["template"])));
    let mut primary = built(&target, &[]);
    primary["spec"]["template"]["metadata"]["annotations"][REVISION_ANNOTATION] = json!(recorded);
    let known = view_primary(&primary, 2, Some(&telling()));
    assert_eq!(
        (known.revision.as_str(), known.edited_by.as_deref()),
        (recorded.as_str(), None)
    );
    assert!(view.same_template(&known) && known.same_template(&view));
    // The API server was upgraded meanwhile: neither digest of the target is the recorded one.
    let mut upgraded = target.clone();
    upgraded["spec"]["template"]["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("creationTimestamp");
    assert!(view_target(&upgraded, 0).same_template(&known));
    assert!(!view_target(&self::target("shop:2"), 0).same_template(&known));
}

#[test]
fn edit_of_the_primary_by_hand_is_seen() {
    let mut primary = built(&target("shop:1"), &[]);
    primary["spec"]["template"]["spec"]["containers"][0]["image"] = json!("shop:hotfix");
    let primary = edited(primary, "kubectl-edit", &json!({"f:spec": {"f:containers": {}}}));
    let view = view_primary(&primary, 2, Some(&telling()));
    assert_eq!(view.edited_by.as_deref(), Some("kubectl-edit"));
    assert!(view.aliases.is_empty());
}

#[test]
fn what_is_injected_or_restarted_is_no_edit() {
    // An admission webhook writes in the name of whoever asked for the write.
    let mut injected = built(&target("shop:1"), &[]);
    injected["spec"]["template"]["spec"]["initContainers"] = json!([{"name": "agent", "image": "agent:1"}]);
    let mut restarted = built(&target("shop:1"), &[]);
    restarted["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] =
        json!("now");
    let restarted = edited(
        restarted,
        "kubectl-rollout",
        &json!({"f:metadata": {"f:annotations": {}}}),
    );
    // Somebody edited it and took it back.
    let undone = edited(
        built(&target("shop:1"), &[]),
        "kubectl-edit",
        &json!({"f:spec": {"f:containers": {}}}),
    );
    for primary in [injected, restarted, undone] {
        let view = view_primary(&primary, 2, Some(&telling()));
        assert_eq!(view.edited_by, None, "{primary}");
    }
}

#[test]
fn without_the_target_the_primary_is_taken_at_its_word() {
    let mut primary = built(&target("shop:1"), &[]);
    primary["spec"]["template"]["spec"]["containers"][0]["image"] = json!("shop:hotfix");
    let primary = edited(primary, "kubectl-edit", &json!({"f:spec": {"f:containers": {}}}));
    let view = view_primary(&primary, 2, None);
    assert_eq!(view.edited_by, None);
    assert_eq!(view.revision, revision(&target("shop:1")["spec"]["template"]));
}

#[test]
fn what_is_restored_is_what_was_promoted_and_not_what_somebody_made_of_it() {
    let set = |image: &str, created: &str| {
        let mut template = built(&target("shop:1"), &[])["spec"]["template"].clone();
        template["metadata"]["labels"]["pod-template-hash"] = json!(created);
        template["spec"]["containers"][0]["image"] = json!(image);
        json!({"metadata": {"creationTimestamp": created}, "spec": {"template": template}})
    };
    let wanted = revision(&target("shop:1")["spec"]["template"]);
    let image = |set: Value| set["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    let sets = || {
        vec![
            set("shop:hotfix", "2026-01-01T00:00:00Z"),
            set("shop:1", "2026-01-02T00:00:00Z"),
        ]
    };
    let found = restorable(sets(), &wanted, Some(&telling())).unwrap();
    assert_eq!(image(found), "shop:1");
    let found = restorable(sets(), &wanted, None).unwrap();
    assert_eq!(image(found), "shop:hotfix", "the oldest, if nothing tells");
    assert_eq!(restorable(sets(), "another", Some(&telling())), None);
}

#[test]
fn restored_primary_bears_no_marks_that_an_earlier_version_copied() {
    let mut live = built(&target("shop:2"), &[]);
    live["metadata"]["labels"]["app.kubernetes.io/instance"] = json!("shop-prod");
    live["spec"]["revisionHistoryLimit"] = json!(0);
    let old = json!({"spec": {"template": built(&target("shop:1"), &[])["spec"]["template"]}});
    let restored = build_restored(&live, &old, &[]);
    let fresh = built(&target("shop:1"), &[]);
    assert_eq!(restored["metadata"]["labels"], fresh["metadata"]["labels"]);
    assert_eq!(restored["spec"]["template"], fresh["spec"]["template"]);
    assert_eq!(restored["spec"]["revisionHistoryLimit"], 2);
}

#[test]
fn annotation_that_was_asked_for_outlives_an_undo_and_that_of_somebody_else_is_not_taken() {
    let mut live = built(&target("shop:2"), &["team/"]);
    live["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = json!("3");
    live["metadata"]["annotations"]["note"] = json!("by hand");
    let old = json!({"spec": {"template": target("shop:1")["spec"]["template"]}});
    let restored = build_restored(&live, &old, &["team/".to_owned()]);
    let annotations = restored["metadata"]["annotations"].as_object().unwrap();
    assert_eq!(annotations["team/on-call"], "someone");
    assert_eq!(
        annotations.keys().collect::<Vec<_>>(),
        ["bellwether.dev/owner-uid", "team/on-call"]
    );
}

/// A node pool or a namespace may be labelled like the workload that has it: those select no pods.
#[test]
fn only_what_selects_pods_is_changed_for_the_primary() {
    let nodes = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "app", "operator": "In", "values": ["shop"]}]},
    ]}});
    let apart = |value: &str| {
        json!({"requiredDuringSchedulingIgnoredDuringExecution": [{
            "topologyKey": "kubernetes.io/hostname",
            "namespaceSelector": {"matchLabels": {"app": "shop"}},
            "labelSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": [value]}]},
        }]})
    };
    let mut target = target("shop:1");
    target["spec"]["template"]["spec"]["affinity"] = json!({
        "nodeAffinity": nodes, "podAffinity": apart("shop"), "podAntiAffinity": apart("shop"),
    });
    let primary = built(&target, &[]);
    let affinity = &primary["spec"]["template"]["spec"]["affinity"];
    assert_eq!(affinity["nodeAffinity"], nodes);
    assert_eq!(affinity["podAffinity"], apart("shop-primary"));
    assert_eq!(affinity["podAntiAffinity"], apart("shop-primary"));
    let view = view_primary(&primary, 0, Some(&telling()));
    assert_eq!(view.edited_by, None, "the same template");
}

#[test]
fn percentage_without_measure_is_a_percentage() {
    for field in ["maxSurge", "maxUnavailable"] {
        let target =
            json!({"spec": {"replicas": 100, "strategy": {"rollingUpdate": {field: "922337203685477580%"}}}});
        let floor = view_target(&target, 0).floor;
        assert_eq!(floor, if field == "maxSurge" { 75 } else { 0 }, "{field}");
    }
}
