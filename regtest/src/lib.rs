//! Runs bitcoind and networks of ampd nodes for the tests, the demo and the benchmark.
//!
//! [`network::Network`] is the top level: one [`bitcoind::Bitcoind`] and any number of
//! [`node::Node`]s, each controlled through its [`api::Api`]. [`provide`] finds bitcoind or
//! downloads it into the directory given by [`places`]. Everything builds on [`process`], which
//! leaves no process running, and [`wait`], which polls instead of sleeping.

pub mod announced;
pub mod api;
pub mod bench;
pub mod binaries;
pub mod bitcoind;
pub mod by_hand;
pub mod crash;
mod debian;
pub mod demo;
pub mod fee_proxy;
pub mod network;
pub mod node;
pub mod peer;
pub mod places;
pub mod ports;
pub mod process;
pub mod provide;
pub mod raw_peer;
pub mod rest;
pub mod small_disk;
pub mod socket;
pub mod trials;
pub mod up;
pub mod wait;
mod watchdog;
pub mod written_invoice;
