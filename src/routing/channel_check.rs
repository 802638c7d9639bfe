//! Checks announced channels against bitcoind's set of unspent outputs.
//!
//! lightning-block-sync's verifier asks for a whole block for each announcement of something that is not in
//! it, and nobody answers for that: a stranger keeps bitcoind and us at full load. Here each look-up is on
//! the account of the peer that made the announcement.
//!
//! A peer may announce a channel when it has seen the sixth confirmation and our bitcoind has not. Nobody
//! announces it to us again, so the look-up waits for our next block.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bitcoin::constants::ChainHash;
use bitcoin::secp256k1::PublicKey;
use bitcoin::{Amount, ScriptBuf, TxOut};
use lightning::ln::chan_utils::make_funding_redeemscript;
use lightning::ln::msgs::UnsignedChannelAnnouncement;
use lightning::routing::gossip::NodeId;
use lightning::routing::utxo::{UtxoFuture, UtxoLookup, UtxoLookupError, UtxoResult};
use lightning::util::scid_utils::block_from_scid;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use super::announcers::{Announcers, Worth};
use super::refused_channels::RefusedChannels;
use crate::chain::{FundingOutputs, NoOutput};
use crate::ldk::{GossipSync, NetworkGraph, PeerManager};

/// Blocks by which we may be behind the peers. A channel beyond that is not looked up.
const LAG: u32 = 144;
/// Blocks that a look-up waits for.
const MOST_BLOCKS: u32 = 3;
/// Look-ups that wait for a block: of outputs that exist, and of those that nobody knows, which cost a stranger
/// nothing. Both together are half of the checks that LDK has under way before it stops reading from peers.
const MOST_YOUNG: usize = 8;
const MOST_UNKNOWN: usize = 8;
/// How often a look-up that waits looks for a new block.
const LOOK: Duration = Duration::from_secs(1);

/// Tells whether we have a channel with this peer.
pub type HasChannel = dyn Fn(&PublicKey) -> bool + Send + Sync;

/// The capacity of our own channel with this short channel id, sat.
pub type OwnCapacity = dyn Fn(u64) -> Option<u64> + Send + Sync;

/// Tells whether we have asked this peer for this channel (query_short_channel_ids).
pub type HasAsked = dyn Fn(&PublicKey, u64) -> bool + Send + Sync;

/// What the check needs of the node.
pub struct Sources {
    pub outputs: FundingOutputs,
    pub graph: Arc<NetworkGraph>,
    pub gossip: Arc<GossipSync>,
    /// The peer manager holds the check.
    pub peers: Weak<PeerManager>,
    pub has_channel: Box<HasChannel>,
    pub own_id: NodeId,
    pub own_capacity: Box<OwnCapacity>,
    pub has_asked: Box<HasAsked>,
    /// Height of the best block that we follow.
    pub height: Box<dyn Fn() -> u32 + Send + Sync>,
    pub runtime: Handle,
}

/// Looks announced channels up, within bounds for each peer.
pub struct ChannelCheck {
    sources: Sources,
    announcers: Announcers,
    refused: Mutex<RefusedChannels>,
    young: Arc<Semaphore>,
    unknown: Arc<Semaphore>,
}

