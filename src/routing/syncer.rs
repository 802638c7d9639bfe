//! Decides which peers to query for missing channels, and when (BOLT 7 gossip queries).
//!
//! LDK sends gossip_timestamp_filter to every peer. Most peers reply with old and new gossip, but Eclair
//! sends only new gossip. So a few peers are queried as in lnd: first for the channels they know
//! (query_channel_range), then for those that we lack (query_short_channel_ids), a few hundred at a time.
//!
//! This is a state machine without clock or connections: [`Syncer::poll`] and the handlers of peers' replies
//! return the next queries. Peers are untrusted: the memory and time spent on their replies are limited.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};

use bitcoin::constants::ChainHash;
use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::{QueryChannelRange, QueryShortChannelIds, ReplyChannelRange};

use super::gossip_message::GossipMessage;

/// The number of peers to sync with, and of peers queried at once (lnd: 3).
const PEERS_TO_SYNC: usize = 3;
/// How long a peer must have sent no gossip before it is queried: less is missing after its initial gossip.
const QUIET_TIME: Duration = Duration::from_secs(3);
/// The longest wait for a peer's gossip to end before it is queried.
const MAX_QUIET_WAIT: Duration = Duration::from_secs(600);
/// A peer fails if it sends nothing of its answer for this long.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The maximum duration of one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);
/// When a failed peer may be queried again if needed.
const RETRY_DELAY: Duration = Duration::from_secs(600);
/// How often another peer is synced with (lnd: hourly).
const ROUND_INTERVAL: Duration = Duration::from_secs(3_600);
/// The number of channels per query (lnd: 500).
const SCIDS_PER_QUERY: usize = 500;
/// The maximum number of channels one peer may list; the public network has about 50,000.
const MAX_LISTED: usize = 500_000;
/// The maximum number of listed channels that we lack and remember: about 2 MB.
const MAX_WANTED: usize = 200_000;
/// The number of consecutive queries without result after which a peer fails.
const MAX_EMPTY: u32 = 3;
/// A peer was useful if it listed at least one in this many of the channels that we know afterwards.
const USEFUL_DIVISOR: usize = 2;

/// Our node's knowledge of the network.
pub trait KnownChannels {
    /// Returns whether to query this channel or its updates.
    fn lacks(&self, scid: u64) -> bool;
    /// Returns whether this channel is known.
    fn knows(&self, scid: u64) -> bool;
    /// Returns the number of known channels.
    fn count(&self) -> usize;
}

/// A query to send to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    Range(QueryChannelRange),
    Ids(QueryShortChannelIds),
}

impl Query {
    /// Encodes the query.
    pub fn message(&self) -> GossipMessage {
        match self {
            Self::Range(query) => GossipMessage::new(query),
            Self::Ids(query) => GossipMessage::new(query),
        }
    }
}

/// The connected peers and the progress of syncing with them.
pub struct Syncer {
    chain_hash: ChainHash,
    peers: BTreeMap<PublicKey, Peer>,
    /// Turn counter: the peer waiting longest has the lowest turn.
    turns: u64,
    next_round: Instant,
    /// Queried channels that were received since the current queries began, at most [`MAX_WANTED`]. The graph
    /// may still lack them, because their check takes a while or fails.
    received: HashSet<u64>,
    completed: u64,
}

struct Peer {
    connected: Instant,
    last_gossip: Instant,
    turn: u64,
    state: State,
}

enum State {
    Waiting,
    /// A query_channel_range is pending.
    Listing(Listing),
    /// The listed channels that we lack are being queried.
    Asking(Asking),
    /// The peer was useful, and everything we lacked was queried.
    Synced,
    /// The peer did not answer or listed too little.
    Failed {
        since: Instant,
    },
}

struct Listing {
    asked: Instant,
    last_progress: Instant,
    listed: usize,
    wanted: BTreeSet<u64>,
    /// The listed channels that may exist: those we know or lack.
    real: HashSet<u64>,
}

