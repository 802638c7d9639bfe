//! The channel messages between peers and LDK, and what other programs and LDK need changed in them.
//!
//! [`ChannelMessages`] passes every message through, except that:
//!
//! * feature bit 55 (keysend, optional), which LDK always advertises, is set only if the node accepts
//!   keysend;
//! * lnd's "internal error" ends the connection instead of the channel (`is_passing`);
//! * no fee proposed for a cooperative close makes LDK force-close (`ClosingFees`);
//! * early `announcement_signatures` are deferred (`EarlySignatures`);
//! * `funding_signed` and `closing_signed` wait until their channel's state is on disk (`HeldMessages`);
//! * peer storage is handled outside LDK ([`PeerBlobs`]);
//! * splicing is not advertised, since LDK rejects every splice that a peer proposes.
//!
//! AMP is none of its business: [`ldk_amp::Gateway`] stands behind it.

mod closing_fees;
mod early_signatures;
mod held_messages;
mod peer_blobs;

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard};

use bitcoin::constants::ChainHash;
use bitcoin::secp256k1::PublicKey;
use lightning::ln::channel_state::ChannelDetails;
use lightning::ln::msgs;
use lightning::ln::msgs::{BaseMessageHandler, ChannelMessageHandler, MessageSendEvent};
use lightning::ln::types::ChannelId;
use lightning::types::features::{InitFeatures, NodeFeatures};

use self::closing_fees::{Answer, ClosingFees, FindTerms};
use self::early_signatures::EarlySignatures;
use self::held_messages::HeldMessages;
use crate::logging::cut;
use crate::logging::ldk::message_of;
use crate::sync::lock;

pub use self::closing_fees::ClosingTerms;
pub use self::held_messages::{Commits, OnDisk};
pub use self::peer_blobs::PeerBlobs;

/// The maximum length in bytes of a peer's error text passed to LDK. Known implementations send one
/// or two hundred.
const MAX_ERROR_BYTES: usize = 1_000;

/// Returns the channels with a peer.
type ChannelsWith = dyn Fn(&PublicKey) -> Vec<ChannelDetails> + Send + Sync;

/// Wraps the channel message handler `H` and corrects what passes between it and the peers.
pub struct ChannelMessages<H: Deref> {
    inner: H,
    closing_fees: Mutex<ClosingFees>,
    find_terms: Box<FindTerms>,
    early_signatures: Mutex<EarlySignatures>,
    held_messages: Mutex<HeldMessages>,
    channels_with: Box<ChannelsWith>,
    peer_blobs: Option<Arc<dyn PeerBlobs>>,
    /// Messages sent before LDK's.
    first: Mutex<Vec<MessageSendEvent>>,
    /// Messages sent after LDK's.
    own: Mutex<Vec<MessageSendEvent>>,
    announce_keysend: bool,
}

