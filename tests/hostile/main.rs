//! What strangers can do to a node: they have neither money nor a channel, but as many keys and connections as they like.
//!
//! Each test lets them attack a real node and watches what the owner of a small board cares about ([`limits`]): memory,
//! disk, log, file descriptors, honest payments through the node, forced closes and claims of HTLCs, newcomers who want a
//! channel. Tests take turns, since they measure.

mod attacker;
mod connections;
mod escape;
mod gauges;
mod honest;
mod limits;
mod log_lines;
mod made_up_channels;
mod malformed;
mod memory;
mod newcomer;
mod scene;
mod slow_log;
mod wrong_announcements;

use regtest::binaries::Binaries;

fn binaries() -> Binaries {
    Binaries::at(env!("CARGO_BIN_EXE_ampd"), env!("CARGO_BIN_EXE_ampcli"))
}
