//! The log: to standard error, as JSON for machines or as text for people.
//!
//! Invariant: an event is one line, and nothing in it is an escape sequence: much of what is logged was typed by somebody.

use std::io::{self, Write};

use tracing_subscriber::{EnvFilter, fmt};

use crate::printable::printable;

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Sets the log up. `level` is `error`, `warn`, `info`, `debug` or `trace`, or a filter by module.
///
/// # Errors
/// If `level` cannot be parsed.
pub fn init(level: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(format!("{level},kube=warn,hyper=warn,tower=warn"))
        .map_err(|error| anyhow::anyhow!("--log-level: {error}"))?;
    let log = fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(|| PrintableLines(io::stderr()));
    match format {
        LogFormat::Json => log.json().init(),
        LogFormat::Text => log.init(),
    }
    Ok(())
}

/// Writes each event, of which the subscriber makes one write, as one printable line.
struct PrintableLines<W>(W);

impl<W: Write> Write for PrintableLines<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        self.0.write_all(format!("{}\n", printable(line)).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(json: bool) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let log = fmt()
            .with_ansi(false)
            .with_writer(move || PrintableLines(writer.clone()));
        let say = || {
            tracing::info!(by = "mia\u{1b}[2J\u{9b}31m", "aborted: so\nERROR forged\u{202e}");
        };
        if json {
            tracing::subscriber::with_default(log.json().finish(), say);
        } else {
            tracing::subscriber::with_default(log.finish(), say);
        }
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_somebody_typed_is_no_line_and_no_escape_sequence_of_the_log() {
        for json in [false, true] {
            let text = logged(json);
            assert_eq!(text.matches('\n').count(), 1, "{text:?}");
            let line = text.trim_end_matches('\n');
            assert!(line.chars().all(crate::printable::is_printable), "{line:?}");
            assert!(line.contains("forged"), "nothing is lost: {line:?}");
        }
    }
}
