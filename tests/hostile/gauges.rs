//! Resource usage of a node, measured from outside.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use regtest::node::Node;
use rusqlite::{Connection, OpenFlags};

const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Sizes in bytes, and the number of file descriptors.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gauges {
    pub memory: u64,
    pub descriptors: u64,
    pub log: u64,
    /// Size of the database according to SQLite, including pages still in the WAL.
    pub database: u64,
    /// Size of the WAL.
    pub database_log: u64,
}

/// The sources of the readings.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    pid: u32,
    log: PathBuf,
    database: PathBuf,
}

impl Meter {
    pub(crate) fn of(node: &Node) -> Result<Self> {
        Ok(Self {
            pid: node.pid()?,
            log: node.log(),
            database: node.network_dir().join("ampd.sqlite"),
        })
    }

    pub(crate) fn read(&self) -> Result<Gauges> {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.pid))?.count();
        Ok(Gauges {
            memory: self.memory()?,
            descriptors: descriptors as u64,
            log: size(&self.log),
            database: self.database()?,
            database_log: size(&self.database.with_extension("sqlite-wal")),
        })
    }

    fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|line| line.split_whitespace().next());
        let kibibytes: u64 = kibibytes.context("no VmRSS")?.parse()?;
        Ok(kibibytes << 10)
    }

    fn database(&self) -> Result<u64> {
        let db = Connection::open_with_flags(&self.database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
        Ok(u64::from(pragma("page_count")?) * u64::from(pragma("page_size")?))
    }
}

/// Size of a file; 0 if it does not exist.
fn size(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |metadata| metadata.len())
}

/// Takes readings repeatedly and keeps the maximum of each.
pub(crate) struct Watch {
    before: Gauges,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Gauges>>,
}

impl Watch {
    pub(crate) fn start(meter: Meter) -> Result<Self> {
        let before = meter.read()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut most = before;
            while !stopped.load(Ordering::Relaxed) {
                let now = meter.read()?;
                most.memory = most.memory.max(now.memory);
                most.descriptors = most.descriptors.max(now.descriptors);
                most.log = most.log.max(now.log);
                most.database = most.database.max(now.database);
                most.database_log = most.database_log.max(now.database_log);
                thread::sleep(POLL_INTERVAL);
            }
            Ok(most)
        });
        Ok(Self {
            before,
            stop,
            thread,
        })
    }

    /// Returns the first reading and the maximum of each value since.
    pub(crate) fn finish(self) -> Result<(Gauges, Gauges)> {
        self.stop.store(true, Ordering::Relaxed);
        let most = self.thread.join();
        let most = most.map_err(|_| anyhow!("the watcher panicked"))?;
        Ok((self.before, most.context("the node could not be measured")?))
    }
}
