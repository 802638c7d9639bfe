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
use crate::logger::LdkLogger;

const OTHER_CHAIN: ChainHash = ChainHash::BITCOIN;

/// The number of the peer with whom the node has a channel.
const FRIEND: u8 = 4;

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
        let with_channel = public(FRIEND);
        let answers = Answers::new(graph.clone(), move |peer| *peer == with_channel);
        Self { graph, answers }
    }

    /// With both updates and both nodes announced.
    fn learn(&self, scid: u64, nodes: [u8; 2]) {
        self.learn_bare(scid, nodes);
        for side in [0, 1] {
            let update = update_between(scid, nodes, side, 1);
            self.graph.update_channel(&update).unwrap();
        }
        for node in nodes {
            // A second one is a duplicate.
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

    /// All that this peer is sent if it takes everything at once.
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
fn a_known_channel_is_answered_with_all_that_belongs_to_it() {
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
fn each_node_is_announced_once_in_an_answer() {
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
fn unknown_channels_are_left_out_and_missing_updates_too() {
    let node = Node::new();
    node.learn_bare(scid(500, 0), [1, 2]);
    let asked = [scid(400, 0), scid(500, 0), scid(600, 0)];
    node.ask_ids(public(9), REGTEST, &asked);
    assert_eq!(kinds(&node.all(public(9))), [ANNOUNCEMENT, END]);
    node.ask_ids(public(9), REGTEST, &[]);
    assert_eq!(node.all(public(9)), [end(REGTEST, true)]);
}

#[test]
fn of_another_chain_nothing_is_known() {
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
fn a_long_answer_comes_in_parts_as_the_peer_takes_them() {
    let node = Node::new();
    let channels: Vec<u64> = (0..200).map(|output| scid(500, output)).collect();
    for channel in &channels {
        node.learn(*channel, [1, 2]);
    }
    node.ask_ids(public(9), REGTEST, &channels);
    assert_eq!(node.answers.next_chunk(), None, "it has taken nothing yet");
    let mut parts = 0;
    let mut sent = Vec::new();
    loop {
        node.answers.drained(&public(9));
        let Some((_, messages)) = node.answers.next_chunk() else {
            break;
        };
        assert_eq!(node.answers.next_chunk(), None, "until it has taken these");
        let bytes: usize = messages.iter().map(|message| message.bytes.len()).sum();
        assert!(bytes < CHUNK_BYTES + 3_000, "{bytes}");
        parts += 1;
        sent.extend(messages);
    }
    assert!(parts > 3, "{parts}");
    assert_eq!(sent.len(), 200 * 3 + 2 + 1);
    assert_eq!(sent.last(), Some(&end(REGTEST, true)));
}

#[test]
fn peers_take_turns() {
    let node = Node::new();
    let channels: Vec<u64> = (0..100).map(|output| scid(500, output)).collect();
    for channel in &channels {
        node.learn(*channel, [1, 2]);
    }
    let peers = [public(7), public(8), public(9)];
    for peer in peers {
        node.ask_ids(peer, REGTEST, &channels);
    }
    let mut turns = Vec::new();
    for _ in 0..2 {
        for peer in &peers {
            node.answers.drained(peer);
        }
        for _ in &peers {
            turns.push(node.answers.next_chunk().unwrap().0);
        }
    }
    let mut in_order = peers.to_vec();
    in_order.sort_unstable();
    assert_eq!(turns, [&in_order[..], &in_order[..]].concat());
}

#[test]
fn peers_with_channels_have_three_turns_of_four() {
    let node = Node::new();
    let channels: Vec<u64> = (0..500).map(|output| scid(500, output)).collect();
    for channel in &channels {
        node.learn(*channel, [1, 2]);
    }
    let strangers = [public(8), public(9)];
    for peer in strangers.into_iter().chain([public(FRIEND)]) {
        node.ask_ids(peer, REGTEST, &channels);
    }
    let mut turns = Vec::new();
    for _ in 0..8 {
        for peer in strangers.iter().chain([&public(FRIEND)]) {
            node.answers.drained(peer);
        }
        turns.push(node.answers.next_chunk().unwrap().0);
    }
    let with_channel = public(FRIEND);
    assert_eq!(turns[..3], [with_channel; 3]);
    assert_eq!(turns[4..7], [with_channel; 3]);
    assert!(strangers.contains(&turns[3]) && strangers.contains(&turns[7]));
    assert_ne!(turns[3], turns[7], "strangers take turns");
}

#[test]
fn a_stranger_that_has_had_much_waits_and_others_do_not() {
    let node = Node::new();
    node.learn(scid(500, 0), [1, 2]);
    let (greedy, other) = (public(8), public(9));
    node.answers.strangers.charge(greedy, OF_STRANGER.burst);
    for peer in [greedy, other, public(FRIEND)] {
        node.ask_ids(peer, REGTEST, &[scid(500, 0)]);
        node.answers.drained(&peer);
    }
    let mut answered = Vec::new();
    while let Some((peer, _)) = node.answers.next_chunk() {
        answered.push(peer);
    }
    assert_eq!(answered, [public(FRIEND), other]);
    assert!(!node.answers.strangers.has_one(&greedy));
}

#[test]
fn what_strangers_get_is_charged_to_them() {
    let node = Node::new();
    let channels: Vec<u64> = (0..1_000).map(|output| scid(500, output)).collect();
    for channel in &channels {
        node.learn_bare(*channel, [1, 2]);
    }
    // An announcement has 430 bytes and more.
    let left = 150;
    let stranger = public(9);
    node.answers
        .strangers
        .charge(stranger, OF_STRANGER.burst - left);
    node.ask_ids(stranger, REGTEST, &channels);
    let (mut bytes, start) = (0, std::time::Instant::now());
    loop {
        node.answers.drained(&stranger);
        let Some((_, messages)) = node.answers.next_chunk() else {
            break;
        };
        bytes += messages.iter().map(|one| one.bytes.len()).sum::<usize>();
    }
    let allowed = usize::try_from(left).unwrap() * UNIT;
    let seconds = usize::try_from(start.elapsed().as_secs()).unwrap() + 1;
    let due_meanwhile = 50_000 * seconds;
    assert!(
        (allowed..allowed + CHUNK_BYTES + due_meanwhile).contains(&bytes),
        "{bytes}"
    );
}

#[test]
fn channels_that_are_asked_for_twice_are_sent_once_and_in_order() {
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
fn one_query_of_each_kind_at_a_time() {
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
        "one query_short_channel_ids at a time: the previous one is not answered yet"
    );
    assert!(node.answers.ask_range(public(9), range).is_err());
    assert!(node.answers.ask_ids(public(8), ids.clone()).is_ok());
    node.answers.forget(&public(8));
    assert_eq!(node.all(public(9)).len(), 2);
    assert!(node.answers.ask_ids(public(9), ids).is_ok());
}

#[test]
fn nothing_is_sent_to_a_peer_that_is_gone() {
    let node = Node::new();
    node.ask_ids(public(9), REGTEST, &[1]);
    node.answers.forget(&public(9));
    node.answers.drained(&public(9));
    assert_eq!(node.answers.next_chunk(), None);
}

#[test]
fn a_range_lists_the_channels_in_it() {
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

/// Blocks with so many channels each, of which each is its own in the list.
fn blocks(counts: &[usize]) -> Vec<u64> {
    let blocks = (500..).zip(counts);
    blocks
        .flat_map(|(block, count)| (0..*count as u64).map(move |output| scid(block, output)))
        .collect()
}

#[test]
fn a_reply_ends_with_a_block_unless_one_block_is_too_much() {
    let half = SCIDS_PER_REPLY / 2;
    for (counts, fitting) in [
        (&[half, half][..], 2 * half),
        (&[half, half, 1], 2 * half),
        (&[half, half + 1], half),
        (&[half + half + 1], half + half + 1),
        (&[MOST_SCIDS_PER_REPLY, 1], MOST_SCIDS_PER_REPLY),
        (&[MOST_SCIDS_PER_REPLY + 1], MOST_SCIDS_PER_REPLY),
        (&[], 0),
    ] {
        assert_eq!(fit(&blocks(counts)), fitting, "{counts:?}");
    }
}

#[test]
fn replies_follow_each_other_without_a_gap() {
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
    // The block that is split over two replies is in the range of both.
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

/// LDK's own gossip handler takes what is answered.
#[test]
fn what_is_answered_is_all_that_another_node_needs() {
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
        take(&gossip, message);
    }
    other.ask_ids(public(8), REGTEST, &channels);
    assert_eq!(other.all(public(8)), sent);
}

fn take(gossip: &impl lightning::ln::msgs::RoutingMessageHandler, message: &GossipMessage) {
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
fn messages_have_the_types_of_bolt_7() {
    let end = ReplyShortChannelIdsEnd {
        chain_hash: REGTEST,
        full_information: true,
    };
    assert_eq!((end.type_id(), GossipMessage::new(&end).kind), (END, END));
}
