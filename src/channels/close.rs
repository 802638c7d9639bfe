//! Closes channels and tells the caller how far the closing transaction is.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use bitcoin::{OutPoint, ScriptBuf, Txid};
use lightning::ln::channel_state::ChannelDetails;
use lightning::ln::script::ShutdownScript;
use lightning::ln::types::ChannelId;
use lightning::types::features::InitFeatures;
use lightning::util::config::ChannelConfigUpdate;
use lightning::util::errors::APIError;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::config::MOST_ABOVE_OUR_CLOSING_FEE_SAT;
use super::open::describe;
use super::spends::{FundingSpends, Spend};
use crate::channel_messages::ClosingTerms;
use crate::ldk::{ChannelManager, PeerManager};
use crate::storage::Health;
use crash_points::Point;

/// How long a cooperative close waits for the channel to be ready for it. Under load LDK refuses
/// to begin while an update of the channel is being written; such a moment lasts milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two tries of the same; LDK has no event for it.
const RETRY: Duration = Duration::from_millis(20);

/// The weight of a closing transaction with the longest scripts that BOLT 2 allows (42 bytes).
const MAX_CLOSING_WEIGHT: u64 = 834;

/// What a cooperative close may cost, in sat per 1000 weight units. Whoever opened the channel pays, so
/// this is without meaning if that is the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosingFee {
    /// Our estimate. lnd, which names a fee of its own, may get more.
    Estimate(u32),
    /// What the caller asks for, no more and no less.
    Exactly {
        sat_per_kw: u32,
        /// Our estimate for a day. A peer may refuse less, if it is neither lnd nor ampd.
        day_sat_per_kw: u32,
    },
}

/// How to close.
#[derive(Debug, Clone)]
pub enum CloseRequest {
    /// Both sides sign one closing transaction.
    Cooperative {
        fee: ClosingFee,
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
    #[error("cannot close to this delivery address: use a SegWit address")]
    Delivery,
    #[error(
        "a fee rate of {wanted} sat/kw exceeds what our balance in the channel can pay ({most} sat/kw)"
    )]
    FeeTooHigh { wanted: u32, most: u32 },
    /// Many nodes take their estimate for a day (144 blocks) for the least.
    #[error(
        "the peer may reject a fee rate below {least} sat/kw (our one-day estimate) and force-close: use a higher rate"
    )]
    FeeTooLow { least: u32 },
    #[error("unable to close channel: {0}")]
    Refused(String),
    #[error("cannot force-close while the database cannot be written ({0})")]
    Unwritable(String),
    /// The close was meant to be cooperative.
    #[error(
        "the channel was force-closed instead of cooperatively: {0} is a commitment transaction, so our funds may be time-locked"
    )]
    Forced(Txid),
    #[error("the node is shutting down")]
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
    spend: watch::Receiver<Option<Spend>>,
    told: Option<Spend>,
    /// Whether a commitment is what the caller wants.
    by_force: bool,
}

