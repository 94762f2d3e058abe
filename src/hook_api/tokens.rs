//! Static bearer tokens, for clients that can have no other: a file, usually a mounted Secret, that names their digests'
//! owners and namespaces. It is read again when it changes.

use std::{path::Path, sync::Arc};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{
    auth::User,
    problem::{Code, Problem},
};
use crate::{
    clock::Clock,
    config_file::{self, Error, Reloaded},
};

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

/// The static tokens.
pub struct Tokens(Reloaded<Vec<Holder>>);

impl Tokens {
    /// No static tokens.
    #[must_use]
    pub fn none() -> Tokens {
        Tokens(Reloaded::fixed(Vec::new()))
    }

    /// Those of a file: YAML or JSON, a list of `name`, `tokens` (one or two) and `namespaces`. Without the file there are none.
    ///
    /// # Errors
    /// If it cannot be used.
    pub fn of_file(path: &Path, clock: Arc<dyn Clock>) -> Result<Tokens, Error> {
        Ok(Tokens(
            Reloaded::of_file(path, clock, read)?.revoked_without_file(),
        ))
    }

    /// Whose token has this digest.
    ///
    /// # Errors
    /// If they may not name `namespace`.
    pub fn user(&self, digest: &[u8; 32], namespace: &str) -> Result<Option<User>, Problem> {
        let clients = self.0.get();
        // Digests are compared: how long that takes says nothing of a token.
        let client = clients.iter().find(|(_, digests, _)| digests.contains(digest));
        let Some((user, _, namespaces)) = client else {
            return Ok(None);
        };
        if namespaces.iter().any(|name| name == namespace) {
            return Ok(Some(user.clone()));
        }
        let text = format!("{} may not name namespace {namespace}", user.name);
        Err(Problem::new(Code::Forbidden, text))
    }
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
