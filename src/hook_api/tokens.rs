//! Static bearer tokens, for clients that can have no other: a file, usually a mounted Secret, that names their digests'
//! owners and namespaces. It is read again when it changes.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{
    auth::User,
    problem::{Code, Problem},
};
use crate::{
    clock::Clock,
    config_file::{self, Error},
};

/// How often the file is looked at, at most.
const LOOK: Duration = Duration::from_secs(10);
/// Shortest token.
const MIN_LENGTH: usize = 20;

/// One client, as the file names it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Client {
    /// Its name; the user is `bellwether:token:<name>`.
    name: String,
    /// One token, or two while they are changed.
    tokens: Vec<String>,
    /// Namespaces that it may name.
    namespaces: Vec<String>,
}

/// A user, the digests of their tokens, and the namespaces that they may name.
type Holder = (User, Vec<[u8; 32]>, Vec<String>);

#[derive(Debug, Default)]
struct Known {
    clients: Vec<Holder>,
    changed: Option<SystemTime>,
    looked: Duration,
}

/// The static tokens.
pub struct Tokens {
    path: Option<PathBuf>,
    clock: std::sync::Arc<dyn Clock>,
    known: Mutex<Known>,
}

impl Tokens {
    /// No static tokens.
    #[must_use]
    pub fn none(clock: std::sync::Arc<dyn Clock>) -> Tokens {
        Tokens {
            path: None,
            clock,
            known: Mutex::default(),
        }
    }

    /// Those of a file: YAML or JSON, a list of `name`, `tokens` (one or two) and `namespaces`.
    ///
    /// # Errors
    /// If it cannot be used.
    pub fn of_file(path: &Path, clock: std::sync::Arc<dyn Clock>) -> Result<Tokens, Error> {
        let known = Known {
            clients: read(path)?,
            changed: changed(path),
            looked: clock.monotonic(),
        };
        Ok(Tokens {
            path: Some(path.to_owned()),
            clock,
            known: Mutex::new(known),
        })
    }

    /// Whose token has this digest.
    ///
    /// # Errors
    /// If they may not name `namespace`.
    pub fn user(&self, digest: &[u8; 32], namespace: &str) -> Result<Option<User>, Problem> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        self.refresh(&mut known);
        // Digests are compared: how long that takes says nothing of a token.
        let client = known
            .clients
            .iter()
            .find(|(_, digests, _)| digests.contains(digest));
        let Some((user, _, namespaces)) = client else {
            return Ok(None);
        };
        if namespaces.iter().any(|name| name == namespace) {
            return Ok(Some(user.clone()));
        }
        let text = format!("{} may not name namespace {namespace}", user.name);
        Err(Problem::new(Code::Forbidden, text))
    }

    fn refresh(&self, known: &mut Known) {
        let now = self.clock.monotonic();
        let Some(path) = self.path.as_ref().filter(|_| now >= known.looked + LOOK) else {
            return;
        };
        known.looked = now;
        let change = changed(path);
        if change == known.changed {
            return;
        }
        match read(path) {
            Ok(clients) => {
                tracing::info!(path = %path.display(), clients = clients.len(), "static tokens are read again");
                known.clients = clients;
                known.changed = change;
            }
            Err(error) => {
                let path = path.display();
                tracing::error!(%path, %error, "static tokens stay as they were");
            }
        }
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .ok()
}

fn read(path: &Path) -> Result<Vec<Holder>, Error> {
    let clients: Vec<Client> = config_file::read(path)?;
    let holders = clients.into_iter().enumerate();
    holders
        .map(|(n, client)| {
            let malformed =
                |field: &str, problem: String| Error::malformed(format!("[{n}].{field}"), problem);
            if client.name.is_empty() {
                return Err(malformed("name", "must not be empty".to_owned()));
            }
            if !(1..=2).contains(&client.tokens.len()) {
                return Err(malformed("tokens", "must be one or two".to_owned()));
            }
            if client.tokens.iter().any(|token| token.len() < MIN_LENGTH) {
                return Err(malformed(
                    "tokens",
                    format!("a token must have at least {MIN_LENGTH} characters"),
                ));
            }
            let user = User {
                name: format!("bellwether:token:{}", client.name),
                ..User::default()
            };
            let digests = client
                .tokens
                .iter()
                .map(|token| Sha256::digest(token.as_bytes()).into());
            Ok((user, digests.collect(), client.namespaces))
        })
        .collect()
}
