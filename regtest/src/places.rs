//! Where things are: the workspace, its target directory, a test's own directory.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::watchdog;

/// Set to keep the directories of bitcoind and the nodes for a look afterwards.
const KEEP: &str = "REGTEST_KEEP";

/// The workspace's root directory, as it was when this crate was compiled.
pub fn workspace() -> &'static Path {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_dir.parent().unwrap_or(crate_dir)
}

/// Cargo's target directory: the one this executable lies in, wherever the user has put it.
pub fn target() -> PathBuf {
    let exe = env::current_exe().unwrap_or_default();
    exe.ancestors()
        // Cargo marks its target directory with this file.
        .find(|dir| dir.join("CACHEDIR.TAG").is_file())
        .map_or_else(|| workspace().join("target"), Path::to_path_buf)
}

/// A directory that is removed with all it holds when it is dropped, or when this process dies.
#[derive(Debug)]
pub struct Scratch {
    dir: PathBuf,
    /// `None` if the user wants to keep it.
    guard: Option<TempDir>,
}

impl Scratch {
    /// Makes one in the system's directory for temporary files.
    pub fn new() -> Result<Self> {
        let made = tempfile::Builder::new().prefix("regtest-").tempdir();
        let made = made.context("cannot make a temporary directory")?;
        if env::var_os(KEEP).is_some() {
            let dir = made.keep();
            eprintln!("{KEEP} is set: {} stays", dir.display());
            return Ok(Self { dir, guard: None });
        }
        watchdog::watch_dir(made.path());
        Ok(Self {
            dir: made.path().to_owned(),
            guard: Some(made),
        })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Whether it will be removed at the end.
    pub fn is_temporary(&self) -> bool {
        self.guard.is_some()
    }
}
