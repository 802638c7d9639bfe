//! Closes channels and reports the progress of the closing transaction.

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
use super::funding_spends::{FundingSpends, Spend};
use super::open::describe;
use crate::channel_messages::ClosingTerms;
use crate::ldk::ChannelManager;
use crate::peers::PeerManager;
use crate::storage::Health;
use crash_points::Point;

/// How long a cooperative close waits until LDK can begin it. Under load LDK refuses while an
/// update of the channel is being persisted, which takes milliseconds.
const CLOSE_START_TIMEOUT: Duration = Duration::from_secs(10);
/// The interval between attempts; LDK has no event for this.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// The weight of a closing transaction with the longest scripts that BOLT 2 allows (42 bytes).
const MAX_CLOSING_WEIGHT: u64 = 834;

/// The fee rate of a cooperative close, in sat per 1000 weight units. The opener pays the fee, so
/// this has no effect on channels that the peer opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosingFee {
    /// Our own estimate. lnd, which proposes a fee of its own, may get more.
    Estimate(u32),
    /// Exactly the rate that the user asked for.
    Exactly {
        sat_per_kw: u32,
        /// Our estimate for one day (144 blocks). Peers other than lnd and ampd may refuse a lower
        /// rate.
        day_sat_per_kw: u32,
    },
}

/// How to close a channel.
#[derive(Debug, Clone)]
pub enum CloseRequest {
    /// Both sides sign one closing transaction.
    Cooperative {
        fee: ClosingFee,
        /// The script that receives our balance; `None` for an address of our own wallet.
        delivery: Option<ScriptBuf>,
    },
    /// We broadcast our commitment transaction and wait for its time locks.
    Force,
}

/// The reason why a channel cannot be closed.
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
        "a fee rate of {wanted} sat/kw is more than our balance in the channel can pay ({most} sat/kw)"
    )]
    FeeTooHigh { wanted: u32, most: u32 },
    /// Many nodes use their one-day estimate (144 blocks) as the minimum.
    #[error(
        "the peer may reject a fee rate below {least} sat/kw (our one-day estimate) and force-close: \
         use a higher rate"
    )]
    FeeTooLow { least: u32 },
    #[error("unable to close channel: {0}")]
    Refused(String),
    #[error("cannot force-close while the database is not writable ({0})")]
    Unwritable(String),
    /// A cooperative close ended as a force close.
    #[error(
        "the channel was force-closed instead of cooperatively: {0} is a commitment transaction, \
         so our funds may be time-locked"
    )]
    Forced(Txid),
    #[error("the node is shutting down")]
    Stopping,
}

/// A step of a close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseUpdate {
    /// We have broadcast this transaction. Another one may still confirm in its place.
    Pending(Txid),
    /// This transaction is confirmed.
    Confirmed { txid: Txid, height: u32 },
}

/// A close in progress. Dropping it does not stop the close.
#[derive(Debug)]
pub struct Closing {
    spend: watch::Receiver<Option<Spend>>,
    told: Option<Spend>,
    /// The user asked for a force close.
    by_force: bool,
}

impl Closing {
    /// Waits for the next step. A cooperative close with pending HTLCs waits until they are
    /// resolved.
    ///
    /// # Errors
    ///
    /// [`CloseError::Forced`] if a cooperative close ended as a force close.
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

    /// Waits until a closing transaction is confirmed.
    pub async fn confirmed(&mut self) -> Result<(Txid, u32), CloseError> {
        loop {
            if let CloseUpdate::Confirmed { txid, height } = self.next().await? {
                return Ok((txid, height));
            }
        }
    }
}

/// Broadcasts our commitment of a channel that LDK's `ChannelManager` no longer has.
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
    /// `storage` reports whether commits succeed: no force close begins while they fail.
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

    /// Starts closing the channel and returns as soon as the close has begun.
    ///
    /// A channel that is already closing cooperatively can be force-closed, even after its closing
    /// transaction was broadcast. A repeated cooperative close returns the close in progress.
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
        // Sends `shutdown` or the error now rather than at the next event.
        self.peers.process_events();
        Ok(Closing {
            spend,
            told: None,
            by_force,
        })
    }

    /// Handles a channel whose closing transaction both sides have signed; LDK's manager has
    /// removed it.
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

    /// Force-closes the channel. The commitment is broadcast once the close is on disk. While
    /// commits fail that may never happen, and after a restart the channel would be open again.
    /// Therefore the close is refused.
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
        let deadline = Instant::now() + CLOSE_START_TIMEOUT;
        loop {
            let peer = channel.counterparty.node_id;
            if self.peers.peer_by_node_id(&peer).is_none() {
                return Err(CloseError::PeerOffline);
            }
            match self.begin(channel, terms, delivery.clone()) {
                Ok(()) => return Ok(()),
                Err(error) if !is_temporary(&error) || Instant::now() >= deadline => {
                    return Err(CloseError::Refused(describe(&error)));
                }
                Err(_) => sleep(RETRY_INTERVAL).await,
            }
        }
    }

    /// Refuses low fee rates that only lnd and ampd are known to accept, unless the peer is one of
    /// them.
    fn check_low(&self, channel: &ChannelDetails, fee: ClosingFee) -> Result<(), CloseError> {
        let peer = self.peers.peer_by_node_id(&channel.counterparty.node_id);
        let peer = peer.ok_or(CloseError::PeerOffline)?;
        match fee {
            ClosingFee::Exactly {
                sat_per_kw,
                day_sat_per_kw: least,
            } if channel.is_outbound
                && sat_per_kw < least
                && !supports_amp(&peer.init_features) =>
            {
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
        // LDK stores this with the channel, so it still applies after a restart.
        self.set_more(channel, more_sat)?;
        let begun = self.manager.close_channel_with_feerate_and_script(
            &channel.channel_id,
            &channel.counterparty.node_id,
            feerate_per_kw,
            delivery,
        );
        if begun.is_err() {
            // The peer may start a close later, when no rate was requested.
            self.set_more(channel, MOST_ABOVE_OUR_CLOSING_FEE_SAT)?;
        }
        begun
    }

    /// Sets how much we pay, in sat, above the offered fee if a peer without a fee range asks for
    /// it.
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

/// Returns the rate that LDK should offer, if we pay, and how much may be added to it, in sat.
fn terms_of(channel: &ChannelDetails, fee: ClosingFee) -> Result<(Option<u32>, u64), CloseError> {
    // For a channel opened by the peer, LDK would treat the rate as the peer's minimum.
    if !channel.is_outbound {
        return Ok((None, MOST_ABOVE_OUR_CLOSING_FEE_SAT));
    }
    // LDK force-closes if the fee exceeds our balance.
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

/// Returns whether the peer is lnd or ampd: no other implementation sets the AMP bits (30 or 31) in
/// `init`.
fn supports_amp(features: &InitFeatures) -> bool {
    features
        .le_flags()
        .get(3)
        .is_some_and(|byte| byte & 0b1100_0000 != 0)
}

/// Returns what closing the channel may cost us, or `None` if the peer pays. A close started by the
/// peer uses the terms of an estimate.
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

/// Returns whether LDK's refusal is temporary. Only the error text shows this
/// (`Channel::get_shutdown`).
fn is_temporary(error: &APIError) -> bool {
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
