//! Channel updates that arrive before their announcement.

use bitcoin::constants::ChainHash;
use bitcoin::{Amount, Network, TxOut};
use lightning::ln::chan_utils::make_funding_redeemscript;
use lightning::routing::gossip::P2PGossipSync;
use lightning::routing::utxo::{UtxoFuture, UtxoLookup, UtxoResult};

use super::super::test_gossip::{
    announcement_between, node_id, public, sign, start, update_between,
};
use super::super::waiting_updates::{MAX_DIRECTIONS, direction};
use super::*;
use crate::logging::ldk::LdkLogger;

const SCID: u64 = 500 << 40;

/// A chain check that completes when the test says so.
#[derive(Default)]
struct SlowChain {
    checks: Mutex<Vec<UtxoFuture>>,
}

impl UtxoLookup for SlowChain {
    fn get_utxo(&self, _chain_hash: &ChainHash, _short_channel_id: u64) -> UtxoResult {
        let check = UtxoFuture::new();
        lock(&self.checks).push(check.clone());
        UtxoResult::Async(check)
    }
}

type Inner = P2PGossipSync<Arc<NetworkGraph>, Arc<SlowChain>, Arc<LdkLogger>>;

struct Node {
    chain: Arc<SlowChain>,
    graph: Arc<NetworkGraph>,
    inner: Arc<Inner>,
    gossip: GossipHandler<Inner>,
}

impl Node {
    /// `checks` sets whether announcements are checked against the chain.
    fn new(checks: bool) -> Self {
        let logger = Arc::new(LdkLogger);
        let chain = Arc::new(SlowChain::default());
        let graph = Arc::new(NetworkGraph::new(Network::Regtest, logger.clone()));
        let lookup = checks.then(|| chain.clone());
        let inner = Arc::new(P2PGossipSync::new(graph.clone(), lookup, logger));
        let answers = Arc::new(Answers::new(graph.clone(), |_| false));
        let asker = Arc::new(Asker::new(graph.clone(), || u32::MAX));
        let gossip = GossipHandler::new(inner.clone(), graph.clone(), node_id(1), answers, asker);
        Self {
            chain,
            graph,
            inner,
            gossip,
        }
    }

    fn announce(&self) {
        let message = announcement();
        let _ = self.gossip.handle_channel_announcement(None, &message);
    }

    fn update(&self, side: u8, timestamp_offset: u32) {
        let message = update(side, timestamp_offset);
        let _ = self.gossip.handle_channel_update(None, &message);
    }

    /// Completes the check: the chain has the funding output.
    fn confirm(&self) {
        let output = TxOut {
            value: Amount::from_sat(1_000_000),
            script_pubkey: make_funding_redeemscript(&public(3), &public(4)).to_p2wsh(),
        };
        let check = lock(&self.chain.checks).pop().unwrap();
        check.resolve(&self.graph, &*self.inner, Ok(output));
    }

    /// Returns the timestamp offset of each direction that the graph knows.
    fn known(&self) -> [Option<u32>; 2] {
        let graph = self.graph.read_only();
        let channel = graph.channel(SCID).expect("the channel is announced");
        [&channel.one_to_two, &channel.two_to_one]
            .map(|side| side.as_ref().map(|update| update.last_update - start()))
    }

    /// Returns what is relayed to peers: `None` for the announcement, the side for each update.
    fn relayed(&self) -> Vec<Option<u8>> {
        let events = self.gossip.get_and_clear_pending_msg_events();
        let kinds = events.iter().filter_map(|event| match event {
            MessageSendEvent::BroadcastChannelAnnouncement { .. } => Some(None),
            MessageSendEvent::BroadcastChannelUpdate { msg } => Some(Some(direction(msg).1)),
            _ => None,
        });
        kinds.collect()
    }
}

fn announcement() -> ChannelAnnouncement {
    announcement_between(SCID, [1, 2])
}

fn update(side: u8, timestamp_offset: u32) -> ChannelUpdate {
    update_between(SCID, [1, 2], side, timestamp_offset)
}

/// Returns our updates sent to this node after it announces the channel between nodes 1 (us) and 2.
fn answers_to(node: &Node, peer: u8) -> Vec<ChannelUpdate> {
    answers_to_announcement(node, peer, &announcement())
}

fn answers_to_announcement(
    node: &Node,
    peer: u8,
    announced: &ChannelAnnouncement,
) -> Vec<ChannelUpdate> {
    let _ = node
        .gossip
        .handle_channel_announcement(Some(public(peer)), announced);
    let events = node.gossip.get_and_clear_pending_msg_events();
    let updates = events.into_iter().filter_map(|event| match event {
        MessageSendEvent::SendChannelUpdate { node_id, msg } => {
            assert_eq!(node_id, public(peer));
            Some(msg)
        }
        _ => None,
    });
    updates.collect()
}

#[test]
fn peer_that_announces_our_channel_gets_our_update() {
    let node = Node::new(false);
    let own_side = u8::from(node_id(1) > node_id(2));
    assert_eq!(answers_to(&node, 2), [], "no update known yet");
    node.update(1 - own_side, 1);
    assert_eq!(answers_to(&node, 2), [], "the peer's own is not returned");
    node.update(own_side, 1);
    assert_eq!(answers_to(&node, 2), [update(own_side, 1)]);
    assert_eq!(answers_to(&node, 5), [], "no channel with this peer");
    let forged = announcement_between(SCID, [1, 5]);
    assert_eq!(answers_to_announcement(&node, 5, &forged), []);
}

