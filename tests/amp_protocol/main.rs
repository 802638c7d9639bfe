//! AMP on in-memory networks of unmodified LDK nodes.

mod gateway;
mod network;
