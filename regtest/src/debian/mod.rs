//! Gets bitcoind from Debian's archive without root and without installing anything.
//!
//! Debian ships Bitcoin Knots, which includes `bitcoind`, in trixie-backports. The machine may run
//! another release with an older C library, so the package is downloaded with all its libraries and
//! bitcoind is started through the dynamic linker of that set.

mod apt;
mod mirrors;
mod tree;

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

use crate::bitcoind_exe::BitcoindExe;
use crate::paths::{self, on_path};

/// Required tools, part of every Debian-like system.
const TOOLS: [&str; 3] = ["apt-get", "dpkg-deb", "apt-config"];

const WORK_PREFIX: &str = "fetch-";

/// Returns the cached bitcoind, downloading it first if the cache is empty.
///
/// # Errors
/// If this machine is not Debian-like, or the archive cannot be reached or verified.
pub(crate) fn provide() -> Result<BitcoindExe> {
    provide_in(&paths::target().join("regtest-bitcoind"))
}

fn provide_in(cache: &Path) -> Result<BitcoindExe> {
    // The number is the version of the cache layout: later versions of this code ignore old caches.
    let ready = cache.join("knots-1");
    if !ready.is_dir() {
        check_tools()?;
        fs::create_dir_all(cache)
            .with_context(|| format!("cannot create the directory {}", cache.display()))?;
        let lock = File::create(cache.join("lock"))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        // Another process may have filled the cache while this one waited for the lock.
        if !ready.is_dir() {
            fill(cache, &ready)?;
        }
    }
    tree::bitcoind(&ready)
}

/// Downloads and unpacks next to `ready`, then renames: `ready` is either complete or missing.
fn fill(cache: &Path, ready: &Path) -> Result<()> {
    remove_leftovers(cache)?;
    eprintln!("regtest: no bitcoind found, downloading it from Debian's archive");
    let work = tempfile::Builder::new()
        .prefix(WORK_PREFIX)
        .tempdir_in(cache)?;
    let archives = fetch(work.path())?;
    let root = work.path().join("root");
    tree::unpack(&archives, &root)?;
    let found = tree::bitcoind(&root)?;
    let output = found.command().arg("-version").output()?;
    if !output.status.success() {
        bail!("the downloaded bitcoind does not start: {}", output.status);
    }
    fs::rename(&root, ready)?;
    Ok(())
}

/// Removes files left by a process killed while downloading. The lock is held, so none is active.
fn remove_leftovers(cache: &Path) -> Result<()> {
    for entry in fs::read_dir(cache)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(WORK_PREFIX) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Tries one mirror after the other.
fn fetch(work: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut failures = Vec::new();
    let mirrors = mirrors::candidates();
    if mirrors.is_empty() {
        bail!("this machine's apt sources contain no Debian mirror to download bitcoind from");
    }
    for (number, mirror) in mirrors.into_iter().enumerate() {
        match apt::fetch(&work.join(format!("apt-{number}")), &mirror) {
            Ok(archives) => return Ok(archives),
            Err(error) => failures.push(format!("{}: {error:#}", mirror.uri)),
        }
    }
    bail!(
        "cannot download bitcoin-knots with apt-get:\n{}",
        failures.join("\n")
    )
}

fn check_tools() -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    for tool in TOOLS {
        if on_path(tool, &path).is_none() {
            bail!("`{tool}` is missing, so bitcoind cannot be downloaded from Debian");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filled_cache_needs_no_tools() {
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