impl<H: Deref> ChannelMessages<H>
where
    H::Target: ChannelMessageHandler,
{
    /// Wraps `inner`, the handler of AMP or the channel manager itself.
    pub fn new(inner: H) -> Self {
        Self {
            inner,
            closing_fees: Mutex::default(),
            find_terms: Box::new(|_, _| None),
            early_signatures: Mutex::default(),
            held_messages: Mutex::default(),
            channels_with: Box::new(|_| Vec::new()),
            peer_blobs: None,
            first: Mutex::default(),
            own: Mutex::default(),
            announce_keysend: false,
        }
    }

    /// Sets whether node_announcement advertises keysend; off by default.
    #[must_use]
    pub fn announcing_keysend(mut self, announce: bool) -> Self {
        self.announce_keysend = announce;
        self
    }

    /// Sets how to find the closing fee limit of channels that we opened; by default LDK's limits
    /// apply.
    #[must_use]
    pub fn closing_by(
        mut self,
        find_terms: impl Fn(&PublicKey, &ChannelId) -> Option<ClosingTerms> + Send + Sync + 'static,
    ) -> Self {
        self.find_terms = Box::new(find_terms);
        self
    }

    /// Sets how to list the channels with a peer; without it `announcement_signatures` are not
    /// deferred.
    #[must_use]
    pub fn knowing_channels(
        mut self,
        channels_with: impl Fn(&PublicKey) -> Vec<ChannelDetails> + Send + Sync + 'static,
    ) -> Self {
        self.channels_with = Box::new(channels_with);
        self
    }

    /// Sets the database whose commits `funding_signed` and `closing_signed` wait for; by default they do
    /// not wait.
    #[must_use]
    pub fn committing_by(mut self, commits: Arc<dyn Commits>) -> Self {
        self.held_messages = Mutex::new(HeldMessages::waiting_for(commits));
        self
    }

    /// Sets the peer storage; by default LDK's is used.
    #[must_use]
    pub fn storing_by(mut self, peer_blobs: Arc<dyn PeerBlobs>) -> Self {
        self.peer_blobs = Some(peer_blobs);
        self
    }

    /// Drops a channel's marks, closing offer and deferred signatures. Call it when the channel closes.
    pub fn forget_channel(&self, channel_id: &ChannelId) {
        self.closing_fees().forget_channel(channel_id);
        self.early_signatures().forget_channel(channel_id);
        self.held_messages().forget_channel(channel_id);
    }

    fn closing_fees(&self) -> MutexGuard<'_, ClosingFees> {
        lock(&self.closing_fees)
    }

    fn early_signatures(&self) -> MutexGuard<'_, EarlySignatures> {
        lock(&self.early_signatures)
    }

    fn held_messages(&self) -> MutexGuard<'_, HeldMessages> {
        lock(&self.held_messages)
    }

    /// Passes the channel's deferred signatures to LDK if it can handle them now.
    fn release_signatures(&self, peer: PublicKey, channel: &ChannelDetails) {
        let due = self.early_signatures().take(peer, channel);
        if let Some(message) = due {
            self.inner.handle_announcement_signatures(peer, &message);
        }
    }

    fn channel(&self, peer: &PublicKey, channel_id: &ChannelId) -> Option<ChannelDetails> {
        let channels = (self.channels_with)(peer);
        channels
            .into_iter()
            .find(|channel| channel.channel_id == *channel_id)
    }

    fn first(&self) -> MutexGuard<'_, Vec<MessageSendEvent>> {
        lock(&self.first)
    }

    /// Drops the queued peer storage retrieval for this peer.
    fn cancel_retrieval(&self, peer: &PublicKey) {
        self.first()
            .retain(|event| retrieval_for(event) != Some(peer));
    }

    /// Returns whether LDK is returning a blob of a peer whose blob we store. LDK may still hold an
    /// older one, from before the gateway handled peer storage.
    fn is_outdated(&self, event: &MessageSendEvent) -> bool {
        let peer = retrieval_for(event);
        let has = |peer| {
            self.peer_blobs
                .as_ref()
                .is_some_and(|blobs| blobs.has(peer))
        };
        peer.is_some_and(has)
    }

    fn send(&self, event: MessageSendEvent) {
        self.own().push(event);
    }

    fn own(&self) -> MutexGuard<'_, Vec<MessageSendEvent>> {
        lock(&self.own)
    }

    /// Adapts an outgoing message of LDK.
    fn adapt_outgoing(&self, event: &mut MessageSendEvent) {
        match event {
            MessageSendEvent::SendClosingSigned { node_id, msg } => {
                let terms = (self.find_terms)(node_id, &msg.channel_id);
                self.closing_fees().outgoing(*node_id, msg, terms);
            }
            // LDK sends ours as soon as the channel can be announced; now it handles the peer's.
            MessageSendEvent::SendAnnouncementSignatures { node_id, msg } => {
                if let Some(channel) = self.channel(node_id, &msg.channel_id) {
                    self.release_signatures(*node_id, &channel);
                }
            }
            _ => {}
        }
    }
}

