//! Takes bitcoind from Debian's archive without root and without installing anything.
//!
//! Debian ships Bitcoin Knots, which contains `bitcoind`, in the backports of trixie. The machine
//! may run another release with an older C library, so the package is fetched with all libraries
//! that it depends on, and bitcoind is started through the dynamic linker of that set.

mod apt;
mod mirrors;
mod tree;

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

use crate::places;
use crate::provide::{BitcoindExe, on_path};

/// The tools that this needs; all of them are part of every Debian-like system.
const TOOLS: [&str; 3] = ["apt-get", "dpkg-deb", "apt-config"];

const WORK_PREFIX: &str = "fetch-";

/// The cached bitcoind, fetched first if the cache is empty.
///
/// # Errors
/// If this machine is not Debian-like, or the archive could not be reached or verified.
pub fn provide() -> Result<BitcoindExe> {
    provide_in(&places::target().join("regtest-bitcoind"))
}

fn provide_in(cache: &Path) -> Result<BitcoindExe> {
    // The number tells layouts of the cache apart: a later version of this code ignores old ones.
    let ready = cache.join("knots-1");
    if !ready.is_dir() {
        check_tools()?;
        fs::create_dir_all(cache)
            .with_context(|| format!("cannot make the directory {}", cache.display()))?;
        let lock = File::create(cache.join("lock"))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        // Another process may have filled the cache while this one waited for the lock.
        if !ready.is_dir() {
            fill(cache, &ready)?;
        }
    }
    tree::bitcoind(&ready)
}

/// Fetches and unpacks beside `ready`, then renames: `ready` is complete or is not there.
fn fill(cache: &Path, ready: &Path) -> Result<()> {
    remove_leftovers(cache)?;
    eprintln!("regtest: no bitcoind on this machine, fetching one from Debian's archive");
    let work = tempfile::Builder::new()
        .prefix(WORK_PREFIX)
        .tempdir_in(cache)?;
    let archives = fetch(work.path())?;
    let root = work.path().join("root");
    tree::unpack(&archives, &root)?;
    let found = tree::bitcoind(&root)?;
    let output = found.command().arg("-version").output()?;
    if !output.status.success() {
        bail!(
            "the bitcoind that was fetched does not run: {}",
            output.status
        );
    }
    fs::rename(&root, ready)?;
    Ok(())
}

/// What a process left that was killed while it fetched. The lock is held, so none is at work.
fn remove_leftovers(cache: &Path) -> Result<()> {
    for entry in fs::read_dir(cache)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(WORK_PREFIX) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Asks one mirror after the other.
fn fetch(work: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut failures = Vec::new();
    let mirrors = mirrors::candidates();
    if mirrors.is_empty() {
        bail!(
            "this machine's apt sources name no Debian mirror, so bitcoind cannot be taken from it"
        );
    }
    for (number, mirror) in mirrors.into_iter().enumerate() {
        match apt::fetch(&work.join(format!("apt-{number}")), &mirror) {
            Ok(archives) => return Ok(archives),
            Err(error) => failures.push(format!("{}: {error:#}", mirror.uri)),
        }
    }
    bail!(
        "cannot fetch bitcoin-knots with apt-get:\n{}",
        failures.join("\n")
    )
}

fn check_tools() -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    for tool in TOOLS {
        if on_path(tool, &path).is_none() {
            bail!("this machine has no `{tool}`, so bitcoind cannot be taken from Debian");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filled_cache_is_used_without_any_tool() {
        let cache = tempfile::tempdir().unwrap();
        let root = cache.path().join("knots-1");
        for file in [
            "usr/bin/bitcoind",
            "usr/lib64/ld-linux-x86-64.so.2",
            "usr/lib/x/libc.so.6",
        ] {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), "").unwrap();
        }
        let found = provide_in(cache.path()).unwrap();
        assert_eq!(found.program, root.join("usr/lib64/ld-linux-x86-64.so.2"));
        assert_eq!(
            found.leading.last().unwrap(),
            root.join("usr/bin/bitcoind").as_os_str()
        );
    }
}
