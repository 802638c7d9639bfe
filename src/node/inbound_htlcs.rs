//! Inbound HTLCs: the channel manager as seen by the invoices module.

use std::collections::{HashMap, HashSet};
use std::ops::Deref;
use std::sync::{Arc, Mutex};

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channel_state::{ChannelDetails, InboundHTLCStateDetails as State};
use lightning::ln::channelmanager::AChannelManager;
use lightning::ln::msgs::ChannelMessageHandler;
use lightning::ln::types::ChannelId;
use lightning::sign::NodeSigner;
use lightning_types::payment::{PaymentHash, PaymentPreimage};

use crate::channel_messages::ChannelMessages;
use crate::invoices::{InboundHtlcs, IncomingHtlc};
use crate::ldk::{self, ChannelManager};
use crate::sync::lock;
use crash_points::Point;
use ldk_amp::HtlcKey;
use ldk_amp::{Envelope, Gateway};

/// The onion gateway in front of our channel manager.
pub(super) type NodeGateway = Gateway<Arc<ChannelManager>, Arc<ldk::NodeSigner>>;

/// What the peers' channel messages pass before the gateway.
pub(super) type NodeChannelMessages = ChannelMessages<Arc<NodeGateway>>;

/// A channel manager and the gateway in front of it. Generic, so that tests can use it with the managers
/// of LDK's functional test framework.
pub struct ManagerInboundHtlcs<M: Deref, S: Deref> {
    manager: M,
    gateway: Arc<Gateway<M, S>>,
    peers: ChannelPeers,
}

impl<M: Deref, S: Deref> ManagerInboundHtlcs<M, S> {
    /// Creates the adapter with an empty cache of channel peers.
    pub fn new(manager: M, gateway: Arc<Gateway<M, S>>) -> Self {
        Self {
            manager,
            gateway,
            peers: ChannelPeers::default(),
        }
    }
}

/// The peer of each channel and its confirmed short channel id, which never change. Listing the channels of
/// one peer is much cheaper than listing all channels of a large node, but it still costs time for each of
/// their HTLCs.
#[derive(Default)]
struct ChannelPeers {
    peers: Mutex<HashMap<ChannelId, PublicKey>>,
    scids: Mutex<HashMap<ChannelId, u64>>,
}

impl ChannelPeers {
    /// Returns the channel's peer. If it is not cached, the cache is rebuilt from `all`.
    fn peer_of(
        &self,
        channel: &ChannelId,
        all: impl FnOnce() -> Vec<ChannelDetails>,
    ) -> Option<PublicKey> {
        let mut peers = lock(&self.peers);
        if !peers.contains_key(channel) {
            let of = |details: ChannelDetails| (details.channel_id, details.counterparty.node_id);
            *peers = all().into_iter().map(of).collect();
        }
        peers.get(channel).copied()
    }

    /// Returns the channel's short channel id, or its alias while it is not confirmed, from `details`
    /// unless it is cached.
    fn scid(
        &self,
        channel: &ChannelId,
        details: impl FnOnce() -> Option<ChannelDetails>,
    ) -> Option<u64> {
        if let Some(scid) = lock(&self.scids).get(channel) {
            return Some(*scid);
        }
        let details = details()?;
        if let Some(scid) = details.short_channel_id {
            lock(&self.scids).insert(*channel, scid);
        }
        details.short_channel_id.or(details.inbound_scid_alias)
    }
}

impl<M, S> InboundHtlcs for ManagerInboundHtlcs<M, S>
where
    M: Deref + Send + Sync,
    M::Target: AChannelManager + ChannelMessageHandler,
    S: Deref + Send + Sync,
    S::Target: NodeSigner,
{
    fn claim(&self, preimage: PaymentPreimage) {
        crash_points::in_next_commit(Point::Claimed);
        // `claim_funds` fails payments with even custom records, such as a chat message.
        self.manager
            .get_cm()
            .claim_funds_with_known_custom_tlvs(preimage);
    }

    fn fail(&self, hash: &PaymentHash) {
        self.manager.get_cm().fail_htlc_backwards(hash);
    }

    fn fail_timed_out(&self, hash: &PaymentHash, envelope: &Envelope) {
        self.gateway.mark_mpp_timeout(envelope);
        self.manager.get_cm().fail_htlc_backwards(hash);
    }

    fn height(&self) -> u32 {
        self.manager.get_cm().current_best_block().height
    }

    fn incoming(&self, hash: &PaymentHash) -> Vec<IncomingHtlc> {
        let channels = self.manager.get_cm().list_channels();
        of_hash(&channels, hash)
    }

    fn incoming_on(&self, channels: &[ChannelId], hash: &PaymentHash) -> Vec<IncomingHtlc> {
        let manager = self.manager.get_cm();
        let peers = channels
            .iter()
            .filter_map(|channel| self.peers.peer_of(channel, || manager.list_channels()));
        let peers: HashSet<PublicKey> = peers.collect();
        let channels: Vec<ChannelDetails> = peers
            .iter()
            .flat_map(|peer| manager.list_channels_with_counterparty(peer))
            .collect();
        of_hash(&channels, hash)
    }

    fn process_pending(&self) {
        self.manager.get_cm().process_pending_htlc_forwards();
    }

    fn all_incoming(&self) -> Vec<HtlcKey> {
        let channels = self.manager.get_cm().list_channels();
        channels
            .iter()
            .flat_map(incoming)
            .map(|(_, htlc)| htlc.key)
            .collect()
    }

    fn scid(&self, channel: &ChannelId) -> u64 {
        let manager = self.manager.get_cm();
        let details = || {
            let peer = self.peers.peer_of(channel, || manager.list_channels())?;
            let channels = manager.list_channels_with_counterparty(&peer);
            channels
                .into_iter()
                .find(|details| details.channel_id == *channel)
        };
        self.peers.scid(channel, details).unwrap_or_default()
    }
}

fn of_hash(channels: &[ChannelDetails], hash: &PaymentHash) -> Vec<IncomingHtlc> {
    let all = channels.iter().flat_map(incoming);
    all.filter(|(other, _)| other == hash)
        .map(|(_, htlc)| htlc)
        .collect()
}

/// The HTLCs that we have not settled or failed yet. An HTLC stays in its channel until the peer has
/// revoked the commitment that contains it.
fn incoming(channel: &ChannelDetails) -> impl Iterator<Item = (PaymentHash, IncomingHtlc)> {
    let channel_id = channel.channel_id;
    let unanswered = channel.pending_inbound_htlcs.iter().filter(|htlc| {
        !matches!(
            htlc.state,
            Some(
                State::AwaitingRemoteRevokeToRemoveFulfill
                    | State::AwaitingRemoteRevokeToRemoveFail
            )
        )
    });
    unanswered.map(move |htlc| {
        let key = HtlcKey {
            channel_id,
            htlc_id: htlc.htlc_id,
        };
        let incoming = IncomingHtlc {
            key,
            amount_msat: htlc.amount_msat,
            cltv_expiry: htlc.cltv_expiry,
        };
        (htlc.payment_hash, incoming)
    })
}
