//! The wallet's transaction history, and the blocks that it has processed.

use std::sync::Arc;

use bdk_wallet::WalletTx;
use bdk_wallet::chain::ChainPosition;
use bitcoin::{Amount, BlockHash, Transaction, Txid};
use tokio::sync::watch;

use super::on_chain::Wallet;
use super::state::State;

/// The block that confirms a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryBlock {
    /// Block height.
    pub height: u32,
    /// Block hash.
    pub hash: BlockHash,
}

/// A transaction that pays to the wallet or spends from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The transaction id.
    pub txid: Txid,
    /// The transaction.
    pub tx: Arc<Transaction>,
    /// The confirming block; `None` if unconfirmed.
    pub block: Option<HistoryBlock>,
    /// The number of confirmations; 0 if unconfirmed.
    pub confirmations: u32,
    /// The block time, or the time when the wallet first saw the transaction, in Unix seconds.
    pub time: u64,
    /// The sum of our coins that it spends.
    pub sent: Amount,
    /// The sum of its outputs to us.
    pub received: Amount,
    /// The fee; known only if all inputs are ours.
    pub fee: Option<Amount>,
    /// For each input, whether it spends a coin of ours.
    pub own_inputs: Vec<bool>,
    /// For each output, whether it pays to us.
    pub own_outputs: Vec<bool>,
    /// The label; empty if there is none.
    pub label: String,
}

impl Wallet {
    /// All transactions, confirmed ones in block order, then unconfirmed ones.
    pub fn transactions(&self) -> Vec<HistoryEntry> {
        let state = self.lock();
        let mut entries: Vec<_> = state.bdk.transactions().map(|tx| state.entry(tx)).collect();
        let height = |entry: &HistoryEntry| entry.block.map_or(u32::MAX, |block| block.height);
        entries.sort_by_key(|entry| (height(entry), entry.time, entry.txid));
        entries
    }

    /// One transaction; `None` if it is not the wallet's.
    pub fn transaction(&self, txid: Txid) -> Option<HistoryEntry> {
        let state = self.lock();
        let mut all = state.bdk.transactions();
        let found = all.find(|tx| tx.tx_node.txid == txid)?;
        Some(state.entry(found))
    }

    /// Notifies whenever a transaction is created, seen, confirmed or cancelled.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Height and hash of the blocks from `height` to the best one, in ascending order; `None` if the wallet
    /// does not know all of them.
    pub fn blocks_from(&self, height: u32) -> Option<Vec<(u32, BlockHash)>> {
        let tip = self.lock().bdk.latest_checkpoint();
        let wanted = tip.height().saturating_add(1).saturating_sub(height);
        let found = tip
            .range(height..)
            .map(|block| (block.height(), block.hash()));
        let mut blocks: Vec<_> = found.collect();
        blocks.reverse();
        (u32::try_from(blocks.len()) == Ok(wanted)).then_some(blocks)
    }
}

