//! ampd: a standalone Lightning node on LDK that sends and receives Atomic Multi-path Payments.

pub mod amount;
pub mod amp;
pub mod chain;
pub mod channels;
pub mod cli;
pub mod config;
pub mod invoices;
pub mod ldk;
pub mod logger;
pub mod node;
pub mod onion;
pub mod payments;
pub mod peers;
pub mod routing;
pub mod rpc;
pub mod storage;
pub mod wallet;
