//! Checks announced channels against bitcoind's set of unspent outputs.
//!
//! lightning-block-sync's verifier asks for a whole block for each announcement of something that is not in
//! it, and nobody answers for that: a stranger keeps bitcoind and us at full load. Here each look-up is on
//! the account of the peer that made the announcement.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use bitcoin::constants::ChainHash;
use bitcoin::secp256k1::PublicKey;
use bitcoin::{ScriptBuf, TxOut};
use lightning::ln::chan_utils::make_funding_redeemscript;
use lightning::ln::msgs::UnsignedChannelAnnouncement;
use lightning::routing::utxo::{UtxoFuture, UtxoLookup, UtxoLookupError, UtxoResult};
use lightning::util::scid_utils::block_from_scid;
use tokio::runtime::Handle;

use super::announcers::{Announcers, Worth};
use super::refused_channels::RefusedChannels;
use crate::chain::{FundingOutputs, NoOutput};
use crate::ldk::{GossipSync, NetworkGraph, PeerManager};

/// Blocks by which we may be behind the peers. A channel beyond that is not looked up.
const LAG: u32 = 144;

/// Tells whether we have a channel with this peer.
pub type HasChannel = dyn Fn(&PublicKey) -> bool + Send + Sync;

/// What the check needs of the node.
pub struct Sources {
    pub outputs: FundingOutputs,
    pub graph: Arc<NetworkGraph>,
    pub gossip: Arc<GossipSync>,
    /// The peer manager holds the check.
    pub peers: Weak<PeerManager>,
    pub has_channel: Box<HasChannel>,
    /// Height of the best block that we follow.
    pub height: Box<dyn Fn() -> u32 + Send + Sync>,
    pub runtime: Handle,
}

/// Looks announced channels up, within bounds for each peer.
pub struct ChannelCheck {
    sources: Sources,
    announcers: Announcers,
    refused: Mutex<RefusedChannels>,
}

impl ChannelCheck {
    pub fn new(sources: Sources) -> Self {
        Self {
            sources,
            announcers: Announcers::default(),
            refused: Mutex::default(),
        }
    }

    /// Whether this peer has sent a hundred wrong announcements within the last two days.
    pub fn is_banned(&self, peer: &PublicKey) -> bool {
        self.announcers.is_banned(peer)
    }

    pub fn has_channel(&self, peer: &PublicKey) -> bool {
        (self.sources.has_channel)(peer)
    }

    /// Whether an announcement is wrong without a look-up, or of no use to us now.
    pub(super) fn is_refused(&self, scid: u64) -> Option<Worth> {
        self.refused().get(scid, Instant::now())
    }

    pub(super) fn is_in_the_future(&self, scid: u64) -> bool {
        block_from_scid(scid) > (self.sources.height)().saturating_add(LAG)
    }

    /// A peer's announcement was found to be of this worth. True if the peer is to be disconnected.
    pub(super) fn found(&self, peer: &PublicKey, worth: Worth) -> bool {
        if !self.announcers.found(peer, worth) {
            return false;
        }
        let is_stranger = !self.has_channel(peer);
        tracing::info!(
            %peer,
            disconnected = is_stranger,
            "a hundred wrong channel announcements: no more are taken from this peer for two days"
        );
        is_stranger
    }

    /// LDK's question to the chain for one announcement of `peer`; of ours if there is none.
    pub(super) fn lookup<'a>(
        self: &'a Arc<Self>,
        peer: Option<PublicKey>,
        announcement: &'a UnsignedChannelAnnouncement,
    ) -> Lookup<'a> {
        Lookup {
            check: self,
            peer,
            announcement,
        }
    }

    async fn look_up(self: Arc<Self>, question: Question, answer: UtxoFuture) {
        let found = self.sources.outputs.find(question.scid).await;
        let is_to_go = self.judge(&question, &found);
        let (graph, gossip) = (&self.sources.graph, &*self.sources.gossip);
        answer.resolve(graph, gossip, found.map_err(|_| UtxoLookupError::UnknownTx));
        let Some(peers) = self.sources.peers.upgrade() else {
            return;
        };
        if let Some(peer) = question.peer.filter(|_| is_to_go) {
            peers.disconnect_by_node_id(peer);
        }
        peers.process_events();
    }

    /// True if the peer is to be disconnected.
    fn judge(&self, question: &Question, found: &Result<TxOut, NoOutput>) -> bool {
        let worth = match found {
            Ok(output) if output.script_pubkey == question.script => Worth::Right,
            // Only this announcement is wrong: another one of the same channel may be right.
            Ok(_) => Worth::Wrong,
            Err(NoOutput::Missing) => self.refuse(question.scid, Worth::Wrong),
            Err(NoOutput::Spent) => self.refuse(question.scid, Worth::Closed),
            Err(NoOutput::Unknown) => return false,
        };
        question.peer.is_some_and(|peer| self.found(&peer, worth))
    }

    fn refuse(&self, scid: u64, worth: Worth) -> Worth {
        self.refused().insert(scid, worth, Instant::now());
        worth
    }

    /// No code that holds this lock can panic halfway through a change.
    fn refused(&self) -> MutexGuard<'_, RefusedChannels> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// LDK calls it when all else about the announcement is right.
pub(super) struct Lookup<'a> {
    check: &'a Arc<ChannelCheck>,
    peer: Option<PublicKey>,
    announcement: &'a UnsignedChannelAnnouncement,
}

struct Question {
    peer: Option<PublicKey>,
    scid: u64,
    /// The funding script by the keys of the announcement.
    script: ScriptBuf,
}

impl UtxoLookup for Lookup<'_> {
    fn get_utxo(&self, _chain_hash: &ChainHash, scid: u64) -> UtxoResult {
        let announcers = &self.check.announcers;
        if self.peer.is_some_and(|peer| !announcers.may_ask(&peer)) {
            return UtxoResult::Sync(Err(UtxoLookupError::UnknownTx));
        }
        let message = self.announcement;
        // LDK has verified signatures with these keys.
        let keys = (
            message.bitcoin_key_1.as_pubkey(),
            message.bitcoin_key_2.as_pubkey(),
        );
        let (Ok(one), Ok(two)) = keys else {
            return UtxoResult::Sync(Err(UtxoLookupError::UnknownTx));
        };
        let question = Question {
            peer: self.peer,
            scid,
            script: make_funding_redeemscript(&one, &two).to_p2wsh(),
        };
        let answer = UtxoFuture::new();
        let lookup = Arc::clone(self.check).look_up(question, answer.clone());
        self.check.sources.runtime.spawn(lookup);
        UtxoResult::Async(answer)
    }
}
