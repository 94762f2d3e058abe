//! Selectors: which objects of a kind are meant, by labels and by the fields that every kind can be selected by.

use serde_json::Value;

use super::refusal::Refusal;

/// Every requirement must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    /// `labels` and a key, or the name of a field of the metadata.
    path: Vec<String>,
    condition: Condition,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Missing,
}

impl Selector {
    /// Reads both selectors of a request.
    ///
    /// # Errors
    /// If they cannot be read, or name a field that objects are not selected by.
    pub fn read(labels: Option<&str>, fields: Option<&str>) -> Result<Selector, Refusal> {
        let mut requirements = Vec::new();
        for text in split(labels.unwrap_or_default()) {
            let (key, condition) = condition(&text)?;
            let path = vec!["labels".to_owned(), key];
            requirements.push(Requirement { path, condition });
        }
        for text in split(fields.unwrap_or_default()) {
            let (key, condition) = condition(&text)?;
            let field = key
                .strip_prefix("metadata.")
                .filter(|f| ["name", "namespace"].contains(f));
            let field =
                field.ok_or_else(|| Refusal::bad_request(format!("field label not supported: {key}")))?;
            requirements.push(Requirement {
                path: vec![field.to_owned()],
                condition,
            });
        }
        Ok(Selector(requirements))
    }

    /// Whether it demands nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `object` is meant.
    #[must_use]
    pub fn selects(&self, object: &Value) -> bool {
        self.0.iter().all(|requirement| {
            let path = requirement.path.iter();
            let found = path.fold(object.get("metadata"), |value, field| value?.get(field.as_str()));
            let found = found.and_then(Value::as_str);
            let among = |values: &[String]| found.is_some_and(|found| values.iter().any(|v| v == found));
            match &requirement.condition {
                Condition::In(values) => among(values),
                Condition::NotIn(values) => !among(values),
                Condition::Exists => found.is_some(),
                Condition::Missing => found.is_none(),
            }
        })
    }
}

/// At the commas outside of parentheses.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut inside = false;
    for letter in text.chars() {
        match letter {
            '(' => inside = true,
            ')' => inside = false,
            ',' if !inside => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(letter);
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn condition(text: &str) -> Result<(String, Condition), Refusal> {
    let text = text.trim();
    let one = |value: &str| vec![value.trim().to_owned()];
    let listed = |values: &str| -> Vec<String> {
        let values = values.trim().trim_start_matches('(').trim_end_matches(')');
        values.split(',').map(|value| value.trim().to_owned()).collect()
    };
    let (key, condition) = if let Some((key, value)) = text.split_once("!=") {
        (key, Condition::NotIn(one(value)))
    } else if let Some((key, value)) = text.split_once('=') {
        (key, Condition::In(one(value.trim_start_matches('='))))
    } else if let Some((key, values)) = text.split_once(" notin ") {
        (key, Condition::NotIn(listed(values)))
    } else if let Some((key, values)) = text.split_once(" in ") {
        (key, Condition::In(listed(values)))
    } else if let Some(key) = text.strip_prefix('!') {
        (key, Condition::Missing)
    } else {
        (text, Condition::Exists)
    };
    let key = key.trim();
    if key.is_empty() || key.contains(char::is_whitespace) {
        return Err(Refusal::bad_request(format!(
            "unable to parse requirement: {text}"
        )));
    }
    Ok((key.to_owned(), condition))
}
