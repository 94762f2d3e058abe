//! Where Jenkins is, and the URLs below.

use reqwest::Url;

use super::{Error, JobPath, link};

/// The root of a Jenkins, which may have a context path.
#[derive(Clone, Debug)]
pub(super) struct Site(Url);

impl Site {
    pub(super) fn parse(url: &str) -> Result<Site, Error> {
        // What cannot be read may hold a password anywhere: it is not repeated.
        let bad = |why: &str| Error::Setup(format!("the URL {why}"));
        let root = Url::parse(url).map_err(|error| bad(&format!("is no URL: {error}")))?;
        if !matches!(root.scheme(), "http" | "https") {
            return Err(bad("is no http or https URL"));
        }
        if !root.username().is_empty() || root.password().is_some() {
            return Err(bad("must not hold credentials"));
        }
        if root.query().is_some() || root.fragment().is_some() {
            return Err(bad("has a query or a fragment"));
        }
        Ok(Site(root))
    }

    /// The URL below the root whose path has these names, each encoded by itself.
    pub(super) fn at<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.0.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(names);
        }
        url
    }

    /// The URL of a job, or below it.
    pub(super) fn job<'a>(&self, job: &'a JobPath, below: &[&'a str]) -> Url {
        let names = job.names().iter().flat_map(|name| ["job", name.as_str()]);
        self.at(names.chain(below.iter().copied()))
    }

    /// The names of the context path.
    pub(super) fn context(&self) -> Vec<&str> {
        self.0.path().split('/').filter(|name| !name.is_empty()).collect()
    }

    /// `link`, at our own root, for people to follow.
    pub(super) fn rebased(&self, link: &str) -> String {
        let context = self.context();
        let below = link::below_root(link, &context);
        let mut url = self.0.clone();
        url.set_path(&[context, below].concat().join("/"));
        format!("{}/", url.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_encoded_by_itself_and_the_context_path_is_kept() {
        let job = JobPath::parse("team a/feature%2Fx/ü?").unwrap();
        for root in [
            "https://ci.example.org/jenkins",
            "https://ci.example.org/jenkins/",
        ] {
            assert_eq!(
                Site::parse(root).unwrap().job(&job, &["build"]).as_str(),
                "https://ci.example.org/jenkins/job/team%20a/job/feature%252Fx/job/%C3%BC%3F/build"
            );
        }
        let plain = Site::parse("http://ci:8080").unwrap();
        assert_eq!(
            plain.at(["queue", "cancelItem"]).as_str(),
            "http://ci:8080/queue/cancelItem"
        );
    }

    #[test]
    fn links_come_back_to_the_configured_root() {
        let site = Site::parse("https://ci.example.org/jenkins").unwrap();
        let ours = "https://ci.example.org/jenkins/job/a%20b/42/";
        for link in [
            "http://localhost:8080/job/a%20b/42/",
            "http://localhost:8080/jenkins/job/a%20b/42/",
            "http://localhost:8080/ci/job/a%20b/42",
            ours,
        ] {
            assert_eq!(site.rebased(link), ours, "{link}");
        }
    }

    #[test]
    fn a_root_that_cannot_be_one_is_refused_without_telling_a_password() {
        for bad in ["ci.example.org", "ftp://ci", "http://ci/?a=b", "http://"] {
            assert!(matches!(Site::parse(bad), Err(Error::Setup(_))), "{bad}");
        }
        for url in [
            "http://me:secret@ci",
            "me:secret@ci",
            "me:secret@ci/jenkins",
            "ftp://me:secret@ci",
            "//me:secret@ci",
            "http://me:secret@",
            "http://ci/?token=secret",
        ] {
            let error = Site::parse(url).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
