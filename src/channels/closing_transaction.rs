//! The transaction that closes a channel, as it is stored.

use bitcoin::{Transaction, Txid};
use lightning::ln::types::ChannelId;
use serde::{Deserialize, Serialize};

/// A transaction that spends a channel's funding output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosingTransaction {
    pub txid: Txid,
    /// The height of the block that contains it; `None` while it has only been broadcast by us.
    pub height: Option<u32>,
    /// `None` in records written by earlier versions.
    #[serde(default)]
    pub kind: Option<ClosingKind>,
}

/// The kinds of transactions that can spend a funding output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClosingKind {
    /// A closing transaction that both sides have agreed on.
    Cooperative,
    OurCommitment,
    TheirCommitment,
}

/// A closing transaction that both sides have signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgreedClose {
    pub channel_id: ChannelId,
    /// Its only input spends the channel's funding output.
    pub transaction: Transaction,
    /// The operator asked for our commitment instead.
    pub forced: bool,
    /// The confirmed transaction that spends the channel, this or another one, and its height.
    pub confirmed: Option<(Txid, u32)>,
}
