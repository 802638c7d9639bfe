//! ampd and a real lnd, both ways. Needs lnd and lncli 0.21: the variables `LND_EXE` and `LNCLI_EXE`
//! name them. Without them each test says that it was skipped.

mod channel_types;
mod closes;
mod commands;
mod hand_made;
mod incomplete;
mod internal_error;
mod itests;
mod late_joiner;
mod lncli;
mod long_life;
mod network_view;
mod payloads;
mod private;
mod refusals;
mod restarts;
mod rows;
mod scenarios;
mod scene;
mod table;
mod three_ways;

use std::io::Write;
use std::time::Duration;

use anyhow::Result;
use regtest::binaries::{Binaries, LndBinaries};

/// HTLCs of a finished payment leave the channels within a second or two.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);

fn binaries() -> Binaries {
    Binaries::at(env!("CARGO_BIN_EXE_ampd"), env!("CARGO_BIN_EXE_ampcli"))
}

/// Whether there is an lnd to test against. If not, this says that the calling test is skipped.
///
/// # Errors
/// If only one of the variables is set, or one names no file.
fn lnd_is_here() -> Result<bool> {
    let is_here = LndBinaries::named()?.is_some();
    if !is_here {
        // libtest names the thread of a test after it. It does not hold back what is written here.
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a test");
        let why = "LND_EXE and LNCLI_EXE name no lnd";
        writeln!(std::io::stderr(), "lnd_interop: {test} SKIPPED, {why}")?;
    }
    Ok(is_here)
}
