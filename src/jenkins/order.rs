//! What is wanted of Jenkins: a job, its parameters, and the mark by which the build is found again. Pure.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::Error;

/// A job by the names of its folders and its own, as in `team/shop/deploy`. Names are as Jenkins has them: a branch
/// `feature/x` of a multibranch job is the item `feature%2Fx`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobPath(Vec<String>);

impl JobPath {
    /// Reads names that are separated by slashes.
    ///
    /// # Errors
    /// If a name is empty or has a meaning of its own in URLs.
    pub fn parse(text: &str) -> Result<JobPath, Error> {
        let names: Vec<String> = text.trim_matches('/').split('/').map(str::to_owned).collect();
        let bad = |name: &String| matches!(name.as_str(), "" | "." | "..") || name.contains(char::is_control);
        if names.iter().any(bad) {
            return Err(Error::Setup(format!("{text:?} is no path of a job")));
        }
        Ok(JobPath(names))
    }

    /// The names, outermost folder first.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Whether Jenkins has one job by both names: it finds what it is asked for without regard to case, and tells of it as it
    /// was created.
    #[must_use]
    pub fn is_same(&self, other: &JobPath) -> bool {
        let folded = |path: &JobPath| path.0.iter().map(|name| name.to_lowercase()).collect::<Vec<_>>();
        folded(self) == folded(other)
    }

    /// Whether it is `folder`, or lies in it, as Jenkins compares names.
    #[must_use]
    pub fn is_within(&self, folder: &JobPath) -> bool {
        let mut names = self.0.iter().map(|name| name.to_lowercase());
        folder
            .0
            .iter()
            .all(|name| names.next() == Some(name.to_lowercase()))
    }

    pub(super) fn of_names(names: Vec<String>) -> JobPath {
        JobPath(names)
    }
}

impl fmt::Display for JobPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("/"))
    }
}

impl TryFrom<String> for JobPath {
    type Error = Error;

    fn try_from(text: String) -> Result<JobPath, Error> {
        JobPath::parse(&text)
    }
}

impl From<JobPath> for String {
    fn from(path: JobPath) -> String {
        path.to_string()
    }
}

/// A parameter whose value no other build of the job has. Jenkins merges equal requests that are pending, so without
/// it two orders could become one build; and a build whose number nobody wrote down is found by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Name of the parameter, which the job must declare.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// One build that is wanted. It must stay what it is as long as its [`super::Run`] lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The job.
    pub job: JobPath,
    /// Parameters besides the mark.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
    /// The mark.
    pub mark: Mark,
}

impl Order {
    /// All parameters, the mark among them.
    #[must_use]
    pub fn all_parameters(&self) -> BTreeMap<String, String> {
        let mut all = self.parameters.clone();
        all.insert(self.mark.name.clone(), self.mark.value.clone());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_a_job_has_names_that_mean_nothing_to_urls() {
        let names = |text: &str| JobPath::parse(text).map(|path| path.names().to_vec());
        assert_eq!(names("/team/shop/deploy/").unwrap(), ["team", "shop", "deploy"]);
        assert_eq!(names("repo/feature%2Fx").unwrap(), ["repo", "feature%2Fx"]);
        for bad in ["", "/", "a//b", "a/../b", ".", "a/b\n"] {
            assert!(names(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_mark_is_a_parameter_like_others_and_cannot_be_overruled() {
        let order = Order {
            job: JobPath::parse("a").unwrap(),
            parameters: [
                ("ID".to_owned(), "x".to_owned()),
                ("TO".to_owned(), "y".to_owned()),
            ]
            .into(),
            mark: Mark {
                name: "ID".to_owned(),
                value: "7".to_owned(),
            },
        };
        let all: Vec<_> = order.all_parameters().into_iter().collect();
        assert_eq!(
            all,
            [
                ("ID".to_owned(), "7".to_owned()),
                ("TO".to_owned(), "y".to_owned())
            ]
        );
    }
}
