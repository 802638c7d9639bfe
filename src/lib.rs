//! ampd: a standalone Lightning node on LDK that sends and receives Atomic Multi-path Payments.

pub mod amount;
pub mod cli;
pub mod config;
pub mod ldk;
pub mod logger;
pub mod rpc;
