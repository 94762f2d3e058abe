//! The Jenkins that are known by name: a file, usually a mounted Secret, read at the start.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;

use super::Jenkins;
use crate::{
    config_file::{self, Error},
    jenkins::{Client, Login, Timeouts},
};

/// One Jenkins, as the file names it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    /// By this gates name it.
    name: String,
    /// Its root.
    url: String,
    /// Who we are to it.
    user: String,
    /// The user's API token.
    #[serde(default)]
    token: Option<String>,
    /// Or the password.
    #[serde(default)]
    password: Option<String>,
    /// Namespaces whose Canaries may name it.
    namespaces: Vec<String>,
    /// File of certificates to trust beside the usual ones, in PEM.
    #[serde(default)]
    ca_file: Option<PathBuf>,
}

#[derive(Clone)]
struct Instance {
    jenkins: Arc<dyn Jenkins>,
    namespaces: Vec<String>,
}

/// The Jenkins that are known.
#[derive(Clone, Default)]
pub struct Instances(HashMap<String, Instance>);

/// A Jenkins that a gate cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// There is none of this name.
    #[error("no Jenkins is called {0}; the controller's --jenkins-file names those that are known")]
    NoSuch(String),
    /// It is not for this namespace.
    #[error("Jenkins {0} is not for namespace {1} (--jenkins-file)")]
    NotFor(String, String),
}

impl Instances {
    /// None.
    #[must_use]
    pub fn none() -> Instances {
        Instances::default()
    }

    /// One more, under `name`, for Canaries of these namespaces; `*` is every one.
    #[must_use]
    pub fn with(mut self, name: &str, jenkins: Arc<dyn Jenkins>, namespaces: Vec<String>) -> Instances {
        self.0.insert(name.to_owned(), Instance { jenkins, namespaces });
        self
    }

    /// Those of a file: YAML or JSON, a list of `name`, `url`, `user`, `token` or `password`, `namespaces`, `caFile`.
    ///
    /// # Errors
    /// If it cannot be used.
    pub fn of_file(path: &Path) -> Result<Instances, Error> {
        let entries: Vec<Entry> = config_file::read(path)?;
        let mut instances = Instances::none();
        for (n, entry) in entries.into_iter().enumerate() {
            let malformed = |field: &str, problem: &str| Error::malformed(format!("[{n}].{field}"), problem);
            let (name, user) = (entry.name, entry.user);
            let login = match (entry.token, entry.password) {
                (Some(token), None) => Login::Token { user, token },
                (None, Some(password)) => Login::Password { user, password },
                _ => return Err(malformed("token", "set exactly one of token and password")),
            };
            let ca = entry.ca_file.as_deref().map(config_file::bytes).transpose()?;
            let client = Client::new(&entry.url, login, Timeouts::default(), ca.as_deref())
                .map_err(|error| malformed("url", &error.to_string()))?;
            if instances.0.contains_key(&name) {
                return Err(malformed("name", "is there twice"));
            }
            instances = instances.with(&name, Arc::new(client), entry.namespaces);
        }
        Ok(instances)
    }

    /// The Jenkins `name`, for a Canary of `namespace`.
    ///
    /// # Errors
    /// If there is none, or none for this namespace.
    pub fn find(&self, name: &str, namespace: &str) -> Result<Arc<dyn Jenkins>, Unknown> {
        let instance = self.0.get(name).ok_or_else(|| Unknown::NoSuch(name.to_owned()))?;
        let allowed = instance
            .namespaces
            .iter()
            .any(|known| known == namespace || known == "*");
        if allowed {
            Ok(instance.jenkins.clone())
        } else {
            Err(Unknown::NotFor(name.to_owned(), namespace.to_owned()))
        }
    }
}
