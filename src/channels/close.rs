//! Closes channels and tells the caller how far the closing transaction is.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::{OutPoint, ScriptBuf, Txid};
use lightning::ln::channel_state::ChannelDetails;
use lightning::ln::script::ShutdownScript;
use lightning::ln::types::ChannelId;
use lightning::util::errors::APIError;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::open::describe;
use super::spends::{ClosingTransaction, FundingSpends};
use crate::abort::{self, Point};
use crate::ldk::{ChannelManager, PeerManager};
use crate::storage::Health;

/// How long a cooperative close waits for the channel to be ready for it. Under load LDK refuses
/// to begin while an update of the channel is being written; such a moment lasts milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two tries of the same; LDK has no event for it.
const RETRY: Duration = Duration::from_millis(20);

/// How to close.
#[derive(Debug, Clone)]
pub enum CloseRequest {
    /// Both sides sign one closing transaction.
    Cooperative {
        /// Lowest fee rate in sat per 1000 weight units; none for our estimate.
        feerate_per_kw: Option<u32>,
        /// Where our part goes; none for an address of our own wallet.
        delivery: Option<ScriptBuf>,
    },
    /// We broadcast our commitment transaction and wait for our money.
    Force,
}

/// Why a channel is not being closed.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    #[error("channel {0} not found")]
    NotFound(OutPoint),
    #[error(
        "unable to gracefully close channel while peer is offline (try force closing it instead)"
    )]
    PeerOffline,
    #[error("delivery address cannot be used: only SegWit addresses can receive a close")]
    Delivery,
    #[error("unable to close channel: {0}")]
    Refused(String),
    #[error(
        "the node cannot write to its database ({0}); no channel is closed by force until it can"
    )]
    Unwritable(String),
    #[error("the node stops")]
    Stopping,
}

/// A step of a close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseUpdate {
    /// We have broadcast this transaction. Another may still confirm in its place.
    Pending(Txid),
    /// This transaction is in a block.
    Confirmed { txid: Txid, height: u32 },
}

/// A close under way. Dropping it does not stop the close.
#[derive(Debug)]
pub struct Closing {
    transaction: watch::Receiver<Option<ClosingTransaction>>,
    told: Option<ClosingTransaction>,
}

impl Closing {
    /// Waits for the next step. A cooperative close with HTLCs under way takes as long as they do.
    pub async fn next(&mut self) -> Result<CloseUpdate, CloseError> {
        let told = self.told;
        let changed = self
            .transaction
            .wait_for(|closing| closing.is_some() && *closing != told);
        let closing = *changed.await.map_err(|_| CloseError::Stopping)?;
        self.told = closing;
        match closing {
            Some(ClosingTransaction {
                txid,
                height: Some(height),
            }) => Ok(CloseUpdate::Confirmed { txid, height }),
            Some(ClosingTransaction { txid, height: None }) => Ok(CloseUpdate::Pending(txid)),
            // `wait_for` lets only known transactions pass.
            None => Err(CloseError::Stopping),
        }
    }

    /// Waits until a closing transaction is in a block.
    pub async fn confirmed(&mut self) -> Result<(Txid, u32), CloseError> {
        loop {
            if let CloseUpdate::Confirmed { txid, height } = self.next().await? {
                return Ok((txid, height));
            }
        }
    }
}

/// Broadcasts our commitment of a channel that LDK's manager has forgotten.
pub type BroadcastCommitment = dyn Fn(ChannelId) + Send + Sync;

/// Closes channels.
pub struct Closer {
    manager: Arc<ChannelManager>,
    peers: Arc<PeerManager>,
    spends: Arc<FundingSpends>,
    storage: watch::Receiver<Health>,
    broadcast_commitment: Arc<BroadcastCommitment>,
}

impl Closer {
    /// `storage` says whether commits succeed: nothing is closed by force while they fail.
    pub fn new(
        manager: Arc<ChannelManager>,
        peers: Arc<PeerManager>,
        spends: Arc<FundingSpends>,
        storage: watch::Receiver<Health>,
        broadcast_commitment: Arc<BroadcastCommitment>,
    ) -> Self {
        Self {
            manager,
            peers,
            spends,
            storage,
            broadcast_commitment,
        }
    }

