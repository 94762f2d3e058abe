//! Which names mean the same person: a CI server knows somebody by another name than the cluster does.

use std::collections::BTreeMap;

/// Users of the cluster by the names that CI servers have for them. An alias may be one of a user who is an alias themself, as
/// after a rename: all of them mean the last.
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
        let mut name = folded(name);
        let mut passed = vec![name.clone()];
        while let Some(user) = self.0.get(&name) {
            if let Some(first) = passed.iter().position(|other| other == user) {
                // A circle: each of these names means all of them.
                return passed[first..].iter().min().cloned().unwrap_or(name);
            }
            passed.push(user.clone());
            name.clone_from(user);
        }
        name
    }
}

fn folded(name: &str) -> String {
    name.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alias_of_an_alias_is_the_same_person() {
        let renamed = UserAliases::new([("oidc:mia", vec!["mia"]), ("oidc:mia.smith", vec!["oidc:mia"])]);
        for name in ["mia", "oidc:mia", "OIDC:mia.smith"] {
            assert_eq!(renamed.user(name), "oidc:mia.smith");
        }
        let circle = UserAliases::new([("a", vec!["b", "x"]), ("b", vec!["a"])]);
        for name in ["a", "b", "x"] {
            assert_eq!(circle.user(name), "a");
        }
        assert_eq!(circle.user("bob"), "bob");
    }
}
