//! The objects of all files, sorted by what they are to a rehearsal, and placed in their namespaces.

use std::path::Path;

use chrono::TimeDelta;
use serde_json::Value;

use super::{
    Applied, DRAIN, Place, Source, check, export,
    kinds::{self, Role},
    yaml,
};
use crate::{
    api::Canary,
    rollout::{
        self, RolloutSpec,
        validate::{not_http, says_tcp},
    },
    sim::api_server::Kind,
    workload::marks::owner_name,
};

/// The objects of all files.
#[derive(Default)]
pub(super) struct Sorted {
    canaries: Vec<Applied>,
    /// Those that are applied beside the Canary.
    pub(super) objects: Vec<Applied>,
    foreign: Vec<String>,
    said: Vec<String>,
    /// Everything that is wrong, one line each.
    pub(super) problems: Vec<String>,
}

impl Sorted {
    /// Takes in the objects of a file.
    pub(super) fn read(&mut self, source: &Source) {
        let path = Path::new(&source.file);
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        if stem.is_some_and(|stem| stem.eq_ignore_ascii_case("kustomization")) {
            self.kustomization(path);
            return;
        }
        match yaml::documents(source) {
            Ok(documents) => documents
                .into_iter()
                .for_each(|document| self.sort(source, document)),
            Err(problems) => self.problems.extend(problems),
        }
    }

    fn kustomization(&mut self, path: &Path) {
        let folder = path.parent().map(|folder| folder.display().to_string());
        let folder = folder.filter(|folder| !folder.is_empty());
        self.said.push(format!(
            "not built: {}; what it makes of these files is rehearsed by: kustomize build {} | bellwether rehearse -",
            path.display(),
            folder.as_deref().unwrap_or(".")
        ));
    }

    fn sort(&mut self, source: &Source, mut object: Value) {
        let shapeless = object["kind"].is_null() || object["apiVersion"].is_null();
        if source.in_folder && shapeless {
            self.foreign.push(source.file.clone());
            return;
        }
        let role = kinds::role(&mut object);
        let mut found = Applied {
            file: source.file.clone(),
            namespace: String::new(),
            object,
        };
        match role {
            Err(problems) => self.refuse(&found, problems),
            Ok(Role::Foreign) => self.foreign.push(format!("{} {}", found.kind(), found.name())),
            Ok(Role::Canary) => {
                export::clean(&mut found.object);
                self.canaries.push(found);
            }
            Ok(Role::Heeded(_)) if owner_name(&found.object).is_some() && found.kind() != "Deployment" => {
                let what = format!("{} {}, which the controller creates", found.kind(), found.name());
                self.said.push(format!("ignored: {what}"));
            }
            Ok(Role::Heeded(kind)) => {
                let problems = check::problems(kind, &cleaned(&mut found));
                self.refuse(&found, problems);
                self.objects.push(found);
            }
        }
    }

    fn refuse(&mut self, of: &Applied, problems: Vec<String>) {
        let place = of.place();
        let named = problems.into_iter().map(|problem| format!("{place}: {problem}"));
        self.problems.extend(named);
    }

    /// The Canary as the server would take it; what is wrong with it is noted.
    pub(super) fn canary(&mut self, place: &Place) -> Option<(Value, RolloutSpec)> {
        let mut canaries = std::mem::take(&mut self.canaries).into_iter();
        let mut canary = canaries.next();
        for second in canaries {
            self.problems.push(format!(
                "{}: is a second Canary; a rehearsal is of one release, so give the files of one",
                second.place()
            ));
        }
        let Some(canary) = canary.as_mut() else {
            self.problems.push(
                "no Canary in the files; one has apiVersion: bellwether.dev/v1beta1 and kind: Canary"
                    .to_owned(),
            );
            return None;
        };
        let mut problems = check::canary(&canary.object);
        let namespace = namespace_of(&canary.object, place).unwrap_or_else(|problem| {
            problems.push(problem);
            String::new()
        });
        let mut object = canary.object.clone();
        object["metadata"]["namespace"] = namespace.into();
        let spec = if problems.is_empty() {
            self.validated(&object, place, &mut problems)
        } else {
            None
        };
        self.refuse(canary, problems);
        spec.map(|spec| (object, spec))
    }

