//! How fast the disk is: the least that a durable commit costs.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

const PAGE: usize = 4_096;
/// SQLite's log, too, is written from its beginning again once it is so long.
const PAGES: u64 = 1_000;
const SAMPLES: u64 = 300;

/// The median of a write of one page and its fdatasync, in a file of this directory that has its
/// length already.
pub fn sync_p50(dir: &Path) -> Result<Duration> {
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