struct Asking {
    left: BTreeSet<u64>,
    /// As in [`Listing`].
    real: HashSet<u64>,
    /// The pending query; `None` while other peers are queried for everything left.
    query: Option<PendingIds>,
    /// The number of consecutive queries before it that brought nothing.
    empty: u32,
}

struct PendingIds {
    scids: BTreeSet<u64>,
    asked: Instant,
    last_progress: Instant,
    brought_something: bool,
}

impl State {
    fn is_busy(&self) -> bool {
        matches!(self, Self::Listing(_) | Self::Asking(_))
    }
}

impl Syncer {
    /// Creates a syncer without peers.
    pub fn new(chain_hash: ChainHash, now: Instant) -> Self {
        Self {
            chain_hash,
            peers: BTreeMap::new(),
            turns: 0,
            next_round: now + ROUND_INTERVAL,
            received: HashSet::new(),
            completed: 0,
        }
    }

    /// Returns the number of completed syncs with useful peers.
    pub fn completed(&self) -> u64 {
        self.completed
    }

    /// Adds a connected peer that supports gossip queries.
    pub fn connected(&mut self, peer: PublicKey, now: Instant) {
        let turn = self.next_turn();
        let state = State::Waiting;
        let peer_state = Peer {
            connected: now,
            last_gossip: now,
            turn,
            state,
        };
        self.peers.insert(peer, peer_state);
    }

    /// Removes a disconnected peer.
    pub fn disconnected(&mut self, peer: &PublicKey) {
        self.peers.remove(peer);
    }

    /// Handles gossip from a peer. `announced` is the channel that it announced, if the announcement was
    /// accepted or is being checked.
    pub fn gossip_received(&mut self, peer: &PublicKey, announced: Option<u64>, now: Instant) {
        let Some(peer) = self.peers.get_mut(peer) else {
            return;
        };
        peer.last_gossip = now;
        let State::Asking(Asking {
            query: Some(query), ..
        }) = &mut peer.state
        else {
            return;
        };
        if let Some(scid) = announced.filter(|scid| query.scids.contains(scid)) {
            query.last_progress = now;
            query.brought_something = true;
            if self.received.len() >= MAX_WANTED {
                self.received.clear();
            }
            self.received.insert(scid);
        }
    }

    /// Returns whether a pending query to this peer includes this channel.
    pub fn has_asked(&self, peer: &PublicKey, scid: u64) -> bool {
        let state = self.peers.get(peer).map(|peer| &peer.state);
        let Some(State::Asking(Asking {
            query: Some(query), ..
        })) = state
        else {
            return false;
        };
        query.scids.contains(&scid)
    }

    /// Handles a reply_channel_range. Returns the next query if the list is complete.
    pub fn range_reply(
        &mut self,
        peer: &PublicKey,
        reply: &ReplyChannelRange,
        ours: &impl KnownChannels,
        now: Instant,
    ) -> Option<Query> {
        let known = self.peers.get_mut(peer)?;
        let State::Listing(listing) = &mut known.state else {
            return None;
        };
        listing.last_progress = now;
        listing.listed += reply.short_channel_ids.len();
        for scid in reply.short_channel_ids.iter().copied() {
            let lacks = ours.lacks(scid);
            if lacks || ours.knows(scid) {
                listing.real.insert(scid);
            }
            if lacks && !self.received.contains(&scid) {
                listing.wanted.insert(scid);
            }
        }
        let is_too_much = listing.listed > MAX_LISTED || listing.wanted.len() > MAX_WANTED;
        if is_too_much || reply.chain_hash != self.chain_hash {
            known.state = State::Failed { since: now };
            return None;
        }
        if !is_last(reply) {
            return None;
        }
        self.ask_for_wanted(peer);
        self.next_query(peer, ours, now)
    }

    /// Handles a reply_short_channel_ids_end. Returns the next query for the peer.
    pub fn ids_end(
        &mut self,
        peer: &PublicKey,
        ours: &impl KnownChannels,
        now: Instant,
    ) -> Option<Query> {
        let known = self.peers.get_mut(peer)?;
        let State::Asking(asking) = &mut known.state else {
            return None;
        };
        let query = asking.query.take()?;
        asking.empty = if query.brought_something {
            0
        } else {
            asking.empty + 1
        };
        if asking.empty >= MAX_EMPTY {
            known.state = State::Failed { since: now };
            return None;
        }
        self.next_query(peer, ours, now)
    }

