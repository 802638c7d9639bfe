//! Watches the funding outputs of our channels for the transactions that close them.
//!
//! LDK reports that a channel is closed, but not by which transaction: the one that we broadcast
//! need not be the one that confirms. So this module inspects broadcast transactions and blocks.

mod agreed;
mod multisig;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bitcoin::block::Header;
use bitcoin::{OutPoint, ScriptBuf, Transaction, TxIn, Txid};
use lightning::chain::transaction::TransactionData;
use lightning::chain::{BestBlock, Listen};
use lightning::ln::channel_state::ChannelDetails;
use lightning::ln::types::ChannelId;
use tokio::sync::watch;

pub use self::agreed::is_commitment;
pub use self::multisig::funding_script;
#[cfg(test)]
pub use self::multisig::test_data;

use self::agreed::Agreed;
use super::closed::ClosedChannels;
use super::closing_transaction::{ClosingKind, ClosingTransaction};
use crate::ldk::{ChainMonitor, ChannelManager, ChannelMonitor};
use crate::sync::lock;

/// The number of confirmations after which a closing transaction is no longer watched for
/// reorganizations.
const DEEP_BLOCKS: u32 = 100;

/// A closing transaction, and whether it is a commitment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spend {
    pub closing: ClosingTransaction,
    /// True for a commitment transaction: the channel is force-closed.
    pub forced: bool,
}

struct Watched {
    channel_id: ChannelId,
    /// The script of the funding output. An input with this outpoint but another script spends
    /// something else.
    script: ScriptBuf,
    spend: watch::Sender<Option<Spend>>,
    agreed: Option<Agreed>,
    /// The commitment that we have broadcast. LDK creates no other once it has done so.
    our_commitment: Option<Txid>,
}

impl Watched {
    fn kind(&self, txid: Txid, is_commitment: bool) -> ClosingKind {
        if !is_commitment {
            ClosingKind::Cooperative
        } else if self.our_commitment == Some(txid) {
            ClosingKind::OurCommitment
        } else {
            ClosingKind::TheirCommitment
        }
    }

    fn is_spent_by(&self, input: &TxIn) -> bool {
        funding_script(input).is_some_and(|script| script == self.script)
    }

    fn is_confirmed(&self) -> bool {
        let spend = *self.spend.borrow();
        spend.is_some_and(|spend| spend.closing.height.is_some())
    }
}

/// The funding outputs of all channels whose closing transaction is not yet buried deep in the
/// chain.
pub struct FundingSpends {
    watched: Mutex<HashMap<OutPoint, Watched>>,
    closed: Arc<dyn ClosedChannels>,
}

impl FundingSpends {
    /// `closed` receives each closing transaction.
    pub fn new(closed: Arc<dyn ClosedChannels>) -> Self {
        Self {
            watched: Mutex::default(),
            closed,
        }
    }

    /// Watches every channel that LDK knows: open ones and those being resolved on chain.
    ///
    /// Call it at start, before blocks are connected. A closing transaction that confirmed before
    /// the restart is found again if LDK's monitor still waits for its sixth confirmation; the
    /// stored record of the closed channel has it in any case.
    pub fn watch_all(&self, manager: &ChannelManager, monitors: &ChainMonitor) {
        for channel in manager.list_channels() {
            self.watch_open(&channel);
        }
        for channel_id in monitors.list_monitors() {
            if let Ok(monitor) = monitors.get_monitor(channel_id) {
                self.watch_monitored(&monitor);
            }
        }
    }

    /// Watches an open channel if its funding output is known.
    pub fn watch_open(&self, channel: &ChannelDetails) {
        if let (Some(point), Some(output)) = (channel.funding_txo, channel.get_funding_output()) {
            let point = point.into_bitcoin_outpoint();
            self.watch(channel.channel_id, point, output.script_pubkey);
        }
    }

    /// Watches the channel of this monitor.
    pub fn watch_monitored(&self, monitor: &ChannelMonitor) {
        let point = monitor.get_funding_txo().into_bitcoin_outpoint();
        self.watch(monitor.channel_id(), point, monitor.get_funding_script());
    }

    /// Watches a channel whose funding output has this script. Repeated calls have no effect.
    pub fn watch(&self, channel_id: ChannelId, channel_point: OutPoint, script: ScriptBuf) {
        let mut watched = self.watched();
        // A closed channel may have named the same output. LDK does not allow two at a time.
        if watched
            .get(&channel_point)
            .is_some_and(|known| known.script == script)
        {
            return;
        }
        let channel = Watched {
            channel_id,
            script,
            spend: watch::Sender::new(None),
            agreed: None,
            our_commitment: None,
        };
        watched.insert(channel_point, channel);
    }

