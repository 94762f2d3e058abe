//! How answers are printed: results to standard output, everything else to standard error.

use std::io::{ErrorKind, IsTerminal, Write};

use clap::ValueEnum;
use serde::Serialize;

use crate::printable::printable;

/// How answers are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people
    #[default]
    Text,
    /// For people, with more columns
    Wide,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

impl Output {
    /// Whether one document is printed, and nothing else.
    pub(super) fn document(self) -> bool {
        matches!(self, Output::Json | Output::Yaml)
    }

    /// Prints a value for machines.
    pub(super) fn print(self, value: &impl Serialize) -> anyhow::Result<()> {
        let text = match self {
            Output::Yaml => serde_saphyr::to_string(value)?,
            _ => format!("{}\n", serde_json::to_string_pretty(value)?),
        };
        write(&text)
    }
}

/// Prints text; a reader that has seen enough is no error.
pub(super) fn write(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Says something beside the result.
pub(super) fn note(text: &str) {
    let mut out = std::io::stderr();
    // The line that is drawn again and again may stand there.
    let clear = if out.is_terminal() { "\r\x1b[K" } else { "" };
    // Nobody can be told that nobody can be told.
    let lines: Vec<_> = text.lines().map(printable).collect();
    let _ = writeln!(out, "{clear}bellwether: {}", lines.join("\n"));
}

/// The beginning of a revision, for people.
pub(super) fn short(revision: &str) -> &str {
    revision.get(..12).unwrap_or(revision)
}