impl<H: Deref> BaseMessageHandler for ChannelMessages<H>
where
    H::Target: ChannelMessageHandler,
{
    fn get_and_clear_pending_msg_events(&self) -> Vec<MessageSendEvent> {
        let mut ldks = self.inner.get_and_clear_pending_msg_events();
        ldks.retain(|event| !self.is_outdated(event));
        for event in &mut ldks {
            self.adapt_outgoing(event);
        }
        // Taken after LDK's messages: whatever was queued here before LDK created one precedes it.
        let mut events = std::mem::take(&mut *self.first());
        self.held_messages().hold_back(&mut ldks);
        events.append(&mut self.held_messages().due());
        events.append(&mut ldks);
        events.append(&mut self.own());
        events
    }

    fn peer_disconnected(&self, peer: PublicKey) {
        self.closing_fees().forget_peer(&peer);
        self.early_signatures().forget_peer(&peer);
        self.held_messages().forget_peer(&peer);
        self.cancel_retrieval(&peer);
        if let Some(blobs) = &self.peer_blobs {
            blobs.disconnected(&peer);
        }
        self.inner.peer_disconnected(peer);
    }

    fn provided_node_features(&self) -> NodeFeatures {
        let mut features = self.inner.provided_node_features();
        features.clear_splicing();
        if self.announce_keysend {
            features.set_keysend_optional();
        } else {
            features.clear_keysend();
        }
        features
    }

    fn provided_init_features(&self, peer: PublicKey) -> InitFeatures {
        let mut features = self.inner.provided_init_features(peer);
        features.clear_splicing();
        features
    }

    fn peer_connected(&self, peer: PublicKey, init: &msgs::Init, inbound: bool) -> Result<(), ()> {
        // Queued before LDK creates its channel_reestablish (BOLT 1).
        let blob = self.peer_blobs.as_ref().and_then(|all| all.newest(&peer));
        if let Some(data) = blob {
            self.first()
                .push(MessageSendEvent::SendPeerStorageRetrieval {
                    node_id: peer,
                    msg: msgs::PeerStorageRetrieval { data },
                });
        }
        let connected = self.inner.peer_connected(peer, init, inbound);
        if connected.is_err() {
            self.cancel_retrieval(&peer);
        }
        connected
    }
}

/// Methods that pass their message on unchanged.
macro_rules! pass_through {
    ($($method:ident($message:ty)),* $(,)?) => {
        $(fn $method(&self, peer: PublicKey, message: $message) {
            let _logged = message_of(peer);
            self.inner.$method(peer, message);
        })*
    };
}

