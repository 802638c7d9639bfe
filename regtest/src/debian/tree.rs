//! The unpacked packages: a small root directory from which bitcoind is run.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::bitcoind_exe::BitcoindExe;

/// Unpacks the packages into `root`. Their scripts are not run.
pub(super) fn unpack(archives: &[PathBuf], root: &Path) -> Result<()> {
    fs::create_dir(root)?;
    for archive in archives {
        let output = Command::new("dpkg-deb")
            .arg("--extract")
            .arg(archive)
            .arg(root)
            .output()?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!(
                "dpkg-deb cannot unpack {}: {}",
                archive.display(),
                why.trim()
            );
        }
    }
    Ok(())
}

/// bitcoind in `root`, started through the dynamic linker and with the libraries in `root`.
///
/// # Errors
/// If one of them is missing in `root`.
pub(super) fn bitcoind(root: &Path) -> Result<BitcoindExe> {
    let program = root.join("usr/bin/bitcoind");
    if !program.is_file() {
        bail!("{} is missing", program.display());
    }
    let linker = linker(root)?;
    let mut leading = vec![
        OsString::from("--library-path"),
        library_dir(root)?.into_os_string(),
    ];
    leading.push(program.into_os_string());
    Ok(BitcoindExe {
        program: linker,
        leading,
    })
}

/// Finds `ld-linux-x86-64.so.2`, `ld-linux-aarch64.so.1`, ...: name and path depend on the machine.
fn linker(root: &Path) -> Result<PathBuf> {
    let dirs = [root.join("usr/lib64"), root.join("usr/lib")];
    let mut files = dirs.iter().filter_map(|dir| entries(dir).ok()).flatten();
    let found = files.find(|file| name_starts_with(file, "ld-linux"));
    found.with_context(|| format!("no dynamic linker under {}", root.display()))
}

/// The directory of the C library, such as `usr/lib/x86_64-linux-gnu`.
fn library_dir(root: &Path) -> Result<PathBuf> {
    let mut dirs = entries(&root.join("usr/lib"))?.into_iter();
    let found = dirs.find(|dir| dir.join("libc.so.6").exists());
    found.with_context(|| format!("no C library under {}", root.display()))
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let read = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    Ok(read
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .map(|entry| entry.path())
        .collect())
}

fn name_starts_with(file: &Path, start: &str) -> bool {
    file.file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_names_the_missing_bitcoind_or_linker() {
        let root = tempfile::tempdir().unwrap();
        let error = bitcoind(root.path()).unwrap_err().to_string();
        assert!(error.contains("usr/bin/bitcoind"), "{error}");
        fs::create_dir_all(root.path().join("usr/bin")).unwrap();
        fs::write(root.path().join("usr/bin/bitcoind"), "").unwrap();
        let error = bitcoind(root.path()).unwrap_err().to_string();
        assert!(error.contains("linker"), "{error}");
    }
}
