//! The file that says by which names CI servers know the users of the cluster: a list of `user` and `aliases`.

use std::path::Path;

use serde::Deserialize;

use super::{Error, read};
use crate::user_aliases::UserAliases;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    /// As the cluster knows them: the name in an Approval's `approvedBy`.
    user: String,
    /// As CI servers know them: what builds say of who started them.
    aliases: Vec<String>,
}

/// Reads a file: YAML or JSON.
///
/// # Errors
/// If it cannot be used: an alias of two users would let each be taken for the other.
pub fn user_aliases(path: &Path) -> Result<UserAliases, Error> {
    of_entries(&read::<Vec<Entry>>(path)?)
}

fn of_entries(entries: &[Entry]) -> Result<UserAliases, Error> {
    let mut known: Vec<(String, &str)> = Vec::new();
    for (n, entry) in entries.iter().enumerate() {
        let user = entry.user.as_str();
        if user.trim().is_empty() || user.trim() == "*" {
            return Err(Error::malformed(
                format!("[{n}].user"),
                "must be the name of one user",
            ));
        }
        for (at, alias) in entry.aliases.iter().enumerate() {
            let field = || format!("[{n}].aliases[{at}]");
            let folded = alias.trim().to_lowercase();
            if folded.is_empty() || folded == "*" {
                return Err(Error::malformed(field(), "must be a name"));
            }
            if known.iter().any(|(known, of)| *known == folded && *of != user) {
                return Err(Error::malformed(field(), "is an alias of another user as well"));
            }
            known.push((folded, user));
        }
    }
    Ok(UserAliases::new(
        entries.iter().map(|entry| (&entry.user, &entry.aliases)),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config_file::parse;

    fn read(text: &str) -> Result<UserAliases, Error> {
        of_entries(&parse::<Vec<Entry>>(text)?)
    }

    #[test]
    fn names_of_ci_servers_mean_users_of_the_cluster() {
        let known = read("- {user: 'oidc:mia', aliases: [mia, 'github:Mia-Codes']}\n").unwrap();
        assert_eq!(known.user("GitHub:mia-codes"), "oidc:mia");
        assert_eq!(known.user("bob"), "bob");
    }

    #[test]
    fn alias_of_two_users_is_refused() {
        for (text, field) in [
            (
                "- {user: a, aliases: [m]}\n- {user: b, aliases: [x, M]}",
                "[1].aliases[1]",
            ),
            ("- {user: '*', aliases: [m]}", "[0].user"),
            ("- {user: a, aliases: ['']}", "[0].aliases[0]"),
            ("- {user: a, alias: [m]}", "alias"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }
}