    /// Returns the queries now due. Call it about once a second.
    pub fn poll(&mut self, ours: &impl KnownChannels, now: Instant) -> Vec<(PublicKey, Query)> {
        self.fail_silent_peers(now);
        if !self.peers.values().any(|peer| peer.state.is_busy()) {
            self.received.clear();
        }
        let mut queries = Vec::new();
        for peer in self.without_query() {
            queries.extend(self.next_query(&peer, ours, now).map(|query| (peer, query)));
        }
        while let Some(peer) = self.next_to_sync(now) {
            queries.push((peer, self.ask_for_list(&peer, now)));
        }
        queries
    }

    fn fail_silent_peers(&mut self, now: Instant) {
        let mut listed = Vec::new();
        for (id, peer) in &mut self.peers {
            match &peer.state {
                State::Listing(listing)
                    if is_timed_out(listing.asked, listing.last_progress, now) =>
                {
                    listed.push(*id);
                }
                State::Asking(Asking {
                    query: Some(query), ..
                }) if is_timed_out(query.asked, query.last_progress, now) => {
                    peer.state = State::Failed { since: now };
                }
                _ => {}
            }
        }
        for id in listed {
            self.ask_for_wanted(&id);
            // The peer has listed nothing, so it does not answer.
            if let Some(peer) = self.peers.get_mut(&id)
                && matches!(&peer.state, State::Asking(asking) if asking.left.is_empty())
            {
                peer.state = State::Failed { since: now };
            }
        }
    }

    /// Returns peers with channels left to query but no pending query.
    fn without_query(&self) -> Vec<PublicKey> {
        let idle = self.peers.iter().filter(
            |(_, peer)| matches!(&peer.state, State::Asking(asking) if asking.query.is_none()),
        );
        idle.map(|(id, _)| *id).collect()
    }

    /// Returns the next peer to start syncing with, if one is due.
    fn next_to_sync(&mut self, now: Instant) -> Option<PublicKey> {
        let states = || self.peers.values().map(|peer| &peer.state);
        let busy = states().filter(|state| state.is_busy()).count();
        let synced = states().filter(|state| matches!(state, State::Synced));
        if busy >= PEERS_TO_SYNC {
            return None;
        }
        if busy + synced.count() < PEERS_TO_SYNC
            && let Some(needed) = self.longest_waiting(|peer| peer.is_ready(now))
        {
            return Some(needed);
        }
        if now < self.next_round {
            return None;
        }
        self.next_round = now + ROUND_INTERVAL;
        self.longest_waiting(|peer| !peer.state.is_busy())
    }

    /// Returns the peer that has waited longest. Peers that failed last time come last.
    fn longest_waiting(&self, may_be_asked: impl Fn(&Peer) -> bool) -> Option<PublicKey> {
        let peers = self.peers.iter().filter(|(_, peer)| may_be_asked(peer));
        let turn = |peer: &Peer| (matches!(peer.state, State::Failed { .. }), peer.turn);
        peers
            .min_by_key(|(_, peer)| turn(peer))
            .map(|(peer, _)| *peer)
    }