impl<H: Deref> ChannelMessageHandler for ChannelMessages<H>
where
    H::Target: ChannelMessageHandler,
{
    fn handle_error(&self, peer: PublicKey, message: &msgs::ErrorMessage) {
        let _logged = message_of(peer);
        if !is_passing(message) {
            return self.inner.handle_error(peer, &shortened(message));
        }
        let channel_id = message.channel_id;
        tracing::warn!(%peer, %channel_id, "peer reported an internal error; reconnecting");
        let why = "reconnecting after your internal error";
        self.send(disconnect(peer, channel_id, why));
    }

    fn handle_closing_signed(&self, peer: PublicKey, message: &msgs::ClosingSigned) {
        let _logged = message_of(peer);
        let (channel_id, fee_sat) = (message.channel_id, message.fee_satoshis);
        // Release the lock before calling LDK.
        let answer = self.closing_fees().incoming(&peer, message);
        match answer {
            Answer::LeaveToLdk => self.inner.handle_closing_signed(peer, message),
            Answer::Repeat(msg) => {
                tracing::debug!(%peer, %channel_id, fee_sat, "unacceptable closing fee; repeating ours");
                self.send(MessageSendEvent::SendClosingSigned { node_id: peer, msg });
            }
            Answer::Refuse => {
                tracing::warn!(%peer, %channel_id, fee_sat, "rejecting closing fee; disconnecting");
                let why = "your closing fee is outside the range we sent";
                self.send(disconnect(peer, channel_id, why));
            }
        }
    }

    fn handle_announcement_signatures(
        &self,
        peer: PublicKey,
        message: &msgs::AnnouncementSignatures,
    ) {
        let _logged = message_of(peer);
        if self.channel(&peer, &message.channel_id).is_none() {
            return self.inner.handle_announcement_signatures(peer, message);
        }
        // Store first, then check: otherwise LDK could become ready in between.
        self.early_signatures().hold(peer, message);
        if let Some(channel) = self.channel(&peer, &message.channel_id) {
            self.release_signatures(peer, &channel);
        }
    }

    fn handle_peer_storage(&self, peer: PublicKey, message: msgs::PeerStorage) {
        let _logged = message_of(peer);
        match &self.peer_blobs {
            Some(blobs) => blobs.put(peer, message.data),
            None => self.inner.handle_peer_storage(peer, message),
        }
    }

    pass_through! {
        handle_update_add_htlc(&msgs::UpdateAddHTLC),
        handle_revoke_and_ack(&msgs::RevokeAndACK),
        handle_open_channel(&msgs::OpenChannel),
        handle_open_channel_v2(&msgs::OpenChannelV2),
        handle_accept_channel(&msgs::AcceptChannel),
        handle_accept_channel_v2(&msgs::AcceptChannelV2),
        handle_funding_created(&msgs::FundingCreated),
        handle_funding_signed(&msgs::FundingSigned),
        handle_channel_ready(&msgs::ChannelReady),
        handle_peer_storage_retrieval(msgs::PeerStorageRetrieval),
        handle_shutdown(&msgs::Shutdown),
        handle_stfu(&msgs::Stfu),
        handle_splice_init(&msgs::SpliceInit),
        handle_splice_ack(&msgs::SpliceAck),
        handle_splice_locked(&msgs::SpliceLocked),
        handle_tx_add_input(&msgs::TxAddInput),
        handle_tx_add_output(&msgs::TxAddOutput),
        handle_tx_remove_input(&msgs::TxRemoveInput),
        handle_tx_remove_output(&msgs::TxRemoveOutput),
        handle_tx_complete(&msgs::TxComplete),
        handle_tx_signatures(&msgs::TxSignatures),
        handle_tx_init_rbf(&msgs::TxInitRbf),
        handle_tx_ack_rbf(&msgs::TxAckRbf),
        handle_tx_abort(&msgs::TxAbort),
        handle_update_fulfill_htlc(msgs::UpdateFulfillHTLC),
        handle_update_fail_htlc(&msgs::UpdateFailHTLC),
        handle_update_fail_malformed_htlc(&msgs::UpdateFailMalformedHTLC),
        handle_commitment_signed(&msgs::CommitmentSigned),
        handle_update_fee(&msgs::UpdateFee),
        handle_channel_reestablish(&msgs::ChannelReestablish),
        handle_channel_update(&msgs::ChannelUpdate),
    }

    fn handle_commitment_signed_batch(
        &self,
        peer: PublicKey,
        channel_id: ChannelId,
        batch: Vec<msgs::CommitmentSigned>,
    ) {
        let _logged = message_of(peer);
        self.inner
            .handle_commitment_signed_batch(peer, channel_id, batch);
    }

    fn get_chain_hashes(&self) -> Option<Vec<ChainHash>> {
        self.inner.get_chain_hashes()
    }

    fn message_received(&self) {
        self.inner.message_received();
    }
}

/// Returns whether this is an lnd error that does not fail the channel.
///
/// By BOLT 1 an error fails its channel. lnd sends "internal error" when something fails on its side
/// (its database during shutdown, for example): it keeps the channel and resumes it after the next
/// `channel_reestablish`. When lnd does give up a channel, it sends another error or publishes its
/// commitment.
fn is_passing(message: &msgs::ErrorMessage) -> bool {
    !message.channel_id.is_zero() && message.data == "internal error"
}

/// Returns the error with its text limited to [`MAX_ERROR_BYTES`]. LDK keeps the text as the closure
/// reason, so every commit writes it until the event is handled; 65 kB would slow payments down.
fn shortened(message: &msgs::ErrorMessage) -> msgs::ErrorMessage {
    msgs::ErrorMessage {
        channel_id: message.channel_id,
        data: cut(&message.data, MAX_ERROR_BYTES).into_owned(),
    }
}

/// Returns the peer to which the event returns its stored blob, if it is a peer storage retrieval.
fn retrieval_for(event: &MessageSendEvent) -> Option<&PublicKey> {
    match event {
        MessageSendEvent::SendPeerStorageRetrieval { node_id, .. } => Some(node_id),
        _ => None,
    }
}

fn disconnect(node_id: PublicKey, channel_id: ChannelId, why: &str) -> MessageSendEvent {
    let data = why.to_owned();
    let msg = msgs::WarningMessage { channel_id, data };
    MessageSendEvent::HandleError {
        node_id,
        action: msgs::ErrorAction::DisconnectPeerWithWarning { msg },
    }
}

#[cfg(test)]
mod tests;
