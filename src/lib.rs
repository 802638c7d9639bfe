//! ampd: a standalone Lightning node on LDK that sends and receives Atomic Multi-path Payments.

pub mod amp;
pub mod ldk;
pub mod logger;
pub mod onion;
