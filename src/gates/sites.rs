//! The Jenkins that are known by name: a file, usually a mounted Secret, read at the start.

use std::{collections::HashMap, path::Path, sync::Arc};

use serde::Deserialize;

use super::Jenkins;
use crate::jenkins::{Client, Login, Timeouts};

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
    ca_file: Option<String>,
}

#[derive(Clone)]
struct Site {
    jenkins: Arc<dyn Jenkins>,
    namespaces: Vec<String>,
}

/// The Jenkins that are known.
#[derive(Clone, Default)]
pub struct Sites(HashMap<String, Site>);

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

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("{path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what it must be.
    #[error("{path}: {problem}")]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
}

impl Sites {
    /// None.
    #[must_use]
    pub fn none() -> Sites {
        Sites::default()
    }

    /// One more, under `name`, for Canaries of these namespaces; `*` is every one.
    #[must_use]
    pub fn with(mut self, name: &str, jenkins: Arc<dyn Jenkins>, namespaces: Vec<String>) -> Sites {
        self.0.insert(name.to_owned(), Site { jenkins, namespaces });
        self
    }

    /// Those of a file: YAML or JSON, a list of `name`, `url`, `user`, `token` or `password`, `namespaces`, `caFile`.
    ///
    /// # Errors
    /// If it cannot be used.
    pub fn of_file(path: &Path) -> Result<Sites, Error> {
        let shown = path.display().to_string();
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| Error::Unreadable {
                path: path.display().to_string(),
                source,
            })
        };
        let malformed = |problem: String| Error::Malformed {
            path: shown.clone(),
            problem,
        };
        let text = String::from_utf8_lossy(&read(path)?).into_owned();
        // What a parser quotes of the file could be a token.
        let entries: Vec<Entry> = serde_saphyr::from_str(&text).map_err(|_| {
            malformed("must be a list of name, url, user, token or password, namespaces, caFile".to_owned())
        })?;
        let mut sites = Sites::none();
        for entry in entries {
            let name = entry.name;
            let user = entry.user;
            let login = match (entry.token, entry.password) {
                (Some(token), None) => Login::Token { user, token },
                (None, Some(password)) => Login::Password { user, password },
                _ => {
                    return Err(malformed(format!(
                        "{name:?}: set exactly one of token and password"
                    )));
                }
            };
            let ca = entry.ca_file.map(|file| read(Path::new(&file))).transpose()?;
            let client = Client::new(&entry.url, login, Timeouts::default(), ca.as_deref())
                .map_err(|error| malformed(format!("{name:?}: {error}")))?;
            if sites.0.contains_key(&name) {
                return Err(malformed(format!("{name:?} is named twice")));
            }
            sites = sites.with(&name, Arc::new(client), entry.namespaces);
        }
        Ok(sites)
    }

    /// The Jenkins `name`, for a Canary of `namespace`.
    ///
    /// # Errors
    /// If there is none, or none for this namespace.
    pub fn find(&self, name: &str, namespace: &str) -> Result<Arc<dyn Jenkins>, Unknown> {
        let site = self.0.get(name).ok_or_else(|| Unknown::NoSuch(name.to_owned()))?;
        let allowed = site
            .namespaces
            .iter()
            .any(|known| known == namespace || known == "*");
        if allowed {
            Ok(site.jenkins.clone())
        } else {
            Err(Unknown::NotFor(name.to_owned(), namespace.to_owned()))
        }
    }
}
