//! ampd: a standalone Lightning node on LDK that sends and receives Atomic Multi-path Payments.
//!
//! A module is a room: one thing that the node is about. Rooms depend downwards only, in this order:
//!
//! * [`cli`] (ampcli), and [`node`], which opens, wires, runs and stops everything below;
//! * [`rpc`]: lnd's interface, gRPC and REST; translates, decides nothing;
//! * [`web`]: the donation page;
//! * [`payments`] (sending) over [`invoices`] (receiving) and [`channels`];
//! * [`peers`], [`routing`], [`wallet`], [`chain`] (bitcoind) and [`storage`] (SQLite, one writer);
//! * [`onion`]: where AMP meets LDK's wire;
//! * [`amp`]: AMP itself, pure; [`macaroons`], [`config`], [`files`], [`amount`], [`harmless`] text,
//!   [`qr`] codes, [`bip21`] links, [`open_files`], [`abort`] for the crash tests, [`panics`], [`logging`],
//!   [`log_levels`], [`rates`], [`signals`], and LDK's types, named once in [`ldk`].
//!
//! ARCHITECTURE.md has the way of a payment through them.

pub mod abort;
pub mod amount;
pub mod amp;
pub mod bip21;
pub mod chain;
pub mod channels;
pub mod cli;
pub mod config;
pub mod files;
pub mod harmless;
pub mod invoices;
pub mod ldk;
pub mod log_levels;
pub mod logger;
pub mod logging;
pub mod macaroons;
pub mod node;
pub mod onion;
pub mod open_files;
pub mod panics;
pub mod payments;
pub mod peers;
pub mod qr;
pub mod rates;
pub mod routing;
pub mod rpc;
pub mod signals;
pub mod storage;
pub mod wallet;
pub mod web;
