//! The log: to standard error, as JSON for machines or as text for people.

use tracing_subscriber::{EnvFilter, fmt};

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
    let log = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => log.json().init(),
        LogFormat::Text => log.init(),
    }
    Ok(())
}
