//! Checks announced channels against bitcoind's UTXO set.
//!
//! lightning-block-sync's verifier fetches a whole block for every bogus announcement, without any limit per
//! peer, so a single peer can keep bitcoind and this node fully loaded. Here each look-up is charged to the
//! announcing peer.
//!
//! A peer may announce a channel after its sixth confirmation but before our bitcoind has seen that block.
//! The announcement is not repeated, so the look-up waits for our next block.

use std::sync::{Arc, Mutex, MutexGuard, Weak};
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

use super::announcers::{Announcers, Finding};
use super::refused_channels::RefusedChannels;
use crate::chain::{FundingOutputs, NoOutput};
use crate::ldk::{GossipSync, NetworkGraph};
use crate::sync::lock;

/// How many blocks we may lag behind the peers. Channels further ahead are not looked up.
const MAX_LAG_BLOCKS: u32 = 144;
/// How many blocks a look-up waits for.
const MAX_BLOCKS: u32 = 3;
/// The number of look-ups waiting for a block, for outputs with too few confirmations. With
/// [`MAX_UNKNOWN`] this is half of the checks that LDK allows before it stops reading from peers.
const MAX_YOUNG: usize = 8;
/// The same for outputs whose existence bitcoind could not tell, which cost a peer nothing to announce.
const MAX_UNKNOWN: usize = 8;
/// How often a waiting look-up checks for a new block.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Returns whether we have a channel with this peer.
pub type HasChannel = dyn Fn(&PublicKey) -> bool + Send + Sync;

/// Returns the capacity in sat of our own channel with this short channel id.
pub type OwnCapacity = dyn Fn(u64) -> Option<u64> + Send + Sync;

/// Returns whether we have queried this peer for this channel (query_short_channel_ids).
pub type HasAsked = dyn Fn(&PublicKey, u64) -> bool + Send + Sync;

/// Disconnects this peer, if one is given, and lets LDK process what waited for the look-up.
pub type FinishLookup = dyn Fn(Option<PublicKey>) + Send + Sync;

/// The parts of the node that the check uses.
pub struct Sources {
    pub outputs: FundingOutputs,
    pub graph: Arc<NetworkGraph>,
    pub gossip: Arc<GossipSync>,
    pub finish_lookup: Box<FinishLookup>,
    pub has_channel: Box<HasChannel>,
    pub own_id: NodeId,
    pub own_capacity: Box<OwnCapacity>,
    pub has_asked: Box<HasAsked>,
    /// Returns the height of our best block.
    pub height: Box<dyn Fn() -> u32 + Send + Sync>,
    pub runtime: Handle,
}

/// Looks up announced channels, with limits per peer.
pub struct ChannelCheck {
    sources: Sources,
    announcers: Announcers,
    refused: Mutex<RefusedChannels>,
    young: Arc<Semaphore>,
    unknown: Arc<Semaphore>,
}

impl ChannelCheck {
    /// Creates a check without any record of peers.
    pub fn new(sources: Sources) -> Self {
        Self {
            sources,
            announcers: Announcers::default(),
            refused: Mutex::default(),
            young: Arc::new(Semaphore::new(MAX_YOUNG)),
            unknown: Arc::new(Semaphore::new(MAX_UNKNOWN)),
        }
    }

    /// Returns whether this peer is banned for sending a hundred invalid announcements.
    pub fn is_banned(&self, peer: &PublicKey) -> bool {
        self.announcers.is_banned(peer)
    }

    /// Returns whether we have a channel with this peer.
    pub fn has_channel(&self, peer: &PublicKey) -> bool {
        (self.sources.has_channel)(peer)
    }

    /// Returns the finding for a channel that was rejected within the last hour.
    pub(super) fn is_refused(&self, scid: u64) -> Option<Finding> {
        self.refused().get(scid, Instant::now())
    }

    /// Returns whether we have queried this peer for this channel. If so, the peer is not blamed for it.
    pub(super) fn has_asked(&self, peer: &PublicKey, scid: u64) -> bool {
        (self.sources.has_asked)(peer, scid)
    }

    /// Returns whether the channel's block is too far above our tip to look it up.
    pub(super) fn is_in_the_future(&self, scid: u64) -> bool {
        block_from_scid(scid) > (self.sources.height)().saturating_add(MAX_LAG_BLOCKS)
    }

    /// Records the finding on a peer's announcement. Returns true if the peer must be disconnected.
    pub(super) fn found(&self, peer: &PublicKey, finding: Finding) -> bool {
        if !self.announcers.found(peer, finding) {
            return false;
        }
        let is_disconnected = !self.has_channel(peer);
        tracing::info!(
            %peer,
            disconnected = is_disconnected,
            "peer sent 100 invalid channel announcements; ignoring its announcements for 48 hours"
        );
        is_disconnected
    }

