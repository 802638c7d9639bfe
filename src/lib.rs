//! ampd: a standalone Lightning node on LDK that sends and receives Atomic Multi-path Payments.

pub mod ldk;
pub mod logger;
pub mod rpc;
