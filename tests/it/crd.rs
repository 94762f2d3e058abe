//! The CustomResourceDefinition in `crds/` is what the types say, and refuses nonsense.

use std::process::Command;

use bellwether::api::Canary;
use kube::core::cel::validate_cel;
use serde_json::{Value, json};

fn canary(change: impl FnOnce(&mut Value)) -> Canary {
    let mut canary = json!({
        "apiVersion": "bellwether.dev/v1beta1",
        "kind": "Canary",
        "metadata": {"name": "shop", "namespace": "default"},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
            "service": {"port": 80},
            "analysis": {"interval": "1m", "stepWeight": 10, "maxWeight": 50},
        },
    });
    change(&mut canary);
    serde_json::from_value(canary).unwrap()
}

#[test]
fn crd_files_are_what_the_types_say() {
    for name in [
        "canaries",
        "promotions",
        "promotionledgers",
        "commands",
        "approvals",
        "freezes",
        "clusterfreezes",
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_bellwether"))
            .args(["crd", name])
            .output()
            .unwrap();
        let file = format!("{}/crds/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        let written = std::fs::read_to_string(&file).unwrap();
        assert!(
            String::from_utf8(output.stdout).unwrap() == written,
            "{file} is old; run: make crds"
        );
    }
}

#[test]
fn a_plain_canary_is_valid() {
    let spec = bellwether::rollout::validate(&canary(|_| {}), chrono::TimeDelta::seconds(5)).unwrap();
    let weights: Vec<u8> = spec.steps.weights().iter().map(|w| w.percent()).collect();
    assert_eq!(weights, [10, 20, 30, 40, 50]);
}

#[test]
fn max_weight_is_a_cap() {
    let capped = canary(|c| c["spec"]["analysis"] = json!({"stepWeight": 20, "maxWeight": 50}));
    let spec = bellwether::rollout::validate(&capped, chrono::TimeDelta::seconds(5)).unwrap();
    let weights: Vec<u8> = spec.steps.weights().iter().map(|w| w.percent()).collect();
    assert_eq!(weights, [20, 40, 50]);
}

#[test]
fn nonsense_is_refused_with_the_field_named() {
    type Change = fn(&mut Value);
    let cases: [(&str, Change); 7] = [
        ("spec.analysis.interval", |c| {
            c["spec"]["analysis"]["interval"] = json!("soon");
        }),
        ("spec.analysis.interval", |c| {
            c["spec"]["analysis"]["interval"] = json!("500ms");
        }),
        ("spec.analysis.stepWeights", |c| {
            c["spec"]["analysis"] = json!({"stepWeights": [10, 10]});
        }),
        ("spec.analysis", |c| {
            c["spec"]["analysis"] = json!({"interval": "1m"});
        }),
        ("spec.targetRef.kind", |c| {
            c["spec"]["targetRef"]["kind"] = json!("StatefulSet");
        }),
        ("spec.analysis.metrics[0].name", |c| {
            c["spec"]["analysis"]["metrics"] = json!([{"name": "mood", "thresholdRange": {"min": 1}}]);
        }),
        ("spec.analysis.metrics[0].disconnects", |c| {
            c["spec"]["analysis"]["metrics"] =
                json!([{"name": "request-duration", "thresholdRange": {"max": 500}, "disconnects": "bad"}]);
        }),
    ];
    for (field, change) in cases {
        let canary = canary(change);
        let refused = bellwether::rollout::validate(&canary, chrono::TimeDelta::seconds(5));
        let named: Vec<_> = refused.unwrap_err().0.into_iter().map(|p| p.field).collect();
        assert_eq!(named, [field]);
    }
}

#[test]
fn rules_of_the_schema_agree() {
    assert_eq!(
        validate_cel(&canary(|_| {}))
            .map(|_| ())
            .map_err(|e| format!("{e:?}")),
        Ok(())
    );
    assert!(validate_cel(&canary(|c| c["spec"]["analysis"] = json!({"interval": "1m"}))).is_err());
    let with_disconnects = |name: &str| {
        canary(|c| {
            c["spec"]["analysis"]["reporter"] = json!("source");
            c["spec"]["analysis"]["metrics"] =
                json!([{"name": name, "thresholdRange": {"min": 1}, "disconnects": "bad"}]);
        })
    };
    assert!(validate_cel(&with_disconnects("request-success-rate")).is_ok());
    assert!(validate_cel(&with_disconnects("request-duration")).is_err());
}
