//! Conversion between lnd's messages and the node's types, both ways.

pub(in crate::rpc) mod errors;
pub(in crate::rpc) mod features;
pub(in crate::rpc) mod invoice;
pub(in crate::rpc) mod new_invoice;
pub(in crate::rpc) mod on_chain;
pub(in crate::rpc) mod parse;
pub(in crate::rpc) mod payment;
pub(in crate::rpc) mod query_routes;
pub(in crate::rpc) mod route_hints;
