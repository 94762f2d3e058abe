//! Whom a claim of an issuer names: the user, and a group for each folder above the job.
//!
//! Pure. A RoleBinding of a folder's group is what a team may. Invariants: every name begins with the instance and a colon,
//! so that it is never one of Kubernetes' own; nothing is decoded, so that two jobs never share a name.

use crate::hook_api::auth::User;

/// Longest claim in bytes: with its instance, a user must fit into `requester.authenticatedAs`.
const LONGEST: usize = 400;
/// Folders that count, from the outermost.
const DEEPEST: usize = 32;

/// Whether an instance may be called so: a label of DNS that is nobody else's prefix.
#[must_use]
pub fn is_instance(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let outer = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=63).contains(&name.len())
        && name.chars().all(inner)
        && name.starts_with(outer)
        && name.ends_with(outer)
        && !["system", "kubernetes", "kubeadm", "bellwether"].contains(&name)
}

/// The user of `instance` whom `claim` names; `root` is the address of a Jenkins whose jobs' URLs are claims.
#[must_use]
pub fn user(instance: &str, root: Option<&str>, claim: &str) -> Option<User> {
    if claim.trim().is_empty() || claim.len() > LONGEST || claim.chars().any(char::is_control) {
        return None;
    }
    let job = root.and_then(|root| job_path(root, claim));
    let path = job.as_deref().unwrap_or(claim);
    let groups = folders(path).take(DEEPEST);
    Some(User {
        name: format!("{instance}:{path}"),
        groups: groups
            .map(|folder| format!("{instance}:folder:{folder}"))
            .collect(),
        ..User::default()
    })
}

/// The names of the person whom a claim names: as it stands, and as one of `instance`.
#[must_use]
pub fn actor(instance: &str, claim: &str) -> Vec<String> {
    if claim.trim().is_empty() || claim.len() > LONGEST || claim.chars().any(char::is_control) {
        return Vec::new();
    }
    vec![claim.to_owned(), format!("{instance}:{claim}")]
}

/// The root of the Jenkins whose OIDC provider plugin is this issuer: `<root>/oidc`, or `<root>/job/<folder>/oidc`.
#[must_use]
pub fn jenkins_root(issuer: &str) -> Option<&str> {
    let mut root = issuer.strip_suffix("/oidc")?;
    while let Some((above, _)) = root
        .rsplit_once('/')
        .and_then(|(above, name)| Some((above.strip_suffix("/job")?, name)))
    {
        root = above;
    }
    Some(root)
}

/// `shop/web` of `<root>/job/shop/job/web/`. Names stay as they stand in the URL.
#[must_use]
pub fn job_path(root: &str, url: &str) -> Option<String> {
    let below = url.strip_prefix(root.trim_end_matches('/'))?.strip_prefix('/')?;
    let parts: Vec<&str> = below.strip_suffix('/').unwrap_or(below).split('/').collect();
    let (pairs, rest) = parts.as_chunks::<2>();
    let names: Option<Vec<&str>> = pairs
        .iter()
        .map(|[job, name]| (*job == "job" && is_segment(name)).then_some(*name))
        .collect();
    names
        .filter(|names| rest.is_empty() && !names.is_empty())
        .map(|names| names.join("/"))
}

/// `a` and `a/b` of `a/b/c`. What is no path has none.
pub fn folders(path: &str) -> impl Iterator<Item = &str> {
    let is_path = path.split('/').all(is_segment);
    path.match_indices('/')
        .filter(move |_| is_path)
        .map(|(at, _)| &path[..at])
}

