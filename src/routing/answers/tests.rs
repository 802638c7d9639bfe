//! Tests of the answers to gossip queries.

mod turns;

use bitcoin::constants::ChainHash;
use lightning::ln::msgs::{ChannelAnnouncement, ChannelUpdate, NodeAnnouncement};
use lightning::ln::wire::Type;
use lightning::routing::gossip::P2PGossipSync;
use lightning::routing::utxo::UtxoLookup;
use lightning::util::ser::LengthReadable;

use super::super::test_gossip::{
    NETWORK, REGTEST, announcement_between, node_announcement, public, update_between,
};
use super::*;
use crate::logging::ldk::LdkLogger;

const OTHER_CHAIN: ChainHash = ChainHash::BITCOIN;

/// The number of the peer with which the node has a channel.
const CHANNEL_PEER: u8 = 4;

struct Node {
    graph: Arc<NetworkGraph>,
    answers: Answers,
}

fn scid(block: u64, output: u64) -> u64 {
    block << 40 | output
}

impl Node {
    fn new() -> Self {
        let graph = Arc::new(NetworkGraph::new(NETWORK, Arc::new(LdkLogger)));
        let with_channel = public(CHANNEL_PEER);
        let answers = Answers::new(graph.clone(), move |peer| *peer == with_channel);
        Self { graph, answers }
    }

    /// Adds a channel with both updates and both node announcements.
    fn learn(&self, scid: u64, nodes: [u8; 2]) {
        self.learn_bare(scid, nodes);
        for side in [0, 1] {
            let update = update_between(scid, nodes, side, 1);
            self.graph.update_channel(&update).unwrap();
        }
        for node in nodes {
            // Fails for a node that is already announced.
            let _ = self
                .graph
                .update_node_from_announcement(&node_announcement(node));
        }
    }

    fn learn_bare(&self, scid: u64, nodes: [u8; 2]) {
        let message = announcement_between(scid, nodes);
        let unchecked: Option<Arc<dyn UtxoLookup + Send + Sync>> = None;
        self.graph
            .update_channel_from_announcement(&message, &unchecked)
            .unwrap();
    }

    fn ask_ids(&self, peer: PublicKey, chain_hash: ChainHash, scids: &[u64]) {
        let query = QueryShortChannelIds {
            chain_hash,
            short_channel_ids: scids.to_vec(),
        };
        self.answers.ask_ids(peer, query).unwrap();
    }

    fn ask_range(&self, peer: PublicKey, first_blocknum: u32, number_of_blocks: u32) {
        let query = QueryChannelRange {
            chain_hash: REGTEST,
            first_blocknum,
            number_of_blocks,
        };
        self.answers.ask_range(peer, query).unwrap();
    }

    /// Returns everything sent to this peer if it reads without delay.
    fn all(&self, peer: PublicKey) -> Vec<GossipMessage> {
        let mut all = Vec::new();
        loop {
            self.answers.drained(&peer);
            match self.answers.next_chunk() {
                Some((to, messages)) => {
                    assert_eq!(to, peer);
                    all.extend(messages);
                }
                None => return all,
            }
        }
    }

    fn range(&self, first_blocknum: u32, number_of_blocks: u32) -> Vec<ReplyChannelRange> {
        self.ask_range(public(9), first_blocknum, number_of_blocks);
        let replies = self.all(public(9));
        replies.iter().map(decode).collect()
    }
}

fn decode<M: LengthReadable>(message: &GossipMessage) -> M {
    M::read_from_fixed_length_buffer(&mut &message.bytes[..]).unwrap()
}

fn end(chain_hash: ChainHash, full_information: bool) -> GossipMessage {
    GossipMessage::new(&ReplyShortChannelIdsEnd {
        chain_hash,
        full_information,
    })
}

fn kinds(messages: &[GossipMessage]) -> Vec<u16> {
    messages.iter().map(|message| message.kind).collect()
}

const ANNOUNCEMENT: u16 = 256;
const NODE: u16 = 257;
const UPDATE: u16 = 258;
const END: u16 = 262;

#[test]
fn answers_with_announcement_updates_and_nodes_of_a_channel() {
    let node = Node::new();
    let channel = scid(500, 0);
    node.learn(channel, [1, 2]);
    node.ask_ids(public(9), REGTEST, &[channel]);
    let messages = node.all(public(9));
    assert_eq!(
        kinds(&messages),
        [ANNOUNCEMENT, UPDATE, UPDATE, NODE, NODE, END]
    );
    let announced: ChannelAnnouncement = decode(&messages[0]);
    assert_eq!(announced, announcement_between(channel, [1, 2]));
    for side in [0, 1] {
        let update: ChannelUpdate = decode(&messages[1 + usize::from(side)]);
        assert_eq!(update, update_between(channel, [1, 2], side, 1));
    }
    let nodes = [&messages[3], &messages[4]].map(|message| {
        let node: NodeAnnouncement = decode(message);
        node
    });
    for number in [1, 2] {
        assert!(nodes.contains(&node_announcement(number)));
    }
    assert_eq!(messages[5], end(REGTEST, true));
}