impl Closing {
    /// Waits for the next step. A cooperative close with HTLCs under way takes as long as they do.
    ///
    /// # Errors
    /// [`CloseError::Forced`] if a cooperative close has ended as a forced one.
    pub async fn next(&mut self) -> Result<CloseUpdate, CloseError> {
        let told = self.told;
        let changed = self
            .spend
            .wait_for(|spend| spend.is_some() && *spend != told);
        let spend = *changed.await.map_err(|_| CloseError::Stopping)?;
        self.told = spend;
        // `wait_for` lets only known transactions pass.
        let Some(Spend { closing, forced }) = spend else {
            return Err(CloseError::Stopping);
        };
        let txid = closing.txid;
        match closing.height {
            _ if forced && !self.by_force => Err(CloseError::Forced(txid)),
            Some(height) => Ok(CloseUpdate::Confirmed { txid, height }),
            None => Ok(CloseUpdate::Pending(txid)),
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
        self.spends.watch_open(&channel);
        let spend = self
            .spends
            .subscribe(&channel_point)
            .ok_or(CloseError::Stopping)?;
        let by_force = matches!(request, CloseRequest::Force);
        match request {
            CloseRequest::Force => self.force(&channel)?,
            CloseRequest::Cooperative { fee, delivery } => {
                let delivery = delivery.map(ShutdownScript::try_from).transpose();
                let delivery = delivery.map_err(|_| CloseError::Delivery)?;
                self.cooperate(&channel, fee, delivery).await?;
            }
        }
        // Sends `shutdown`, or the error, now rather than at the next event.
        self.peers.process_events();
        Ok(Closing {
            spend,
            told: None,
            by_force,
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
        let spend = self
            .spends
            .subscribe(&channel_point)
            .ok_or(CloseError::Stopping)?;
        let by_force = matches!(request, CloseRequest::Force);
        let mut told = None;
        if by_force {
            self.check_storage()?;
            told = *spend.borrow();
            self.spends.force(&channel_point);
            (self.broadcast_commitment)(channel_id);
        }
        Ok(Closing {
            spend,
            told,
            by_force,
        })
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
        crash_points::in_next_commit(Point::ForceClosed);
        let message = "closed by the operator of the node".to_owned();
        self.manager
            .force_close_broadcasting_latest_txn(
                &channel.channel_id,
                &channel.counterparty.node_id,
                message,
            )
            .map_err(|error| CloseError::Refused(describe(&error)))
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
        fee: ClosingFee,
        delivery: Option<ShutdownScript>,
    ) -> Result<(), CloseError> {
        if super::list::state(channel) == super::list::ChannelState::Closing {
            return Ok(());
        }
        self.check_low(channel, fee)?;
        let terms = terms_of(channel, fee)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let peer = channel.counterparty.node_id;
            if self.peers.peer_by_node_id(&peer).is_none() {
                return Err(CloseError::PeerOffline);
            }
            match self.begin(channel, terms, delivery.clone()) {
                Ok(()) => return Ok(()),
                Err(error) if !may_pass(&error) || Instant::now() >= deadline => {
                    return Err(CloseError::Refused(describe(&error)));
                }
                Err(_) => sleep(RETRY).await,
            }
        }
    }

    /// What only lnd and ampd are known to take is refused towards others.
    fn check_low(&self, channel: &ChannelDetails, fee: ClosingFee) -> Result<(), CloseError> {
        let peer = self.peers.peer_by_node_id(&channel.counterparty.node_id);
        let peer = peer.ok_or(CloseError::PeerOffline)?;
        match fee {
            ClosingFee::Exactly {
                sat_per_kw,
                day_sat_per_kw: least,
            } if channel.is_outbound && sat_per_kw < least && !knows_amp(&peer.init_features) => {
                Err(CloseError::FeeTooLow { least })
            }
            _ => Ok(()),
        }
    }

    fn begin(
        &self,
        channel: &ChannelDetails,
        (feerate_per_kw, more_sat): (Option<u32>, u64),
        delivery: Option<ShutdownScript>,
    ) -> Result<(), APIError> {
        // LDK keeps it with the channel, so that it also counts after a restart.
        self.set_more(channel, more_sat)?;
        let begun = self.manager.close_channel_with_feerate_and_script(
            &channel.channel_id,
            &channel.counterparty.node_id,
            feerate_per_kw,
            delivery,
        );
        if begun.is_err() {
            // The peer may begin a close later, and nothing is asked for then.
            self.set_more(channel, MOST_ABOVE_OUR_CLOSING_FEE_SAT)?;
        }
        begun
    }

    /// Sets what we pay beyond the offered fee if a peer without a fee range asks for it, in sat.
    fn set_more(&self, channel: &ChannelDetails, sat: u64) -> Result<(), APIError> {
        let update = ChannelConfigUpdate {
            force_close_avoidance_max_fee_satoshis: Some(sat),
            ..ChannelConfigUpdate::default()
        };
        let peer = &channel.counterparty.node_id;
        self.manager
            .update_partial_channel_config(peer, &[channel.channel_id], &update)
    }
}

/// The rate that LDK is to offer, if we pay, and what may come on top of it in sat.
fn terms_of(channel: &ChannelDetails, fee: ClosingFee) -> Result<(Option<u32>, u64), CloseError> {
    // For a channel of the peer LDK would take the rate for the least that the peer has to pay.
    if !channel.is_outbound {
        return Ok((None, MOST_ABOVE_OUR_CLOSING_FEE_SAT));
    }
    // LDK closes by force if the fee is more than we have.
    let balance_msat = super::list::channel(channel).local_balance_msat();
    let most = u32::try_from(balance_msat / MAX_CLOSING_WEIGHT).unwrap_or(u32::MAX);
    match fee {
        ClosingFee::Estimate(rate) => Ok((Some(rate.min(most)), MOST_ABOVE_OUR_CLOSING_FEE_SAT)),
        ClosingFee::Exactly { sat_per_kw, .. } if sat_per_kw <= most => Ok((Some(sat_per_kw), 0)),
        ClosingFee::Exactly {
            sat_per_kw: wanted, ..
        } => Err(CloseError::FeeTooHigh { wanted, most }),
    }
}

/// Whether this is an lnd or an ampd: nobody else sets bits 30 or 31 (AMP) in its `init`.
fn knows_amp(features: &InitFeatures) -> bool {
    features
        .le_flags()
        .get(3)
        .is_some_and(|byte| byte & 0b1100_0000 != 0)
}

/// What the close of a channel may cost us; none if the peer pays. A close that the peer begins has the
/// terms of an estimate.
pub fn closing_terms(
    manager: &ChannelManager,
    peer: &PublicKey,
    channel: &ChannelId,
) -> Option<ClosingTerms> {
    let channels = manager.list_channels_with_counterparty(peer);
    let channel = channels.iter().find(|one| one.channel_id == *channel)?;
    let more_sat = channel.config?.force_close_avoidance_max_fee_satoshis;
    channel.is_outbound.then_some(match more_sat {
        0 => ClosingTerms::Exactly,
        more_sat => ClosingTerms::UpTo { more_sat },
    })
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
