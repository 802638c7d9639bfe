//! Opens channels: negotiates with the peer, funds the channel from the wallet, reports the
//! outcome.
//!
//! The steps of an opening: [`Opener::open`] -> the peer accepts -> `FundingGenerationReady` -> the
//! wallet builds the transaction -> bitcoind would accept it -> the peer signs -> `ChannelPending`
//! (LDK has stored the channel and broadcasts the transaction) -> [`Opening`] completes. If the
//! opening fails earlier, LDK emits `ChannelClosed`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bitcoin::secp256k1::PublicKey;
use bitcoin::{OutPoint, ScriptBuf, Transaction};
use futures_util::future::BoxFuture;
use lightning::events::{ClosureReason, FundingInfo};
use lightning::ln::types::ChannelId;
use lightning::types::features::ChannelTypeFeatures;
use lightning::util::config::UserConfig;
use lightning::util::errors::APIError;
use tokio::sync::oneshot;

use super::config::{MAX_CHANNEL_SAT, MIN_CHANNEL_SAT};
use super::user_channel_id::UserChannelId;
use crate::ldk::ChannelManager;
use crate::peers::PeerManager;
use crate::sync::lock;

mod request;

pub use self::request::{FundingFee, OpenError, OpenRequest};

/// The functions of the on-chain wallet that opening a channel needs.
pub trait FundingWallet: Send + Sync {
    /// Builds and signs a transaction that pays `amount_sat` to `script` from SegWit outputs only,
    /// and reserves these outputs. It must not be broadcast.
    ///
    /// Called inside LDK's event handler: it must not wait for the network. The error is shown to
    /// the user.
    fn fund(
        &self,
        script: ScriptBuf,
        amount_sat: u64,
        fee: FundingFee,
    ) -> Result<Transaction, String>;

    /// Asks bitcoind whether it would accept the transaction now. The error is shown to the user.
    fn check(&self, transaction: Transaction) -> BoxFuture<'static, Result<(), String>>;

    /// Releases the inputs of the transaction after the opening failed.
    fn cancel(&self, transaction: &Transaction);
}

/// A channel that is being opened.
#[derive(Debug)]
pub struct Opening {
    /// LDK's id of the channel until it is funded.
    pub temporary_channel_id: ChannelId,
    outcome: oneshot::Receiver<Result<OutPoint, OpenError>>,
}

impl Opening {
    /// Waits until the funding transaction is final and being broadcast, and returns the channel
    /// point.
    ///
    /// Dropping this does not stop the opening.
    pub async fn funded(self) -> Result<OutPoint, OpenError> {
        self.outcome.await.unwrap_or(Err(OpenError::Stopping))
    }
}

/// LDK's ids of a channel of ours that is not funded yet.
#[derive(Clone, Copy)]
pub(super) struct Unfunded {
    pub(super) temporary_channel_id: ChannelId,
    pub(super) peer: PublicKey,
    pub(super) user_channel_id: u128,
}

/// A channel between `open` and `ChannelPending`.
struct Waiting {
    fee: FundingFee,
    /// Whether the `scid_alias` type was requested. After an error from the peer, LDK retries with
    /// another type, based on the node's configuration.
    scid_alias: bool,
    requester: oneshot::Sender<Result<OutPoint, OpenError>>,
    /// The reason for giving up the channel; LDK would only report that we closed it.
    failure: Option<OpenError>,
}

/// Opens channels and tracks them until they are funded.
pub struct Opener {
    manager: Arc<ChannelManager>,
    peers: Arc<PeerManager>,
    wallet: Arc<dyn FundingWallet>,
    config: UserConfig,
    waiting: Mutex<HashMap<u128, Waiting>>,
}

impl Opener {
    /// `config` is the configuration of the node; a request changes a copy of it.
    pub fn new(
        manager: Arc<ChannelManager>,
        peers: Arc<PeerManager>,
        wallet: Arc<dyn FundingWallet>,
        config: UserConfig,
    ) -> Self {
        Self {
            manager,
            peers,
            wallet,
            config,
            waiting: Mutex::default(),
        }
    }

