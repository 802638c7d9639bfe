//! What the wallet refuses, each in one line; lnd's words where lnd has known ones.

use bitcoin::{Amount, FeeRate, Network, OutPoint, Txid};

use super::log::ChangeLogError;
use crate::storage::NO_OLD_COPY;

/// A refused or failed wallet operation.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// The coins do not cover amount and fees of a send. The beginning is lnd's text.
    #[error(
        "insufficient funds available to construct transaction: have {} sat, need {} sat \
         including fees", have.to_sat(), need.to_sat()
    )]
    InsufficientFunds {
        /// Spendable coins.
        have: Amount,
        /// Amount and fees.
        need: Amount,
    },
    /// The same for a channel's funding, in lnd's words.
    #[error(
        "not enough witness outputs to create funding transaction, need {need} only have {have} \
         available"
    )]
    InsufficientFunding {
        /// Spendable coins.
        have: Amount,
        /// Amount and fees.
        need: Amount,
    },
    /// Too little would be left to bump the fees of anchor channels. The beginning is lnd's text.
    #[error(
        "reserved wallet balance invalidated: transaction would leave insufficient funds for fee \
         bumping anchor channel closings: {} sat of {} sat have to stay", left.to_sat(),
        reserve.to_sat()
    )]
    Reserve {
        /// What the transaction would leave.
        left: Amount,
        /// What has to stay.
        reserve: Amount,
    },
    /// Not a Bitcoin address.
    #[error("invalid address {address}: {reason}")]
    BadAddress {
        /// What was given.
        address: String,
        /// Why it cannot be read.
        reason: String,
    },
    /// An address of another network. lnd's text.
    #[error("address: {address} is not valid for this network: {network}")]
    OtherNetworkAddress {
        /// What was given.
        address: String,
        /// The node's network.
        network: Network,
    },
    /// The amount is too small for an output that other nodes relay.
    #[error(
        "amount of {} sat is below the dust limit of {} sat for this address", amount.to_sat(),
        limit.to_sat()
    )]
    Dust {
        /// What was asked for.
        amount: Amount,
        /// The least that this kind of output may carry.
        limit: Amount,
    },
    /// The fee rate is below what is relayed, or so high that it must be a mistake.
    #[error(
        "fee rate of {sat_per_kw} sat/kw is out of range: choose {min} to {max} sat/kw \
         (1 sat/vB is 250 sat/kw)"
    )]
    FeeRate {
        /// What was asked for, in sat per 1000 weight units.
        sat_per_kw: u64,
        /// Lowest allowed.
        min: u64,
        /// Highest allowed.
        max: u64,
    },
    /// No such transaction of ours waits for its confirmation.
    #[error("transaction {0} is not an unconfirmed transaction of this wallet")]
    NotPending(Txid),
    /// A transaction cannot be cancelled because a later one spends its change.
    #[error("transaction {0} cannot be cancelled: a later transaction spends its change")]
    ChangeSpent(Txid),
    /// A payment without outputs.
    #[error("at least one output must be given")]
    NoOutputs,
    /// A coin that the caller chose cannot be spent.
    #[error("output {0} is not among the unspent and unlocked outputs of the wallet")]
    CoinNotFree(OutPoint),
    /// Not one of our unspent outputs. lnd's text.
    #[error("unknown output")]
    UnknownCoin,
    /// The coin is leased under another id. lnd's text.
    #[error("output already locked")]
    LeasedAlready,
    /// The id is not that of the lease. lnd's text, as it is written there.
    #[error("output unlock not alowed")]
    OtherLease,
    /// A label for a transaction that is not ours. lnd's text.
    #[error("cannot label transaction not known to wallet")]
    UnknownTransaction,
    /// The transaction has a label. lnd's text.
    #[error("transaction already labelled")]
    LabelledAlready,
    /// An unconfirmed transaction that must stay as it is.
    #[error("transaction {txid} cannot be replaced: {reason}")]
    NotReplaceable {
        /// The transaction.
        txid: Txid,
        /// Why not.
        reason: &'static str,
    },
    /// A replacement has to pay more than what it replaces.
    #[error(
        "the fee rate is too low to replace the transaction: at least {} sat/kw are needed \
         (1 sat/vB is 250 sat/kw)", .0.to_sat_per_kwu()
    )]
    ReplacementRate(FeeRate),
    /// A replacement would cost more than it may.
    #[error("the fee would be {} sat, more than the budget of {} sat", fee.to_sat(), most.to_sat())]
    OverBudget {
        /// What it would pay.
        fee: Amount,
        /// What it may pay.
        most: Amount,
    },
    /// An input of a PSBT cannot be signed as it asks for.
    #[error("input {index}: {reason}")]
    PsbtInput {
        /// Which one.
        index: usize,
        /// Why not.
        reason: String,
    },
    /// The stored wallet belongs to another seed.
    #[error(
        "the stored wallet was made from another seed: put the right seed file in place, or choose \
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
    /// The stored changes could not be read.
    #[error("cannot read the stored wallet: {0}")]
    Load(#[source] ChangeLogError),
    /// A stored change is not what this version wrote.
    #[error("the stored wallet is damaged or from a newer ampd ({0}); {NO_OLD_COPY}")]
    Damaged(String),
    /// A key could not be derived, or bdk met a case that cannot occur with our descriptors.
    #[error("wallet failure: {0}")]
    Internal(String),
}
