//! A small file system that can be filled, for tests of a node with a full disk.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::watchdog;

const FILLER: &str = "filler";
/// Decreasing write sizes: the last blocks of a file system accept only small writes.
const CHUNKS: [usize; 3] = [1 << 20, 1 << 12, 1];

/// A tmpfs mounted on a directory, unmounted when this is dropped or the process dies.
#[derive(Debug)]
pub struct SmallDisk {
    dir: PathBuf,
}

impl SmallDisk {
    /// Why no tmpfs can be mounted here, if so.
    pub fn obstacle() -> Option<String> {
        let attempt = tempfile::tempdir()
            .map_err(anyhow::Error::from)
            // Unmounted before the directory is removed.
            .and_then(|dir| Self::mount(dir.path(), 1).map(drop));
        let error = attempt.err()?;
        Some(format!("{error:#} (mounting needs root)"))
    }

    /// Mounts a tmpfs of `mib` MiB at `dir`, which is created.
    ///
    /// # Errors
    /// If this is not permitted.
    pub fn mount(dir: &Path, mib: u32) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let options = format!("size={mib}m,mode=0700");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "regtest"])
            .arg(dir)
            .output()
            .context("cannot start mount")?;
        let error = String::from_utf8_lossy(&mount.stderr);
        ensure!(
            mount.status.success(),
            "no tmpfs can be mounted: {}",
            error.lines().next().unwrap_or_default()
        );
        watchdog::watch_mount(dir);
        Ok(Self {
            dir: dir.to_owned(),
        })
    }

    /// Fills it to the last byte.
    pub fn fill(&self) -> Result<()> {
        let mut file = File::create(self.dir.join(FILLER))?;
        for size in CHUNKS {
            let chunk = vec![0; size];
            loop {
                match file.write(&chunk) {
                    Ok(0) => bail!("a write of nothing"),
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).context("cannot fill the disk"),
                }
            }
        }
        Ok(())
    }

    /// Frees the space again.
    pub fn clear(&self) -> Result<()> {
        Ok(fs::remove_file(self.dir.join(FILLER))?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazy unmount: a process with files in this directory may still be exiting.
        let _ = Command::new("umount").arg("-l").arg(&self.dir).output();
    }
}
