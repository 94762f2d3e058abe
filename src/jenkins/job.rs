//! A job and the parameters that it declares. Pure.
//!
//! Jenkins drops a parameter that the job does not declare without a word, so an order is compared with the job first.

use serde::Deserialize;

use super::{Error, Order, Refusal, error::shortened};

/// What to ask of a job.
pub(super) const TREE: &str = "buildable,nextBuildNumber,property[parameterDefinitions[name,type,choices]]";

/// A job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Whether builds can be triggered: it is not disabled, nor is a folder above it.
    pub buildable: bool,
    /// The number that its next build gets.
    pub next_build: u64,
    /// The parameters that it declares.
    pub parameters: Vec<Parameter>,
}

/// A parameter of a job.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its kind, as in `StringParameterDefinition`.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// The values that it can have; empty if any.
    #[serde(default)]
    pub choices: Vec<String>,
}

#[derive(Deserialize)]
struct RawJob {
    buildable: Option<bool>,
    #[serde(default, rename = "nextBuildNumber")]
    next_build: u64,
    #[serde(default)]
    property: Vec<RawProperty>,
}

#[derive(Deserialize)]
struct RawProperty {
    #[serde(default, rename = "parameterDefinitions")]
    parameters: Vec<Parameter>,
}

impl Job {
    pub(super) fn read(body: &[u8]) -> Result<Job, Error> {
        let raw: RawJob = read_json(body)?;
        Ok(Job {
            // A folder has no such field, and no builds.
            buildable: raw.buildable.unwrap_or(false),
            next_build: raw.next_build,
            parameters: raw.property.into_iter().flat_map(|p| p.parameters).collect(),
        })
    }

    /// Whether `order` can become a build as it is meant.
    ///
    /// # Errors
    /// If the job takes no builds, does not declare a parameter, or cannot take its value.
    pub fn accepts(&self, order: &Order) -> Result<(), Refusal> {
        let wanted = order.all_parameters();
        let declared = |name: &str| self.parameters.iter().find(|parameter| parameter.name == name);
        let missing: Vec<String> = wanted
            .keys()
            .filter(|name| declared(name).is_none())
            .cloned()
            .collect();
        if !missing.is_empty() {
            return Err(Refusal::Undeclared { names: missing });
        }
        if declared(&order.mark.name).is_some_and(Parameter::is_hidden) {
            return Err(Refusal::HiddenMark {
                name: order.mark.name.clone(),
            });
        }
        for (name, value) in wanted {
            if declared(&name).is_some_and(|parameter| !parameter.takes(&value)) {
                return Err(Refusal::NotAChoice { name, value });
            }
        }
        if self.buildable {
            Ok(())
        } else {
            Err(Refusal::Disabled)
        }
    }
}

impl Parameter {
    /// Whether Jenkins keeps its values to itself.
    fn is_hidden(&self) -> bool {
        ["Password", "Credentials", "File"]
            .iter()
            .any(|kind| self.kind.contains(kind))
    }

    fn takes(&self, value: &str) -> bool {
        self.choices.is_empty() || self.choices.iter().any(|choice| choice == value)
    }
}

pub(super) fn read_json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| Error::Malformed(shortened(&error.to_string())))
}

#[cfg(test)]
mod tests {
    use super::super::{JobPath, Mark};
    use super::*;

    const BODY: &str = r#"{"_class":"hudson.model.FreeStyleProject","buildable":true,"nextBuildNumber":42,"property":[
        {"_class":"hudson.plugins.jira.JiraProjectProperty"},
        {"_class":"hudson.model.ParametersDefinitionProperty","parameterDefinitions":[
            {"_class":"hudson.model.StringParameterDefinition","name":"ID","type":"StringParameterDefinition"},
            {"_class":"hudson.model.PasswordParameterDefinition","name":"KEY","type":"PasswordParameterDefinition"},
            {"name":"TO","type":"ChoiceParameterDefinition","choices":["test","live"]}]}]}"#;

    fn order(mark: &str, parameters: &[(&str, &str)]) -> Order {
        Order {
            job: JobPath::parse("a").unwrap(),
            parameters: parameters
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect(),
            mark: Mark {
                name: mark.to_owned(),
                value: "7".to_owned(),
            },
        }
    }

    #[test]
    fn what_a_job_does_not_declare_is_named() {
        let job = Job::read(BODY.as_bytes()).unwrap();
        assert_eq!((job.next_build, job.parameters.len()), (42, 3));
        assert_eq!(job.accepts(&order("ID", &[("TO", "live")])), Ok(()));
        let missing = job
            .accepts(&order("PROMOTION_ID", &[("TO", "live"), ("WHO", "me")]))
            .unwrap_err();
        assert_eq!(
            missing.to_string(),
            "the job does not declare the parameters PROMOTION_ID, WHO"
        );
    }

    #[test]
    fn a_value_that_is_no_choice_and_a_mark_that_cannot_be_read_are_refused() {
        let job = Job::read(BODY.as_bytes()).unwrap();
        let choice = job.accepts(&order("ID", &[("TO", "moon")]));
        assert!(matches!(choice, Err(Refusal::NotAChoice { name, .. }) if name == "TO"));
        assert!(matches!(
            job.accepts(&order("KEY", &[])),
            Err(Refusal::HiddenMark { .. })
        ));
    }

    #[test]
    fn a_disabled_job_and_a_folder_take_no_builds() {
        let disabled = BODY.replace(r#""buildable":true"#, r#""buildable":false"#);
        let job = Job::read(disabled.as_bytes()).unwrap();
        assert_eq!(job.accepts(&order("ID", &[])), Err(Refusal::Disabled));
        let folder = Job::read(br#"{"_class":"com.cloudbees.hudson.plugins.folder.Folder"}"#).unwrap();
        assert!(folder.accepts(&order("ID", &[])).is_err());
        assert!(Job::read(b"[]").is_err());
    }
}
