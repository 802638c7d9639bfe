//! ampd: a standalone Lightning node on LDK that sends and receives Atomic Multi-path Payments.
//!
//! Each module depends only on those below it:
//!
//! * [`node`]: the composition root: opens, connects, runs and stops everything below;
//! * [`rpc`]: lnd's API over gRPC and REST, without business logic of its own;
//! * [`web`]: the donation page;
//! * [`payments`] (sending), [`invoices`] (receiving) and [`channels`];
//! * [`peers`] and [`channel_messages`], [`routing`], [`wallet`], [`chain`] (bitcoind), and [`storage`]
//!   (SQLite, one writer);
//! * [`model`]: invoices, HTLCs, payments and forwards as plain data;
//! * [`clock`], [`config`], [`logging`], [`log_levels`], [`open_files`], [`panics`], [`rates`],
//!   [`signals`], and LDK's types with this node's parameters in [`ldk`].
//!
//! AMP itself is in the crate `ldk-amp`, lnd's messages are in `lnd-api`, its macaroons in `lnd-macaroon`.
//! ARCHITECTURE.md follows a payment through the modules.

#![allow(
    missing_docs,
    reason = "a program: what is public is public for its tests"
)]

pub mod chain;
pub mod channel_messages;
pub mod channels;
pub mod clock;
pub mod config;
pub mod invoices;
pub mod ldk;
pub mod log_levels;
pub mod logging;
pub mod message_signing;
pub mod model;
pub mod node;
pub mod open_files;
pub mod panics;
pub mod payments;
pub mod peers;
pub mod rates;
pub mod routing;
pub mod rpc;
pub mod signals;
pub mod storage;
mod sync;
pub mod wallet;
pub mod web;
