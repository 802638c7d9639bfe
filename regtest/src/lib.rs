//! Runs bitcoind and networks of ampd nodes for the tests, the demo and the benchmark.
//!
//! [`network::Network`] is the top level: one [`bitcoind::Bitcoind`] and any number of
//! [`node::Node`]s, each controlled through its [`api::Api`]. [`find_bitcoind`] finds bitcoind or
//! downloads it into the directory given by [`paths`]. Everything builds on [`process`], which
//! leaves no process running, and [`wait`], which polls instead of sleeping.

#![allow(
    missing_docs,
    reason = "a test harness, for the tests of this repository"
)]
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that asks for something impossible may panic"
)]

pub mod announced;
pub mod api;
pub mod bench;
pub mod binaries;
pub mod bitcoind;
pub mod bitcoind_exe;
pub mod channel_point;
pub mod crash;
mod debian;
pub mod demo;
pub mod fee_proxy;
pub mod find_bitcoind;
pub mod manual_amp;
pub mod network;
pub mod node;
pub mod paths;
pub mod peer;
pub mod ports;
pub mod process;
pub mod raw_peer;
pub mod rest;
pub mod socket;
pub mod tmpfs;
pub mod trials;
pub mod up;
pub mod wait;
mod watchdog;
pub mod written_invoice;