#[test]
fn early_update_is_applied_once_the_announcement_passes_its_check() {
    let node = Node::new(true);
    node.update(0, 1);
    node.announce();
    node.update(1, 1);
    node.confirm();
    assert_eq!(node.known(), [None, Some(1)], "LDK holds later ones itself");
    assert_eq!(node.relayed(), [None, Some(1), Some(0)]);
    assert_eq!(node.known(), [Some(1), Some(1)]);
    assert_eq!(node.relayed(), [], "relayed only once");
}

#[test]
fn early_update_is_applied_with_an_unchecked_announcement() {
    let node = Node::new(false);
    node.update(0, 1);
    node.announce();
    assert_eq!(node.known(), [Some(1), None]);
    assert_eq!(node.relayed(), [Some(0)]);
}

#[test]
fn latest_early_update_of_each_direction_is_kept() {
    let node = Node::new(false);
    for (side, offset) in [(0, 1), (1, 5), (0, 2)] {
        node.update(side, offset);
    }
    assert_eq!(lock(&node.gossip.waiting).len(), 2);
    node.announce();
    assert_eq!(node.known(), [Some(2), Some(5)]);
}

#[test]
fn updates_of_known_channels_are_not_kept() {
    let node = Node::new(false);
    node.announce();
    node.update(0, 5);
    node.update(0, 1);
    assert_eq!(node.known(), [Some(5), None]);
    assert_eq!(lock(&node.gossip.waiting).len(), 0);
}

#[test]
fn forged_early_update_does_not_replace_a_valid_one() {
    let node = Node::new(false);
    let valid = update(0, 1);
    let mut forged = update(0, 2);
    forged.signature = sign(&forged.contents, 5);
    for (peer, message) in [(6, &valid), (7, &forged)] {
        let _ = node
            .gossip
            .handle_channel_update(Some(public(peer)), message);
    }
    node.announce();
    assert_eq!(node.known(), [Some(1), None]);
    assert_eq!(node.relayed(), [Some(0)]);
}

#[test]
fn rejected_announcements_do_not_count_as_received() {
    let node = Node::new(true);
    let from_peer = |message: &ChannelAnnouncement| {
        let gossip = &node.gossip;
        is_taken(&gossip.handle_channel_announcement(Some(public(9)), message))
    };
    let mut forged = announcement();
    forged.node_signature_1 = forged.node_signature_2;
    assert!(!from_peer(&forged), "invalid signature");
    let mut elsewhere = announcement();
    elsewhere.contents.chain_hash = ChainHash::BITCOIN;
    assert!(!from_peer(&elsewhere), "another chain");
    assert!(from_peer(&announcement()), "being checked");
    assert!(from_peer(&announcement()), "still being checked");
    node.confirm();
    assert!(from_peer(&announcement()), "known");
}

/// Two peers list a channel. The first sends an invalid announcement, so the second is queried.
#[test]
fn invalid_announcement_makes_another_peer_be_queried() {
    let node = Node::new(false);
    let asker = &node.gossip.asker;
    for peer in [6, 7] {
        asker.connected(public(peer));
    }
    let list = |peer| {
        let reply = ReplyChannelRange {
            chain_hash: ChainHash::REGTEST,
            first_blocknum: 0,
            number_of_blocks: u32::MAX,
            sync_complete: true,
            short_channel_ids: vec![SCID],
        };
        asker.range_reply(public(peer), &reply);
    };
    asker.start_now();
    list(6);
    list(7);
    assert!(asker.has_asked(&public(6), SCID) && !asker.has_asked(&public(7), SCID));
    let mut forged = announcement();
    forged.node_signature_1 = forged.node_signature_2;
    let _ = node
        .gossip
        .handle_channel_announcement(Some(public(6)), &forged);
    asker.ids_end(public(6));
    asker.queries();
    assert!(asker.has_asked(&public(7), SCID));
}

#[test]
fn forged_early_update_is_rejected_when_released() {
    let node = Node::new(false);
    let mut forged = update(0, 1);
    forged.signature = sign(&forged.contents, 5);
    let _ = node.gossip.handle_channel_update(None, &forged);
    node.announce();
    assert_eq!(node.known(), [None, None]);
    assert_eq!(node.relayed(), []);
}

#[test]
fn oversized_early_updates_are_not_kept() {
    let node = Node::new(false);
    for (side, bytes, waiting) in [(0, MAX_EXCESS_BYTES + 1, 0), (1, MAX_EXCESS_BYTES, 1)] {
        let mut bloated = update(side, 1);
        bloated.contents.excess_data = vec![0; bytes];
        let _ = node.gossip.handle_channel_update(None, &bloated);
        assert_eq!(lock(&node.gossip.waiting).len(), waiting);
    }
}

#[test]
fn early_updates_are_limited() {
    let node = Node::new(false);
    for number in 0..=MAX_DIRECTIONS as u64 {
        let mut unknown = update(0, 1);
        unknown.contents.short_channel_id = SCID + 1 + number;
        let _ = node.gossip.handle_channel_update(None, &unknown);
    }
    let mut waiting = lock(&node.gossip.waiting);
    assert_eq!(waiting.len(), MAX_DIRECTIONS);
    assert_eq!(waiting.take(SCID + 1), [], "oldest dropped");
}
