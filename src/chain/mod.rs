//! The bitcoind backend.
//!
//! [`Bitcoind`] is the only RPC client. Built on it are the [`FeeEstimates`] for LDK and the wallet, the
//! [`Broadcaster`], the block [`sync`] and the [`FundingOutputs`] of announced channels. This module does
//! not depend on channels, payments or the wallet.

mod auth;
mod bitcoind;
mod block_source;
mod broadcast;
mod connection;
mod error;
mod fees;
mod funding_outputs;
mod fundings;
mod headers;
pub mod sync;

pub use auth::RpcAuth;
pub use bitcoind::{Bitcoind, ChainInfo, EstimateMode};
pub use block_source::UnspentOutput;
pub use broadcast::{Broadcaster, Priority, Submission, parents_first};
pub use connection::RpcAddress;
pub use error::ChainError;
pub use fees::FeeEstimates;
pub use funding_outputs::{FundingOutputs, NoOutput};
pub use fundings::{Fundings, LookUp};
pub use headers::{HeaderLog, StoredHeaders};

#[cfg(test)]
pub(crate) mod test_server;
