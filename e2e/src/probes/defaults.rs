//! What the server adds to an object.

use anyhow::Result;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::{Ground, Probe, canary, deployment, service};
use crate::objects::Kind;

pub(super) fn probes() -> Vec<Probe> {
    vec![
        Probe::new("deployment-defaults", deployment_defaults, expected_deployment()),
        Probe::new("service-defaults", service_defaults, expected_service()),
        Probe::new("canary-defaults", canary_defaults, expected_canary()),
        Probe::new(
            "metadata",
            metadata,
            json!({"fields": ["creationTimestamp", "generation", "name", "namespace", "resourceVersion", "uid"]}),
        ),
    ]
}

fn expected_deployment() -> Value {
    json!({
        "progressDeadlineSeconds": 600,
        "replicas": 0,
        "revisionHistoryLimit": 10,
        "selector": {"matchLabels": {"app": "defaults"}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
        "template": {
            "metadata": {"labels": {"app": "defaults"}},
            "spec": {
                "containers": [{
                    "name": "app", "image": "shop:good-1", "imagePullPolicy": "IfNotPresent", "resources": {},
                    "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                }],
                "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
                "securityContext": {}, "terminationGracePeriodSeconds": 30,
            },
        },
    })
}

fn expected_service() -> Value {
    json!({
        "internalTrafficPolicy": "Cluster", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
        "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http"}],
        "selector": {"app": "defaults"}, "sessionAffinity": "None", "type": "ClusterIP",
        "clusterIP": "an address", "clusterIPs": ["an address"],
    })
}

fn expected_canary() -> Value {
    json!({
        "analysis": {"metrics": [], "stepWeights": [10]},
        "revertOnDeletion": false, "skipAnalysis": false, "suspend": false,
        "service": {"delegation": false, "port": 80, "portDiscovery": false},
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "defaults"},
    })
}

async fn deployment_defaults(ground: Ground) -> Result<Value> {
    let mut made = ground.create(Kind::Deployment, deployment("defaults")).await?;
    // Older servers wrote it.
    if let Some(metadata) = made.data["spec"]["template"]["metadata"].as_object_mut() {
        metadata.retain(|_, value| !value.is_null());
    }
    Ok(made.data["spec"].take())
}

async fn service_defaults(ground: Ground) -> Result<Value> {
    let mut made = ground.create(Kind::Service, service("defaults")).await?;
    let spec = &mut made.data["spec"];
    for pointer in ["/clusterIP", "/clusterIPs/0"] {
        if let Some(address) = spec.pointer_mut(pointer)
            && address
                .as_str()
                .is_some_and(|text| text.parse::<std::net::IpAddr>().is_ok())
        {
            *address = json!("an address");
        }
    }
    Ok(spec.take())
}

async fn canary_defaults(ground: Ground) -> Result<Value> {
    let mut made = ground.create(Kind::Canary, canary("defaults")).await?;
    Ok(made.data["spec"].take())
}

async fn metadata(ground: Ground) -> Result<Value> {
    let made: DynamicObject = ground.create(Kind::Canary, canary("metadata")).await?;
    let metadata = serde_json::to_value(&made.metadata)?;
    let fields = metadata.as_object().into_iter().flatten().map(|(field, _)| field);
    let fields: Vec<_> = fields.filter(|field| *field != "managedFields").collect();
    Ok(json!({"fields": fields}))
}