impl ChannelCheck {
    pub fn new(sources: Sources) -> Self {
        Self {
            sources,
            announcers: Announcers::default(),
            refused: Mutex::default(),
            young: Arc::new(Semaphore::new(MOST_YOUNG)),
            unknown: Arc::new(Semaphore::new(MOST_UNKNOWN)),
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

    /// Whether we have asked this peer for this channel: then it is not to blame for an answer that we refuse.
    pub(super) fn has_asked(&self, peer: &PublicKey, scid: u64) -> bool {
        (self.sources.has_asked)(peer, scid)
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

    /// LDK's question to the chain for one announcement of `peer`.
    ///
    /// Without a peer it is our own, or one that is checked already: LDK hands what it is about to broadcast to
    /// its own handler of gossip. Messages of peers always come with the peer.
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

    /// Ends a look-up.
    fn answer(&self, question: &Question, answer: &UtxoFuture, found: Result<TxOut, NoOutput>) {
        let is_to_go = self.judge(question, &found);
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

    /// A place for a look-up that waits for the next block, if that may change what was found.
    fn place_to_wait(
        &self,
        question: &Question,
        found: &Result<TxOut, NoOutput>,
        blocks_left: u32,
    ) -> Option<OwnedSemaphorePermit> {
        let places = match found {
            Err(NoOutput::Young { output, lacks })
                if output.script_pubkey == question.script && *lacks <= blocks_left =>
            {
                &self.young
            }
            Err(NoOutput::Unknown) if blocks_left > 0 => &self.unknown,
            _ => return None,
        };
        Arc::clone(places).try_acquire_owned().ok()
    }

    /// True if the peer is to be disconnected.
    fn judge(&self, question: &Question, found: &Result<TxOut, NoOutput>) -> bool {
        let worth = match found {
            Ok(output) if output.script_pubkey == question.script => Worth::Right,
            Err(NoOutput::Young { output, .. }) if output.script_pubkey == question.script => {
                return false;
            }
            // Only this announcement is wrong: another one of the same channel may be right.
            Ok(_) | Err(NoOutput::Young { .. }) => Worth::Wrong,
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

/// Looks an announced channel up, at the next blocks again if it may be too early. It does not keep the check
/// from being dropped while it waits.
async fn look_up(check: Weak<ChannelCheck>, question: Question, answer: UtxoFuture) {
    let mut blocks_left = MOST_BLOCKS;
    loop {
        let Some(now) = check.upgrade() else { return };
        let height = (now.sources.height)();
        let found = now.sources.outputs.find(question.scid).await;
        let Some(place) = now.place_to_wait(&question, &found, blocks_left) else {
            return now.answer(&question, &answer, found);
        };
        drop(now);
        if next_block(&check, height).await.is_none() {
            return;
        }
        drop(place);
        blocks_left -= 1;
    }
}

/// Waits until our best block is above this height; none if the node stops.
async fn next_block(check: &Weak<ChannelCheck>, height: u32) -> Option<()> {
    while (check.upgrade()?.sources.height)() <= height {
        sleep(LOOK).await;
    }
    Some(())
}

/// LDK calls it when all else about the announcement is right.
pub(super) struct Lookup<'a> {
    check: &'a Arc<ChannelCheck>,
    peer: Option<PublicKey>,
    announcement: &'a UnsignedChannelAnnouncement,
}

impl Lookup<'_> {
    /// The capacity of the announced channel if it is ours. Then our signature is on the announcement, and our
    /// channel manager has seen the funding output confirmed: bitcoind has nothing to add, and may not answer.
    fn own_capacity(&self, scid: u64) -> Option<u64> {
        let sources = &self.check.sources;
        let ends = [self.announcement.node_id_1, self.announcement.node_id_2];
        let is_ours = ends.contains(&sources.own_id);
        is_ours.then(|| (sources.own_capacity)(scid)).flatten()
    }
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
        let message = self.announcement;
        let sources = &self.check.sources;
        // LDK has verified signatures with these keys.
        let keys = (
            message.bitcoin_key_1.as_pubkey(),
            message.bitcoin_key_2.as_pubkey(),
        );
        let (Ok(one), Ok(two)) = keys else {
            return UtxoResult::Sync(Err(UtxoLookupError::UnknownTx));
        };
        let script = make_funding_redeemscript(&one, &two).to_p2wsh();
        if let Some(capacity_sat) = self.own_capacity(scid) {
            return UtxoResult::Sync(Ok(TxOut {
                value: Amount::from_sat(capacity_sat),
                script_pubkey: script,
            }));
        }
        if self.peer.is_some_and(|peer| !announcers.may_ask(&peer)) {
            return UtxoResult::Sync(Err(UtxoLookupError::UnknownTx));
        }
        let question = Question {
            peer: self.peer,
            scid,
            script,
        };
        let answer = UtxoFuture::new();
        let check = Arc::downgrade(self.check);
        sources
            .runtime
            .spawn(look_up(check, question, answer.clone()));
        UtxoResult::Async(answer)
    }
}
