//! The binary: TLS provider, arguments, run.

use std::process::ExitCode;

use bellwether::cli::Args;
use clap::Parser;

fn main() -> ExitCode {
    // Already installed means that the same one is in place.
    let _: Result<(), _> = rustls::crypto::ring::default_provider().install_default();
    match Args::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bellwether: {error:#}");
            ExitCode::FAILURE
        }
    }
}
