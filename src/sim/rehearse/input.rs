//! The files a person would apply: read, checked, and completed by what is missing.

use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::{Error, schema};
use crate::{
    api::Canary,
    rollout::{self, RolloutSpec},
    sim::api_server::Kind,
};

/// How long proxies may go on using a changed route: the default of `--drain-seconds`.
pub const DRAIN: TimeDelta = TimeDelta::seconds(5);
/// Pods of a Deployment that is assumed.
const ASSUMED_REPLICAS: u32 = 2;

/// Kinds that belong to a release and change nothing here.
const IGNORED: [&str; 18] = [
    "Gateway",
    "Namespace",
    "ConfigMap",
    "Secret",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ClusterRole",
    "ClusterRoleBinding",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
    "NetworkPolicy",
    "Ingress",
    "PeerAuthentication",
    "AuthorizationPolicy",
    "Sidecar",
    "ServiceMonitor",
    "PodMonitor",
];

/// What a rehearsal begins with.
#[derive(Clone, Debug)]
pub struct Input {
    /// The Canary.
    pub canary: Value,
    /// The same, validated.
    pub spec: RolloutSpec,
    /// Every other object with its namespace, in the order in which it is applied.
    pub objects: Vec<(String, Value)>,
    /// What was assumed or ignored, one sentence each.
    pub notes: Vec<String>,
}

/// A file and its text.
pub type Source = (String, String);

/// Reads files and the YAML files of folders; `-` is standard input.
///
/// # Errors
/// The first that cannot be read.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Source>, Error> {
    let mut sources = Vec::new();
    for path in paths {
        let name = path.display().to_string();
        let wrong = |error: std::io::Error| Error::BadInput(format!("{name}: {error}"));
        if name == "-" {
            let text = std::io::read_to_string(std::io::stdin()).map_err(wrong)?;
            sources.push(("standard input".to_owned(), text));
        } else if path.is_dir() {
            for file in yaml_files(path).map_err(wrong)? {
                let text = std::fs::read_to_string(&file).map_err(wrong)?;
                sources.push((file.display().to_string(), text));
            }
        } else {
            sources.push((name.clone(), std::fs::read_to_string(path).map_err(wrong)?));
        }
    }
    Ok(sources)
}

fn yaml_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let ending = path.extension().and_then(|e| e.to_str());
        if matches!(ending, Some("yaml" | "yml" | "json")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn bad(text: impl Into<String>) -> Error {
    Error::BadInput(text.into())
}

/// Parses the files' objects and completes them.
///
/// # Errors
/// The file and the field that cannot be used.
pub fn parse(sources: &[Source]) -> Result<Input, Error> {
    let (mut canary, mut objects, mut notes) = (None, Vec::new(), Vec::new());
    for (file, text) in sources {
        for object in documents(file, text)? {
            match sort(file, object)? {
                Sorted::Canary(object) => {
                    if canary.replace((file.clone(), object)).is_some() {
                        return Err(bad(format!(
                            "{file}: a second Canary; a rehearsal is of one release, so give the files of one"
                        )));
                    }
                }
                Sorted::Applied(object) => objects.push(object),
                Sorted::Ignored(what) => notes.push(format!("ignored: {what}, which is not modelled")),
            }
        }
    }
    let (file, canary) = canary.ok_or_else(|| bad("no Canary in the files"))?;
    let (canary, spec) = checked(&file, canary)?;
    let namespace = spec.names.namespace.clone();
    let objects = objects.into_iter().map(|object| {
        let own = object["metadata"]["namespace"].as_str();
        (own.unwrap_or(&namespace).to_owned(), object)
    });
    let mut input = Input {
        objects: objects.collect(),
        canary,
        spec,
        notes,
    };
    input.assume()?;
    Ok(input)
}

fn documents(file: &str, text: &str) -> Result<Vec<Value>, Error> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| bad(format!("{file}: {error}")))?;
    let mut objects = Vec::new();
    for document in documents {
        match document {
            Value::Null => {}
            Value::Object(mut list) if list.get("kind").is_some_and(|kind| kind == "List") => {
                match list.remove("items") {
                    Some(Value::Array(items)) => objects.extend(items),
                    _ => return Err(bad(format!("{file}: List: items: is no list"))),
                }
            }
            object @ Value::Object(_) => objects.push(object),
            other => return Err(bad(format!("{file}: {other} is no object"))),
        }
    }
    Ok(objects)
}