    /// Returns a query for the whole block range, as lnd sends at startup.
    fn ask_for_list(&mut self, peer: &PublicKey, now: Instant) -> Query {
        let turn = self.next_turn();
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.turn = turn;
            peer.state = State::Listing(Listing {
                asked: now,
                last_progress: now,
                listed: 0,
                wanted: BTreeSet::new(),
                real: HashSet::new(),
            });
        }
        Query::Range(QueryChannelRange {
            chain_hash: self.chain_hash,
            first_blocknum: 0,
            number_of_blocks: u32::MAX,
        })
    }

    fn ask_for_wanted(&mut self, peer: &PublicKey) {
        let Some(peer) = self.peers.get_mut(peer) else {
            return;
        };
        if let State::Listing(listing) = &mut peer.state {
            let left = std::mem::take(&mut listing.wanted);
            let real = std::mem::take(&mut listing.real);
            peer.state = State::Asking(Asking {
                left,
                real,
                query: None,
                empty: 0,
            });
        }
    }

    /// Returns the next query for this peer: channels that we still lack and that no other peer is being
    /// queried for. If none are left, the sync with this peer is complete.
    fn next_query(
        &mut self,
        peer: &PublicKey,
        ours: &impl KnownChannels,
        now: Instant,
    ) -> Option<Query> {
        let elsewhere = self.asked_elsewhere(peer);
        let State::Asking(asking) = &mut self.peers.get_mut(peer)?.state else {
            return None;
        };
        let (mut scids, mut not_lacking) = (BTreeSet::new(), Vec::new());
        for scid in &asking.left {
            if scids.len() >= SCIDS_PER_QUERY {
                break;
            }
            if self.received.contains(scid) || !ours.lacks(*scid) {
                not_lacking.push(*scid);
            } else if !elsewhere.contains(scid) {
                scids.insert(*scid);
            }
        }
        for scid in scids.iter().chain(&not_lacking) {
            asking.left.remove(scid);
        }
        if scids.is_empty() {
            if asking.left.is_empty() {
                let is_useful = is_useful(&asking.real, &self.received, ours);
                self.complete(peer, is_useful, now);
            }
            return None;
        }
        let query = QueryShortChannelIds {
            chain_hash: self.chain_hash,
            short_channel_ids: scids.iter().copied().collect(),
        };
        asking.query = Some(PendingIds {
            scids,
            asked: now,
            last_progress: now,
            brought_something: false,
        });
        Some(Query::Ids(query))
    }

    /// Ends the sync with a peer, which was useful if it sent channels that we lacked.
    fn complete(&mut self, peer: &PublicKey, is_useful: bool, now: Instant) {
        self.completed += u64::from(is_useful);
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.state = if is_useful {
                State::Synced
            } else {
                State::Failed { since: now }
            };
        }
    }

    fn asked_elsewhere(&self, except: &PublicKey) -> BTreeSet<u64> {
        let others = self.peers.iter().filter(|(peer, _)| *peer != except);
        let queries = others.filter_map(|(_, peer)| match &peer.state {
            State::Asking(asking) => asking.query.as_ref(),
            _ => None,
        });
        queries.flat_map(|query| &query.scids).copied().collect()
    }

    fn next_turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }
}

impl Peer {
    fn is_ready(&self, now: Instant) -> bool {
        match self.state {
            State::Waiting => {
                now >= self.last_gossip + QUIET_TIME || now >= self.connected + MAX_QUIET_WAIT
            }
            State::Failed { since } => now >= since + RETRY_DELAY,
            State::Listing(_) | State::Asking(_) | State::Synced => false,
        }
    }
}

/// Returns whether a peer that listed these channels knows the network well enough. Wallets know nothing, and
/// a malicious peer may list channels that do not exist; neither may take the place of a useful peer.
fn is_useful(listed: &HashSet<u64>, received: &HashSet<u64>, ours: &impl KnownChannels) -> bool {
    let shared = listed
        .iter()
        .filter(|scid| ours.knows(**scid) || received.contains(scid))
        .count();
    shared > 0 && shared.saturating_mul(USEFUL_DIVISOR) >= ours.count()
}

/// Returns whether this is the last reply: it must reach the end of the range and be marked complete. Old
/// versions of lnd name the whole range in each reply; old versions of Core Lightning mark each complete.
fn is_last(reply: &ReplyChannelRange) -> bool {
    let end = reply.first_blocknum.saturating_add(reply.number_of_blocks);
    reply.sync_complete && end == u32::MAX
}

fn is_timed_out(asked: Instant, last_progress: Instant, now: Instant) -> bool {
    now >= last_progress + IDLE_TIMEOUT || now >= asked + ANSWER_TIMEOUT
}

#[cfg(test)]
mod tests;
