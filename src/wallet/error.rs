//! Errors of the wallet. Messages that clients know from lnd have lnd's text.

use bitcoin::{Amount, FeeRate, Network, OutPoint, Txid};

use super::store::ChangeLogError;
use crate::storage::NO_OLD_COPY;

/// A rejected or failed wallet operation.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// The coins do not cover amount and fees. The message begins with lnd's text.
    #[error(
        "insufficient funds available to construct transaction: have {} sat, need {} sat \
         including fees", have.to_sat(), need.to_sat()
    )]
    InsufficientFunds {
        /// Spendable amount.
        have: Amount,
        /// Amount including fees.
        need: Amount,
    },
    /// The coins do not cover a channel's funding. lnd's text.
    #[error(
        "not enough witness outputs to create funding transaction, need {need} only have {have} \
         available"
    )]
    InsufficientFunding {
        /// Spendable amount.
        have: Amount,
        /// Amount including fees.
        need: Amount,
    },
    /// Too little would be left to bump the fees of anchor channels. The message begins with lnd's text.
    #[error(
        "reserved wallet balance invalidated: transaction would leave insufficient funds for fee \
         bumping anchor channel closings: {} sat would be left of a reserve of {} sat",
        left.to_sat(), reserve.to_sat()
    )]
    Reserve {
        /// The amount that the transaction would leave.
        left: Amount,
        /// The required reserve.
        reserve: Amount,
    },
    /// Not a Bitcoin address.
    #[error("invalid address {address}: {reason}")]
    BadAddress {
        /// The given text.
        address: String,
        /// Why it cannot be parsed.
        reason: String,
    },
    /// An address of another network. lnd's text.
    #[error("address: {address} is not valid for this network: {network}")]
    OtherNetworkAddress {
        /// The given address.
        address: String,
        /// The node's network.
        network: Network,
    },
    /// The amount is below the dust limit of the output.
    #[error(
        "amount of {} sat is below the dust limit of {} sat for this address", amount.to_sat(),
        limit.to_sat()
    )]
    Dust {
        /// The requested amount.
        amount: Amount,
        /// The dust limit of this output type.
        limit: Amount,
    },
    /// The fee rate is below the relay minimum, or so high that it must be a mistake.
    #[error(
        "fee rate of {sat_per_kw} sat/kw is out of range: choose {min} to {max} sat/kw \
         (1 sat/vB is 250 sat/kw)"
    )]
    FeeRate {
        /// The requested rate, in sat per 1000 weight units.
        sat_per_kw: u64,
        /// Lowest allowed.
        min: u64,
        /// Highest allowed.
        max: u64,
    },
    /// The wallet has no such unconfirmed transaction.
    #[error("transaction {0} is not an unconfirmed transaction of this wallet")]
    NotPending(Txid),
    /// A transaction cannot be cancelled because a later one spends its change.
    #[error("transaction {0} cannot be cancelled: a later transaction spends its change")]
    ChangeSpent(Txid),
    /// No outputs were given.
    #[error("at least one output must be given")]
    NoOutputs,
    /// A selected coin cannot be spent.
    #[error("output {0} is not among the unspent and unlocked outputs of the wallet")]
    CoinNotFree(OutPoint),
    /// Not an unspent output of the wallet. lnd's text.
    #[error("unknown output")]
    UnknownCoin,
    /// The coin is leased under another id. lnd's text.
    #[error("output already locked")]
    LeasedAlready,
    /// The coin is leased under another id and cannot be released with this one. lnd's text, including its
    /// spelling.
    #[error("output unlock not alowed")]
    OtherLease,
    /// A label for a transaction that is not the wallet's. lnd's text.
    #[error("cannot label transaction not known to wallet")]
    UnknownTransaction,
    /// The transaction already has a label. lnd's text.
    #[error("transaction already labelled")]
    LabelledAlready,
    /// An unconfirmed transaction that must not be replaced.
    #[error("transaction {txid} cannot be replaced: {reason}")]
    NotReplaceable {
        /// The transaction.
        txid: Txid,
        /// The reason.
        reason: &'static str,
    },
    /// A replacement must pay more than the original (BIP 125).
    #[error(
        "the fee rate is too low to replace the transaction: at least {} sat/kw is required \
         (1 sat/vB is 250 sat/kw)", .0.to_sat_per_kwu()
    )]
    ReplacementRate(FeeRate),
    /// A replacement would exceed its fee budget.
    #[error("the fee would be {} sat, more than the budget of {} sat", fee.to_sat(), most.to_sat())]
    OverBudget {
        /// The fee that it would pay.
        fee: Amount,
        /// The maximum fee.
        most: Amount,
    },
    /// An input of a PSBT cannot be signed or finalized.
    #[error("input {index}: {reason}")]
    PsbtInput {
        /// The index of the input.
        index: usize,
        /// The reason.
        reason: String,
    },
    /// The stored wallet belongs to another seed.
    #[error(
        "the stored wallet belongs to another seed: put the matching seed file in place, or choose \
         another data directory"
    )]
    OtherSeed,
    /// The stored wallet belongs to another network.
    #[error(
        "the stored wallet is for {stored}, but this node is on {ours}: correct network, or choose \
         another data directory"
    )]
    OtherNetwork {
        /// The stored wallet's network.
        stored: Network,
        /// The node's network.
        ours: Network,
    },
    /// The stored changes cannot be read.
    #[error("cannot read the stored wallet: {0}")]
    Load(#[source] ChangeLogError),
    /// A stored change was not written by this version.
    #[error("the stored wallet is damaged or from a newer ampd ({0}); {NO_OLD_COPY}")]
    Damaged(String),
    /// A key cannot be derived, or bdk reports an error that cannot occur with our descriptors.
    #[error("internal wallet error: {0}")]
    Internal(String),
}
