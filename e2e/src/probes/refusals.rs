//! What is refused because it makes no sense.

use anyhow::Result;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{Ground, Probe, canary, deployment, service, verdict};
use crate::objects::Kind;

type Change = fn(&mut Value);

/// Every kind of nonsense that a Canary is refused for, with the words that name the field.
pub const NONSENSE: [(&str, Change); 17] = [
    ("spec.analysis.interval: Invalid value", |s| {
        s["analysis"]["interval"] = json!("soon");
    }),
    ("spec.analysis.interval: Invalid value", |s| {
        s["analysis"]["interval"] = json!("500ms");
    }),
    ("spec.analysis.maxBlind: Invalid value", |s| {
        s["analysis"]["maxBlind"] = json!("25h");
    }),
    ("spec.analysis.maxWeight: Invalid value", |s| {
        s["analysis"]["maxWeight"] = json!(101);
    }),
    ("spec.analysis.maxWeight: Invalid value", |s| {
        s["analysis"]["maxWeight"] = json!(0);
    }),
    ("spec.analysis: Invalid value", |s| {
        s["analysis"]["stepWeights"] = json!([10, 101]);
    }),
    ("spec.analysis: Invalid value", |s| {
        s["analysis"]["stepWeights"] = json!([30, 10]);
    }),
    ("spec.analysis: Invalid value", |s| {
        s["analysis"] = json!({"interval": "1m"});
    }),
    ("spec.targetRef: Invalid value", |s| {
        s["targetRef"]["kind"] = json!("StatefulSet");
    }),
    ("spec.targetRef: Invalid value", |s| {
        s["targetRef"]["apiVersion"] = json!("apps/v2");
    }),
    ("spec: Invalid value", |s| {
        s["targetRef"]["name"] = json!("x".repeat(56));
    }),
    ("set spec.service.name", |s| {
        s["targetRef"]["name"] = json!("search.v2");
    }),
    ("count HTTP requests", |s| {
        s["service"]["appProtocol"] = json!("TCP");
        s["analysis"]["metrics"] = json!([{"name": "request-duration", "thresholdRange": {"max": 2}}]);
    }),
    ("spec.service.name: Invalid value", |s| {
        s["service"]["name"] = json!("Shop!");
    }),
    ("spec.analysis.metrics[0]: Invalid value", |s| {
        s["analysis"]["metrics"] = json!([{"name": "mood", "thresholdRange": {"min": 1}}]);
    }),
    ("spec.analysis.metrics[0]: Invalid value", |s| {
        s["analysis"]["metrics"] = json!([{"name": "request-duration"}]);
    }),
    ("spec.analysis.metrics[0].thresholdRange: Invalid value", |s| {
        s["analysis"]["metrics"] =
            json!([{"name": "request-duration", "thresholdRange": {"min": 2, "max": 1}}]);
    }),
];

pub(super) fn probes() -> Vec<Probe> {
    vec![
        Probe::new("nonsense", nonsense, json!([])),
        Probe::new(
            "immutable",
            immutable,
            json!({
                "Deployment selector": "422 Invalid", "Deployment labels without the selector's": "422 Invalid",
                "Canary target": "422 Invalid", "Canary service": "422 Invalid",
                "Service address": "422 Invalid", "name": "400 BadRequest", "uid": "422 Invalid",
            }),
        ),
        Probe::new(
            "unknown-fields",
            unknown_fields,
            json!({"Canary": null, "Canary status": null, "Deployment": null}),
        ),
    ]
}

/// The cases that were not refused with their words.
async fn nonsense(ground: Ground) -> Result<Value> {
    let mut wrong = Vec::new();
    for (words, change) in NONSENSE {
        let mut object = canary("nonsense");
        change(&mut object["spec"]);
        let object: DynamicObject = serde_json::from_value(object)?;
        match ground
            .api(Kind::Canary)
            .create(&PostParams::default(), &object)
            .await
        {
            Err(kube::Error::Api(status))
                if status.code == 422 && status.reason == "Invalid" && status.message.contains(words) => {}
            Err(error) => wrong.push(format!("{words}: {error}")),
            Ok(_) => wrong.push(format!("{words}: accepted")),
        }
    }
    Ok(json!(wrong))
}

async fn immutable(ground: Ground) -> Result<Value> {
    ground.create(Kind::Deployment, deployment("immutable")).await?;
    ground.create(Kind::Canary, canary("immutable")).await?;
    ground.create(Kind::Service, service("immutable")).await?;
    let ask = async |kind: Kind, change: Value| {
        let patch = Patch::Merge(change);
        verdict(
            ground
                .api(kind)
                .patch("immutable", &PatchParams::default(), &patch)
                .await,
        )
    };
    let labels = json!({"app": "other"});
    let selector =
        json!({"spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}}});
    let mut renamed = ground.api(Kind::Canary).get("immutable").await?;
    renamed.metadata.name = Some("other".to_owned());
    let canaries = ground.api(Kind::Canary);
    let replaced = canaries
        .replace("immutable", &PostParams::default(), &renamed)
        .await;
    Ok(json!({
        "Deployment selector": ask(Kind::Deployment, selector).await,
        "Deployment labels without the selector's": ask(
            Kind::Deployment, json!({"spec": {"template": {"metadata": {"labels": {"app": "other"}}}}}),
        ).await,
        "Canary target": ask(Kind::Canary, json!({"spec": {"targetRef": {"name": "other"}}})).await,
        "Canary service": ask(Kind::Canary, json!({"spec": {"service": {"name": "other"}}})).await,
        "Service address": ask(Kind::Service, json!({"spec": {"clusterIP": "10.96.200.200"}})).await,
        "name": verdict(replaced),
        "uid": ask(Kind::Canary, json!({"metadata": {"uid": "00000000-0000-4000-8000-ffffffffffff"}})).await,
    }))
}

/// What the schema does not know is dropped.
async fn unknown_fields(ground: Ground) -> Result<Value> {
    let mut object = canary("unknown");
    object["spec"]["mood"] = json!("good");
    let made = ground.create(Kind::Canary, object).await?;
    let status = Patch::Merge(json!({"status": {"mood": "good"}}));
    let told = ground
        .api(Kind::Canary)
        .patch_status("unknown", &PatchParams::default(), &status)
        .await?;
    let mut object = deployment("unknown");
    object["spec"]["mood"] = json!("good");
    let deployed = ground.create(Kind::Deployment, object).await?;
    Ok(json!({
        "Canary": made.data["spec"]["mood"],
        "Canary status": told.data["status"]["mood"],
        "Deployment": deployed.data["spec"]["mood"],
    }))
}
