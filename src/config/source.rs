//! The place where a value was set.

use std::path::PathBuf;

use super::keys::Key;

/// The source of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Flag,
    Environment,
    File(PathBuf),
    Default,
}

impl Source {
    /// Returns the key as the user wrote it: `--accept-amp`, `AMPD_ACCEPT_AMP`, `accept-amp in ampd.toml`.
    #[must_use]
    pub fn name_of(&self, key: &Key) -> String {
        match self {
            Source::Flag => format!("--{}", key.name),
            Source::Environment => key.variable(),
            Source::File(path) => format!("{} in {}", key.name, path.display()),
            Source::Default => format!("{} (default)", key.name),
        }
    }
}