    /// Asks the peer for a channel. The peer must be connected.
    pub fn open(&self, request: &OpenRequest) -> Result<Opening, OpenError> {
        self.check(request)?;
        let id = UserChannelId::draw(true, request.private)?.value();
        let (requester, outcome) = oneshot::channel();
        // Inserted before LDK knows the channel, so that the peer's answer finds it.
        let waiting = Waiting {
            fee: request.fee,
            scid_alias: request.scid_alias,
            requester,
            failure: None,
        };
        self.waiting().insert(id, waiting);
        let created = self.manager.create_channel(
            request.peer,
            request.capacity_sat,
            request.push_sat.saturating_mul(1000),
            id,
            None,
            Some(self.config_for(request)),
        );
        match created {
            Ok(temporary_channel_id) => {
                // LDK queues `open_channel`; this sends it now rather than at the next event.
                self.peers.process_events();
                Ok(Opening {
                    temporary_channel_id,
                    outcome,
                })
            }
            Err(error) => {
                self.waiting().remove(&id);
                Err(OpenError::Refused(describe(&error)))
            }
        }
    }

    fn check(&self, request: &OpenRequest) -> Result<(), OpenError> {
        if request.peer == self.manager.get_our_node_id() {
            return Err(OpenError::ToSelf);
        }
        if request.capacity_sat < MIN_CHANNEL_SAT {
            return Err(OpenError::TooSmall);
        }
        if request.capacity_sat > MAX_CHANNEL_SAT {
            return Err(OpenError::TooLarge);
        }
        if request.push_sat >= request.capacity_sat {
            return Err(OpenError::PushTooLarge);
        }
        if request.scid_alias && !request.private {
            return Err(OpenError::PublicAlias);
        }
        let peer = self.peers.peer_by_node_id(&request.peer);
        let peer = peer.ok_or(OpenError::NotOnline(request.peer))?;
        // LDK would open a channel of another type.
        if request.scid_alias && !peer.init_features.supports_scid_privacy() {
            return Err(OpenError::NoAlias(request.peer));
        }
        Ok(())
    }

    fn config_for(&self, request: &OpenRequest) -> UserConfig {
        let mut config = self.config.clone();
        let handshake = &mut config.channel_handshake_config;
        handshake.announce_for_forwarding = !request.private;
        handshake.negotiate_scid_privacy = request.scid_alias;
        handshake.our_htlc_minimum_msat = request
            .min_htlc_msat
            .unwrap_or(handshake.our_htlc_minimum_msat);
        handshake.our_to_self_delay = request
            .remote_csv_delay
            .unwrap_or(handshake.our_to_self_delay);
        let channel = &mut config.channel_config;
        channel.forwarding_fee_base_msat = request
            .base_fee_msat
            .unwrap_or(channel.forwarding_fee_base_msat);
        channel.forwarding_fee_proportional_millionths = request
            .fee_rate_ppm
            .unwrap_or(channel.forwarding_fee_proportional_millionths);
        config
    }

    /// Builds the funding transaction after the peer has accepted the channel. LDK receives it only
    /// after bitcoind has said that it would accept it: LDK broadcasts it once the peer has signed,
    /// and does not learn of a rejection.
    ///
    /// Requires a tokio runtime. A crash during the opening is harmless: LDK discards unfunded
    /// channels, and the inputs are released at the next start.
    pub(super) fn funding_generation_ready(
        self: &Arc<Self>,
        channel: Unfunded,
        sat: u64,
        output_script: ScriptBuf,
    ) {
        match self.fund(&channel, sat, output_script) {
            Ok(transaction) => {
                tokio::spawn(Arc::clone(self).hand_over(channel, transaction));
            }
            Err(error) => self.give_up(&channel, error),
        }
    }

