//! The properties of the machine that the results depend on.

use std::fs;
use std::io;

use serde::Serialize;

/// The machine, before the benchmark.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    cores: usize,
    /// Over 1, 5 and 15 minutes, as Linux prints it.
    load_average: String,
    /// Whether this program is a debug build, and thus ampd.
    is_debug_build: bool,
}

impl Machine {
    pub(super) fn read() -> io::Result<Self> {
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load: Vec<_> = load.split_whitespace().take(3).collect();
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            load_average: load.join(" "),
            is_debug_build: cfg!(debug_assertions),
        })
    }

    pub(super) fn print(&self) {
        println!(
            "{} cores for all nodes, bitcoind and this client; load average before: {}",
            self.cores, self.load_average
        );
        if self.is_debug_build {
            println!("WARNING: this is a debug build; run with --release for meaningful results");
        }
    }
}
