//! Tests of gossip that is checked against a bitcoind.

mod unconfirmed;

use std::sync::atomic::{AtomicU32, Ordering};

use bitcoin::constants::ChainHash;
use bitcoin::hashes::{Hash, sha256d};
use bitcoin::secp256k1::{Message, Secp256k1, SecretKey, ecdsa};
use bitcoin::{Network, Txid};
use lightning::ln::chan_utils::make_funding_redeemscript;
use lightning::ln::msgs::{
    UnsignedChannelAnnouncement, UnsignedChannelUpdate, UnsignedNodeAnnouncement,
};
use lightning::routing::gossip::{NodeAlias, P2PGossipSync};
use lightning::types::features::ChannelFeatures;
use lightning::util::ser::Writeable;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use super::*;
use crate::chain::FundingOutputs;
use crate::chain::test_server::{Reply, TestServer};
use crate::logging::ldk::LdkLogger;
use crate::routing::channel_check::Sources;

const HEIGHT: u64 = 500;
/// The short channel id of the node's own channel.
const OWN: u64 = HEIGHT << 40 | 5;
const LIMIT: Duration = Duration::from_secs(30);

/// A node whose chain has blocks of two transactions and the given outputs.
struct Node {
    chain: TestServer,
    graph: Arc<NetworkGraph>,
    gossip: CheckedGossip,
    /// The number of blocks since the node's start.
    blocks: Arc<AtomicU32>,
}

impl Node {
    fn new(output: Value) -> Self {
        Self::with_outputs(move |_| output.clone())
    }

    /// Creates a node whose `gettxout` result depends on the number of blocks since its start.
    fn with_outputs(output: impl Fn(u32) -> Value + Send + Sync + 'static) -> Self {
        let id = |number| json!(Txid::from_byte_array([number; 32]));
        let blocks = Arc::new(AtomicU32::new(0));
        let (seen, height) = (blocks.clone(), blocks.clone());
        let chain = TestServer::by_method(move |method| match method {
            "getblockhash" => Reply::result(id(9)),
            "getblock" => Reply::result(json!({ "tx": [id(1), id(2)] })),
            _ => Reply::result(output(seen.load(Ordering::SeqCst))),
        });
        let logger = Arc::new(LdkLogger);
        let graph = Arc::new(NetworkGraph::new(Network::Regtest, logger.clone()));
        let inner: Arc<GossipSync> = Arc::new(P2PGossipSync::new(graph.clone(), None, logger));
        let gossip = CheckedGossip::new(inner.clone(), graph.clone());
        gossip.check_with(ChannelCheck::new(Sources {
            outputs: FundingOutputs::new(Arc::new(chain.bitcoind())),
            graph: graph.clone(),
            gossip: inner,
            finish_lookup: Box::new(|_| {}),
            has_channel: Box::new(|peer| *peer == public(8)),
            own_id: node_id(1),
            own_capacity: Box::new(|scid| (scid == OWN).then_some(123_456)),
            has_asked: Box::new(|peer, _| *peer == public(6)),
            height: Box::new(move || {
                u32::try_from(HEIGHT).unwrap() + 100 + height.load(Ordering::SeqCst)
            }),
            runtime: Handle::current(),
        }));
        Self {
            chain,
            graph,
            gossip,
            blocks,
        }
    }

    /// Creates a node whose chain has the funding output of [`announcement`].
    fn with_channel() -> Self {
        Self::new(output(6))
    }

