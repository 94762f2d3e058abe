//! Links that Jenkins returns. It builds them from a URL that somebody configured, or from what a proxy passed on, so
//! only what comes after the host and the context path is believed. Pure.

use super::{ItemId, JobPath};

/// The first names of paths below Jenkins' own root.
const ROOTS: [&str; 4] = ["job", "queue", "computer", "view"];

/// The names of a link's path, encoded, below the root of Jenkins; `base` are the names of our own context path.
pub(super) fn below_root<'a>(link: &'a str, base: &[&str]) -> Vec<&'a str> {
    let path = link.split(['?', '#']).next().unwrap_or_default();
    let path = match path.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => path,
    };
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    let ours = names.strip_prefix(base).filter(|rest| starts_at_root(rest));
    let from = match ours {
        Some(_) => Some(base.len()),
        None => names.iter().position(|name| ROOTS.contains(name)),
    };
    from.map_or_else(Vec::new, |at| names[at..].to_vec())
}

fn starts_at_root(names: &[&str]) -> bool {
    names.first().is_some_and(|name| ROOTS.contains(name))
}

/// The queue item that `link` leads to.
pub(super) fn item_of(link: &str, base: &[&str]) -> Option<ItemId> {
    match below_root(link, base).as_slice() {
        ["queue", "item", id, ..] => id.parse().ok().map(ItemId),
        _ => None,
    }
}

/// The job that `link` leads to or into.
pub(super) fn job_of(link: &str, base: &[&str]) -> Option<JobPath> {
    let below = below_root(link, base);
    let mut names = Vec::new();
    let mut rest = below.as_slice();
    while let ["job", name, more @ ..] = rest {
        names.push(decoded(name));
        rest = more;
    }
    (!names.is_empty()).then(|| JobPath::of_names(names))
}

/// Whether `link` leads to where people log in.
pub(super) fn is_login(link: &str) -> bool {
    let path = link.split(['?', '#']).next().unwrap_or_default();
    path.split('/')
        .any(|name| matches!(name, "login" | "loginEntry" | "securityRealm" | "oauth2" | "saml"))
}

fn decoded(name: &str) -> String {
    let bytes = name.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let pair = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let code = pair.and_then(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        plain.push(code.unwrap_or(bytes[at]));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(link: &str, base: &[&str]) -> Option<String> {
        job_of(link, base).map(|job| job.to_string())
    }

    #[test]
    fn a_link_is_believed_below_the_root_only() {
        for link in [
            "http://wrong:8080/queue/item/7/",
            "https://ci.example.org/jenkins/queue/item/7",
            "http://inside/other/queue/item/7/api/json?x=/job/y",
            "/jenkins/queue/item/7/",
            "/queue/item/7/",
        ] {
            assert_eq!(item_of(link, &["jenkins"]), Some(ItemId(7)), "{link}");
        }
        assert_eq!(item_of("http://wrong/job/queue/item/x/", &[]), None);
        assert_eq!(item_of("http://queue/item/7", &[]), None);
    }

    #[test]
    fn names_of_jobs_are_decoded_once_and_a_context_path_may_be_called_job() {
        let link = "http://wrong/jenkins/job/team%20a/job/feature%252Fx/42/";
        assert_eq!(job(link, &["jenkins"]).unwrap(), "team a/feature%2Fx");
        assert_eq!(job("http://x/job/job/a/", &["job"]).unwrap(), "a");
        assert_eq!(job("http://x/job/job/job/queue/7/", &[]).unwrap(), "job/queue");
        assert_eq!(job("http://x/login?from=/job/a", &[]), None);
        assert_eq!(job("/job/100%/", &[]).unwrap(), "100%");
    }

    #[test]
    fn a_login_page_is_known_by_its_path() {
        assert!(is_login("https://x/jenkins/login?from=%2Fjob"));
        assert!(is_login("/securityRealm/commenceLogin"));
        assert!(!is_login("https://x/job/login-service/?from=login"));
    }
}
