//! Which names mean the same person: a CI server knows somebody by another name than the cluster does.

use std::collections::BTreeMap;

/// Users of the cluster by the names that CI servers have for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserAliases(BTreeMap<String, String>);

impl UserAliases {
    /// The aliases of each user of the cluster.
    pub fn new<U, A>(users: impl IntoIterator<Item = (U, A)>) -> UserAliases
    where
        U: AsRef<str>,
        A: IntoIterator,
        A::Item: AsRef<str>,
    {
        let mut known = BTreeMap::new();
        for (user, aliases) in users {
            for alias in aliases {
                known.insert(folded(alias.as_ref()), folded(user.as_ref()));
            }
        }
        UserAliases(known)
    }

    /// Whom a name means. Case does not count: most CI servers ignore it, and two users whose names differ in nothing else
    /// are kept apart by nobody who reads them.
    #[must_use]
    pub fn user(&self, name: &str) -> String {
        let name = folded(name);
        self.0.get(&name).cloned().unwrap_or(name)
    }
}

fn folded(name: &str) -> String {
    name.trim().to_lowercase()
}
