//! The gateway between the peers and the channel manager.
//!
//! It passes every message through and changes a few things: incoming AMP HTLCs are rewritten
//! ([`Rewriter`]), records that only confuse LDK are dropped, an HTLC with an unusable payload fails
//! in a way that its sender can read ([`Fault`](super::Fault)), the failure of an HTLC that was marked
//! becomes `mpp_timeout`, feature bit 31 (AMP, optional) is advertised, feature bit 55
//! (keysend, optional), which LDK always announces, only if we take keysend, lnd's "internal
//! error" ends a connection instead of a channel ([`is_passing`]), no fee of a cooperative close
//! makes LDK close by force ([`ClosingFees`]), `announcement_signatures` that come too early wait
//! ([`EarlySignatures`]), what peers store with us is not LDK's ([`PeerBlobs`]), and splicing is not
//! announced, since LDK refuses each splice that a peer proposes.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bitcoin::constants::ChainHash;
use bitcoin::secp256k1::PublicKey;
use lightning::ln::channel_state::ChannelDetails;
use lightning::ln::msgs;
use lightning::ln::msgs::{BaseMessageHandler, ChannelMessageHandler, MessageSendEvent};
use lightning::ln::types::ChannelId;
use lightning::sign::NodeSigner;
use lightning::types::features::{InitFeatures, NodeFeatures};

use super::announcements::EarlySignatures;
use super::closing_fees::{Answer, ClosingFees, ClosingTerms, FindTerms};
use super::envelope::{Envelope, EnvelopeKey};
use super::failure::{mpp_timeout_packet, with_reason};
use super::timeout_marks::Marks;
use super::packet::HopSecret;
use super::peer_blobs::PeerBlobs;
use super::refusals::Refusals;
use super::rewrite::{Refusal, Rewriter, Untouched};
use crate::HtlcKey;
use crate::logger::message_of;
use crate::logging::cut;

/// The longest text of a peer's error that LDK gets, bytes. The known programs send a hundred or two.
const MOST_ERROR_BYTES: usize = 1_000;

/// AMP, optional: what every lnd since 0.13 sets in init and node_announcement, whether or not it
/// takes spontaneous AMP.
const AMP_OPTIONAL_BIT: usize = 31;

/// The channels with a peer.
type ChannelsWith = dyn Fn(&PublicKey) -> Vec<ChannelDetails> + Send + Sync;

/// Stands before the channel handler `H` (the channel manager) as the peers' channel handler.
pub struct Gateway<H: Deref, S: Deref> {
    inner: H,
    signer: S,
    rewriter: Rewriter,
    marks: Mutex<Marks>,
    refusals: Mutex<Refusals>,
    closing_fees: Mutex<ClosingFees>,
    find_terms: Box<FindTerms>,
    early_signatures: Mutex<EarlySignatures>,
    channels_with: Box<ChannelsWith>,
    peer_blobs: Option<Arc<dyn PeerBlobs>>,
    /// What goes out before LDK's messages.
    first: Mutex<Vec<MessageSendEvent>>,
    /// What goes out after LDK's messages.
    own: Mutex<Vec<MessageSendEvent>>,
    announce_keysend: bool,
}

