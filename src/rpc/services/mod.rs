//! lnd's services. Each method parses its request, calls another module of the node and converts
//! the result.

pub(in crate::rpc) mod chain_notifier;
pub(in crate::rpc) mod invoices;
pub(in crate::rpc) mod lightning;
pub(in crate::rpc) mod router;
pub(in crate::rpc) mod state;
pub(in crate::rpc) mod static_invoices;
pub(in crate::rpc) mod versioner;
pub(in crate::rpc) mod wallet_kit;
pub(in crate::rpc) mod wallet_unlocker;