#[test]
fn node_announcements_are_sent_once_per_answer() {
    let node = Node::new();
    let channels = [scid(500, 0), scid(500, 1), scid(501, 0)];
    node.learn(channels[0], [1, 2]);
    node.learn(channels[1], [1, 2]);
    node.learn(channels[2], [2, 5]);
    for _ in 0..2 {
        node.ask_ids(public(9), REGTEST, &channels);
        let nodes = kinds(&node.all(public(9))).into_iter();
        assert_eq!(nodes.filter(|kind| *kind == NODE).count(), 3);
    }
}

#[test]
fn unknown_channels_and_missing_updates_are_omitted() {
    let node = Node::new();
    node.learn_bare(scid(500, 0), [1, 2]);
    let asked = [scid(400, 0), scid(500, 0), scid(600, 0)];
    node.ask_ids(public(9), REGTEST, &asked);
    assert_eq!(kinds(&node.all(public(9))), [ANNOUNCEMENT, END]);
    node.ask_ids(public(9), REGTEST, &[]);
    assert_eq!(node.all(public(9)), [end(REGTEST, true)]);
}

#[test]
fn queries_for_another_chain_get_empty_answers() {
    let node = Node::new();
    node.learn(scid(500, 0), [1, 2]);
    node.ask_ids(public(9), OTHER_CHAIN, &[scid(500, 0)]);
    assert_eq!(node.all(public(9)), [end(OTHER_CHAIN, false)]);
    let query = QueryChannelRange {
        chain_hash: OTHER_CHAIN,
        first_blocknum: 5,
        number_of_blocks: 1_000,
    };
    node.answers.ask_range(public(9), query).unwrap();
    let replies: Vec<ReplyChannelRange> = node.all(public(9)).iter().map(decode).collect();
    let [reply] = &replies[..] else {
        panic!("{replies:?}");
    };
    assert!(reply.short_channel_ids.is_empty());
    assert_eq!((reply.first_blocknum, reply.number_of_blocks), (5, 1_000));
    assert!(reply.sync_complete);
}

#[test]
fn long_answers_are_sent_in_chunks_as_the_peer_reads() {
    let node = Node::new();
    let channels: Vec<u64> = (0..200).map(|output| scid(500, output)).collect();
    for channel in &channels {
        node.learn(*channel, [1, 2]);
    }
    node.ask_ids(public(9), REGTEST, &channels);
    assert_eq!(
        node.answers.next_chunk(),
        None,
        "the peer has read nothing yet"
    );
    let mut chunks = 0;
    let mut sent = Vec::new();
    loop {
        node.answers.drained(&public(9));
        let Some((_, messages)) = node.answers.next_chunk() else {
            break;
        };
        assert_eq!(
            node.answers.next_chunk(),
            None,
            "the peer has not read these yet"
        );
        let bytes: usize = messages.iter().map(|message| message.bytes.len()).sum();
        assert!(bytes < CHUNK_BYTES + 3_000, "{bytes}");
        chunks += 1;
        sent.extend(messages);
    }
    assert!(chunks > 3, "{chunks}");
    assert_eq!(sent.len(), 200 * 3 + 2 + 1);
    assert_eq!(sent.last(), Some(&end(REGTEST, true)));
}

#[test]
fn duplicate_ids_are_answered_once_in_ascending_order() {
    let node = Node::new();
    for channel in [scid(500, 0), scid(501, 0)] {
        node.learn_bare(channel, [1, 2]);
    }
    let asked: Vec<u64> = [scid(501, 0), scid(500, 0)].repeat(4_000);
    node.ask_ids(public(9), REGTEST, &asked);
    let messages = node.all(public(9));
    assert_eq!(kinds(&messages), [ANNOUNCEMENT, ANNOUNCEMENT, END]);
    let first: ChannelAnnouncement = decode(&messages[0]);
    assert_eq!(first.contents.short_channel_id, scid(500, 0));
}

#[test]
fn rejects_a_second_query_of_the_same_kind() {
    let node = Node::new();
    node.ask_ids(public(9), REGTEST, &[1]);
    node.ask_range(public(9), 0, 10);
    let ids = QueryShortChannelIds {
        chain_hash: REGTEST,
        short_channel_ids: vec![2],
    };
    let range = QueryChannelRange {
        chain_hash: REGTEST,
        first_blocknum: 0,
        number_of_blocks: 10,
    };
    let refused = node.answers.ask_ids(public(9), ids.clone()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "only one query_short_channel_ids at a time: the previous one is still being answered"
    );
    assert!(node.answers.ask_range(public(9), range).is_err());
    assert!(node.answers.ask_ids(public(8), ids.clone()).is_ok());
    node.answers.forget(&public(8));
    assert_eq!(node.all(public(9)).len(), 2);
    assert!(node.answers.ask_ids(public(9), ids).is_ok());
}

#[test]
fn nothing_is_sent_to_a_disconnected_peer() {
    let node = Node::new();
    node.ask_ids(public(9), REGTEST, &[1]);
    node.answers.forget(&public(9));
    node.answers.drained(&public(9));
    assert_eq!(node.answers.next_chunk(), None);
}

