//! Answers peers who ask for parts of the network graph (BOLT 7, gossip queries).
//!
//! LDK announces gossip_queries, ignores query_short_channel_ids, and answers query_channel_range at once
//! with all that it knows, however often it is asked. Here an answer is read from the graph in chunks. A
//! peer gets its next chunk when LDK has written out everything that was queued for it and the peer has
//! answered LDK's pings ([`Answers::drained`]), peers take turns, and the node as a whole sends answers at a
//! limited rate. So what is buffered for a peer does not depend on how much it asks for. Peers with channels
//! have three turns of four; a stranger gets the graph once, and then little.
//!
//! Of a peer one query of each kind is answered at a time; BOLT 7 forbids it to ask again before the
//! answer has ended. query_flags and query_option need gossip_queries_ex, which LDK does not announce.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::{
    QueryChannelRange, QueryShortChannelIds, ReplyChannelRange, ReplyShortChannelIdsEnd,
};
use lightning::routing::gossip::{ChannelInfo, NodeAnnouncementInfo, NodeId, ReadOnlyNetworkGraph};
use tokio::sync::Notify;

use super::gossip_message::GossipMessage;
use crate::ldk::NetworkGraph;
use crate::rates::{Rate, Rates};

/// Bytes after which a chunk of announcements ends. A peer confirms each chunk with a pong, so this is what
/// a slow connection has under way, and it fits into the buffers of a socket.
const CHUNK_BYTES: usize = 32 * 1_024;
/// Short channel ids in one reply_channel_range, except where one block has more.
const SCIDS_PER_REPLY: usize = 4_000;
/// The most that fit into a message (BOLT 7: 8 bytes each).
const MOST_SCIDS_PER_REPLY: usize = 8_000;
/// Nodes that a query remembers having sent. BOLT 7 asks for no duplicates; beyond this there may be some.
const MOST_NODES_REMEMBERED: usize = 2_000;
/// What one peer without a channel gets, in units of 1,000 bytes: the public graph (some 35 MB) once, then 50 kB
/// a second. Less than one unit counts as one.
const OF_STRANGER: Rate = Rate {
    burst: 40_000,
    interval: Duration::from_millis(20),
};
const UNIT: usize = 1_000;
/// Strangers that are held to it at a time. All answers together have a limit of their own.
const MOST_STRANGERS: usize = 1_000;
/// Turns of peers with channels after which a stranger has one.
const MOST_TURNS_WITH_CHANNEL: u32 = 3;

/// Tells whether we have a channel with this peer.
pub type HasChannel = dyn Fn(&PublicKey) -> bool + Send + Sync;

/// The queries of all peers that are not answered yet.
pub struct Answers {
    graph: Arc<NetworkGraph>,
    has_channel: Box<HasChannel>,
    strangers: Rates<PublicKey>,
    queries: Mutex<BTreeMap<PublicKey, PeerQueries>>,
    /// Has a lock of its own, which is never held for long: [`Answers::drained`] is called all the time.
    turns: Mutex<Turns>,
    work: Notify,
}

#[derive(Default)]
struct PeerQueries {
    range: Option<RangeQuery>,
    ids: Option<IdsQuery>,
}

/// Which of the peers that wait for answers can take more, and whose turn was last.
#[derive(Default)]
struct Turns {
    waiting: BTreeMap<PublicKey, Waiting>,
    last_with_channel: Option<PublicKey>,
    last_without_channel: Option<PublicKey>,
    /// Turns of peers with channels, one after the other.
    turns_with_channel: u32,
}

#[derive(Clone, Copy)]
struct Waiting {
    has_channel: bool,
    is_drained: bool,
}

/// A query_channel_range and how far it is answered.
struct RangeQuery {
    query: QueryChannelRange,
    /// The first block of the next reply.
    first_block: u32,
    /// The next reply's channels are after this one.
    after: Option<u64>,
}

/// A query_short_channel_ids and what is left of it.
struct IdsQuery {
    query: QueryShortChannelIds,
    next: usize,
    nodes: HashSet<NodeId>,
}

