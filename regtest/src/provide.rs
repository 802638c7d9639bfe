//! Finds bitcoind on this machine, or downloads it.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::debian;

/// Path of the bitcoind to use.
const VARIABLE: &str = "BITCOIND_EXE";

/// How to start bitcoind: the program and any arguments that precede bitcoind's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BitcoindExe {
    pub(crate) program: PathBuf,
    pub(crate) leading: Vec<OsString>,
}

impl BitcoindExe {
    /// Finds bitcoind: in the environment variable `BITCOIND_EXE`, then in PATH, then in the cache in
    /// cargo's target directory. On Debian-like machines an empty cache is filled from Debian's archive.
    ///
    /// Safe to call from several processes at once. Filling the cache takes about ten seconds.
    ///
    /// # Errors
    /// Says what to install and which variable to set.
    pub fn find() -> Result<Self> {
        if let Some(named) = env::var_os(VARIABLE).filter(|named| !named.is_empty()) {
            let program = PathBuf::from(named);
            if !program.is_file() {
                bail!("{VARIABLE} is {}, which is not a file", program.display());
            }
            return Ok(Self::plain(program));
        }
        if let Some(program) = on_path("bitcoind", &env::var_os("PATH").unwrap_or_default()) {
            return Ok(Self::plain(program));
        }
        debian::provide().with_context(|| {
            format!(
                "no bitcoind found: install Bitcoin Core or Bitcoin Knots 29 or later so that \
                `bitcoind` is on PATH, or set {VARIABLE} to its path"
            )
        })
    }

    /// The beginning of bitcoind's command line.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.leading);
        command
    }

    /// The beginning of the command line of the bitcoin-cli next to this bitcoind.
    ///
    /// # Errors
    /// If there is no bitcoin-cli next to it.
    pub fn cli(&self) -> Result<Vec<OsString>> {
        let mut line = vec![self.program.clone().into_os_string()];
        line.extend(self.leading.iter().cloned());
        let bitcoind = line
            .pop()
            .context("the command line of bitcoind is empty")?;
        let cli = Path::new(&bitcoind).with_file_name("bitcoin-cli");
        if !cli.is_file() {
            bail!("{} is missing", cli.display());
        }
        line.push(cli.into_os_string());
        Ok(line)
    }

    fn plain(program: PathBuf) -> Self {
        Self {
            program,
            leading: Vec::new(),
        }
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
