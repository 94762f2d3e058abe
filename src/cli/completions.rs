//! `bellwether completions`: what a shell needs to complete commands and flags.

use std::process::ExitCode;

use clap::Parser;
use clap_complete::Shell;

use super::output::write;

/// Print the completions of a shell.
///
/// bash: bellwether completions bash > /etc/bash_completion.d/bellwether
///
/// zsh: bellwether completions zsh > "${fpath[1]}/_bellwether"
///
/// fish: bellwether completions fish > ~/.config/fish/completions/bellwether.fish
#[derive(Debug, Parser)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self, mut command: clap::Command) -> anyhow::Result<ExitCode> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut command, "bellwether", &mut text);
        write(&String::from_utf8_lossy(&text))?;
        Ok(ExitCode::SUCCESS)
    }
}