impl State {
    fn entry(&self, found: WalletTx<'_>) -> HistoryEntry {
        let (txid, tx) = (found.tx_node.txid, found.tx_node.tx.clone());
        let (block, time) = match found.chain_position {
            ChainPosition::Confirmed { anchor, .. } => {
                let (height, hash) = (anchor.block_id.height, anchor.block_id.hash);
                (
                    Some(HistoryBlock { height, hash }),
                    anchor.confirmation_time,
                )
            }
            ChainPosition::Unconfirmed {
                first_seen,
                last_seen,
            } => (None, first_seen.or(last_seen).unwrap_or(0)),
        };
        let (sent, received) = self.bdk.sent_and_received(&tx);
        let is_own = |input: &bitcoin::TxIn| self.own_output(&input.previous_output).is_some();
        let own_inputs: Vec<_> = tx.input.iter().map(is_own).collect();
        let outputs = tx.output.iter();
        let own_outputs = outputs.map(|o| self.bdk.is_mine(o.script_pubkey.clone()));
        let is_all_ours = own_inputs.iter().all(|own| *own);
        HistoryEntry {
            txid,
            block,
            confirmations: block.map_or(0, |block| self.blocks_since(block.height)),
            time,
            sent,
            received,
            fee: is_all_ours
                .then(|| self.bdk.calculate_fee(&tx).ok())
                .flatten(),
            own_outputs: own_outputs.collect(),
            own_inputs,
            label: self.labels.get(&txid).cloned().unwrap_or_default(),
            tx,
        }
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::FeeRate;

    use super::*;
    use crate::wallet::test_chain::{TestChain, foreign_address, wallet_with};
    use crate::wallet::{Outputs, Spend};

    fn spend(sat: u64) -> Spend {
        let to = foreign_address().script_pubkey();
        Spend {
            outputs: Outputs::one(to, Amount::from_sat(sat)),
            fee_rate: FeeRate::from_sat_per_kwu(1_000),
            min_confs: 1,
            reserve: Amount::ZERO,
            coins: vec![],
        }
    }

    #[test]
    fn history_shows_incoming_and_outgoing_transactions() {
        let (mut chain, wallet, _) = wallet_with(&[100_000]);
        let tx = wallet.send(&spend(40_000)).unwrap();
        let entries = wallet.transactions();
        assert_eq!(entries.len(), 2);
        let (incoming, outgoing) = (&entries[0], &entries[1]);
        assert_eq!(
            (incoming.received.to_sat(), incoming.sent.to_sat()),
            (100_000, 0)
        );
        assert_eq!((incoming.confirmations, incoming.fee), (1, None));
        assert_eq!(
            (incoming.own_inputs[0], incoming.own_outputs[0]),
            (false, true)
        );
        assert_eq!((outgoing.txid, outgoing.block), (tx.compute_txid(), None));
        assert_eq!(outgoing.own_inputs, [true]);
        assert_eq!(outgoing.sent.to_sat(), 100_000);
        let fee = outgoing.fee.unwrap();
        assert_eq!(
            outgoing.sent - outgoing.received - fee,
            Amount::from_sat(40_000)
        );
        assert!(outgoing.time > 1_700_000_000);

        chain.mine(&wallet, vec![tx]);
        let outgoing = wallet.transaction(outgoing.txid).unwrap();
        let height = chain.best().height;
        assert_eq!(outgoing.block.map(|block| block.height), Some(height));
        assert_eq!(outgoing.confirmations, 1);
        assert_eq!(outgoing.time, u64::from(1_700_000_000 + height - 1));
    }

    #[test]
    fn subscribers_are_notified_of_transactions_but_not_of_empty_blocks() {
        let (mut chain, wallet, _) = wallet_with(&[100_000]);
        let mut changes = wallet.changes();
        chain.mine(&wallet, vec![]);
        assert!(!changes.has_changed().unwrap());
        let tx = wallet.send(&spend(40_000)).unwrap();
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        chain.mine(&wallet, vec![tx]);
        assert!(changes.has_changed().unwrap());
    }

    #[test]
    fn blocks_from_returns_blocks_since_the_birthday() {
        let mut chain = TestChain::new();
        let other = chain.open_new().0;
        (0..5).for_each(|_| chain.mine(&other, vec![]));
        let (wallet, _) = chain.open_new();
        (0..3).for_each(|_| chain.mine(&wallet, vec![]));
        let blocks = wallet.blocks_from(6).unwrap();
        let heights: Vec<_> = blocks.iter().map(|(height, _)| *height).collect();
        assert_eq!(heights, [6, 7, 8]);
        assert_eq!(blocks[2].1, chain.best().block_hash);
        assert_eq!(wallet.blocks_from(9), Some(vec![]));
        assert_eq!(wallet.blocks_from(100), Some(vec![]));
        assert_eq!(wallet.blocks_from(3), None);
    }
}