#[test]
fn range_reply_lists_the_channels_in_range() {
    let node = Node::new();
    let channels = [scid(499, 9), scid(500, 0), scid(500, 1), scid(509, 3)];
    for channel in channels.into_iter().chain([scid(510, 0)]) {
        node.learn_bare(channel, [1, 2]);
    }
    let replies = node.range(500, 10);
    let [reply] = &replies[..] else {
        panic!("{replies:?}");
    };
    assert_eq!(reply.short_channel_ids, channels[1..]);
    assert_eq!((reply.first_blocknum, reply.number_of_blocks), (500, 10));
    assert!(reply.sync_complete);
    let all = node.range(0, u32::MAX);
    assert_eq!(all[0].short_channel_ids.len(), 5);
    assert_eq!(all[0].number_of_blocks, u32::MAX);
    let none = node.range(7, 0);
    assert!(none[0].short_channel_ids.is_empty());
    assert_eq!(none[0].number_of_blocks, 0);
}

/// Returns the short channel ids of consecutive blocks with these numbers of channels.
fn blocks(counts: &[usize]) -> Vec<u64> {
    let blocks = (500..).zip(counts);
    blocks
        .flat_map(|(block, count)| (0..*count as u64).map(move |output| scid(block, output)))
        .collect()
}

#[test]
fn replies_end_at_block_boundaries_unless_a_block_is_too_large() {
    let half = SCIDS_PER_REPLY / 2;
    for (counts, fitting) in [
        (&[half, half][..], 2 * half),
        (&[half, half, 1], 2 * half),
        (&[half, half + 1], half),
        (&[half + half + 1], half + half + 1),
        (&[MAX_SCIDS_PER_REPLY, 1], MAX_SCIDS_PER_REPLY),
        (&[MAX_SCIDS_PER_REPLY + 1], MAX_SCIDS_PER_REPLY),
        (&[], 0),
    ] {
        assert_eq!(fit(&blocks(counts)), fitting, "{counts:?}");
    }
}

#[test]
fn replies_cover_the_range_without_gaps() {
    let listed = blocks(&[3_000, 2_000, 8_001, 1]);
    let query = QueryChannelRange {
        chain_hash: REGTEST,
        first_blocknum: 100,
        number_of_blocks: 1_000,
    };
    let mut range = RangeQuery {
        first_block: query.first_blocknum,
        query,
        after: None,
    };
    let mut replies: Vec<ReplyChannelRange> = Vec::new();
    while replies.last().is_none_or(|reply| !reply.sync_complete) {
        let done = replies.iter().map(|reply| reply.short_channel_ids.len());
        replies.push(range.next_reply(listed[done.sum()..].to_vec()));
    }
    let ranges: Vec<_> = replies
        .iter()
        .map(|reply| (reply.first_blocknum, reply.number_of_blocks))
        .collect();
    // A block split across two replies is in the range of both.
    assert_eq!(ranges, [(100, 401), (501, 1), (502, 1), (502, 598)]);
    let complete: Vec<_> = replies.iter().map(|reply| reply.sync_complete).collect();
    assert_eq!(complete, [false, false, false, true]);
    let all: Vec<u64> = replies
        .iter()
        .flat_map(|reply| reply.short_channel_ids.clone())
        .collect();
    assert_eq!(all, listed);
    for reply in &replies {
        assert!(GossipMessage::new(reply).bytes.len() <= 65_533);
        let range = reply.first_blocknum..reply.first_blocknum + reply.number_of_blocks;
        let scids = &reply.short_channel_ids;
        assert!(scids.iter().all(|scid| range.contains(&block(*scid))));
    }
}

#[test]
fn ldks_gossip_handler_accepts_a_complete_answer() {
    let (node, other) = (Node::new(), Node::new());
    let channels: Vec<u64> = (0..40).map(|output| scid(500, output)).collect();
    for channel in &channels {
        node.learn(*channel, [1, 2]);
    }
    let lookup: Option<Arc<dyn UtxoLookup + Send + Sync>> = None;
    let gossip = P2PGossipSync::new(other.graph.clone(), lookup, Arc::new(LdkLogger));
    node.ask_ids(public(9), REGTEST, &channels);
    let sent = node.all(public(9));
    for message in &sent {
        handle(&gossip, message);
    }
    other.ask_ids(public(8), REGTEST, &channels);
    assert_eq!(other.all(public(8)), sent);
}

fn handle(gossip: &impl lightning::ln::msgs::RoutingMessageHandler, message: &GossipMessage) {
    match message.kind {
        ANNOUNCEMENT => gossip
            .handle_channel_announcement(None, &decode(message))
            .map(drop),
        UPDATE => gossip
            .handle_channel_update(None, &decode(message))
            .map(drop),
        NODE => gossip
            .handle_node_announcement(None, &decode(message))
            .map(drop),
        _ => Ok(()),
    }
    .unwrap();
}

#[test]
fn messages_have_bolt_7_types() {
    let end = ReplyShortChannelIdsEnd {
        chain_hash: REGTEST,
        full_information: true,
    };
    assert_eq!((end.type_id(), GossipMessage::new(&end).kind), (END, END));
}
