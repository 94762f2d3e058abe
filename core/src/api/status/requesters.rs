//! Who asked for a release.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::user_aliases::UserAliases;

/// Names by which those are known who asked for a release: users of the cluster and of CI servers.
///
/// Invariant: at most [`Requesters::LIMIT`] names; with one more the set contains [`Requesters::UNKNOWN`], which stands for
/// everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Requesters(#[schemars(with = "Vec<String>")] BTreeSet<String>);

impl Requesters {
    /// Stands for somebody whose name cannot be told, and so for everybody.
    pub const UNKNOWN: &str = "*";
    /// Most names that are kept: they are part of a status.
    pub const LIMIT: usize = 64;

    /// Somebody whose name cannot be told.
    #[must_use]
    pub fn unknown() -> Requesters {
        [Requesters::UNKNOWN.to_owned()].into_iter().collect()
    }

    /// Adds all of `others`.
    pub fn merge(&mut self, others: &Requesters) {
        for name in &others.0 {
            self.add(name.clone());
        }
    }

    /// Whether all of `others` are among these.
    #[must_use]
    pub fn contains_all(&self, others: &Requesters) -> bool {
        self.has_unknown() || others.0.is_subset(&self.0)
    }

    /// Whether nobody is among them.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them has a name that cannot be told.
    #[must_use]
    pub fn has_unknown(&self) -> bool {
        self.0.contains(Requesters::UNKNOWN)
    }

    /// Whether somebody is, or may be, among both.
    #[must_use]
    pub fn meets(&self, others: &Requesters, aliases: &UserAliases) -> bool {
        let of = |names: &Requesters| -> BTreeSet<String> {
            names.0.iter().map(|name| aliases.user(name)).collect()
        };
        let unknown = self.has_unknown() && !others.is_empty() || others.has_unknown() && !self.is_empty();
        unknown || !of(self).is_disjoint(&of(others))
    }

    fn add(&mut self, name: String) {
        if self.0.contains(&name) || self.has_unknown() {
            return;
        }
        if self.0.len() >= Requesters::LIMIT {
            self.0.insert(Requesters::UNKNOWN.to_owned());
        } else {
            self.0.insert(name);
        }
    }
}

impl FromIterator<String> for Requesters {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Requesters {
        let mut all = Requesters::default();
        for name in names {
            all.add(name);
        }
        all
    }
}

/// Who asked for what the workload is being given for a Promotion.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Shipping {
    /// The revision that the workload had before.
    pub base: String,
    /// Who asked.
    pub requesters: Requesters,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Requesters {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn somebody_is_met_by_every_name() {
        let aliases = UserAliases::new([("oidc:mia", ["mia", "github:mia-codes"])]);
        for (asked, decides, same) in [
            ("mia", "mia", true),
            ("mia", "Mia", true),
            ("mia", "oidc:mia", true),
            ("github:mia-codes", "oidc:mia", true),
            ("github:mia-codes", "mia", true),
            ("mia", "bob", false),
            ("mia", "oidc:bob", false),
            ("*", "bob", true),
            ("mia", "*", true),
        ] {
            let (asked, decides) = (names(&[asked, "ci:shop/web"]), names(&[decides]));
            assert_eq!(asked.meets(&decides, &aliases), same, "{asked:?} {decides:?}");
        }
        assert!(!names(&[]).meets(&names(&["*"]), &aliases));
    }

    #[test]
    fn too_many_are_everybody() {
        let many: Requesters = (0..=Requesters::LIMIT).map(|n| format!("user-{n}")).collect();
        assert!(many.has_unknown());
        assert!(many.contains_all(&names(&["bob"])));
        let mut some = names(&["mia"]);
        some.merge(&many);
        assert!(some.meets(&names(&["bob"]), &UserAliases::default()));
    }
}
