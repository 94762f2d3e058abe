//! What the fake takes from a `config.xml`: parameters, and in the description how builds go.

use std::time::Duration;

use super::setup::{Job, Script};

/// A declared parameter.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Name.
    pub name: String,
    /// Kind, as in `StringParameterDefinition`.
    pub kind: String,
    /// Value if none is given.
    pub default: String,
    /// Values that are allowed; empty if all.
    pub choices: Vec<String>,
}

impl Parameter {
    /// Any text.
    pub fn string(name: &str) -> Parameter {
        Parameter {
            name: name.to_owned(),
            kind: "StringParameterDefinition".to_owned(),
            default: String::new(),
            choices: Vec::new(),
        }
    }

    /// One of these texts, the first by default.
    pub fn choice(name: &str, choices: &[&str]) -> Parameter {
        let choices: Vec<String> = choices.iter().map(|&choice| choice.to_owned()).collect();
        Parameter {
            kind: "ChoiceParameterDefinition".to_owned(),
            default: choices.first().cloned().unwrap_or_default(),
            choices,
            ..Parameter::string(name)
        }
    }
}

impl Job {
    /// The job of a `config.xml`; `None` if it is none. A description may say `fake: takes=5 result=FAILURE quiet=1`,
    /// times in seconds.
    pub(super) fn of_xml(xml: &str) -> Option<Job> {
        if !xml.trim_start().starts_with('<') {
            return None;
        }
        if xml.contains("folder.Folder") {
            return Some(Job {
                xml: xml.to_owned(),
                ..Job::folder()
            });
        }
        let mut job = Job {
            xml: xml.to_owned(),
            parameters: parameters(xml),
            disabled: text_of(xml, "disabled").as_deref() == Some("true"),
            one_at_a_time: text_of(xml, "concurrentBuild").as_deref() == Some("false"),
            ..Job::new(&[])
        };
        let description = text_of(xml, "description").unwrap_or_default();
        let words = description.strip_prefix("fake:").unwrap_or_default();
        for (key, value) in words.split_whitespace().filter_map(|word| word.split_once('=')) {
            let seconds = value.parse().ok().map(Duration::from_secs_f64);
            match key {
                "takes" => {
                    job.script = Script {
                        takes: seconds,
                        ..job.script
                    }
                }
                "result" => value.clone_into(&mut job.script.result),
                "quiet" => job.quiet = seconds.unwrap_or_default(),
                _ => {}
            }
        }
        Some(job)
    }
}

fn parameters(xml: &str) -> Vec<Parameter> {
    let mut found = Vec::new();
    for start in xml.split('<').filter(|tag| !tag.starts_with('/')) {
        let tag = start.split(['>', ' ', '/']).next().unwrap_or_default();
        let Some(kind) = tag
            .rsplit('.')
            .next()
            .filter(|kind| kind.ends_with("ParameterDefinition"))
        else {
            continue;
        };
        // From this tag to its end; a parameter holds no other of its kind.
        let from = start.as_ptr() as usize - xml.as_ptr() as usize;
        let end = xml[from..]
            .find(&format!("</{tag}>"))
            .map_or(xml.len(), |at| from + at);
        let body = &xml[from..end];
        let choices = body.split("<string>").skip(1);
        let choices: Vec<String> = choices
            .filter_map(|c| c.split_once('<'))
            .map(|(c, _)| unescaped(c))
            .collect();
        let first = choices.first().cloned();
        found.push(Parameter {
            name: text_of(body, "name").unwrap_or_default(),
            kind: kind.to_owned(),
            default: text_of(body, "defaultValue").or(first).unwrap_or_default(),
            choices,
        });
    }
    found
}

fn text_of(xml: &str, tag: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{tag}>"))?;
    let (text, _) = rest.split_once(&format!("</{tag}>"))?;
    Some(unescaped(text))
}

fn unescaped(text: &str) -> String {
    text.trim()
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_the_script_come_from_the_xml() {
        let xml = "<?xml version='1.0'?><project><description>fake: takes=1.5 result=UNSTABLE</description>
            <properties><hudson.model.ParametersDefinitionProperty><parameterDefinitions>
            <hudson.model.StringParameterDefinition><name>ID</name><defaultValue>x</defaultValue>
            </hudson.model.StringParameterDefinition>
            <hudson.model.ChoiceParameterDefinition><name>TO</name><choices class=\"a\"><a>
            <string>test</string><string>a&amp;b</string></a></choices></hudson.model.ChoiceParameterDefinition>
            </parameterDefinitions></hudson.model.ParametersDefinitionProperty></properties></project>";
        let job = Job::of_xml(xml).unwrap();
        let names: Vec<_> = job
            .parameters
            .iter()
            .map(|p| (p.name.as_str(), p.default.as_str()))
            .collect();
        assert_eq!(names, [("ID", "x"), ("TO", "test")]);
        assert_eq!(job.parameters[1].choices, ["test", "a&b"]);
        assert_eq!(job.script.takes, Some(Duration::from_millis(1500)));
        assert_eq!(job.script.result, "UNSTABLE");
        assert!(Job::of_xml("no xml").is_none());
    }
}