    fn validated(&self, object: &Value, place: &Place, problems: &mut Vec<String>) -> Option<RolloutSpec> {
        let typed: Canary = match serde_json::from_value(object.clone()) {
            Ok(typed) => typed,
            Err(error) => {
                problems.push(format!("spec: {error}"));
                return None;
            }
        };
        let spec = match rollout::validate(&typed, DRAIN) {
            Ok(spec) => spec,
            Err(invalid) => {
                problems.extend(invalid.0.iter().map(ToString::to_string));
                return None;
            }
        };
        problems.extend(check::broken_rules(Kind::CANARY, object));
        problems.extend(windows(&spec, place.scrape));
        if !spec.metrics.is_empty()
            && says_tcp(&typed.spec.service).is_none()
            && let Some(words) = self.routes_tcp(&spec)
        {
            problems.push(format!("spec.analysis.metrics: {}", not_http(&words)));
        }
        Some(spec)
    }

    /// Whether the VirtualService of the release has routes, but none of HTTP; in words.
    fn routes_tcp(&self, spec: &RolloutSpec) -> Option<String> {
        let mut objects = self.objects.iter();
        let routes =
            objects.find(|found| found.kind() == "VirtualService" && found.name() == spec.names.apex)?;
        let has = |protocol: &str| {
            routes.object["spec"][protocol]
                .as_array()
                .is_some_and(|r| !r.is_empty())
        };
        let tcp = ["tcp", "tls"].into_iter().find(|protocol| has(protocol))?;
        (!has("http")).then(|| format!("VirtualService {} has {tcp} routes", spec.names.apex))
    }

    /// Gives every object its namespace. A Canary sees none but its own.
    pub(super) fn place(&mut self, canary: &Value, spec: &RolloutSpec) {
        let names = &spec.names;
        let mut nowhere = Vec::new();
        for found in &mut self.objects {
            if found.kind() == "ClusterFreeze" {
                continue;
            }
            let own = found.object["metadata"]["namespace"].as_str();
            match own.filter(|own| !own.is_empty()) {
                Some(own) => found.namespace = own.to_owned(),
                None => {
                    nowhere.push(format!("{} {}", found.kind(), found.name()));
                    found.namespace.clone_from(&names.namespace);
                }
            }
        }
        if names.namespace != "default" && !nowhere.is_empty() {
            self.said.push(format!(
                "assumed: {} in namespace {}, as the Canary, for no namespace is named",
                nowhere.join(", "),
                names.namespace
            ));
        }
        for (kind, name) in [("Deployment", &names.target), ("Service", &names.apex)] {
            let here = self.objects.iter().any(|f| f.is(&names.namespace, kind, name));
            let elsewhere = self.objects.iter().find(|f| f.kind() == kind && f.name() == name);
            if let Some(found) = elsewhere.filter(|_| !here) {
                self.problems.push(format!(
                    "{}: metadata.namespace: is {}, and Canary {} is in {}; a Canary releases what is in its own \
                     namespace, so give both the same, or --namespace {} if the Canary names none",
                    found.place(),
                    found.namespace,
                    canary["metadata"]["name"].as_str().unwrap_or_default(),
                    names.namespace,
                    found.namespace
                ));
            }
        }
    }

    /// What is to be said of the files.
    pub(super) fn notes(&mut self) -> Vec<String> {
        let mut notes = std::mem::take(&mut self.said);
        if !self.foreign.is_empty() {
            notes.push(format!(
                "ignored, for it is not modelled: {}",
                self.foreign.join(", ")
            ));
        }
        notes
    }
}

/// The object without what a server added.
fn cleaned(found: &mut Applied) -> Value {
    export::clean(&mut found.object);
    found.object.clone()
}

/// The namespace of the Canary.
fn namespace_of(canary: &Value, place: &Place) -> Result<String, String> {
    let own = canary["metadata"]["namespace"].as_str();
    match (own.filter(|own| !own.is_empty()), &place.namespace) {
        (Some(own), Some(asked)) if own != asked => Err(format!(
            "metadata.namespace: is {own}, and --namespace says {asked}; leave one of them out"
        )),
        (Some(own), _) => Ok(own.to_owned()),
        (None, asked) => Ok(asked.clone().unwrap_or_else(|| "default".to_owned())),
    }
}

/// Which metrics look back over less than two scrapes, of which no rate can be told.
fn windows(spec: &RolloutSpec, scrape: TimeDelta) -> Vec<String> {
    let short =
        |window: std::time::Duration| TimeDelta::from_std(window).is_ok_and(|window| window < scrape * 2);
    let each = spec.metrics.iter().enumerate();
    each.filter(|(_, metric)| short(metric.window))
        .map(|(i, metric)| {
            format!(
                "spec.analysis.metrics[{i}].interval: is {}s, and Prometheus scrapes every {} s, so that {} never has \
                 the two samples of a rate; write at least {}s, or scrape more often (--scrape-interval)",
                metric.window.as_secs_f64(),
                scrape.num_seconds(),
                metric.name,
                scrape.num_seconds() * 2
            )
        })
        .collect()
}
