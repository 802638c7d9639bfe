//! The wallet room: the node's on-chain coins.
//!
//! [`Wallet`] wraps bdk's wallet over BIP 84 keys (P2WPKH), follows the chain as one of the
//! listeners of the chain room, keeps its changes in a [`ChangeLog`] that the storage room
//! implements, and serves LDK with coins for fee bumps and scripts for sweeps. It sends nothing:
//! what it signs goes to the chain room's broadcaster, or to LDK.

mod error;
mod keys;
mod ldk_source;
mod log;
mod on_chain;
mod signers;
mod spend;

pub use error::WalletError;
pub use log::{ChangeLog, ChangeLogError};
pub use on_chain::{Balance, Coin, Wallet};
pub use signers::ChannelSigners;
pub use spend::{ANCHOR_RESERVE_SAT, SendAmount, Spend, anchor_reserve};

#[cfg(test)]
mod test_chain;
