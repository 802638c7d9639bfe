//! Answers peers' gossip queries (BOLT 7).
//!
//! LDK advertises gossip_queries but ignores query_short_channel_ids, and it answers every
//! query_channel_range at once with all it knows. Here answers are read from the graph in chunks. A peer
//! gets its next chunk once LDK has written out everything queued for it and the peer has answered LDK's
//! pings ([`Answers::drained`]). Peers take turns, and the node sends answers at a limited total rate, so
//! the amount buffered for a peer does not depend on how much it asks for. Peers with channels get three of
//! four turns; a peer without a channel gets the graph once, then a low rate.
//!
//! One query of each kind is answered per peer at a time: BOLT 7 forbids sending another before the answer
//! is complete. query_flags and query_option need gossip_queries_ex, which LDK does not advertise.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};
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
use crate::sync::lock;

/// The size in bytes at which a chunk of announcements ends. A peer confirms each chunk with a pong, so this
/// is the amount in flight on a slow connection; it fits into socket buffers.
const CHUNK_BYTES: usize = 32 * 1_024;
/// The number of short channel ids per reply_channel_range, unless a single block has more.
const SCIDS_PER_REPLY: usize = 4_000;
/// The maximum that fits into one message (BOLT 7: 8 bytes each).
const MAX_SCIDS_PER_REPLY: usize = 8_000;
/// The number of node announcements sent that a query remembers. BOLT 7 asks for no duplicates; beyond this
/// number there may be some.
const MAX_NODES_REMEMBERED: usize = 2_000;
/// The rate for a peer without a channel, in units of 1,000 bytes, rounded up: the public graph (about
/// 35 MB) once, then 50 kB per second.
const RATE_WITHOUT_CHANNEL: Rate = Rate {
    burst: 40_000,
    interval: Duration::from_millis(20),
};
const UNIT: usize = 1_000;
/// The number of peers whose rate is tracked at a time. All answers together have a limit of their own.
const MAX_RATED_PEERS: usize = 1_000;
/// The number of turns of peers with channels before a peer without one gets a turn.
const MAX_TURNS_WITH_CHANNEL: u32 = 3;

/// Returns whether we have a channel with this peer.
pub type HasChannel = dyn Fn(&PublicKey) -> bool + Send + Sync;

/// The unanswered queries of all peers.
pub struct Answers {
    graph: Arc<NetworkGraph>,
    has_channel: Box<HasChannel>,
    without_channel: Rates<PublicKey>,
    queries: Mutex<BTreeMap<PublicKey, PeerQueries>>,
    /// Behind a separate lock that is only held briefly, since [`Answers::drained`] is called very often.
    turns: Mutex<Turns>,
    work: Notify,
}

#[derive(Default)]
struct PeerQueries {
    range: Option<RangeQuery>,
    ids: Option<IdsQuery>,
}

/// The peers waiting for answers, and which had the last turns.
#[derive(Default)]
struct Turns {
    waiting: BTreeMap<PublicKey, Waiting>,
    last_with_channel: Option<PublicKey>,
    last_without_channel: Option<PublicKey>,
    /// The number of consecutive turns of peers with channels.
    turns_with_channel: u32,
}

#[derive(Clone, Copy)]
struct Waiting {
    has_channel: bool,
    is_drained: bool,
}

/// A query_channel_range and the progress of its answer.
struct RangeQuery {
    query: QueryChannelRange,
    /// The first block of the next reply.
    first_block: u32,
    /// The last short channel id listed so far.
    after: Option<u64>,
}

/// A query_short_channel_ids and the progress of its answer.
struct IdsQuery {
    query: QueryShortChannelIds,
    next: usize,
    nodes: HashSet<NodeId>,
}

