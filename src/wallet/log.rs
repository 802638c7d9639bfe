//! The wallet's change log, written before anything leaves the wallet.

use std::collections::{BTreeMap, BTreeSet};

use bdk_wallet::ChangeSet;
use bdk_wallet::chain::Merge;
use bitcoin::{OutPoint, Txid};
use serde::{Deserialize, Serialize};

use super::error::WalletError;
use super::state::{CoinUse, drop_old_uses};
use super::store::ChangeLog;

/// Number of records above which they are merged into one when the wallet is opened.
const COMPACT_ABOVE: usize = 500;

/// Number of blocks of the wallet's chain kept by compaction, more than any reorg.
const KEEP_BLOCKS: usize = 2016;

/// One record: changes of bdk's wallet, and of the state that the wallet keeps in addition.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Record {
    /// bdk's changes.
    #[serde(default)]
    pub(super) bdk: ChangeSet,
    /// Funding transactions: `true` while only LDK may broadcast them, `false` when released.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) held: BTreeMap<Txid, bool>,
    /// Payments made by the user. Only these may be replaced with a higher fee: a channel depends on the id
    /// of its funding transaction.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) sent: BTreeSet<Txid>,
    /// Coins that LDK's claims use.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) claimed: BTreeMap<OutPoint, CoinUse>,
}

impl Record {
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, WalletError> {
        serde_json::to_vec(self).map_err(|e| WalletError::Internal(e.to_string()))
    }

    fn merge(&mut self, later: Record) {
        self.bdk.merge(later.bdk);
        self.held.extend(later.held);
        self.sent.extend(later.sent);
        self.claimed.extend(later.claimed);
    }

    /// The transactions that only LDK may broadcast.
    pub(super) fn held_now(&self) -> BTreeSet<Txid> {
        self.held
            .iter()
            .filter(|(_, held)| **held)
            .map(|(txid, _)| *txid)
            .collect()
    }

    /// The latest time at which a transaction was recorded or cancelled, in Unix seconds.
    pub(super) fn latest_time(&self) -> u64 {
        let graph = &self.bdk.tx_graph;
        graph
            .last_seen
            .values()
            .chain(graph.last_evicted.values())
            .copied()
            .max()
            .unwrap_or(0)
    }

    /// Whether the record contains no change.
    pub(super) fn is_empty(&self) -> bool {
        self.bdk.is_empty()
            && self.held.is_empty()
            && self.sent.is_empty()
            && self.claimed.is_empty()
    }

    /// Drops old blocks without wallet transactions, and entries that are no longer relevant.
    fn compact(&mut self) {
        let anchors = &self.bdk.tx_graph.anchors;
        let anchored: BTreeSet<u32> = anchors.iter().map(|(at, _)| at.block_id.height).collect();
        let blocks = &mut self.bdk.local_chain.blocks;
        blocks.retain(|_, hash| hash.is_some());
        let tip = blocks.keys().next_back().copied().unwrap_or(0);
        drop_old_uses(&mut self.claimed, tip);
        let keep_from = blocks
            .keys()
            .rev()
            .nth(KEEP_BLOCKS - 1)
            .copied()
            .unwrap_or(0);
        blocks
            .retain(|height, _| *height == 0 || *height >= keep_from || anchored.contains(height));
        self.held.retain(|_, held| *held);
        let confirmed: BTreeSet<Txid> = anchors.iter().map(|(_, txid)| *txid).collect();
        self.sent.retain(|txid| !confirmed.contains(txid));
    }
}

/// A log read from storage.
pub(super) struct Loaded {
    /// All records, merged.
    pub(super) whole: Record,
    /// The record to replace them with, if there are too many.
    pub(super) shorter: Option<Vec<u8>>,
}

/// Reads the whole log; `None` if it is empty.
pub(super) fn load(log: &dyn ChangeLog) -> Result<Option<Loaded>, WalletError> {
    let records = log.load().map_err(WalletError::Load)?;
    let Some((first, later)) = records.split_first() else {
        return Ok(None);
    };
    let mut whole = read(first)?;
    for bytes in later {
        let record = read(bytes)?;
        if !belongs(&whole.bdk, &record.bdk) {
            return Err(WalletError::Damaged("records of two wallets".to_owned()));
        }
        whole.merge(record);
    }
    let shorter = if records.len() > COMPACT_ABOVE {
        whole.compact();
        Some(whole.to_bytes()?)
    } else {
        None
    };
    Ok(Some(Loaded { whole, shorter }))
}

fn read(bytes: &[u8]) -> Result<Record, WalletError> {
    serde_json::from_slice(bytes).map_err(|e| WalletError::Damaged(e.to_string()))
}

/// Whether both change sets are of the same wallet. bdk checks this only in debug assertions when it merges
/// change sets.
fn belongs(first: &ChangeSet, later: &ChangeSet) -> bool {
    (later.network.is_none() || later.network == first.network)
        && (later.descriptor.is_none() || later.descriptor == first.descriptor)
        && (later.change_descriptor.is_none() || later.change_descriptor == first.change_descriptor)
}

#[cfg(test)]
mod tests {
    use bdk_wallet::chain::{BlockId, ConfirmationBlockTime};
    use bitcoin::BlockHash;
    use bitcoin::hashes::Hash;

    use super::*;

    #[test]
    fn compaction_keeps_genesis_recent_and_anchored_blocks() {
        let hash = BlockHash::all_zeros();
        let mut record = Record::default();
        record.bdk.local_chain.blocks = (0..5_000).map(|h| (h, Some(hash))).collect();
        record.bdk.local_chain.blocks.insert(4_000, None);
        let block_id = BlockId { height: 123, hash };
        let anchor = ConfirmationBlockTime {
            block_id,
            confirmation_time: 1,
        };
        record
            .bdk
            .tx_graph
            .anchors
            .insert((anchor, Txid::all_zeros()));
        record.held.insert(Txid::all_zeros(), false);
        let waiting = Txid::from_byte_array([1; 32]);
        record.sent.extend([Txid::all_zeros(), waiting]);
        record.compact();
        let kept: Vec<u32> = record.bdk.local_chain.blocks.keys().copied().collect();
        assert_eq!(kept[..2], [0, 123]);
        assert_eq!(kept.len(), 2 + KEEP_BLOCKS);
        assert_eq!(kept.last(), Some(&4_999));
        assert!(record.held.is_empty());
        assert_eq!(record.sent, BTreeSet::from([waiting]));
    }
}
