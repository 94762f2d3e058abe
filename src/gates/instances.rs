//! The Jenkins that are known by name: a file, usually a mounted Secret, that is read again when it changes.
//!
//! Everybody's gates order their jobs as one user of Jenkins. So the file says which jobs a namespace may name: otherwise a
//! Canary of one team could build the jobs of another.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use serde::Deserialize;

use super::Jenkins;
use crate::{
    config_file::{self, Error, Reloaded},
    jenkins::{Answer, Ask, Client, JobPath, Login, Order, Said, Timeouts},
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
    namespaces: Vec<NamespaceEntry>,
    /// File of certificates to trust beside the usual ones, in PEM.
    #[serde(default)]
    ca_file: Option<PathBuf>,
}

/// A namespace, as the file names it: alone, or with its jobs.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a namespace, or name and jobs")]
enum NamespaceEntry {
    Alone(String),
    WithJobs(NamespaceWithJobs),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NamespaceWithJobs {
    name: String,
    jobs: Vec<String>,
}

/// A namespace whose Canaries may name a Jenkins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its name; `*` is every one.
    pub namespace: String,
    /// The jobs that it may name, and folders of such; every job if there are none.
    pub jobs: Vec<JobPath>,
}

impl Tenant {
    /// A namespace that may name every job.
    #[must_use]
    pub fn unlimited(namespace: &str) -> Tenant {
        Tenant {
            namespace: namespace.to_owned(),
            jobs: Vec::new(),
        }
    }

    fn read(entry: NamespaceEntry) -> Result<Tenant, String> {
        let NamespaceWithJobs { name, jobs } = match entry {
            NamespaceEntry::Alone(name) => return Ok(Tenant::unlimited(&name)),
            NamespaceEntry::WithJobs(entry) => entry,
        };
        if jobs.is_empty() {
            return Err("jobs: must not be empty; leave it out to allow every job".to_owned());
        }
        let jobs = jobs
            .iter()
            .map(|job| JobPath::parse(job).map_err(|_| "jobs: must be paths of jobs or folders"));
        Ok(Tenant {
            namespace: name,
            jobs: jobs.collect::<Result<_, _>>()?,
        })
    }

    fn is(&self, namespace: &str) -> bool {
        self.namespace == namespace || self.namespace == "*"
    }

    fn may_name(&self, job: &JobPath) -> bool {
        self.jobs.is_empty() || self.jobs.iter().any(|allowed| job.is_within(allowed))
    }
}

#[derive(Clone)]
struct Instance {
    jenkins: Arc<dyn Jenkins>,
    tenants: Vec<Tenant>,
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
    /// Its job is not for this namespace.
    #[error("job {2} of Jenkins {0} is not for namespace {1} (--jenkins-file)")]
    JobNotFor(String, String, JobPath),
}

impl Instances {
    /// None.
    #[must_use]
    pub fn none() -> Instances {
        Instances::default()
    }

    /// One more, under `name`, for Canaries of these namespaces.
    #[must_use]
    pub fn with(mut self, name: &str, jenkins: Arc<dyn Jenkins>, tenants: Vec<Tenant>) -> Instances {
        self.0.insert(name.to_owned(), Instance { jenkins, tenants });
        self
    }

    /// Those of a file: YAML or JSON, a list of `name`, `url`, `user`, `token` or `password`, `namespaces`, `caFile`.
    ///
    /// # Errors
    /// If it cannot be used.
    pub fn of_file(path: &Path) -> Result<Instances, Error> {
        Instances::of_entries(config_file::read(path)?)
    }

    fn of_entries(entries: Vec<Entry>) -> Result<Instances, Error> {
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
            let tenants = entry.namespaces.into_iter().map(Tenant::read);
            let tenants = tenants.collect::<Result<_, _>>();
            let tenants = tenants.map_err(|problem| malformed("namespaces", &problem))?;
            instances = instances.with(&name, Arc::new(client), tenants);
        }
        Ok(instances)
    }

    /// The Jenkins `name` with its job `job`, for a Canary of `namespace`.
    ///
    /// # Errors
    /// If there is none, or none for this namespace.
    pub fn find(&self, name: &str, job: &JobPath, namespace: &str) -> Result<Arc<dyn Jenkins>, Unknown> {
        let instance = self.0.get(name).ok_or_else(|| Unknown::NoSuch(name.to_owned()))?;
        let mut tenants = instance
            .tenants
            .iter()
            .filter(|tenant| tenant.is(namespace))
            .peekable();
        if tenants.peek().is_none() {
            return Err(Unknown::NotFor(name.to_owned(), namespace.to_owned()));
        }
        if tenants.any(|tenant| tenant.may_name(job)) {
            return Ok(instance.jenkins.clone());
        }
        let (name, namespace) = (name.to_owned(), namespace.to_owned());
        Err(Unknown::JobNotFor(name, namespace, job.clone()))
    }
}

/// One Jenkins as the file describes it whenever it is asked: its address and login may change, and so may whom it is for.
pub(super) struct Named {
    pub(super) instances: Arc<Reloaded<Instances>>,
    pub(super) name: String,
    pub(super) namespace: String,
}

#[async_trait]
impl Jenkins for Named {
    async fn ask(&self, order: &Order, ask: &Ask) -> Answer {
        let found = self.instances.get().find(&self.name, &order.job, &self.namespace);
        match found {
            Ok(jenkins) => jenkins.ask(order, ask).await,
            Err(unknown) => Answer {
                session: None,
                said: Said::Trouble(crate::jenkins::Error::Setup(unknown.to_string())),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(namespaces: &str) -> Result<Instances, Error> {
        let text =
            format!("- {{name: ci, url: 'https://ci.example', user: u, token: t, namespaces: {namespaces}}}");
        Instances::of_entries(config_file::parse(&text)?)
    }

    #[test]
    fn namespace_names_its_own_jobs_alone() {
        let known =
            parse("[{name: shop, jobs: [team/shop, shared/smoke]}, {name: '*', jobs: [public]}, ops]")
                .unwrap();
        for (job, namespace, allowed) in [
            ("team/shop/web", "shop", true),
            ("Team/Shop", "shop", true),
            ("shared/smoke", "shop", true),
            ("public/ping", "shop", true),
            ("public/ping", "other", true),
            ("anything", "ops", true),
            ("team/shop2/web", "shop", false),
            ("team", "shop", false),
            ("team/payments/smoke", "shop", false),
            ("team/shop/web", "other", false),
        ] {
            let job = JobPath::parse(job).unwrap();
            let found = known.find("ci", &job, namespace).map(drop);
            assert_eq!(found.is_ok(), allowed, "{job} {namespace}: {found:?}");
        }
    }

    #[test]
    fn namespace_that_cannot_be_read_is_named() {
        for (namespaces, problem) in [
            ("[{name: shop, jobs: []}]", "jobs: must not be empty"),
            ("[{name: shop, jobs: [a//b]}]", "paths of jobs"),
            ("[{name: shop, job: [a]}]", "a namespace, or name and jobs"),
        ] {
            let error = parse(namespaces).map(drop).unwrap_err().to_string();
            assert!(
                error.contains("[0].namespaces") && error.contains(problem),
                "{error}"
            );
        }
    }
}
