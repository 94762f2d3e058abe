//! Which objects a rehearsal heeds, which it ignores, and which cannot be meant.

use crate::pointer::At;
use serde_json::Value;

use crate::sim::api_server::Kind;

/// The kinds that are applied beside the Canary.
const HEEDED: [Kind; 6] = [
    Kind::DEPLOYMENT,
    Kind::SERVICE,
    Kind::VIRTUAL_SERVICE,
    Kind::DESTINATION_RULE,
    Kind::FREEZE,
    Kind::CLUSTER_FREEZE,
];

/// Further kinds of the groups that the heeded ones are of: another name there is misspelt.
const ALSO_THERE: [(&str, &str); 6] = [
    (
        "v1",
        "Binding ConfigMap Endpoints Event LimitRange Namespace Node PersistentVolume PersistentVolumeClaim Pod \
         PodTemplate ReplicationController ResourceQuota Secret ServiceAccount",
    ),
    ("apps/v1", "ControllerRevision DaemonSet ReplicaSet StatefulSet"),
    (
        "networking.istio.io/v1",
        "Gateway ProxyConfig ServiceEntry Sidecar WorkloadEntry WorkloadGroup EnvoyFilter",
    ),
    (
        "bellwether.dev/v1beta1",
        "Approval Command Promotion PromotionLedger",
    ),
    ("apps/v1beta1", ""),
    ("extensions/v1beta1", "Ingress"),
];

/// What an object is to a rehearsal.
#[derive(Debug, PartialEq)]
pub(super) enum Role {
    /// The Canary, or another.
    Canary,
    /// It is applied.
    Heeded(Kind),
    /// It has no influence here.
    Foreign,
}

/// What `object` is to a rehearsal; Istio's older versions become the one that is kept.
///
/// # Errors
/// Each field that is missing, or why no such object can be meant.
pub(super) fn role(object: &mut Value) -> Result<Role, Vec<String>> {
    let text = |pointer: &str| {
        let text = object.at(pointer).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let (mut version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
    let required = [
        ("apiVersion", &version),
        ("kind", &kind),
        ("metadata.name", &name),
    ];
    let missing: Vec<String> = required
        .iter()
        .filter(|(_, value)| value.is_empty())
        .map(|(field, _)| format!("{field}: is missing"))
        .collect();
    if !missing.is_empty() {
        return Err(missing);
    }
    if matches!(
        version.as_str(),
        "networking.istio.io/v1beta1" | "networking.istio.io/v1alpha3"
    ) {
        // The server keeps one version and serves the others as well.
        "networking.istio.io/v1".clone_into(&mut version);
        object["apiVersion"] = version.clone().into();
    }
    match Kind::named(&version, &kind) {
        Some(Kind::CANARY) => Ok(Role::Canary),
        Some(found) if HEEDED.contains(&found) => Ok(Role::Heeded(found)),
        _ if misspelt(&version, &kind) => Err(vec![format!(
            "unknown kind of {version}; heeded are {}",
            heeded()
        )]),
        _ => Ok(Role::Foreign),
    }
}

fn misspelt(version: &str, kind: &str) -> bool {
    let there = ALSO_THERE.iter().find(|(known, _)| *known == version);
    let ours = version.starts_with("bellwether.dev/");
    match there {
        Some((_, kinds)) => !kinds.split(' ').any(|known| known == kind),
        None => ours,
    }
}

fn heeded() -> String {
    let names = std::iter::once(Kind::CANARY).chain(HEEDED).map(|kind| {
        let resource = kind.resource();
        format!("{} {}", resource.api_version(), resource.kind)
    });
    names.collect::<Vec<_>>().join(", ")
}
