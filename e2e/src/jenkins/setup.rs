//! How a Jenkins is set up: its users, its jobs, and how their builds go.

use std::collections::BTreeMap;
use std::time::Duration;

use super::config::Parameter;

/// How a Jenkins is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Path below the host, such as `/jenkins`; may be empty.
    pub context: String,
    /// What it believes to be its own URL, if that is wrong.
    pub believes: Option<String>,
    /// Whether a POST needs a crumb.
    pub crumbs: bool,
    /// Whether a user and a secret with each request are enough; otherwise only people can log in.
    pub basic: bool,
    /// Who may log in.
    pub users: BTreeMap<String, User>,
    /// How many builds run at a time.
    pub executors: usize,
    /// How long an item waits at least, and how long it is pending.
    pub stage: Duration,
    /// How long an item has left the queue without being a build.
    pub gap: Duration,
    /// How long a build that has ended keeps its log open.
    pub closing: Duration,
    /// How long a left item is remembered.
    pub remembers: Duration,
    /// How long it is not ready after a start.
    pub boot: Duration,
}

/// A user.
#[derive(Clone, Debug)]
pub struct User {
    /// Password.
    pub password: String,
    /// API token.
    pub token: String,
    /// Whether jobs can be read.
    pub reads: bool,
    /// Whether jobs can be built.
    pub builds: bool,
    /// Whether builds and items can be cancelled.
    pub cancels: bool,
}

impl Default for Settings {
    /// As Jenkins is by default, with the user `admin`, password `admin`, token `admin-token`.
    fn default() -> Settings {
        let second = Duration::from_secs(1);
        Settings {
            context: String::new(),
            believes: None,
            crumbs: true,
            basic: true,
            users: [("admin".to_owned(), User::new("admin", "admin-token"))].into(),
            executors: 2,
            stage: second,
            gap: second,
            closing: second,
            remembers: 300 * second,
            boot: 5 * second,
        }
    }
}

impl User {
    /// One who may do everything.
    pub fn new(password: &str, token: &str) -> User {
        User {
            password: password.to_owned(),
            token: token.to_owned(),
            reads: true,
            builds: true,
            cancels: true,
        }
    }
}

/// How the builds of a job go.
#[derive(Clone, Debug)]
pub struct Script {
    /// How long they take; `None`: until they are told.
    pub takes: Option<Duration>,
    /// How they end.
    pub result: String,
    /// Whether their result is set while they run.
    pub early: bool,
}

/// In what a job differs from what is usual today.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quirk {
    /// In nothing.
    #[default]
    None,
    /// Something refuses to schedule it.
    Veto,
    /// A very old core: it sends back to the job, also after it took a trigger.
    OldCore,
}

/// A job or a folder.
#[derive(Clone, Debug)]
pub struct Job {
    /// Whether it is a folder.
    pub folder: bool,
    /// `config.xml`.
    pub xml: String,
    /// Declared parameters.
    pub parameters: Vec<Parameter>,
    /// Whether it is disabled.
    pub disabled: bool,
    /// Whether only one build runs at a time.
    pub one_at_a_time: bool,
    /// Whether something else blocks it.
    pub blocked: bool,
    /// How long its items wait, unless they are told otherwise.
    pub quiet: Duration,
    /// How its builds go.
    pub script: Script,
    /// In what it differs.
    pub quirk: Quirk,
    /// Number of its next build.
    pub next_build: u64,
    /// Its builds by number.
    pub builds: BTreeMap<u64, Build>,
}

/// A build.
#[derive(Clone, Debug)]
pub struct Build {
    /// The item that it was.
    pub item: u64,
    /// Its parameters.
    pub parameters: Vec<(String, String)>,
    /// When it began, in time since the beginning.
    pub began: Duration,
    /// When and how it ended.
    pub ended: Option<(Duration, String)>,
    /// Description.
    pub description: Option<String>,
}

impl Job {
    /// A job with these string parameters; its builds take two seconds and succeed.
    pub fn new(parameters: &[&str]) -> Job {
        let parameters = parameters.iter().map(|name| Parameter::string(name)).collect();
        Job {
            folder: false,
            xml: String::new(),
            parameters,
            disabled: false,
            one_at_a_time: false,
            blocked: false,
            quiet: Duration::from_secs(5),
            script: Script {
                takes: Some(Duration::from_secs(2)),
                result: "SUCCESS".to_owned(),
                early: false,
            },
            quirk: Quirk::None,
            next_build: 1,
            builds: BTreeMap::new(),
        }
    }

    /// A folder.
    pub fn folder() -> Job {
        Job {
            folder: true,
            ..Job::new(&[])
        }
    }
}