    /// Returns the UTXO look-up for one announcement of `peer`.
    ///
    /// `peer` is `None` for our own announcement or one already checked, because LDK passes whatever it
    /// broadcasts to its own gossip handler. Announcements from peers always have a peer.
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

    /// Completes a look-up.
    fn answer(&self, request: &Request, answer: &UtxoFuture, found: Result<TxOut, NoOutput>) {
        let must_disconnect = self.record_result(request, &found);
        let (graph, gossip) = (&self.sources.graph, &*self.sources.gossip);
        answer.resolve(graph, gossip, found.map_err(|_| UtxoLookupError::UnknownTx));
        (self.sources.finish_lookup)(request.peer.filter(|_| must_disconnect));
    }

    /// Returns a permit to wait for the next block, if that may change the result.
    fn permit_to_wait(
        &self,
        request: &Request,
        found: &Result<TxOut, NoOutput>,
        blocks_left: u32,
    ) -> Option<OwnedSemaphorePermit> {
        let permits = match found {
            Err(NoOutput::Young { output, lacks })
                if output.script_pubkey == request.script && *lacks <= blocks_left =>
            {
                &self.young
            }
            Err(NoOutput::Unknown) if blocks_left > 0 => &self.unknown,
            _ => return None,
        };
        Arc::clone(permits).try_acquire_owned().ok()
    }

    /// Records the finding. Returns true if the peer must be disconnected.
    fn record_result(&self, request: &Request, found: &Result<TxOut, NoOutput>) -> bool {
        let finding = match found {
            Ok(output) if output.script_pubkey == request.script => Finding::Valid,
            Err(NoOutput::Young { output, .. }) if output.script_pubkey == request.script => {
                return false;
            }
            // Only this announcement is invalid; another one of the same channel may be valid.
            Ok(_) | Err(NoOutput::Young { .. }) => Finding::Invalid,
            Err(NoOutput::Missing) => self.refuse(request.scid, Finding::Invalid),
            Err(NoOutput::Spent) => self.refuse(request.scid, Finding::Closed),
            Err(NoOutput::Unknown) => return false,
        };
        request.peer.is_some_and(|peer| self.found(&peer, finding))
    }

    fn refuse(&self, scid: u64, finding: Finding) -> Finding {
        self.refused().insert(scid, finding, Instant::now());
        finding
    }

    fn refused(&self) -> MutexGuard<'_, RefusedChannels> {
        lock(&self.refused)
    }
}

/// Looks up an announced channel, again after each of the next blocks if it may be too early. Does not keep
/// the check alive while waiting.
async fn look_up(check: Weak<ChannelCheck>, request: Request, answer: UtxoFuture) {
    let mut blocks_left = MAX_BLOCKS;
    loop {
        let Some(now) = check.upgrade() else { return };
        let height = (now.sources.height)();
        let found = now.sources.outputs.find(request.scid).await;
        let Some(permit) = now.permit_to_wait(&request, &found, blocks_left) else {
            return now.answer(&request, &answer, found);
        };
        drop(now);
        if next_block(&check, height).await.is_none() {
            return;
        }
        drop(permit);
        blocks_left -= 1;
    }
}

/// Waits until our best block is above this height. Returns `None` if the node is shutting down.
async fn next_block(check: &Weak<ChannelCheck>, height: u32) -> Option<()> {
    while (check.upgrade()?.sources.height)() <= height {
        sleep(POLL_INTERVAL).await;
    }
    Some(())
}

/// The look-up that LDK calls once everything else about the announcement is valid.
pub(super) struct Lookup<'a> {
    check: &'a Arc<ChannelCheck>,
    peer: Option<PublicKey>,
    announcement: &'a UnsignedChannelAnnouncement,
}

impl Lookup<'_> {
    /// Returns the capacity in sat of the announced channel if it is ours. We have signed the announcement,
    /// and the channel manager has seen the funding output confirmed, so bitcoind need not be asked; it may
    /// be unavailable.
    fn own_capacity(&self, scid: u64) -> Option<u64> {
        let sources = &self.check.sources;
        let ends = [self.announcement.node_id_1, self.announcement.node_id_2];
        let is_ours = ends.contains(&sources.own_id);
        is_ours.then(|| (sources.own_capacity)(scid)).flatten()
    }
}

struct Request {
    peer: Option<PublicKey>,
    scid: u64,
    /// The funding script derived from the announcement's keys.
    script: ScriptBuf,
}

impl UtxoLookup for Lookup<'_> {
    fn get_utxo(&self, _chain_hash: &ChainHash, scid: u64) -> UtxoResult {
        let announcers = &self.check.announcers;
        let message = self.announcement;
        let sources = &self.check.sources;
        // LDK has verified signatures with these keys, so they are valid.
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
        let request = Request {
            peer: self.peer,
            scid,
            script,
        };
        let answer = UtxoFuture::new();
        let check = Arc::downgrade(self.check);
        sources
            .runtime
            .spawn(look_up(check, request, answer.clone()));
        UtxoResult::Async(answer)
    }
}
