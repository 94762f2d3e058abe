//! Files that flags name, often mounted Secrets: YAML or JSON, parsed strictly, with the field named that is wrong.
//!
//! Invariant: no value of a file gets into an error, for it may be secret.

mod reloaded; // files that are read again when they change
mod user_aliases; // whom CI servers know by another name

use std::path::Path;

use serde::de::DeserializeOwned;

pub use reloaded::Reloaded;
pub use user_aliases::user_aliases;

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It, or a file that it names, cannot be read.
    #[error("{path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what it must be.
    #[error("{field}: {problem}")]
    Malformed {
        /// Which field, such as `[0].url`.
        field: String,
        /// What is wrong.
        problem: String,
    },
}

impl Error {
    /// What is wrong with a field.
    pub fn malformed(field: impl Into<String>, problem: impl Into<String>) -> Error {
        Error::Malformed {
            field: field.into(),
            problem: problem.into(),
        }
    }
}

/// The content of a file.
///
/// # Errors
/// If it cannot be read.
pub fn bytes(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Unreadable {
        path: path.display().to_string(),
        source,
    })
}

/// What a file says.
///
/// # Errors
/// If it cannot be read, or is not what it must be.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let text = String::from_utf8(bytes(path)?).map_err(|_| Error::malformed("file", "must be UTF-8"))?;
    parse(&text)
}

/// What a text says.
///
/// # Errors
/// If it is not what it must be.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    let json: serde_json::Value =
        serde_saphyr::from_str(text).map_err(|_| Error::malformed("file", "must be YAML or JSON"))?;
    serde_path_to_error::deserialize(json).map_err(|error| {
        let field = error.path().to_string();
        Error::malformed(field, without_value(&error.inner().to_string()))
    })
}

/// The parser's words without the value that it quotes; names of fields stay.
fn without_value(problem: &str) -> String {
    let quotes = problem.starts_with("invalid") || problem.starts_with("unknown variant");
    match problem.rsplit_once("expected ") {
        Some((_, expected)) if quotes => format!("must be {expected}"),
        _ => problem.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it can be read counts")]
    struct Entry {
        name: String,
        tokens: Vec<String>,
        mode: Option<Mode>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        Binary,
    }

    #[test]
    fn wrong_field_is_named_and_no_value_is_told() {
        for (text, field, problem) in [
            ("- {name: a, tokens: s3cret}", "[0].tokens", "a sequence"),
            ("- {name: a, tokens: [{s3cret: 1}]}", "[0].tokens[0]", "a string"),
            ("- {name: a, tokens: [], mode: s3cret}", "[0].mode", "`binary`"),
            ("- {name: a}", "[0]", "missing field `tokens`"),
            (
                "- {name: a, tokens: [], tokenz: []}",
                "tokenz",
                "unknown field `tokenz`",
            ),
            ("s3cret", ".", "a sequence"),
            ("- {name: [s3cret", "file", "YAML or JSON"),
        ] {
            let error = parse::<Vec<Entry>>(text).unwrap_err().to_string();
            assert!(
                error.contains(field) && error.contains(problem),
                "{text}: {error}"
            );
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
