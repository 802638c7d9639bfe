//! What the benchmarks of long histories share.

pub(crate) mod fill;
mod samples;

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};

pub(crate) use samples::Samples;

/// Reads a file so that it is in the operating system's cache; returns its length.
pub(crate) fn warm(file: &Path) -> Result<u64> {
    Ok(std::io::copy(&mut File::open(file)?, &mut std::io::sink())?)
}

/// Reads a field of `/proc/<pid>/status`, in MB.
pub(crate) fn memory_mb(pid: &str, field: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with(field));
    let kb = line.and_then(|line| line.split_whitespace().nth(1));
    let kb: u64 = kb.with_context(|| format!("no {field}"))?.parse()?;
    Ok(kb.div_ceil(1024))
}