/// The error for a query sent before the previous one of its kind is answered, which BOLT 7 forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("only one {0} at a time: the previous one is still being answered")]
pub struct AskedTooEarly(&'static str);

impl Answers {
    /// Creates an empty queue that answers from `graph`.
    pub fn new(
        graph: Arc<NetworkGraph>,
        has_channel: impl Fn(&PublicKey) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            graph,
            has_channel: Box::new(has_channel),
            without_channel: Rates::new(RATE_WITHOUT_CHANNEL, MAX_RATED_PEERS),
            queries: Mutex::default(),
            turns: Mutex::default(),
            work: Notify::new(),
        }
    }

    /// Queues a query_channel_range.
    ///
    /// # Errors
    /// [`AskedTooEarly`] if the peer's previous one is not answered yet.
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

    /// Queues a query_short_channel_ids.
    ///
    /// # Errors
    /// [`AskedTooEarly`] if the peer's previous one is not answered yet.
    pub fn ask_ids(
        &self,
        peer: PublicKey,
        mut query: QueryShortChannelIds,
    ) -> Result<(), AskedTooEarly> {
        // BOLT 7 requires ascending order; duplicates would be sent twice.
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

    /// Marks the peer as ready for more: everything queued for it is written, and it answers LDK's pings.
    pub fn drained(&self, peer: &PublicKey) {
        if let Some(waiting) = self.turns().waiting.get_mut(peer) {
            waiting.is_drained = true;
            self.work.notify_one();
        }
    }

    /// Drops the queries of a disconnected peer.
    pub fn forget(&self, peer: &PublicKey) {
        self.queries().remove(peer);
        self.turns().waiting.remove(peer);
    }

    /// Waits until [`Answers::next_chunk`] may return something. For peers held back by their rate, chunks
    /// also become due over time, without this returning.
    pub async fn work(&self) {
        self.work.notified().await;
    }

    /// Returns the next chunk of an answer, for the next peer in turn that is ready for it.
    pub fn next_chunk(&self) -> Option<(PublicKey, Vec<GossipMessage>)> {
        loop {
            let (peer, has_channel) = self
                .turns()
                .next(|peer| self.without_channel.has_one(peer))?;
            let mut queries = self.queries();
            // The peer may have disconnected since the previous line.
            let Some(asked) = queries.get_mut(&peer) else {
                continue;
            };
            let messages = asked.next_chunk(&self.graph);
            if asked.range.is_none() && asked.ids.is_none() {
                queries.remove(&peer);
                self.turns().waiting.remove(&peer);
            }
            if !has_channel {
                self.without_channel.charge(peer, units(&messages));
            }
            return Some((peer, messages));
        }
    }

    fn queries(&self) -> MutexGuard<'_, BTreeMap<PublicKey, PeerQueries>> {
        lock(&self.queries)
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        lock(&self.turns)
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

    /// Gives the turn to the next ready peer. Returns it and whether we have a channel with it.
    fn next(&mut self, may_get_more: impl Fn(&PublicKey) -> bool) -> Option<(PublicKey, bool)> {
        let with_channel =
            self.first_after(self.last_with_channel, |_, waiting| waiting.has_channel);
        let prefers_other =
            with_channel.is_none() || self.turns_with_channel >= MAX_TURNS_WITH_CHANNEL;
        let without_channel = prefers_other.then(|| {
            self.first_after(self.last_without_channel, |peer, waiting| {
                !waiting.has_channel && may_get_more(peer)
            })
        });
        let (peer, has_channel) = match without_channel.flatten() {
            Some(peer) => {
                self.turns_with_channel = 0;
                self.last_without_channel = Some(peer);
                (peer, false)
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

    /// Returns the first ready peer after `last` that satisfies `is_meant`, in cyclic order.
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
    /// Returns the next reply. `scids` are the channels not listed yet, in ascending order.
    ///
    /// Replies cover the range without gaps and end with the query's last block, as lnd and old versions of
    /// Core Lightning require. A block is split only if its channels do not fit into one message.
    fn next_reply(&mut self, mut scids: Vec<u64>) -> ReplyChannelRange {
        let count = fit(&scids);
        let left_out = scids.get(count).copied();
        scids.truncate(count);
        let first_blocknum = self.first_block;
        let end = match (left_out, scids.last()) {
            (Some(left_out), Some(last)) => {
                self.after = Some(*last);
                // Cannot overflow: the block height in a short channel id has 24 bits.
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

    /// Returns the channels of this range not listed yet, in ascending order.
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

/// Returns how many of these go into one reply.
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
    one_block.min(MAX_SCIDS_PER_REPLY)
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
            if self.nodes.len() >= MAX_NODES_REMEMBERED {
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

    /// Returns the final message if the answer is complete.
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

/// Appends the announcement and the latest update of each direction. LDK keeps only announcements that it
/// may relay.
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

/// Returns the block height of a channel's funding transaction.
fn block(scid: u64) -> u32 {
    lightning::util::scid_utils::block_from_scid(scid)
}

#[cfg(test)]
mod tests;
