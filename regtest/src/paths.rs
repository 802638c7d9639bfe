//! Paths: the workspace, its target directory, temporary directories, programs.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::watchdog;

/// Set to keep the directories of bitcoind and the nodes for inspection.
const KEEP: &str = "REGTEST_KEEP";

/// The workspace's root directory at compile time.
pub fn workspace() -> &'static Path {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_dir.parent().unwrap_or(crate_dir)
}

/// Cargo's target directory: the one that contains this executable, wherever it was configured.
pub fn target() -> PathBuf {
    let exe = env::current_exe().unwrap_or_default();
    exe.ancestors()
        // Cargo marks its target directory with this file.
        .find(|dir| dir.join("CACHEDIR.TAG").is_file())
        .map_or_else(|| workspace().join("target"), Path::to_path_buf)
}

/// A directory that is removed with its contents when it is dropped or when this process dies.
#[derive(Debug)]
pub struct Scratch {
    dir: PathBuf,
    /// `None` if the directory is to be kept.
    guard: Option<TempDir>,
}

impl Scratch {
    /// Creates one in the system's temporary directory.
    pub fn new() -> Result<Self> {
        let made = tempfile::Builder::new().prefix("regtest-").tempdir();
        let made = made.context("cannot create a temporary directory")?;
        if env::var_os(KEEP).is_some() {
            let dir = made.keep();
            eprintln!("{KEEP} is set: keeping {}", dir.display());
            return Ok(Self { dir, guard: None });
        }
        watchdog::watch_dir(made.path());
        Ok(Self {
            dir: made.path().to_owned(),
            guard: Some(made),
        })
    }

    /// Path of the directory.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Whether the directory will be removed.
    pub fn is_temporary(&self) -> bool {
        self.guard.is_some()
    }
}

/// The first executable file with this name in a PATH-like list of directories.
pub(crate) fn on_path(name: &str, path: &OsString) -> Option<PathBuf> {
    env::split_paths(path)
        .map(|dir| dir.join(name))
        .find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn finds_only_executable_files_on_the_path() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(first.path().join("bitcoind"), "no program").unwrap();
        let program = second.path().join("bitcoind");
        fs::write(&program, "#!/bin/sh").unwrap();
        let path = env::join_paths([first.path(), second.path()]).unwrap();
        assert_eq!(on_path("bitcoind", &path), None);
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(on_path("bitcoind", &path), Some(program));
    }
}
