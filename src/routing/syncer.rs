//! Whom to ask for the channels that we lack, and when (BOLT 7, gossip queries).
//!
//! LDK sends gossip_timestamp_filter to every peer. That brings what is new, and from most peers what is
//! old, but Eclair answers it with new gossip only. So a few peers are asked as lnd asks them: first for
//! the channels that they know (query_channel_range), then for those of them that we lack
//! (query_short_channel_ids), some hundred at a time.
//!
//! This is a state machine without a clock or a connection: [`Syncer::poll`] and the answers of peers say
//! what is to be sent next. Peers are strangers: whatever they answer, how much is kept and how long they
//! are waited for is limited.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};

use bitcoin::constants::ChainHash;
use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::{QueryChannelRange, QueryShortChannelIds, ReplyChannelRange};

use super::gossip_message::GossipMessage;

/// Peers whose channels we want to have compared with ours, and peers that are asked at once (lnd: 3).
const PEERS_TO_SYNC: usize = 3;
/// A peer that sends gossip by itself is asked when that has ended: then less is left to ask for.
const QUIET: Duration = Duration::from_secs(3);
/// A peer is not listened to for longer than this before it is asked.
const MOST_PATIENCE: Duration = Duration::from_secs(600);
/// A peer that sends nothing of its answer for so long has failed.
const IDLE_LIMIT: Duration = Duration::from_secs(30);
/// The longest that one answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(300);
/// A peer that failed is asked again after this time, if we need it.
const RETRY: Duration = Duration::from_secs(600);
/// Another peer's channels are compared with ours this often (lnd: each hour).
const ROUND: Duration = Duration::from_secs(3_600);
/// Channels in one query (lnd: 500).
const SCIDS_PER_QUERY: usize = 500;
/// Channels that one peer may list; the public network has about 50,000.
const MOST_LISTED: usize = 500_000;
/// Of them those that we lack, and that we remember: some 2 MB.
const MOST_WANTED: usize = 200_000;
/// Queries that may bring nothing, one after the other.
const MOST_EMPTY: u32 = 3;
/// A peer was of use if it listed at least one of so many channels that we know afterwards.
const USEFUL_PART: usize = 2;

/// What our node knows of the network.
pub trait KnownChannels {
    /// Whether this channel, or an update of it, is to be asked for.
    fn lacks(&self, scid: u64) -> bool;
    fn knows(&self, scid: u64) -> bool;
    /// How many channels it knows.
    fn count(&self) -> usize;
}

/// What is to be sent to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    Range(QueryChannelRange),
    Ids(QueryShortChannelIds),
}

impl Query {
    /// As it goes over the wire.
    pub fn message(&self) -> GossipMessage {
        match self {
            Self::Range(query) => GossipMessage::new(query),
            Self::Ids(query) => GossipMessage::new(query),
        }
    }
}

/// The peers that could be asked, and how far those are that were.
pub struct Syncer {
    chain_hash: ChainHash,
    peers: BTreeMap<PublicKey, Peer>,
    /// Counts turns: who has waited longest has the lowest.
    turns: u64,
    next_round: Instant,
    /// Channels that were asked for and came, since somebody is being asked, at most [`MOST_WANTED`]. The graph
    /// may lack them still: their check takes a while, or they fail it.
    came: HashSet<u64>,
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
    /// A query_channel_range is out.
    Listing(Listing),
    /// What it listed is asked for.
    Asking(Asking),
    /// It listed much of what we know, and was asked for all that we lacked of it.
    Synced,
    /// It did not answer, or listed too little to compare with.
    Failed {
        since: Instant,
    },
}

struct Listing {
    asked: Instant,
    heard: Instant,
    listed: usize,
    wanted: BTreeSet<u64>,
    /// The listed channels that we know or lack: those that may exist.
    real: HashSet<u64>,
}

struct Asking {
    left: BTreeSet<u64>,
    /// As in [`Listing`].
    real: HashSet<u64>,
    /// The query that is out; none while other peers are asked for all that is left.
    query: Option<IdsOut>,
    /// Queries before it that brought nothing.
    empty: u32,
}

struct IdsOut {
    scids: BTreeSet<u64>,
    asked: Instant,
    heard: Instant,
    brought_something: bool,
}

impl State {
    fn is_busy(&self) -> bool {
        matches!(self, Self::Listing(_) | Self::Asking(_))
    }
}

impl Syncer {
    /// Nobody is connected yet.
    pub fn new(chain_hash: ChainHash, now: Instant) -> Self {
        Self {
            chain_hash,
            peers: BTreeMap::new(),
            turns: 0,
            next_round: now + ROUND,
            came: HashSet::new(),
            completed: 0,
        }
    }

    /// How many peers of use were asked for all that we lacked.
    pub fn completed(&self) -> u64 {
        self.completed
    }

    /// A peer that knows gossip queries is connected.
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

    /// Its answer will not come any more.
    pub fn disconnected(&mut self, peer: &PublicKey) {
        self.peers.remove(peer);
    }

