//! Disk speed: the lower bound for the cost of a durable commit.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

const PAGE: usize = 4_096;
/// SQLite restarts its WAL from the beginning at this length, in pages.
const PAGES: u64 = 1_000;
const SAMPLES: u64 = 300;

/// Returns the median time to write one page and fdatasync it, in a preallocated file in `dir`.
pub(super) fn sync_p50(dir: &Path) -> Result<Duration> {
    let file = tempfile::tempfile_in(dir)?;
    for page in 0..PAGES {
        file.write_all_at(&[1; PAGE], page * PAGE as u64)?;
    }
    file.sync_all()?;
    let times = (0..SAMPLES).map(|sample| write(&file, sample % PAGES));
    let mut times = times.collect::<Result<Vec<_>>>()?;
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

fn write(file: &File, page: u64) -> Result<Duration> {
    let start = Instant::now();
    file.write_all_at(&[2; PAGE], page * PAGE as u64)?;
    file.sync_data()?;
    Ok(start.elapsed())
}