    /// Begins to close the channel, and returns as soon as it has begun.
    ///
    /// A channel that is already closing cooperatively can be closed by force, also when its closing
    /// transaction is broadcast; asked again to close cooperatively, the answer is the close that is
    /// under way.
    pub async fn close(
        &self,
        channel_point: OutPoint,
        request: CloseRequest,
    ) -> Result<Closing, CloseError> {
        let Some(channel) = self.find(&channel_point) else {
            return self.close_again(channel_point, &request);
        };
        self.spends.watch(channel.channel_id, channel_point);
        let transaction = self
            .spends
            .subscribe(&channel_point)
            .ok_or(CloseError::Stopping)?;
        match request {
            CloseRequest::Force => self.force(&channel)?,
            CloseRequest::Cooperative {
                feerate_per_kw,
                delivery,
            } => {
                let delivery = delivery.map(ShutdownScript::try_from).transpose();
                let delivery = delivery.map_err(|_| CloseError::Delivery)?;
                self.cooperate(&channel, feerate_per_kw, delivery).await?;
            }
        }
        // Sends `shutdown`, or the error, now rather than at the next event.
        self.peers.process_events();
        Ok(Closing {
            transaction,
            told: None,
        })
    }

    /// For a channel whose closing transaction both sides have signed: LDK's manager has forgotten it.
    fn close_again(
        &self,
        channel_point: OutPoint,
        request: &CloseRequest,
    ) -> Result<Closing, CloseError> {
        let agreed = self.spends.agreed_channel(&channel_point);
        let channel_id = agreed.ok_or(CloseError::NotFound(channel_point))?;
        let transaction = self
            .spends
            .subscribe(&channel_point)
            .ok_or(CloseError::Stopping)?;
        let mut told = None;
        if let CloseRequest::Force = request {
            self.check_storage()?;
            told = *transaction.borrow();
            self.spends.force(&channel_point);
            (self.broadcast_commitment)(channel_id);
        }
        Ok(Closing { transaction, told })
    }

    fn find(&self, channel_point: &OutPoint) -> Option<ChannelDetails> {
        self.manager.list_channels().into_iter().find(|channel| {
            let point = channel
                .funding_txo
                .map(|point| point.into_bitcoin_outpoint());
            point.as_ref() == Some(channel_point)
        })
    }

    /// The commitment leaves when the close is on disk. While commits fail that may take for ever, and
    /// after a restart the channel would be open again: so nothing is begun.
    fn force(&self, channel: &ChannelDetails) -> Result<(), CloseError> {
        self.check_storage()?;
        let message = "closed by the operator of the node".to_owned();
        self.manager
            .force_close_broadcasting_latest_txn(
                &channel.channel_id,
                &channel.counterparty.node_id,
                message,
            )
            .map_err(|error| CloseError::Refused(describe(&error)))?;
        abort::at(Point::ForceClosed);
        Ok(())
    }

    fn check_storage(&self) -> Result<(), CloseError> {
        match &*self.storage.borrow() {
            Health::Writing => Ok(()),
            Health::Failing(why) => Err(CloseError::Unwritable(why.clone())),
        }
    }

    async fn cooperate(
        &self,
        channel: &ChannelDetails,
        feerate_per_kw: Option<u32>,
        delivery: Option<ShutdownScript>,
    ) -> Result<(), CloseError> {
        if super::list::state(channel) == super::list::ChannelState::Closing {
            return Ok(());
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let peer = channel.counterparty.node_id;
            if self.peers.peer_by_node_id(&peer).is_none() {
                return Err(CloseError::PeerOffline);
            }
            let begun = self.manager.close_channel_with_feerate_and_script(
                &channel.channel_id,
                &peer,
                feerate_per_kw,
                delivery.clone(),
            );
            match begun {
                Ok(()) => return Ok(()),
                Err(error) if !may_pass(&error) || Instant::now() >= deadline => {
                    return Err(CloseError::Refused(describe(&error)));
                }
                Err(_) => sleep(RETRY).await,
            }
        }
    }
}

/// Whether LDK refuses only for now. Its text is all that tells (`Channel::get_shutdown`).
fn may_pass(error: &APIError) -> bool {
    let text = describe(error);
    [
        "waiting on a monitor update",
        "Process pending events first",
        "while peer is disconnected",
    ]
    .iter()
    .any(|momentary| text.contains(momentary))
}

#[cfg(test)]
mod tests;
