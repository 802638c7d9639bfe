//! Configuration errors: one line each, with the place of the mistake and its remedy.

use std::io::{self, Write};
use std::path::PathBuf;

use super::keys::Key;
use super::source::Source;

/// An error in the flags, the environment or the config file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A wrong flag, or a request for help or the version; clap provides the text.
    #[error("{0}")]
    Arguments(clap::Error),
    #[error(
        "--{key} is not a flag, because any local user can list the flags of a process; \
         set {key} in the config file or {variable} in the environment"
    )]
    SecretFlag { key: &'static str, variable: String },
    #[error("cannot read the config file {path}: {source}", path = path.display())]
    ReadFile {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path}, line {line}: {message}", path = path.display())]
    Syntax {
        path: PathBuf,
        line: usize,
        message: String,
    },
    #[error(
        "unknown key {key:?} in {path}; did you mean {nearest:?}?",
        path = path.display()
    )]
    UnknownKey {
        key: String,
        path: PathBuf,
        nearest: &'static str,
    },
    #[error("{}: found {found}, expected {expected}", place.name_of(key))]
    Value {
        key: &'static Key,
        place: Source,
        found: String,
        expected: String,
    },
    #[error("{0}")]
    Conflict(String),
    #[error("{path:?} begins with ~, but the environment variable HOME is not set")]
    NoHome { path: String },
}

impl ConfigError {
    /// Returns the exit code for this error: 0 for help, 2 for wrong flags, 78 (`EX_CONFIG` of
    /// sysexits) for the rest.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            // clap returns 0 or 2.
            ConfigError::Arguments(error) => u8::try_from(error.exit_code()).unwrap_or(2),
            ConfigError::SecretFlag { .. } => 2,
            _ => 78,
        }
    }

    /// Prints the error to stderr, or the requested help to stdout.
    pub fn print(&self) {
        match self {
            // Nothing can be done if stdout or stderr is closed.
            ConfigError::Arguments(error) => drop(error.print()),
            other => {
                let _ = writeln!(io::stderr(), "ampd: {other}");
            }
        }
    }
}
