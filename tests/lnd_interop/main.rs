//! ampd with a real lnd, in both directions. Requires lnd and lncli 0.21 in `LND_EXE` and `LNCLI_EXE`;
//! without them all tests are ignored.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed test may panic"
)]

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

use std::process::ExitCode;
use std::time::Duration;

use regtest::binaries::Binaries;
use regtest::node::Software::Lnd;
use regtest::trials;

/// HTLCs of completed payments are removed from the channels within a second or two.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let lists = [
        channel_types::trials(),
        closes::trials(),
        commands::trials(),
        incomplete::trials(),
        internal_error::trials(),
        itests::trials(),
        late_joiner::trials(),
        lncli::trials(),
        long_life::trials(),
        network_view::trials(),
        payloads::trials(),
        private::trials(),
        refusals::trials(),
        restarts::trials(),
        rows::trials(),
        table::trials(),
        three_routes::trials(),
    ];
    trials::run(lists.map(|list| list.ignored_if(trials::missing(Lnd))))
}

fn binaries() -> Binaries {
    Binaries::at(env!("CARGO_BIN_EXE_ampd"))
}
