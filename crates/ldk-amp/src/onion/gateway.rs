//! The gateway between the peers and the channel manager.
//!
//! It implements LDK's `ChannelMessageHandler`: it rewrites incoming HTLCs on the way in and failures on
//! the way out, and passes all other messages through.

use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bitcoin::constants::ChainHash;
use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs;
use lightning::ln::msgs::{BaseMessageHandler, ChannelMessageHandler, MessageSendEvent};
use lightning::ln::types::ChannelId;
use lightning::sign::NodeSigner;
use lightning::types::features::{InitFeatures, NodeFeatures};

use super::envelope::{Envelope, EnvelopeKey};
use super::failure::{mpp_timeout_packet, with_reason};
use super::packet::HopSecret;
use super::refusals::Refusals;
use super::rewrite::{Refusal, Rewriter, Untouched};
use super::timeout_marks::Marks;
use crate::{AMP_OPTIONAL_BIT, HtlcKey};

/// Wraps the channel message handler `H` (the channel manager) and lets it receive AMP.
///
/// Give it to LDK's `PeerManager` as the channel message handler in place of the `ChannelManager`. It passes
/// every message through, except that:
///
/// * incoming AMP HTLCs are rewritten into payments that LDK accepts, and their AMP record arrives in
///   `Event::PaymentClaimable` as a custom record, the [`Envelope`];
/// * HTLCs with invalid payloads fail in a way that their sender can decode ([`Fault`](crate::Fault));
/// * failures of marked HTLCs become `mpp_timeout` ([`Gateway::mark_mpp_timeout`]);
/// * feature bit 31 (AMP, optional) is advertised in `init` and `node_announcement`.
pub struct Gateway<H: Deref, S: Deref> {
    inner: H,
    signer: S,
    rewriter: Rewriter,
    marks: Mutex<Marks>,
    refusals: Mutex<Refusals>,
}

impl<H: Deref, S: Deref> Gateway<H, S>
where
    H::Target: ChannelMessageHandler,
    S::Target: NodeSigner,
{
    /// Creates a gateway in front of `inner`. `signer` must be the one that `inner` uses, since both
    /// open the same onions.
    pub fn new(inner: H, signer: S, envelope_key: EnvelopeKey) -> Self {
        let rewriter = Rewriter::new(envelope_key, signer.get_expanded_key());
        Self {
            inner,
            signer,
            rewriter,
            marks: Mutex::default(),
            refusals: Mutex::default(),
        }
    }

    /// Makes this HTLC fail with `mpp_timeout`.
    ///
    /// Call it before `fail_htlc_backwards`. The mark is not persisted: a failure that LDK
    /// retransmits after a restart carries LDK's own reason.
    pub fn mark_mpp_timeout(&self, envelope: &Envelope) {
        match HopSecret::shared(&*self.signer, &envelope.ephemeral_key) {
            Some(secret) => self
                .marks()
                .insert(envelope.key(), mpp_timeout_packet(&secret)),
            None => tracing::warn!(
                channel_id = %envelope.channel_id,
                htlc_id = envelope.htlc_id,
                "signer cannot derive the shared secret; failing the HTLC without mpp_timeout"
            ),
        }
    }

    /// Drops a channel's marks, closing offer and deferred signatures. Call it when the channel closes.
    pub fn forget_channel(&self, channel_id: &ChannelId) {
        self.marks().forget_channel(channel_id);
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        // Marks are consistent between any two calls, so ignoring a poisoned lock is safe.
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        // Refusals are consistent between any two calls, so ignoring a poisoned lock is safe.
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, peer: PublicKey, key: HtlcKey, refusal: Refusal) {
        let (channel_id, htlc_id, fault) = (key.channel_id, key.htlc_id, refusal.fault);
        tracing::debug!(%channel_id, htlc_id, %fault, "rejecting an HTLC with an invalid payload");
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
            // Cannot fail: both kinds of reasons are shorter than 65536 bytes.
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
        let mut events = self.inner.get_and_clear_pending_msg_events();
        for event in &mut events {
            if let MessageSendEvent::UpdateHTLCs {
                node_id, updates, ..
            } = event
            {
                self.replace_reasons(*node_id, &mut updates.update_fail_htlcs);
            }
        }
        events
    }

    fn peer_disconnected(&self, peer: PublicKey) {
        self.refusals().forget_peer(&peer);
        self.inner.peer_disconnected(peer);
    }

    fn provided_node_features(&self) -> NodeFeatures {
        let mut features = self.inner.provided_node_features();
        // Fails only for bits above 255.
        let _ = features.set_optional_feature_bit(AMP_OPTIONAL_BIT);
        features
    }

    fn provided_init_features(&self, peer: PublicKey) -> InitFeatures {
        let mut features = self.inner.provided_init_features(peer);
        // Fails only for bits above 255.
        let _ = features.set_optional_feature_bit(AMP_OPTIONAL_BIT);
        features
    }

    fn peer_connected(&self, peer: PublicKey, init: &msgs::Init, inbound: bool) -> Result<(), ()> {
        self.inner.peer_connected(peer, init, inbound)
    }
}

/// Methods that pass their message through unchanged.
macro_rules! pass_through {
    ($($method:ident($message:ty)),* $(,)?) => {
        $(fn $method(&self, peer: PublicKey, message: $message) {
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
        // Before LDK handles it: LDK may then send further failures, which this message does not
        // acknowledge.
        self.marks().acknowledged(&message.channel_id, peer);
        self.inner.handle_revoke_and_ack(peer, message);
    }

    pass_through! {
        handle_error(&msgs::ErrorMessage),
        handle_closing_signed(&msgs::ClosingSigned),
        handle_announcement_signatures(&msgs::AnnouncementSignatures),
        handle_peer_storage(msgs::PeerStorage),
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

fn key(message: &msgs::UpdateAddHTLC) -> HtlcKey {
    HtlcKey {
        channel_id: message.channel_id,
        htlc_id: message.htlc_id,
    }
}

/// Logs why the gateway could not check an HTLC. Ordinary and blinded HTLCs are not logged.
fn log_untouched(message: &msgs::UpdateAddHTLC, reason: Untouched) {
    if !matches!(reason, Untouched::Ordinary | Untouched::Blinded) {
        let (channel_id, htlc_id) = (message.channel_id, message.htlc_id);
        tracing::debug!(%channel_id, htlc_id, %reason, "passing an HTLC to LDK unchanged");
    }
}

#[cfg(test)]
mod tests;
