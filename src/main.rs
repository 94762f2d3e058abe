//! The binary: TLS provider, arguments, run.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Already installed means that the same one is in place.
    let _: Result<(), _> = rustls::crypto::ring::default_provider().install_default();
    bellwether::cli::main()
}
