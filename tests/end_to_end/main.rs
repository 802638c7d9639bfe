//! Tests with real nodes on a real chain: ampd processes and bitcoind on regtest.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed test may panic"
)]

mod amp;
mod amp_invoice;
mod ampcli;
mod api_clients;
mod backups;
mod big_network;
mod bitcoind_fails;
mod bolt11;
mod broadcasts;
mod chain;
mod close;
mod close_all;
mod close_fees;
mod crash;
mod crash_close;
mod crash_late;
mod file_names;
mod forced_close;
mod graph;
mod held;
mod history;
mod invoices;
mod late_joiner;
mod logs;
mod metrics;
mod on_chain;
mod one_node;
mod open_refused;
mod outages;
mod panics;
mod payment_commands;
mod peer_storage;
mod peers;
mod reorgs;
mod routes;
mod sender_restarts;
mod static_invoice;
mod terminal;
mod unfunded_channels;
mod unknown_peers;
mod unwritable;

use std::time::Duration;

use regtest::binaries::Binaries;

/// HTLCs of completed payments are removed from the channels within a second or two.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);

fn binaries() -> Binaries {
    Binaries::at(env!("CARGO_BIN_EXE_ampd"))
}
