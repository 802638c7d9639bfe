//! ampd with a real lnd, in both directions. Requires lnd and lncli 0.21 in `LND_EXE` and `LNCLI_EXE`;
//! without them tests are reported as skipped.

mod channel_types;
mod closes;
mod commands;
mod incomplete;
mod internal_error;
mod itests;
mod late_joiner;
mod lncli;
mod long_life;
mod manual_shards;
mod network_view;
mod payloads;
mod private;
mod refusals;
mod restarts;
mod rows;
mod scenarios;
mod scene;
mod table;
mod three_routes;

use std::io::Write;
use std::time::Duration;

use anyhow::Result;
use regtest::binaries::{Binaries, LndBinaries};

/// HTLCs of completed payments are removed from the channels within a second or two.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);

fn binaries() -> Binaries {
    Binaries::at(env!("CARGO_BIN_EXE_ampd"))
}

/// Whether lnd is available. If not, reports that the calling test is skipped.
///
/// # Errors
/// If only one of the variables is set, or one is not a file.
fn lnd_is_here() -> Result<bool> {
    let is_here = LndBinaries::named()?.is_some();
    if !is_here {
        // libtest names the thread of a test after it, and does not capture direct writes to stderr.
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a test");
        let why = "LND_EXE and LNCLI_EXE are not set";
        writeln!(std::io::stderr(), "lnd_interop: {test} SKIPPED, {why}")?;
    }
    Ok(is_here)
}