    /// It sent gossip: of this channel, if it announced one that was accepted or is being checked.
    pub fn heard(&mut self, peer: &PublicKey, announced: Option<u64>, now: Instant) {
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
            query.heard = now;
            query.brought_something = true;
            if self.came.len() >= MOST_WANTED {
                self.came.clear();
            }
            self.came.insert(scid);
        }
    }

    /// Whether this channel was asked of this peer, whose answer has not ended.
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

    /// A part of its list has come.
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
        listing.heard = now;
        listing.listed += reply.short_channel_ids.len();
        for scid in reply.short_channel_ids.iter().copied() {
            let lacks = ours.lacks(scid);
            if lacks || ours.knows(scid) {
                listing.real.insert(scid);
            }
            if lacks && !self.came.contains(&scid) {
                listing.wanted.insert(scid);
            }
        }
        let is_too_much = listing.listed > MOST_LISTED || listing.wanted.len() > MOST_WANTED;
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

    /// A query_short_channel_ids is answered.
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
        if asking.empty >= MOST_EMPTY {
            known.state = State::Failed { since: now };
            return None;
        }
        self.next_query(peer, ours, now)
    }

    /// What is due, to be called about once a second.
    pub fn poll(&mut self, ours: &impl KnownChannels, now: Instant) -> Vec<(PublicKey, Query)> {
        self.give_up_on_silent(now);
        if !self.peers.values().any(|peer| peer.state.is_busy()) {
            self.came.clear();
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

    fn give_up_on_silent(&mut self, now: Instant) {
        let mut listed = Vec::new();
        for (id, peer) in &mut self.peers {
            match &peer.state {
                State::Listing(listing) if is_over(listing.asked, listing.heard, now) => {
                    listed.push(*id);
                }
                State::Asking(Asking {
                    query: Some(query), ..
                }) if is_over(query.asked, query.heard, now) => {
                    peer.state = State::Failed { since: now };
                }
                _ => {}
            }
        }
        for id in listed {
            self.ask_for_wanted(&id);
            // Nothing was listed: it does not answer.
            if let Some(peer) = self.peers.get_mut(&id)
                && matches!(&peer.state, State::Asking(asking) if asking.left.is_empty())
            {
                peer.state = State::Failed { since: now };
            }
        }
    }

    /// Peers that are being asked, but for nothing now.
    fn without_query(&self) -> Vec<PublicKey> {
        let idle = self.peers.iter().filter(
            |(_, peer)| matches!(&peer.state, State::Asking(asking) if asking.query.is_none()),
        );
        idle.map(|(id, _)| *id).collect()
    }

    /// Who is asked for a list now, if somebody is.
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
        self.next_round = now + ROUND;
        self.longest_waiting(|peer| !peer.state.is_busy())
    }

    /// Those that were of no use the last time come last.
    fn longest_waiting(&self, may_be_asked: impl Fn(&Peer) -> bool) -> Option<PublicKey> {
        let peers = self.peers.iter().filter(|(_, peer)| may_be_asked(peer));
        let turn = |peer: &Peer| (matches!(peer.state, State::Failed { .. }), peer.turn);
        peers
            .min_by_key(|(_, peer)| turn(peer))
            .map(|(peer, _)| *peer)
    }

    /// From the first block to the last, as lnd does at its start.
    fn ask_for_list(&mut self, peer: &PublicKey, now: Instant) -> Query {
        let turn = self.next_turn();
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.turn = turn;
            peer.state = State::Listing(Listing {
                asked: now,
                heard: now,
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

    /// The next channels that this peer is asked for: those that we still lack, and that no other peer is
    /// asked for at the moment. If none are left the peer is done.
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
            if self.came.contains(scid) || !ours.lacks(*scid) {
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
                let is_useful = is_useful(&asking.real, &self.came, ours);
                self.completed += u64::from(is_useful);
                self.peers.get_mut(peer)?.state = if is_useful {
                    State::Synced
                } else {
                    State::Failed { since: now }
                };
            }
            return None;
        }
        let query = QueryShortChannelIds {
            chain_hash: self.chain_hash,
            short_channel_ids: scids.iter().copied().collect(),
        };
        asking.query = Some(IdsOut {
            scids,
            asked: now,
            heard: now,
            brought_something: false,
        });
        Some(Query::Ids(query))
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
                now >= self.last_gossip + QUIET || now >= self.connected + MOST_PATIENCE
            }
            State::Failed { since } => now >= since + RETRY,
            State::Listing(_) | State::Asking(_) | State::Synced => false,
        }
    }
}

/// Whether a peer that listed these has shown that it knows the network. A wallet knows nothing, and a stranger
/// may list what does not exist: nobody would be asked in their place.
fn is_useful(listed: &HashSet<u64>, came: &HashSet<u64>, ours: &impl KnownChannels) -> bool {
    let shared = listed
        .iter()
        .filter(|scid| ours.knows(**scid) || came.contains(scid))
        .count();
    shared > 0 && shared.saturating_mul(USEFUL_PART) >= ours.count()
}

/// All replies but the last one leave something of the range, or say that more will come: old versions of
/// lnd name the whole range in each, old versions of Core Lightning call each complete.
fn is_last(reply: &ReplyChannelRange) -> bool {
    let end = reply.first_blocknum.saturating_add(reply.number_of_blocks);
    reply.sync_complete && end == u32::MAX
}

fn is_over(asked: Instant, heard: Instant, now: Instant) -> bool {
    now >= heard + IDLE_LIMIT || now >= asked + ANSWER_LIMIT
}

#[cfg(test)]
mod tests;