    /// Returns the watched channel with this funding output.
    pub fn channel(&self, channel_point: &OutPoint) -> Option<ChannelId> {
        let watched = self.watched();
        watched.get(channel_point).map(|watched| watched.channel_id)
    }

    /// Returns the watched channel whose funding output this input spends.
    pub fn spent_channel(&self, input: &TxIn) -> Option<ChannelId> {
        let watched = self.watched();
        let watched = watched.get(&input.previous_output)?;
        watched.is_spent_by(input).then_some(watched.channel_id)
    }

    /// Stops watching the channel, unless a transaction that spends it is known.
    pub fn forget_unspent(&self, channel_point: &OutPoint) {
        self.watched().retain(|point, watched| {
            point != channel_point || watched.agreed.is_some() || watched.spend.borrow().is_some()
        });
    }

    /// Restores our commitment of a watched channel, which may have confirmed since. Call it at
    /// start, before blocks are connected.
    pub fn restore_commitment(&self, channel_point: &OutPoint, closing: ClosingTransaction) {
        if closing.kind == Some(ClosingKind::OurCommitment)
            && let Some(watched) = self.watched().get_mut(channel_point)
        {
            watched.our_commitment = Some(closing.txid);
        }
    }

    /// Subscribes to the closing transaction of a channel. Returns `None` if it is not watched.
    pub fn subscribe(&self, channel_point: &OutPoint) -> Option<watch::Receiver<Option<Spend>>> {
        self.watched()
            .get(channel_point)
            .map(|watched| watched.spend.subscribe())
    }

    /// Returns the closing transaction, if it is known.
    pub fn closing_transaction(&self, channel_point: &OutPoint) -> Option<ClosingTransaction> {
        let watched = self.watched();
        let watched = watched.get(channel_point)?;
        let spend = (*watched.spend.borrow()).map(|spend| spend.closing);
        spend.or_else(|| watched.agreed_closing())
    }

    /// Records the transactions that we broadcast. An unconfirmed transaction never replaces a
    /// confirmed one.
    ///
    /// The node calls this for everything that LDK broadcasts, once it is sent to bitcoind.
    pub fn broadcast(&self, transactions: &[Transaction]) {
        for transaction in transactions {
            self.spent_by(transaction, None);
        }
    }

    fn spent_by(&self, transaction: &Transaction, height: Option<u32>) {
        let mut watched = self.watched();
        for input in &transaction.input {
            let Some(watched) = watched.get_mut(&input.previous_output) else {
                continue;
            };
            if !watched.is_spent_by(input) {
                continue;
            }
            let (txid, forced) = (transaction.compute_txid(), is_commitment(transaction));
            if height.is_none() && forced {
                watched.our_commitment = Some(txid);
            }
            let known = *watched.spend.borrow();
            if height.is_none() && known.is_some_and(|known| known.closing.height.is_some()) {
                continue;
            }
            let closing = ClosingTransaction {
                txid,
                height,
                kind: Some(watched.kind(txid, forced)),
            };
            let spend = Spend { closing, forced };
            if known != Some(spend) {
                self.change(watched, spend);
            }
        }
    }

    fn change(&self, watched: &Watched, spend: Spend) {
        watched.spend.send_replace(Some(spend));
        self.closed
            .closing_transaction(watched.channel_id, spend.closing);
        self.keep_agreed(watched);
    }

    fn forget_deep(&self, height: u32) {
        self.watched().retain(|_, watched| {
            let spend = *watched.spend.borrow();
            let confirmed = spend.and_then(|spend| spend.closing.height);
            let keep =
                confirmed.is_none_or(|confirmed| confirmed.saturating_add(DEEP_BLOCKS) > height);
            if !keep && watched.agreed.is_some() {
                self.closed.buried(watched.channel_id);
            }
            keep
        });
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<OutPoint, Watched>> {
        lock(&self.watched)
    }
}

impl Listen for FundingSpends {
    fn filtered_block_connected(&self, _: &Header, txdata: &TransactionData, height: u32) {
        for (_, transaction) in txdata {
            self.spent_by(transaction, Some(height));
        }
        self.forget_deep(height);
    }

    fn blocks_disconnected(&self, fork_point_block: BestBlock) {
        for watched in self.watched().values_mut() {
            let spend = *watched.spend.borrow();
            let Some(Spend { closing, forced }) = spend else {
                continue;
            };
            if closing
                .height
                .is_some_and(|height| height > fork_point_block.height)
            {
                let closing = ClosingTransaction {
                    height: None,
                    ..closing
                };
                self.change(watched, Spend { closing, forced });
            }
        }
    }
}

#[cfg(test)]
mod tests;