    fn next_block(&self) {
        self.blocks.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns the number of output look-ups so far.
    fn lookups(&self) -> usize {
        let methods = self.chain.methods().into_iter();
        methods.filter(|method| method == "gettxout").count()
    }

    fn check(&self) -> &ChannelCheck {
        self.gossip.check.get().unwrap()
    }

    fn announce(&self, peer: &PublicKey, message: &ChannelAnnouncement) -> Option<ErrorAction> {
        let taken = self
            .gossip
            .handle_channel_announcement(Some(*peer), message);
        taken.err().map(|error| error.action)
    }

    fn knows(&self, scid: u64) -> bool {
        self.graph.read_only().channel(scid).is_some()
    }
}

/// Returns the `gettxout` result for the funding output of [`announcement`].
fn output(confirmations: u32) -> Value {
    let script = make_funding_redeemscript(&public(3), &public(4)).to_p2wsh();
    let script = json!({ "hex": script });
    json!({ "confirmations": confirmations, "value": 0.01, "scriptPubKey": script })
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(LIMIT, wait)
        .await
        .unwrap_or_else(|_| panic!("{what}"));
}

fn secret(number: u8) -> SecretKey {
    SecretKey::from_slice(&[number; 32]).unwrap()
}

fn public(number: u8) -> PublicKey {
    secret(number).public_key(&Secp256k1::new())
}

fn node_id(number: u8) -> NodeId {
    NodeId::from_pubkey(&public(number))
}

fn sign(contents: &impl Writeable, number: u8) -> ecdsa::Signature {
    let digest = sha256d::Hash::hash(&contents.encode()).to_byte_array();
    Secp256k1::new().sign_ecdsa(&Message::from_digest(digest), &secret(number))
}

/// Returns the short channel id of the transaction with this index in the block.
fn scid(index: u64) -> u64 {
    HEIGHT << 40 | index << 16
}

fn announcement(scid: u64) -> ChannelAnnouncement {
    signed(scid, [1, 2, 3, 4])
}

/// Returns an announcement signed with the node and Bitcoin keys of these numbers.
fn signed(scid: u64, [node_1, node_2, bitcoin_1, bitcoin_2]: [u8; 4]) -> ChannelAnnouncement {
    let contents = UnsignedChannelAnnouncement {
        features: ChannelFeatures::empty(),
        chain_hash: ChainHash::using_genesis_block(Network::Regtest),
        short_channel_id: scid,
        node_id_1: node_id(node_1),
        node_id_2: node_id(node_2),
        bitcoin_key_1: node_id(bitcoin_1),
        bitcoin_key_2: node_id(bitcoin_2),
        excess_data: Vec::new(),
    };
    ChannelAnnouncement {
        node_signature_1: sign(&contents, node_1),
        node_signature_2: sign(&contents, node_2),
        bitcoin_signature_1: sign(&contents, bitcoin_1),
        bitcoin_signature_2: sign(&contents, bitcoin_2),
        contents,
    }
}

/// Returns the Unix time of an hour ago, in seconds. LDK rejects updates older than two weeks.
fn start() -> u32 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    u32::try_from(now.as_secs()).unwrap() - 3_600
}

fn update(side: u8, timestamp: u32) -> ChannelUpdate {
    let contents = UnsignedChannelUpdate {
        chain_hash: ChainHash::using_genesis_block(Network::Regtest),
        short_channel_id: scid(1),
        timestamp,
        message_flags: 1,
        channel_flags: side,
        cltv_expiry_delta: 80,
        htlc_minimum_msat: 1,
        htlc_maximum_msat: 1_000_000,
        fee_base_msat: 1_000,
        fee_proportional_millionths: 1,
        excess_data: Vec::new(),
    };
    ChannelUpdate {
        signature: sign(&contents, side + 1),
        contents,
    }
}

#[tokio::test]
async fn existing_channel_is_accepted_and_relayed() {
    let node = Node::with_channel();
    node.announce(&public(7), &announcement(scid(1)));
    until("the channel is accepted", || node.knows(scid(1))).await;
    let sent = node.gossip.get_and_clear_pending_msg_events();
    assert!(matches!(
        sent[..],
        [MessageSendEvent::BroadcastChannelAnnouncement { .. }]
    ));
}