impl<H: Deref, S: Deref> Gateway<H, S>
where
    H::Target: ChannelMessageHandler,
    S::Target: NodeSigner,
{
    /// `signer` is the one that `inner` uses: both open the same onions.
    pub fn new(inner: H, signer: S, envelope_key: EnvelopeKey) -> Self {
        let rewriter = Rewriter::new(envelope_key, signer.get_expanded_key());
        Self {
            inner,
            signer,
            rewriter,
            marks: Mutex::default(),
            refusals: Mutex::default(),
            closing_fees: Mutex::default(),
            find_terms: Box::new(|_, _| None),
            early_signatures: Mutex::default(),
            channels_with: Box::new(|_| Vec::new()),
            peer_blobs: None,
            first: Mutex::default(),
            own: Mutex::default(),
            announce_keysend: false,
        }
    }

    /// Whether node_announcement says that we take keysend; it does not by default.
    #[must_use]
    pub fn announcing_keysend(mut self, announce: bool) -> Self {
        self.announce_keysend = announce;
        self
    }

    /// What the closes of the channels that we opened may cost; without it LDK's limits count.
    #[must_use]
    pub fn closing_by(
        mut self,
        find_terms: impl Fn(&PublicKey, &ChannelId) -> Option<ClosingTerms> + Send + Sync + 'static,
    ) -> Self {
        self.find_terms = Box::new(find_terms);
        self
    }

    /// How the channels with a peer are found; without it `announcement_signatures` do not wait.
    #[must_use]
    pub fn knowing_channels(
        mut self,
        channels_with: impl Fn(&PublicKey) -> Vec<ChannelDetails> + Send + Sync + 'static,
    ) -> Self {
        self.channels_with = Box::new(channels_with);
        self
    }

    /// Who keeps what peers store with us; without it LDK does.
    #[must_use]
    pub fn storing_by(mut self, peer_blobs: Arc<dyn PeerBlobs>) -> Self {
        self.peer_blobs = Some(peer_blobs);
        self
    }

    /// Makes the failure of this HTLC go out as `mpp_timeout`.
    ///
    /// To be called before `fail_htlc_backwards`. The mark is not stored: a failure that LDK sends
    /// again after a restart has LDK's reason.
    pub fn mark_mpp_timeout(&self, envelope: &Envelope) {
        match HopSecret::shared(&*self.signer, &envelope.ephemeral_key) {
            Some(secret) => self
                .marks()
                .insert(envelope.key(), mpp_timeout_packet(&secret)),
            None => tracing::warn!(
                channel_id = %envelope.channel_id,
                htlc_id = envelope.htlc_id,
                "no shared secret from the signer: the HTLC fails without mpp_timeout"
            ),
        }
    }

    /// To be called when a channel is closed: its marks are of no use any more.
    pub fn forget_channel(&self, channel_id: &ChannelId) {
        self.marks().forget_channel(channel_id);
        self.closing_fees().forget_channel(channel_id);
        self.early_signatures().forget_channel(channel_id);
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        // Marks are consistent between any two calls, so a panic elsewhere does not spoil them.
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn closing_fees(&self) -> MutexGuard<'_, ClosingFees> {
        // Nothing between lock and unlock can panic halfway through a change.
        self.closing_fees
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn early_signatures(&self) -> MutexGuard<'_, EarlySignatures> {
        // Nothing between lock and unlock can panic halfway through a change.
        self.early_signatures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands on what waits for this channel, if LDK takes it now.
    fn hand_on_signatures(&self, peer: PublicKey, channel: &ChannelDetails) {
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
        // Nothing between lock and unlock can panic halfway through a change.
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes back what was to be returned to this peer.
    fn return_nothing(&self, peer: &PublicKey) {
        self.first()
            .retain(|event| retrieval_for(event) != Some(peer));
    }

    /// LDK may still have a blob that it took before we did.
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
        // Nothing between lock and unlock can panic halfway through a change.
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes a message of LDK on its way out.
    fn on_its_way_out(&self, event: &mut MessageSendEvent) {
        match event {
            MessageSendEvent::UpdateHTLCs {
                node_id, updates, ..
            } if !updates.update_fail_htlcs.is_empty() => {
                self.replace_reasons(*node_id, &mut updates.update_fail_htlcs);
            }
            MessageSendEvent::SendClosingSigned { node_id, msg } => {
                let terms = (self.find_terms)(node_id, &msg.channel_id);
                self.closing_fees().outgoing(*node_id, msg, terms);
            }
            // LDK sends ours as soon as the channel can be announced: now it takes the peer's.
            MessageSendEvent::SendAnnouncementSignatures { node_id, msg } => {
                if let Some(channel) = self.channel(node_id, &msg.channel_id) {
                    self.hand_on_signatures(*node_id, &channel);
                }
            }
            _ => {}
        }
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        // As with the marks.
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, peer: PublicKey, key: HtlcKey, refusal: Refusal) {
        let (channel_id, htlc_id, fault) = (key.channel_id, key.htlc_id, refusal.fault);
        tracing::debug!(%channel_id, htlc_id, %fault, "an HTLC is refused");
        if let Some(reason) = refusal.reason {
            self.refusals().insert(peer, key, reason);
        }
    }

    fn replace_reasons(&self, peer: PublicKey, failures: &mut [msgs::UpdateFailHTLC]) {
        for failure in failures {
            let key = HtlcKey {
                channel_id: failure.channel_id,
                htlc_id: failure.htlc_id,
            };
            let mark = self.marks().outgoing(&key, peer).map(<[u8]>::to_vec);
            let Some(reason) = mark.or_else(|| self.refusals().take(peer, &key)) else {
                continue;
            };
            // It is read from bytes that are right by construction.
            if let Ok(replaced) = with_reason(failure, &reason) {
                *failure = replaced;
            }
        }
    }
}

impl<H: Deref, S: Deref> BaseMessageHandler for Gateway<H, S>
where
    H::Target: ChannelMessageHandler,
    S::Target: NodeSigner,
{
    fn get_and_clear_pending_msg_events(&self) -> Vec<MessageSendEvent> {
        let mut ldks = self.inner.get_and_clear_pending_msg_events();
        ldks.retain(|event| !self.is_outdated(event));
        for event in &mut ldks {
            self.on_its_way_out(event);
        }
        // Taken after LDK's: what was put there before LDK made a message goes out before it.
        let mut events = std::mem::take(&mut *self.first());
        events.append(&mut ldks);
        events.append(&mut self.own());
        events
    }

    fn peer_disconnected(&self, peer: PublicKey) {
        self.refusals().forget_peer(&peer);
        self.closing_fees().forget_peer(&peer);
        self.early_signatures().forget_peer(&peer);
        self.return_nothing(&peer);
        if let Some(blobs) = &self.peer_blobs {
            blobs.disconnected(&peer);
        }
        self.inner.peer_disconnected(peer);
    }

    fn provided_node_features(&self) -> NodeFeatures {
        let mut features = self.inner.provided_node_features();
        // Fails only for bits above 255.
        let _ = features.set_optional_feature_bit(AMP_OPTIONAL_BIT);
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
        // Fails only for bits above 255.
        let _ = features.set_optional_feature_bit(AMP_OPTIONAL_BIT);
        features.clear_splicing();
        features
    }

    fn peer_connected(&self, peer: PublicKey, init: &msgs::Init, inbound: bool) -> Result<(), ()> {
        // Before LDK makes its channel_reestablish.
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
            self.return_nothing(&peer);
        }
        connected
    }
}

/// Methods that only hand their message on.
macro_rules! pass_through {
    ($($method:ident($message:ty)),* $(,)?) => {
        $(fn $method(&self, peer: PublicKey, message: $message) {
            let _logged = message_of(peer);
            self.inner.$method(peer, message);
        })*
    };
}

impl<H: Deref, S: Deref> ChannelMessageHandler for Gateway<H, S>
where
    H::Target: ChannelMessageHandler,
    S::Target: NodeSigner,
{
    fn handle_update_add_htlc(&self, peer: PublicKey, message: &msgs::UpdateAddHTLC) {
        let _logged = message_of(peer);
        match self.rewriter.rewrite(message, &*self.signer) {
            Ok(rewritten) => {
                if let Some(refusal) = rewritten.refusal {
                    self.remember(peer, key(message), refusal);
                }
                self.inner.handle_update_add_htlc(peer, &rewritten.message);
            }
            Err(reason) => {
                log_untouched(message, reason);
                self.inner.handle_update_add_htlc(peer, message);
            }
        }
    }

    fn handle_revoke_and_ack(&self, peer: PublicKey, message: &msgs::RevokeAndACK) {
        let _logged = message_of(peer);
        // Before LDK sees it: then LDK may send further failures, which it does not acknowledge.
        self.marks().acknowledged(&message.channel_id, peer);
        self.inner.handle_revoke_and_ack(peer, message);
    }

    fn handle_error(&self, peer: PublicKey, message: &msgs::ErrorMessage) {
        let _logged = message_of(peer);
        if !is_passing(message) {
            return self.inner.handle_error(peer, &shortened(message));
        }
        let channel_id = message.channel_id;
        tracing::warn!(%peer, %channel_id, "the peer has an internal error: we connect anew");
        let why = "reconnecting after your internal error";
        self.send(disconnect(peer, channel_id, why));
    }

    fn handle_closing_signed(&self, peer: PublicKey, message: &msgs::ClosingSigned) {
        let _logged = message_of(peer);
        let (channel_id, fee_sat) = (message.channel_id, message.fee_satoshis);
        // The lock is free again before LDK is called.
        let answer = self.closing_fees().incoming(&peer, message);
        match answer {
            Answer::LeaveToLdk => self.inner.handle_closing_signed(peer, message),
            Answer::Repeat(msg) => {
                tracing::debug!(%peer, %channel_id, fee_sat, "another closing fee than ours: ours again");
                self.send(MessageSendEvent::SendClosingSigned { node_id: peer, msg });
            }
            Answer::Refuse => {
                tracing::warn!(%peer, %channel_id, fee_sat, "the peer's closing fee is refused");
                let why = "your closing fee is not in the range that we sent";
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
        // It is put there first and looked at then: else LDK could be ready for it in between.
        self.early_signatures().hold(peer, message);
        if let Some(channel) = self.channel(&peer, &message.channel_id) {
            self.hand_on_signatures(peer, &channel);
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

/// Whether this error is one of lnd's that do not mean the end of the channel.
///
/// BOLT 1 has an error of a channel end the channel. lnd sends this one when something of its own
/// fails (its database while it stops, for example): it keeps the channel, and goes on with it after
/// the next `channel_reestablish`. When it does give the channel up, it says something else, or
/// publishes its commitment.
fn is_passing(message: &msgs::ErrorMessage) -> bool {
    !message.channel_id.is_zero() && message.data == "internal error"
}

/// The beginning of what a peer says at length: LDK keeps it as the reason of a close, so each commit writes
/// it until the event is handled, and 65 kB of it make payments slow.
fn shortened(message: &msgs::ErrorMessage) -> msgs::ErrorMessage {
    msgs::ErrorMessage {
        channel_id: message.channel_id,
        data: cut(&message.data, MOST_ERROR_BYTES).into_owned(),
    }
}

/// The peer to whom the event returns what it stored.
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

fn key(message: &msgs::UpdateAddHTLC) -> HtlcKey {
    HtlcKey {
        channel_id: message.channel_id,
        htlc_id: message.htlc_id,
    }
}

/// Says why the gateway cannot judge an HTLC; forwards and ordinary payments are no news.
fn log_untouched(message: &msgs::UpdateAddHTLC, reason: Untouched) {
    if !matches!(reason, Untouched::Ordinary | Untouched::Blinded) {
        let (channel_id, htlc_id) = (message.channel_id, message.htlc_id);
        tracing::debug!(%channel_id, htlc_id, %reason, "an HTLC's onion is left to LDK");
    }
}

#[cfg(test)]
mod tests;
