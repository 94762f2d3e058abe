//! What is wrong with a Canary: everything at once, each with its field.

use std::fmt;

/// A field that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path of the field, such as `spec.analysis.metrics[0].name`.
    pub field: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl Problem {
    pub(super) fn new(field: impl Into<String>, problem: impl Into<String>) -> Problem {
        Problem {
            field: field.into(),
            problem: problem.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)
    }
}

/// A Canary that cannot be used: every field that is wrong, in the order of the specification.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", joined(.0))]
pub struct Invalid(pub Vec<Problem>);

fn joined(problems: &[Problem]) -> String {
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

/// Collects problems while the fields that are right are parsed on.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    /// Notes a field that cannot be used.
    pub(super) fn note(&mut self, field: impl Into<String>, problem: impl Into<String>) {
        self.0.push(Problem::new(field, problem));
    }

    /// The value, if there is one; else its problem is noted.
    pub(super) fn keep<T>(&mut self, parsed: Result<T, Problem>) -> Option<T> {
        parsed.map_err(|problem| self.0.push(problem)).ok()
    }

    /// All of them.
    pub(super) fn into_invalid(self) -> Invalid {
        Invalid(self.0)
    }

    /// Whether nothing is wrong.
    pub(super) fn none(&self) -> bool {
        self.0.is_empty()
    }
}