#[tokio::test]
async fn hundred_announcements_of_nonexistent_channels_disconnect_and_ban() {
    let node = Node::with_channel();
    let (unknown_peer, channel_peer) = (public(7), public(8));
    let message = announcement(scid(2));
    node.announce(&unknown_peer, &message);
    let is_refused = || node.check().is_refused(scid(2)).is_some();
    until("the look-up ends", is_refused).await;
    let asked = node.chain.methods().len();
    for _ in 2..100 {
        let action = node.announce(&unknown_peer, &message);
        assert!(
            matches!(action, Some(ErrorAction::IgnoreError)),
            "{action:?}"
        );
    }
    let action = node.announce(&unknown_peer, &message);
    let Some(ErrorAction::DisconnectPeer { .. }) = action else {
        panic!("expected a disconnect: {action:?}");
    };
    assert_eq!(
        node.chain.methods().len(),
        asked,
        "bitcoind was asked again"
    );
    let init = Init {
        features: InitFeatures::empty(),
        networks: None,
        remote_network_address: None,
    };
    assert!(
        node.gossip
            .peer_connected(unknown_peer, &init, true)
            .is_err()
    );
    // A peer with a channel stays connected, but its announcements are ignored.
    for _ in 0..100 {
        let action = node.announce(&channel_peer, &message);
        assert!(
            matches!(action, Some(ErrorAction::IgnoreError)),
            "{action:?}"
        );
    }
    assert!(node.check().is_banned(&channel_peer));
    assert!(
        node.gossip
            .peer_connected(channel_peer, &init, true)
            .is_ok()
    );
    node.announce(&channel_peer, &announcement(scid(1)));
    assert_eq!(node.chain.methods().len(), asked);
    node.announce(&public(9), &announcement(scid(1)));
    until("other peers are unaffected", || node.knows(scid(1))).await;
}

#[tokio::test]
async fn invalid_signatures_count_as_invalid_announcements() {
    let node = Node::with_channel();
    let mut message = announcement(scid(1));
    message.bitcoin_signature_1 = message.bitcoin_signature_2;
    for _ in 1..100 {
        let action = node.announce(&public(7), &message);
        assert!(matches!(
            action,
            Some(ErrorAction::SendWarningMessage { .. })
        ));
    }
    let action = node.announce(&public(7), &message);
    assert!(matches!(action, Some(ErrorAction::DisconnectPeer { .. })));
    assert!(node.chain.methods().is_empty());
}

#[tokio::test]
async fn forged_announcement_does_not_block_the_valid_one() {
    let node = Node::with_channel();
    // For another's output, but with the forger's own keys.
    node.announce(&public(7), &signed(scid(1), [5, 6, 5, 6]));
    until("it is looked up", || {
        node.chain.methods().contains(&"gettxout".to_owned())
    })
    .await;
    node.announce(&public(9), &announcement(scid(1)));
    until("the channel is accepted", || node.knows(scid(1))).await;
    let graph = node.graph.read_only();
    assert_eq!(graph.channel(scid(1)).unwrap().node_one, node_id(1));
}

#[tokio::test]
async fn closed_channels_are_looked_up_once_without_a_ban() {
    let node = Node::new(Value::Null);
    node.announce(&public(7), &announcement(scid(1)));
    let is_refused = || node.check().is_refused(scid(1)).is_some();
    until("the look-up ends", is_refused).await;
    let asked = node.chain.methods().len();
    for _ in 0..200 {
        let action = node.announce(&public(7), &announcement(scid(1)));
        assert!(
            matches!(action, Some(ErrorAction::IgnoreError)),
            "{action:?}"
        );
    }
    assert_eq!(node.chain.methods().len(), asked);
    assert!(!node.check().is_banned(&public(7)));
}

#[tokio::test]
async fn channels_far_above_the_tip_are_not_looked_up() {
    let node = Node::with_channel();
    let message = announcement((HEIGHT + 1_000) << 40);
    let action = node.announce(&public(7), &message);
    assert!(
        matches!(action, Some(ErrorAction::IgnoreError)),
        "{action:?}"
    );
    // No look-up is running: the next one is the first.
    node.announce(&public(7), &announcement(scid(1)));
    until("the channel is accepted", || node.knows(scid(1))).await;
    let blocks = node
        .chain
        .methods()
        .into_iter()
        .filter(|method| method == "getblock");
    assert_eq!(blocks.count(), 1);
}

#[tokio::test]
async fn channels_without_an_update_are_not_announced_to_syncing_peers() {
    let node = Node::with_channel();
    node.announce(&public(7), &announcement(scid(0)));
    node.announce(&public(7), &announcement(scid(1)));
    for index in 0..2 {
        until("the channel is accepted", || node.knows(scid(index))).await;
    }
    let announced = || {
        let next = node.gossip.get_next_channel_announcement(0);
        next.map(|(announcement, ..)| announcement.contents.short_channel_id)
    };
    assert_eq!(announced(), None);
    let peer = Some(public(7));
    let update = update(1, start());
    assert!(node.gossip.handle_channel_update(peer, &update).is_ok());
    assert_eq!(announced(), Some(scid(1)));
}

