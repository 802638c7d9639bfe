//! Passes blocks to all components that follow the chain.

use std::sync::Arc;

use bitcoin::Block;
use bitcoin::block::Header;
use lightning::chain::transaction::TransactionData;
use lightning::chain::{BestBlock, Listen};

use crate::channels::funding_spends::FundingSpends;
use crate::invoices::Registry;
use crate::ldk::{ChainMonitor, ChannelManager, OutputSweeper};
use crate::wallet::Wallet;

/// The wallet and the funding spends come first, so that they know a block before LDK acts on it. The
/// manager comes before the monitors, as LDK requires. The manager fails back HTLCs close to expiry, so it
/// receives no block while a set of HTLCs is being claimed.
pub(super) struct ChainListener {
    pub(super) wallet: Arc<Wallet>,
    pub(super) spends: Arc<FundingSpends>,
    pub(super) manager: Arc<ChannelManager>,
    pub(super) monitors: Arc<ChainMonitor>,
    pub(super) sweeper: Arc<OutputSweeper>,
    pub(super) invoices: Arc<Registry>,
}

impl ChainListener {
    fn notify_all(&self, notify: impl Fn(&(dyn Listen + Send + Sync))) {
        notify(&*self.wallet);
        notify(&*self.spends);
        self.invoices.between_decisions(|| notify(&*self.manager));
        notify(&*self.monitors);
        notify(&*self.sweeper);
    }
}

impl Listen for ChainListener {
    fn filtered_block_connected(&self, header: &Header, txdata: &TransactionData, height: u32) {
        self.notify_all(|l| l.filtered_block_connected(header, txdata, height));
    }

    fn block_connected(&self, block: &Block, height: u32) {
        self.notify_all(|l| l.block_connected(block, height));
    }

    fn blocks_disconnected(&self, fork_point: BestBlock) {
        self.notify_all(|l| l.blocks_disconnected(fork_point));
    }
}
