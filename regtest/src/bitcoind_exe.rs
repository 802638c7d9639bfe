//! The command that starts bitcoind.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The command that starts bitcoind: the program and any arguments that precede bitcoind's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BitcoindExe {
    pub(crate) program: PathBuf,
    pub(crate) leading: Vec<OsString>,
}

impl BitcoindExe {
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

    /// A bitcoind that is started directly.
    pub(crate) fn plain(program: PathBuf) -> Self {
        Self {
            program,
            leading: Vec::new(),
        }
    }
}
