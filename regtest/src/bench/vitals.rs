//! Memory and database size of a node.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::meters::Meter;
use crate::node::Node;

/// The database of ampd; the names of its write-ahead log and index begin with it.
const DATABASE: &str = "ampd.sqlite";

/// What a running ampd occupies, in bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Vitals {
    /// Memory in use (RSS).
    pub rss: u64,
    /// Size of the database with its write-ahead log.
    pub database: u64,
    /// Size of LDK's channel manager.
    pub manager: u64,
}

impl Vitals {
    /// Reads them.
    ///
    /// # Errors
    /// If the node is not running, or not ampd.
    pub(super) async fn of(node: &Node, meter: &Meter) -> Result<Self> {
        Ok(Self {
            rss: rss(node.pid()?)?,
            database: database(&node.network_dir())?,
            manager: meter.manager_size().await?,
        })
    }
}

/// Returns the memory that a process uses, in bytes.
pub(super) fn rss(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next());
    let kibibytes: u64 = kibibytes.context("no VmRSS")?.parse()?;
    Ok(kibibytes * 1_024)
}

/// Returns the size in bytes of the database's files in this directory.
fn database(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(DATABASE) {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

/// Converts bytes to MB.
pub(super) fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn database_includes_its_write_ahead_log() {
        let dir = tempfile::tempdir().unwrap();
        for (file, bytes) in [("ampd.sqlite", 5), ("ampd.sqlite-wal", 70), ("seed", 900)] {
            fs::write(dir.path().join(file), vec![0; bytes]).unwrap();
        }
        assert_eq!(database(dir.path()).unwrap(), 75);
    }

    #[test]
    fn this_process_uses_memory() {
        let megabytes = mb(rss(std::process::id()).unwrap());
        assert!((1.0..10_000.0).contains(&megabytes), "{megabytes}");
    }
}