    fn fund(
        &self,
        channel: &Unfunded,
        sat: u64,
        script: ScriptBuf,
    ) -> Result<Transaction, OpenError> {
        // An unknown channel dates from before a restart: LDK discards those as well.
        let asked = self
            .waiting()
            .get(&channel.user_channel_id)
            .map(|waiting| (waiting.fee, waiting.scid_alias));
        match asked {
            Some((_, true)) if !self.has_alias(channel) => Err(OpenError::NoAlias(channel.peer)),
            Some((fee, _)) => self
                .wallet
                .fund(script, sat, fee)
                .map_err(OpenError::Wallet),
            None => Err(OpenError::Stopping),
        }
    }

    async fn hand_over(self: Arc<Self>, channel: Unfunded, transaction: Transaction) {
        let checked = self.wallet.check(transaction.clone()).await;
        let given = checked.map_err(OpenError::NotAccepted).and_then(|()| {
            self.manager
                .funding_transaction_generated(
                    channel.temporary_channel_id,
                    channel.peer,
                    transaction.clone(),
                )
                .map_err(|error| OpenError::Refused(describe(&error)))
        });
        if let Err(error) = given {
            self.wallet.cancel(&transaction);
            self.give_up(&channel, error);
        }
        // Sends `funding_created` or the error now rather than at the next event.
        self.peers.process_events();
    }

    fn has_alias(&self, channel: &Unfunded) -> bool {
        let channels = self.manager.list_channels_with_counterparty(&channel.peer);
        let id = channel.temporary_channel_id;
        let channel = channels.iter().find(|one| one.channel_id == id);
        let kind = channel.and_then(|channel| channel.channel_type.as_ref());
        kind.is_some_and(ChannelTypeFeatures::requires_scid_privacy)
    }

    /// Completes the opening: LDK has stored the channel and broadcasts its funding transaction.
    pub fn channel_pending(&self, user_channel_id: u128, funding_txo: OutPoint) {
        if let Some(waiting) = self.waiting().remove(&user_channel_id) {
            // The requester may have gone away; the channel is opened nevertheless.
            let _ = waiting.requester.send(Ok(funding_txo));
        }
    }

    /// Reports the failure to the requester if the channel closed before it was funded.
    pub fn channel_closed(&self, user_channel_id: u128, reason: &ClosureReason) {
        if let Some(waiting) = self.waiting().remove(&user_channel_id) {
            let error = waiting
                .failure
                .unwrap_or_else(|| OpenError::Closed(reason.to_string()));
            let _ = waiting.requester.send(Err(error));
        }
    }

    /// Releases the inputs of a funding transaction that will never be used.
    pub fn discard_funding(&self, funding_info: &FundingInfo) {
        match funding_info {
            FundingInfo::Tx { transaction } => self.wallet.cancel(transaction),
            // Only for channels that are funded manually or by both sides, which we do not open.
            FundingInfo::OutPoint { outpoint } => {
                tracing::warn!(txid = %outpoint.txid, "funding transaction discarded");
            }
        }
    }

    /// Closes a channel that we cannot fund. The `ChannelClosed` that follows reports it to the
    /// requester.
    fn give_up(&self, channel: &Unfunded, error: OpenError) {
        let peer = channel.peer;
        tracing::warn!(%peer, %error, "cannot fund the channel");
        if let Some(waiting) = self.waiting().get_mut(&channel.user_channel_id) {
            waiting.failure = Some(error);
        }
        let message = "failed to fund the channel".to_owned();
        let id = &channel.temporary_channel_id;
        if let Err(gone) = self
            .manager
            .force_close_broadcasting_latest_txn(id, &peer, message)
        {
            // Already closed, so `ChannelClosed` follows anyway.
            tracing::debug!(%peer, error = describe(&gone), "the unfunded channel is already closed");
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u128, Waiting>> {
        lock(&self.waiting)
    }
}

/// Returns the text of LDK's error without the enum's wrapping.
pub(super) fn describe(error: &APIError) -> String {
    match error {
        APIError::APIMisuseError { err } | APIError::ChannelUnavailable { err } => err.clone(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests;