#[tokio::test]
async fn relayed_updates_of_one_channel_are_limited() {
    let node = Node::with_channel();
    node.announce(&public(7), &announcement(scid(1)));
    until("the channel is accepted", || node.knows(scid(1))).await;
    let start = start();
    let peer = Some(public(7));
    let relayed = |from: Option<PublicKey>, messages: std::ops::Range<u32>, side| {
        let taken = messages.filter(|number| {
            let message = update(side, start + number);
            node.gossip
                .handle_channel_update(from, &message)
                .is_ok_and(|on| on)
        });
        taken.count()
    };
    // Forged updates do not use up the other direction's allowance.
    for number in 0..100 {
        let mut forged = update(1, start + number);
        forged.signature = sign(&forged.contents, 1);
        assert!(node.gossip.handle_channel_update(peer, &forged).is_err());
    }
    assert_eq!(relayed(peer, 0..1_000, 0), 10);
    assert_eq!(relayed(peer, 0..5, 1), 5, "the other direction");
    assert_eq!(relayed(None, 1_000..1_020, 0), 20, "our own");
}

#[tokio::test]
async fn relayed_announcements_of_one_node_are_limited() {
    let node = Node::with_channel();
    node.announce(&public(7), &announcement(scid(1)));
    until("the channel is accepted", || node.knows(scid(1))).await;
    let start = start();
    let taken = (0..100).filter(|number| {
        let contents = UnsignedNodeAnnouncement {
            features: NodeFeatures::empty(),
            timestamp: start + number,
            node_id: node_id(1),
            rgb: [0; 3],
            alias: NodeAlias([0; 32]),
            addresses: Vec::new(),
            excess_address_data: Vec::new(),
            excess_data: Vec::new(),
        };
        let signature = sign(&contents, 1);
        let message = NodeAnnouncement {
            signature,
            contents,
        };
        let peer = Some(public(7));
        node.gossip.handle_node_announcement(peer, &message).is_ok()
    });
    assert_eq!(taken.count(), 10);
}

#[tokio::test]
async fn unconfirmed_channel_with_other_keys_counts_as_invalid_at_once() {
    let node = Node::with_outputs(|_| output(5));
    for number in 0..100 {
        node.announce(&public(7), &signed(scid(1) + number, [5, 6, 5, 6]));
    }
    until("the peer is banned", || node.check().is_banned(&public(7))).await;
}

#[tokio::test]
async fn our_own_channel_is_accepted_without_asking_bitcoind() {
    for peer in [None, Some(public(7))] {
        let node = Node::new(json!("malformed answer"));
        let taken = node
            .gossip
            .handle_channel_announcement(peer, &announcement(OWN));
        assert!(taken.is_ok_and(|forward| forward));
        let graph = node.graph.read_only();
        let channel = graph.channel(OWN).expect("our channel is in the graph");
        assert_eq!(channel.capacity_sats, Some(123_456));
        assert!(node.chain.methods().is_empty());
    }
}

#[tokio::test]
async fn forged_announcements_of_our_own_channel_are_looked_up() {
    let node = Node::with_channel();
    for nodes in [[5, 6, 3, 4], [1, 2, 5, 6]] {
        let mut forged = signed(OWN, nodes);
        // Anyone can name our node in an announcement, but not sign for us.
        if nodes[0] == 1 {
            forged.node_signature_1 = sign(&forged.contents, 5);
        }
        assert!(node.announce(&public(7), &forged).is_some());
    }
    until("one is looked up", || node.lookups() == 1).await;
    let action = node.announce(&public(7), &announcement(scid(1)));
    assert!(matches!(action, Some(ErrorAction::IgnoreAndLog(_))));
    until("the channel is accepted", || node.knows(scid(1))).await;
    assert_eq!(node.lookups(), 2);
}

#[tokio::test]
async fn peers_are_not_blamed_for_channels_we_queried() {
    let node = Node::with_channel();
    let message = announcement(scid(2));
    node.announce(&public(7), &message);
    let is_refused = || node.check().is_refused(scid(2)).is_some();
    until("the look-up ends", is_refused).await;
    for _ in 0..200 {
        let action = node.announce(&public(6), &message);
        assert!(matches!(action, Some(ErrorAction::IgnoreError)));
    }
    assert!(!node.check().is_banned(&public(6)));
}
