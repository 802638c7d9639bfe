//! What API clients can do with channels.

use std::sync::Arc;

use bitcoin::{Amount, OutPoint, Transaction, Txid};
use tokio::sync::{broadcast, mpsc};

use super::acceptors::{ChannelAcceptors, Question};
use super::anchor_reserve::AnchorReserve;
use super::channel_events::{ChannelEvent, ChannelFeed};
use super::close::{CloseError, CloseRequest, Closer, Closing};
use super::closed::ClosedChannel;
use super::funding_spends::FundingSpends;
use super::htlc_feed::{HtlcEvent, HtlcFeed};
use super::list::{self, Channel};
use super::open::{OpenError, OpenRequest, Opener, Opening};
use super::pending::{Pending, pending};
use super::policy::{self, Change, DeltaTooSmall, PolicyError};
use super::sweeping::sweeping;
use super::total::TotalBalance;
use crate::ldk::{ChainMonitor, ChannelManager, OutputSweeper};
use crate::model::forward::{ForwardQuery, ForwardRow};
use crate::peers::PeerManager;
use crate::storage::{StorageError, Store};

/// What [`Channels`] is made of.
pub struct Parts {
    pub manager: Arc<ChannelManager>,
    pub monitors: Arc<ChainMonitor>,
    pub sweeper: Arc<OutputSweeper>,
    pub peers: Arc<PeerManager>,
    pub opener: Arc<Opener>,
    pub closer: Arc<Closer>,
    pub spends: Arc<FundingSpends>,
    pub store: Arc<Store>,
    pub reserve: Arc<AnchorReserve>,
    pub acceptors: ChannelAcceptors,
    pub feed: ChannelFeed,
    pub htlcs: HtlcFeed,
}

/// An unconfirmed cooperative closing transaction.
#[derive(Debug, Clone)]
pub struct UnconfirmedClose {
    pub transaction: Transaction,
    /// `None` if the record of the channel, with its capacity, is missing.
    pub fee: Option<Amount>,
}

/// The node's channels: open, pending and closed ones, and what was forwarded over them.
pub struct Channels(Parts);

impl Channels {
    pub fn new(parts: Parts) -> Self {
        Self(parts)
    }

    /// Returns all channels that are not closed, ordered by id.
    pub fn list(&self) -> Vec<Channel> {
        list::channels(&self.0.manager)
    }

    /// Returns the balances of all channels together.
    pub fn balance(&self) -> TotalBalance {
        TotalBalance::of(&self.list())
    }

    /// Returns the short channel ids of our channels, each with the alias that LDK created when the
    /// channel was opened and sent to the peer. Ordered by short channel id.
    pub fn aliases(&self) -> Vec<(u64, u64)> {
        let channels = self.0.manager.list_channels().into_iter();
        let aliases = channels
            .filter_map(|channel| Some((channel.short_channel_id?, channel.outbound_scid_alias?)));
        let mut aliases: Vec<_> = aliases.collect();
        aliases.sort_unstable();
        aliases
    }

    /// Returns the channels that are being opened or closed.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub fn pending(&self) -> Result<Pending, StorageError> {
        Ok(self.pending_with(&self.records()?))
    }

    /// Returns the closed channels. As in lnd, channels that are still being resolved on chain are
    /// pending, not closed.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub fn closed(&self) -> Result<Vec<ClosedChannel>, StorageError> {
        let mut records = self.records()?;
        let pending = self.pending_with(&records);
        records.retain(|record| !pending.is_resolving(&record.channel_id));
        Ok(records)
    }

    /// Opens a channel, see [`Opener::open`].
    ///
    /// # Errors
    ///
    /// [`OpenError`] with the reason.
    pub fn open(&self, request: &OpenRequest) -> Result<Opening, OpenError> {
        self.0.opener.open(request)
    }

    /// Closes a channel, see [`Closer::close`].
    ///
    /// # Errors
    ///
    /// [`CloseError`] with the reason.
    pub async fn close(
        &self,
        point: OutPoint,
        request: CloseRequest,
    ) -> Result<Closing, CloseError> {
        self.0.closer.close(point, request).await
    }

    /// Returns the unconfirmed cooperative close with this id, if there is one.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub fn unconfirmed_close(&self, txid: Txid) -> Result<Option<UnconfirmedClose>, StorageError> {
        let mut waiting = self.0.spends.unconfirmed_closes().into_iter();
        let Some(transaction) = waiting.find(|one| one.compute_txid() == txid) else {
            return Ok(None);
        };
        let fee = fee(&transaction, &self.records()?);
        Ok(Some(UnconfirmedClose { transaction, fee }))
    }

    /// Changes forwarding policies, see [`policy::change`].
    ///
    /// # Errors
    ///
    /// [`DeltaTooSmall`]; nothing is changed in this case.
    pub fn change_policy(
        &self,
        only: Option<OutPoint>,
        change: &Change,
    ) -> Result<Vec<(OutPoint, PolicyError)>, DeltaTooSmall> {
        policy::change(&self.0.manager, &self.0.peers, only, change)
    }

    /// Returns recorded forwards, oldest first.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub fn forwards(&self, query: &ForwardQuery) -> Result<Vec<ForwardRow>, StorageError> {
        self.0.store.forwards(query)
    }

    /// Returns the fees in msat that forwards earned in this time (nanoseconds since 1970).
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub fn forward_fees_msat(&self, from_ns: u64, to_ns: u64) -> Result<u64, StorageError> {
        self.0.store.forward_fees_msat(from_ns, to_ns)
    }

    /// Returns the on-chain reserve for fee bumps of anchor channels.
    pub fn reserve(&self) -> &AnchorReserve {
        &self.0.reserve
    }

    /// Adds an acceptor of inbound channels, which is asked until it drops the receiver.
    pub fn join_acceptors(&self) -> mpsc::Receiver<Question> {
        self.0.acceptors.join()
    }

    /// Subscribes to the events of our channels from now on.
    pub fn events(&self) -> broadcast::Receiver<ChannelEvent> {
        self.0.feed.listen()
    }

    /// Subscribes to the events of HTLCs from now on.
    pub fn htlc_events(&self) -> broadcast::Receiver<HtlcEvent> {
        self.0.htlcs.listen()
    }

    fn records(&self) -> Result<Vec<ClosedChannel>, StorageError> {
        self.0.store.closed_channels()
    }

    fn pending_with(&self, closed: &[ClosedChannel]) -> Pending {
        let parts = &self.0;
        let sweeping = sweeping(&parts.sweeper);
        pending(
            &parts.manager,
            &parts.monitors,
            &parts.spends,
            closed,
            &sweeping,
        )
    }
}

/// Returns the fee of a closing transaction: the capacity of its channel less what it pays.
fn fee(transaction: &Transaction, records: &[ClosedChannel]) -> Option<Amount> {
    let spends = |record: &&ClosedChannel| {
        let mut inputs = transaction.input.iter();
        inputs.any(|input| input.previous_output == record.channel_point)
    };
    let capacity = Amount::from_sat(records.iter().find(spends)?.capacity_sat);
    let paid: Amount = transaction.output.iter().map(|output| output.value).sum();
    capacity.checked_sub(paid)
}
