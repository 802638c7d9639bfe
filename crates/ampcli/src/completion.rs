//! Shell completions and man pages: `completion`, `man`.

use std::path::Path;

use clap::{Args, Command};
use clap_complete::Shell;

use super::connection::expanded;
use super::error::CliError;
use super::output::print_text;

/// Print the completion script for a shell.
#[derive(Debug, Args)]
pub(crate) struct Completion {
    /// Shell for which to print completions
    shell: Shell,
}

impl Completion {
    pub(crate) fn run(&self, mut command: Command) -> Result<(), CliError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "ampcli", &mut script);
        print_text(&String::from_utf8_lossy(&script))
    }
}

/// Write man pages to a directory: ampcli.1 and one per command.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Output directory, which is created if it does not exist
    directory: String,
}

impl Man {
    pub(crate) fn run(&self, command: Command) -> Result<(), CliError> {
        let directory = expanded(&self.directory)?;
        let written = std::fs::create_dir_all(&directory)
            .and_then(|()| clap_mangen::generate_to(command, &directory));
        written.map_err(|error| write_error(&directory, &error))?;
        print_text(&format!("Man pages written to {}\n", directory.display()))
    }
}

fn write_error(directory: &Path, error: &std::io::Error) -> CliError {
    let directory = directory.display();
    CliError::Text(format!("cannot write man pages to {directory}: {error}"))
}