enum Sorted {
    Canary(Value),
    Applied(Value),
    Ignored(String),
}

fn sort(file: &str, mut object: Value) -> Result<Sorted, Error> {
    let text = |object: &Value, pointer: &str| {
        let text = object.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let (mut version, kind) = (text(&object, "/apiVersion"), text(&object, "/kind"));
    let name = text(&object, "/metadata/name");
    for (field, value) in [
        ("apiVersion", &version),
        ("kind", &kind),
        ("metadata.name", &name),
    ] {
        if value.is_empty() {
            return Err(bad(format!("{file}: {kind} {name}: {field}: is missing")));
        }
    }
    if matches!(
        version.as_str(),
        "networking.istio.io/v1beta1" | "networking.istio.io/v1alpha3"
    ) {
        // The server keeps one version and serves the others as well.
        "networking.istio.io/v1".clone_into(&mut version);
        object["apiVersion"] = version.clone().into();
    }
    let known = [
        Kind::CANARY,
        Kind::DEPLOYMENT,
        Kind::SERVICE,
        Kind::VIRTUAL_SERVICE,
        Kind::DESTINATION_RULE,
    ];
    match Kind::named(&version, &kind) {
        Some(Kind::CANARY) => Ok(Sorted::Canary(object)),
        Some(found) if known.contains(&found) => {
            if found == Kind::DEPLOYMENT {
                check_deployment(file, &name, &object)?;
            }
            Ok(Sorted::Applied(object))
        }
        _ if IGNORED.contains(&kind.as_str()) => Ok(Sorted::Ignored(format!("{kind} {name}"))),
        _ => {
            let known: Vec<_> = known
                .iter()
                .map(|k| format!("{} {}", k.resource().api_version(), k.resource().kind))
                .collect();
            Err(bad(format!(
                "{file}: {version} {kind} {name}: unknown kind; known are {}",
                known.join(", ")
            )))
        }
    }
}

fn check_deployment(file: &str, name: &str, object: &Value) -> Result<(), Error> {
    let container = &object["spec"]["template"]["spec"]["containers"][0];
    if container["image"].as_str().is_none_or(str::is_empty) {
        return Err(bad(format!(
            "{file}: Deployment {name}: spec.template.spec.containers[0].image: is missing"
        )));
    }
    Ok(())
}

/// The Canary as the server would take it.
fn checked(file: &str, mut canary: Value) -> Result<(Value, RolloutSpec), Error> {
    let name = canary["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let wrong = |problem: String| bad(format!("{file}: Canary {name}: {problem}"));
    let crd = serde_json::to_value(Canary::crd()).unwrap_or_default();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let Some(spec) = canary.get("spec") else {
        return Err(wrong("spec: is missing".to_owned()));
    };
    if let Some(problem) = schema::refused(schema, spec, "spec") {
        return Err(wrong(problem));
    }
    if canary["metadata"]["namespace"].as_str().is_none_or(str::is_empty) {
        canary["metadata"]["namespace"] = "default".into();
    }
    let typed: Canary =
        serde_json::from_value(canary.clone()).map_err(|error| wrong(format!("spec: {error}")))?;
    let spec = rollout::validate(&typed, DRAIN).map_err(|error| wrong(error.to_string()))?;
    Ok((canary, spec))
}

impl Input {
    /// The object of this kind and name in the Canary's namespace.
    #[must_use]
    pub fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        let found = self.objects.iter().find(|(namespace, object)| {
            *namespace == self.spec.names.namespace
                && object["kind"] == kind
                && object["metadata"]["name"] == name
        });
        found.map(|(_, object)| object)
    }

    /// Assumes a Deployment and a Service where there is none.
    fn assume(&mut self) -> Result<(), Error> {
        let names = self.spec.names.clone();
        let service = self.canary["spec"]["service"].clone();
        let port = service["port"].clone();
        let target_port = match &service["targetPort"] {
            Value::Null => port.clone(),
            given => given.clone(),
        };
        if self.find("Deployment", &names.target).is_none() {
            let container_port = match &target_port {
                Value::String(name) => json!({"name": name, "containerPort": 8080}),
                number => json!({"name": "http", "containerPort": number}),
            };
            let deployment = json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": names.target},
                "spec": {
                    "replicas": ASSUMED_REPLICAS,
                    "selector": {"matchLabels": {"app": names.target}},
                    "template": {
                        "metadata": {"labels": {"app": names.target}},
                        "spec": {"containers": [
                            {"name": "app", "image": format!("{}:present", names.target), "ports": [container_port]},
                        ]},
                    },
                },
            });
            self.objects.push((names.namespace.clone(), deployment));
            self.notes.push(format!(
                "assumed: Deployment {} with {ASSUMED_REPLICAS} pods, for no file has it",
                names.target
            ));
        }
        if self.find("Service", &names.apex).is_none() {
            let deployment = self.find("Deployment", &names.target);
            let selector = deployment.map(|d| d["spec"]["selector"]["matchLabels"].clone());
            let selector = selector
                .filter(Value::is_object)
                .ok_or_else(|| bad(format!("Deployment {}: spec.selector: is missing", names.target)))?;
            let service = json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": names.apex},
                "spec": {"selector": selector, "ports": [
                    {"name": "http", "port": port, "targetPort": target_port},
                ]},
            });
            self.objects.push((names.namespace.clone(), service));
            self.notes
                .push(format!("assumed: Service {}, for no file has it", names.apex));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: &str = include_str!("../../../examples/canary.yaml");
    const SHOP: &str = include_str!("../../../examples/shop.yaml");

    fn of(texts: &[&str]) -> Result<Input, String> {
        let sources: Vec<Source> = texts
            .iter()
            .map(|text| ("file".to_owned(), (*text).to_owned()))
            .collect();
        parse(&sources).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_missing_is_assumed_and_said() {
        let alone = of(&[CANARY]).unwrap();
        assert_eq!(alone.notes.len(), 2, "{:?}", alone.notes);
        assert!(alone.find("Deployment", "shop").is_some());
        let whole = of(&[CANARY, SHOP]).unwrap();
        assert_eq!(whole.notes, ["ignored: Gateway shop, which is not modelled"]);
        assert_eq!(whole.objects.len(), 3);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let typo = CANARY.replace("stepWeight:", "stepWieght:");
        let soon = CANARY.replace("1m", "soon");
        let kind = SHOP.replace("kind: Service\n", "kind: Servise\n");
        for (texts, named) in [
            (vec![SHOP], "no Canary"),
            (vec![CANARY, CANARY], "second Canary"),
            (vec![typo.as_str()], "spec.analysis.stepWieght"),
            (vec![soon.as_str()], "spec.analysis.interval"),
            (vec![CANARY, kind.as_str()], "v1 Servise shop: unknown kind"),
            (vec!["a: [1"], "file:"),
            (vec!["just text"], "is no object"),
            (
                vec![CANARY, "{apiVersion: v1, kind: Service}"],
                "metadata.name: is missing",
            ),
            (
                vec![
                    CANARY,
                    "{apiVersion: apps/v1, kind: Deployment, metadata: {name: shop}}",
                ],
                "containers[0].image",
            ),
        ] {
            let problem = of(&texts).map(|_| ()).unwrap_err();
            assert!(problem.contains(named), "{named}: {problem}");
        }
    }
}