/// A colon divides the parts of our own names, and dots are no folder.
fn is_segment(segment: &str) -> bool {
    !segment.is_empty() && segment != "." && segment != ".." && !segment.contains([':', '/'])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROOT: &str = "https://ci.example/jenkins";

    fn groups(claim: &str) -> Vec<String> {
        user("ci", Some(ROOT), claim).unwrap().groups
    }

    #[test]
    fn job_is_named_by_its_path_and_belongs_to_every_folder_above() {
        let user = user(
            "ci",
            Some(ROOT),
            "https://ci.example/jenkins/job/shop/job/web/job/main/",
        )
        .unwrap();
        assert_eq!(user.name, "ci:shop/web/main");
        assert_eq!(user.groups, ["ci:folder:shop", "ci:folder:shop/web"]);
        assert_eq!(
            groups("group/sub/project"),
            ["ci:folder:group", "ci:folder:group/sub"]
        );
        assert!(groups("https://ci.example/jenkins/job/alone/").is_empty());
    }

    #[test]
    fn folder_called_job_is_a_folder() {
        let path = job_path(ROOT, "https://ci.example/jenkins/job/job/job/job/job/web/").unwrap();
        assert_eq!(path, "job/job/web");
    }

    #[test]
    fn what_is_no_path_of_this_jenkins_has_no_folder() {
        for claim in [
            "https://evil.example/job/shop/job/web/",
            "https://ci.example/jenkins.evil/job/shop/job/web/",
            "https://ci.example/jenkins/job/shop/job/",
            "https://ci.example/jenkins/job/shop/view/web/",
            "https://ci.example/jenkins/job/../job/web/",
            "https://ci.example/jenkins/",
            "repo:octo/repo:ref:refs/heads/shop/web",
            "/shop/web",
            "shop//web",
            "shop/../other/web",
            "shop/web/",
        ] {
            let user = user("ci", Some(ROOT), claim).unwrap();
            assert_eq!(user.name, format!("ci:{claim}"));
            assert!(user.groups.is_empty(), "{claim}: {:?}", user.groups);
        }
    }

    #[test]
    fn claim_that_names_nobody_is_refused() {
        let long = "x".repeat(401);
        for claim in ["", " ", "a\nb", "a\u{0}", &long] {
            assert_eq!(user("ci", None, claim), None, "{claim:?}");
        }
    }

    #[test]
    fn root_is_found_below_every_issuer_of_the_plugin() {
        assert_eq!(
            jenkins_root("https://ci.example/oidc"),
            Some("https://ci.example")
        );
        assert_eq!(
            jenkins_root("https://ci.example/jenkins/job/shop/job/web/oidc"),
            Some(ROOT)
        );
        assert_eq!(jenkins_root("https://gitlab.example"), None);
    }

    #[test]
    fn prefixes_of_others_are_no_instances() {
        for name in [
            "",
            "system",
            "bellwether",
            "kubernetes",
            "a:b",
            "-a",
            "a-",
            "A",
            "a/b",
            "sys tem",
        ] {
            assert!(!is_instance(name), "{name}");
        }
        for name in ["ci", "jenkins-main", "7"] {
            assert!(is_instance(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn path_of_a_job_is_its_names_and_folders_are_its_proper_prefixes(
            names in proptest::collection::vec("[A-Za-z0-9 %._-]{0,6}[a-z]", 1..8),
            slash: bool,
        ) {
            let url: String = names.iter().map(|name| format!("/job/{name}")).collect();
            let url = format!("{ROOT}{url}{}", if slash { "/" } else { "" });
            prop_assert_eq!(job_path(ROOT, &url), Some(names.join("/")));
            let folders: Vec<String> = folders(&names.join("/")).map(str::to_owned).collect();
            let expected: Vec<String> = (1..names.len()).map(|depth| names[..depth].join("/")).collect();
            prop_assert_eq!(folders, expected);
        }

        #[test]
        fn no_claim_makes_a_name_of_somebody_else(instance in "[a-z0-9:-]{1,12}", claim in "\\PC{0,80}") {
            prop_assume!(is_instance(&instance));
            if let Some(user) = user(&instance, Some(ROOT), &claim) {
                let own = format!("{instance}:");
                prop_assert!(user.name.starts_with(&own) && !user.name.starts_with("system:"));
                let group = format!("{instance}:folder:");
                for name in &user.groups {
                    prop_assert!(name.starts_with(&group) && !name[group.len()..].contains(':'));
                }
            }
        }

        #[test]
        fn folder_of_a_claim_is_a_prefix_of_it(claim in "[a-c/.:]{0,20}") {
            for folder in folders(&claim) {
                let below = claim.strip_prefix(folder);
                prop_assert!(below.is_some_and(|below| below.starts_with('/')));
            }
        }
    }
}
