//! Hands blocks to all that follow the chain.

use std::sync::Arc;

use bitcoin::Block;
use bitcoin::block::Header;
use lightning::chain::transaction::TransactionData;
use lightning::chain::{BestBlock, Listen};

use crate::channels::spends::FundingSpends;
use crate::ldk::{ChainMonitor, ChannelManager, OutputSweeper};
use crate::wallet::Wallet;

/// The wallet and the watch on closing transactions come first, so that they know a block when LDK
/// acts on it; the manager comes before the monitors, as LDK asks for.
pub(super) struct ChainListener {
    pub(super) wallet: Arc<Wallet>,
    pub(super) spends: Arc<FundingSpends>,
    pub(super) manager: Arc<ChannelManager>,
    pub(super) monitors: Arc<ChainMonitor>,
    pub(super) sweeper: Arc<OutputSweeper>,
}

impl ChainListener {
    fn all(&self) -> [&(dyn Listen + Send + Sync); 5] {
        [
            &*self.wallet,
            &*self.spends,
            &*self.manager,
            &*self.monitors,
            &*self.sweeper,
        ]
    }
}

impl Listen for ChainListener {
    fn filtered_block_connected(&self, header: &Header, txdata: &TransactionData, height: u32) {
        self.all()
            .iter()
            .for_each(|l| l.filtered_block_connected(header, txdata, height));
    }

    fn block_connected(&self, block: &Block, height: u32) {
        self.all()
            .iter()
            .for_each(|l| l.block_connected(block, height));
    }

    fn blocks_disconnected(&self, fork_point: BestBlock) {
        self.all()
            .iter()
            .for_each(|l| l.blocks_disconnected(fork_point));
    }
}