/// The peer has asked before its last query of this kind was answered, which BOLT 7 forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("one {0} at a time: the previous one is not answered yet")]
pub struct AskedTooEarly(&'static str);

impl Answers {
    /// Answers from `graph`.
    pub fn new(
        graph: Arc<NetworkGraph>,
        has_channel: impl Fn(&PublicKey) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            graph,
            has_channel: Box::new(has_channel),
            strangers: Rates::new(OF_STRANGER, MOST_STRANGERS),
            queries: Mutex::default(),
            turns: Mutex::default(),
            work: Notify::new(),
        }
    }

    /// Takes a query_channel_range.
    ///
    /// # Errors
    /// [`AskedTooEarly`] if another one of this peer is not answered yet.
    pub fn ask_range(
        &self,
        peer: PublicKey,
        query: QueryChannelRange,
    ) -> Result<(), AskedTooEarly> {
        let has_channel = (self.has_channel)(&peer);
        let mut queries = self.queries();
        let range = &mut queries.entry(peer).or_default().range;
        if range.is_some() {
            return Err(AskedTooEarly("query_channel_range"));
        }
        let first_block = query.first_blocknum;
        *range = Some(RangeQuery {
            query,
            first_block,
            after: None,
        });
        self.turns().begin(peer, has_channel);
        Ok(())
    }

    /// Takes a query_short_channel_ids.
    ///
    /// # Errors
    /// [`AskedTooEarly`] if another one of this peer is not answered yet.
    pub fn ask_ids(
        &self,
        peer: PublicKey,
        mut query: QueryShortChannelIds,
    ) -> Result<(), AskedTooEarly> {
        // BOLT 7 asks for this order; nothing is sent twice.
        query.short_channel_ids.sort_unstable();
        query.short_channel_ids.dedup();
        let has_channel = (self.has_channel)(&peer);
        let mut queries = self.queries();
        let ids = &mut queries.entry(peer).or_default().ids;
        if ids.is_some() {
            return Err(AskedTooEarly("query_short_channel_ids"));
        }
        *ids = Some(IdsQuery {
            query,
            next: 0,
            nodes: HashSet::new(),
        });
        self.turns().begin(peer, has_channel);
        Ok(())
    }

    /// All that was queued for this peer has been written, and it keeps up with LDK's pings.
    pub fn drained(&self, peer: &PublicKey) {
        if let Some(waiting) = self.turns().waiting.get_mut(peer) {
            waiting.is_drained = true;
            self.work.notify_one();
        }
    }

    /// The connection has ended: nobody waits for the answers.
    pub fn forget(&self, peer: &PublicKey) {
        self.queries().remove(peer);
        self.turns().waiting.remove(peer);
    }

    /// Waits until [`Answers::next_chunk`] may have something. It may have also when time has passed, for a peer
    /// that has had much.
    pub async fn work(&self) {
        self.work.notified().await;
    }

    /// The next part of an answer: of the next peer in turn that can take it.
    pub fn next_chunk(&self) -> Option<(PublicKey, Vec<GossipMessage>)> {
        loop {
            let (peer, has_channel) = self.turns().next(|peer| self.strangers.has_one(peer))?;
            let mut queries = self.queries();
            // It may have gone between the two lines above.
            let Some(asked) = queries.get_mut(&peer) else {
                continue;
            };
            let messages = asked.next_chunk(&self.graph);
            if asked.range.is_none() && asked.ids.is_none() {
                queries.remove(&peer);
                self.turns().waiting.remove(&peer);
            }
            if !has_channel {
                self.strangers.charge(peer, units(&messages));
            }
            return Some((peer, messages));
        }
    }

    fn queries(&self) -> MutexGuard<'_, BTreeMap<PublicKey, PeerQueries>> {
        // Nothing between lock and unlock can panic halfway through a change.
        self.queries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        // As with the queries.
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn units(messages: &[GossipMessage]) -> u32 {
    let bytes: usize = messages.iter().map(|message| message.bytes.len()).sum();
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

impl Turns {
    fn begin(&mut self, peer: PublicKey, has_channel: bool) {
        self.waiting.entry(peer).or_insert(Waiting {
            has_channel,
            is_drained: false,
        });
    }

    /// The next peer that can take more, and whether we have a channel with it; it is its turn now.
    fn next(&mut self, may_get_more: impl Fn(&PublicKey) -> bool) -> Option<(PublicKey, bool)> {
        let with_channel =
            self.first_after(self.last_with_channel, |_, waiting| waiting.has_channel);
        let prefers_stranger =
            with_channel.is_none() || self.turns_with_channel >= MOST_TURNS_WITH_CHANNEL;
        let stranger = prefers_stranger.then(|| {
            self.first_after(self.last_without_channel, |peer, waiting| {
                !waiting.has_channel && may_get_more(peer)
            })
        });
        let (peer, has_channel) = match stranger.flatten() {
            Some(stranger) => {
                self.turns_with_channel = 0;
                self.last_without_channel = Some(stranger);
                (stranger, false)
            }
            None => {
                let with_channel = with_channel?;
                self.turns_with_channel = self.turns_with_channel.saturating_add(1);
                self.last_with_channel = Some(with_channel);
                (with_channel, true)
            }
        };
        if let Some(waiting) = self.waiting.get_mut(&peer) {
            waiting.is_drained = false;
        }
        Some((peer, has_channel))
    }

    /// The first one in turn that can take more.
    fn first_after(
        &self,
        last: Option<PublicKey>,
        is_meant: impl Fn(&PublicKey, &Waiting) -> bool,
    ) -> Option<PublicKey> {
        let after_last = match last {
            Some(last) => (Bound::Excluded(last), Bound::Unbounded),
            None => (Bound::Unbounded, Bound::Unbounded),
        };
        let mut in_turn = self.waiting.range(after_last).chain(&self.waiting);
        let found = in_turn.find(|(peer, waiting)| waiting.is_drained && is_meant(peer, waiting));
        found.map(|(peer, _)| *peer)
    }
}

impl PeerQueries {
    fn next_chunk(&mut self, graph: &NetworkGraph) -> Vec<GossipMessage> {
        if let Some(range) = &mut self.range {
            let reply = range.next_reply(range.scids(graph));
            let message = GossipMessage::new(&reply);
            if reply.sync_complete {
                self.range = None;
            }
            return vec![message];
        }
        let Some(ids) = &mut self.ids else {
            return Vec::new();
        };
        let mut messages = ids.next_announcements(graph);
        if let Some(end) = ids.end(graph) {
            messages.push(GossipMessage::new(&end));
            self.ids = None;
        }
        messages
    }
}

impl RangeQuery {
    /// Replies follow each other without a gap and end with the query's last block: lnd and old versions
    /// of Core Lightning insist on it. A block is split only if it has more channels than fit into a
    /// message.
    ///
    /// `scids` are those that are not listed yet, in order.
    fn next_reply(&mut self, mut scids: Vec<u64>) -> ReplyChannelRange {
        let many = fit(&scids);
        let left_out = scids.get(many).copied();
        scids.truncate(many);
        let first_blocknum = self.first_block;
        let end = match (left_out, scids.last()) {
            (Some(left_out), Some(last)) => {
                self.after = Some(*last);
                // It cannot overflow: a block of a short channel id has 24 bits.
                let end = block(*last) + 1;
                self.first_block = end.min(block(left_out));
                end
            }
            _ => self.query.end_blocknum(),
        };
        ReplyChannelRange {
            chain_hash: self.query.chain_hash,
            first_blocknum,
            number_of_blocks: end.saturating_sub(first_blocknum),
            sync_complete: left_out.is_none(),
            short_channel_ids: scids,
        }
    }

    /// The channels of this range that are not listed yet, in order.
    fn scids(&self, graph: &NetworkGraph) -> Vec<u64> {
        if self.query.chain_hash != graph.get_chain_hash() {
            return Vec::new();
        }
        let blocks = self.query.first_blocknum..self.query.end_blocknum();
        let is_asked = |scid: &u64| {
            blocks.contains(&block(*scid)) && self.after.is_none_or(|after| *scid > after)
        };
        let graph = graph.read_only();
        let channels = graph.channels().unordered_iter();
        let mut scids: Vec<u64> = channels
            .filter(|(_, channel)| channel.announcement_message.is_some())
            .map(|(scid, _)| *scid)
            .filter(is_asked)
            .collect();
        scids.sort_unstable();
        scids
    }
}

/// How many of these go into one reply.
fn fit(scids: &[u64]) -> usize {
    let Some(first_left_out) = scids.get(SCIDS_PER_REPLY) else {
        return scids.len();
    };
    let split_block = block(*first_left_out);
    let whole_blocks = scids.partition_point(|scid| block(*scid) < split_block);
    if whole_blocks > 0 {
        return whole_blocks;
    }
    // All of them are in one block.
    let one_block = scids.partition_point(|scid| block(*scid) == split_block);
    one_block.min(MOST_SCIDS_PER_REPLY)
}

impl IdsQuery {
    fn next_announcements(&mut self, graph: &NetworkGraph) -> Vec<GossipMessage> {
        let mut messages = Vec::new();
        if self.query.chain_hash != graph.get_chain_hash() {
            return messages;
        }
        let mut bytes = 0;
        let graph = graph.read_only();
        while let Some(scid) = self.query.short_channel_ids.get(self.next) {
            if bytes >= CHUNK_BYTES {
                break;
            }
            self.next += 1;
            let Some(channel) = graph.channel(*scid) else {
                continue;
            };
            let before = messages.len();
            push_channel(&mut messages, channel);
            if messages.len() > before {
                self.push_nodes(&mut messages, &graph, channel);
            }
            bytes += messages[before..]
                .iter()
                .map(|message| message.bytes.len())
                .sum::<usize>();
        }
        messages
    }

    fn push_nodes(
        &mut self,
        messages: &mut Vec<GossipMessage>,
        graph: &ReadOnlyNetworkGraph<'_>,
        channel: &ChannelInfo,
    ) {
        for id in [&channel.node_one, &channel.node_two] {
            if self.nodes.len() >= MOST_NODES_REMEMBERED {
                self.nodes.clear();
            }
            if !self.nodes.insert(*id) {
                continue;
            }
            let info = graph
                .node(id)
                .and_then(|node| node.announcement_info.as_ref());
            if let Some(NodeAnnouncementInfo::Relayed(announcement)) = info {
                messages.push(GossipMessage::new(announcement));
            }
        }
    }

    /// The end of the answer, if this was all.
    fn end(&self, graph: &NetworkGraph) -> Option<ReplyShortChannelIdsEnd> {
        let chain_hash = self.query.chain_hash;
        let full_information = chain_hash == graph.get_chain_hash();
        let is_all = self.next >= self.query.short_channel_ids.len();
        (is_all || !full_information).then_some(ReplyShortChannelIdsEnd {
            chain_hash,
            full_information,
        })
    }
}

/// The announcement and the latest update of each end. LDK keeps no announcement that it must not pass on.
fn push_channel(messages: &mut Vec<GossipMessage>, channel: &ChannelInfo) {
    let Some(announcement) = &channel.announcement_message else {
        return;
    };
    messages.push(GossipMessage::new(announcement));
    for end in [&channel.one_to_two, &channel.two_to_one] {
        let update = end
            .as_ref()
            .and_then(|end| end.last_update_message.as_ref());
        messages.extend(update.map(GossipMessage::new));
    }
}

/// The block of a channel's funding transaction.
fn block(scid: u64) -> u32 {
    lightning::util::scid_utils::block_from_scid(scid)
}

#[cfg(test)]
mod tests;
