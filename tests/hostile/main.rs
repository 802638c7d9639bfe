//! Attacks by unknown peers, which have neither funds nor a channel, but any number of keys and
//! connections.
//!
//! Each test attacks a real node and measures what matters to the owner of a small board ([`limits`]):
//! memory, disk, log, file descriptors, honest payments through the node, forced closes and claims of
//! HTLCs, new peers that want a channel. Tests run one at a time because they measure.

mod attacker;
mod connections;
mod escape;
mod gauges;
mod honest;
mod limits;
mod log_lines;
mod malformed;
mod memory;
mod new_peer;
mod scene;
mod slow_log;
mod unfunded_channels;
mod wrong_announcements;

use regtest::binaries::Binaries;

fn binaries() -> Binaries {
    Binaries::at(env!("CARGO_BIN_EXE_ampd"))
}
