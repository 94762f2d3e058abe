//! The files a person would apply: read, checked, and completed by what is missing. Everything that is wrong is told at
//! once, each with its file, object and field.

mod assume; // what no file has
mod check; // whether a cluster would take an object
mod export; // objects as the server prints them
mod kinds; // what is heeded, ignored, unknown
mod limits; // what is not modelled
mod sorted; // the objects of all files
mod yaml; // documents as kubectl reads them

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use serde_json::Value;

use super::Error;
use crate::{rollout::RolloutSpec, workload::marks::owner_name};
use sorted::Sorted;

/// How long proxies may go on using a changed route: the default of `--drain-seconds`.
pub const DRAIN: TimeDelta = TimeDelta::seconds(5);

/// What a rehearsal begins with.
#[derive(Clone, Debug)]
pub struct Input {
    /// The Canary.
    pub canary: Value,
    /// The same, validated.
    pub spec: RolloutSpec,
    /// Every other object, in the order in which it is applied.
    pub objects: Vec<Applied>,
    /// What was assumed, ignored or is not modelled, one sentence each.
    pub notes: Vec<String>,
}

/// An object that is applied beside the Canary.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The file that has it; empty if it is assumed.
    pub file: String,
    /// Its namespace; empty for a kind without.
    pub namespace: String,
    /// The object.
    pub object: Value,
}

impl Applied {
    fn kind(&self) -> &str {
        self.object["kind"].as_str().unwrap_or_default()
    }

    fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }

    fn is(&self, namespace: &str, kind: &str, name: &str) -> bool {
        self.namespace == namespace && self.kind() == kind && self.name() == name
    }

    /// File, kind and name, as messages name it.
    #[must_use]
    pub fn place(&self) -> String {
        let file = if self.file.is_empty() {
            "assumed"
        } else {
            &self.file
        };
        let object = format!("{} {}", self.kind(), self.name());
        match object.trim() {
            "" => file.to_owned(),
            object => format!("{file}: {object}"),
        }
    }
}

/// A file and its text.
#[derive(Clone, Debug)]
pub struct Source {
    /// How the file is named in messages.
    pub file: String,
    /// What it has.
    pub text: String,
    /// Whether it was found in a folder, where not everything is meant for the cluster.
    pub in_folder: bool,
}

/// What of the world matters to the files.
#[derive(Clone, Debug)]
pub struct Place {
    /// The namespace of objects that name none; that of the Canary, or `default`, if absent.
    pub namespace: Option<String>,
    /// Time between two scrapes of Prometheus.
    pub scrape: TimeDelta,
}

/// Reads files and the YAML files of folders; `-` is standard input.
///
/// # Errors
/// Every one that cannot be read.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Source>, Error> {
    let (mut sources, mut problems) = (Vec::new(), Vec::new());
    for path in paths {
        match read_one(path) {
            Ok(read) => sources.extend(read),
            Err(error) => problems.push(format!("{}: {error}", path.display())),
        }
    }
    if problems.is_empty() {
        Ok(sources)
    } else {
        Err(bad(&problems))
    }
}

fn read_one(path: &Path) -> std::io::Result<Vec<Source>> {
    let source = |file: String, text: String, in_folder: bool| Source {
        file,
        text,
        in_folder,
    };
    if path.as_os_str() == "-" {
        let text = std::io::read_to_string(std::io::stdin())?;
        return Ok(vec![source("standard input".to_owned(), text, false)]);
    }
    if !path.is_dir() {
        let text = std::fs::read_to_string(path)?;
        return Ok(vec![source(path.display().to_string(), text, false)]);
    }
    let mut sources = Vec::new();
    for file in yaml_files(path)? {
        let text = std::fs::read_to_string(&file)?;
        sources.push(source(file.display().to_string(), text, true));
    }
    Ok(sources)
}

fn yaml_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let ending = path.extension().and_then(|e| e.to_str());
        if matches!(ending, Some("yaml" | "yml" | "json")) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn bad(problems: &[String]) -> Error {
    Error::BadInput(problems.join("\n"))
}

/// Parses the files' objects and completes them.
///
/// # Errors
/// Every file, object and field that cannot be used, one line each.
pub fn parse(sources: &[Source], place: &Place) -> Result<Input, Error> {
    let mut sorted = Sorted::default();
    for source in sources {
        sorted.read(source);
    }
    let canary = sorted.canary(place);
    let Some((canary, spec)) = canary.filter(|_| sorted.problems.is_empty()) else {
        return Err(bad(&sorted.problems));
    };
    sorted.place(&canary, &spec);
    if !sorted.problems.is_empty() {
        return Err(bad(&sorted.problems));
    }
    let mut input = Input {
        canary,
        spec,
        objects: Vec::new(),
        notes: sorted.notes(),
    };
    let left = input.take_in(std::mem::take(&mut sorted.objects));
    input.assume(left);
    input.notes.extend(limits::notes(&input));
    Ok(input)
}

impl Input {
    /// The object of this kind and name in the Canary's namespace.
    #[must_use]
    pub fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        let namespace = &self.spec.names.namespace;
        let mut objects = self.objects.iter();
        objects
            .find(|found| found.is(namespace, kind, name))
            .map(|found| &found.object)
    }

    /// Takes the objects; what the controller made of them before goes. Returns the pods of a primary among them.
    fn take_in(&mut self, objects: Vec<Applied>) -> Option<u64> {
        let mut left = None;
        for mut found in objects {
            if found.kind() == "Deployment" && owner_name(&found.object).is_some() {
                left = found.object["spec"]["replicas"].as_u64();
                self.notes.push(format!(
                    "ignored: Deployment {}, which the controller creates",
                    found.name()
                ));
                continue;
            }
            if found.kind() == "VirtualService" {
                export::unsplit(&mut found.object, &self.spec.names);
            }
            self.objects.push(found);
        }
        left
    }
}
