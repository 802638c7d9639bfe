//! The on-chain wallet.
//!
//! [`Wallet`] wraps bdk's wallet with BIP 84 keys (P2WPKH). It follows the chain as a listener of the
//! `chain` module, stores its changes in a [`ChangeLog`] and labels and leases in a [`NoteBook`], and
//! provides LDK with coins for fee bumps and scripts for sweeps. It does not broadcast: signed transactions
//! go to the `chain` module's broadcaster, for API clients by [`Funds`], or to LDK.

mod accounts;
mod addresses;
mod api;
mod build;
mod bump;
mod child;
mod claims;
mod error;
mod history;
mod keys;
mod labels;
mod ldk_source;
mod leases;
mod log;
mod on_chain;
mod psbt;
mod reserve;
mod signers;
mod spend;
mod state;
mod store;

pub use accounts::{Account, OwnAddress};
pub use api::{Funds, FundsError};
pub use bump::Bump;
pub use child::Child;
pub use error::WalletError;
pub use history::{HistoryBlock, HistoryEntry};
pub use ldk_source::ClaimCoins;
pub use on_chain::{Balance, Coin, Wallet};
pub use psbt::{FundedPsbt, PsbtOrder};
pub use reserve::{anchor_reserve, reserve_per_channel};
pub use signers::ChannelSigners;
pub use spend::{Estimate, Outputs, Spend};
pub use state::{Claim, LeasedCoin};
pub use store::{ChangeLog, ChangeLogError, Lease, NoteBook};

#[cfg(test)]
mod test_chain;
