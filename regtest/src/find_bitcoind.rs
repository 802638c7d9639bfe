//! Finds bitcoind on this machine, or downloads it.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::bitcoind_exe::BitcoindExe;
use crate::debian;
use crate::paths::on_path;

/// Path of the bitcoind to use.
const VARIABLE: &str = "BITCOIND_EXE";

/// Finds bitcoind: in the environment variable `BITCOIND_EXE`, then in PATH, then in the cache in
/// cargo's target directory. On Debian-like machines an empty cache is filled from Debian's archive.
///
/// Safe to call from several processes at once. Filling the cache takes about ten seconds.
///
/// # Errors
/// Says what to install and which variable to set.
pub fn find() -> Result<BitcoindExe> {
    if let Some(named) = env::var_os(VARIABLE).filter(|named| !named.is_empty()) {
        let program = PathBuf::from(named);
        if !program.is_file() {
            bail!("{VARIABLE} is {}, which is not a file", program.display());
        }
        return Ok(BitcoindExe::plain(program));
    }
    if let Some(program) = on_path("bitcoind", &env::var_os("PATH").unwrap_or_default()) {
        return Ok(BitcoindExe::plain(program));
    }
    debian::provide().with_context(|| {
        format!(
            "no bitcoind found: install Bitcoin Core or Bitcoin Knots 29 or later so that \
            `bitcoind` is on PATH, or set {VARIABLE} to its path"
        )
    })
}
