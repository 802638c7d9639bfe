//! Gossip messages with valid signatures, for tests.

use bitcoin::Network;
use bitcoin::constants::ChainHash;
use bitcoin::hashes::{Hash, sha256d};
use bitcoin::secp256k1::{Message, PublicKey, Secp256k1, SecretKey, ecdsa};
use lightning::ln::msgs::{
    ChannelAnnouncement, ChannelUpdate, NodeAnnouncement, UnsignedChannelAnnouncement,
    UnsignedChannelUpdate, UnsignedNodeAnnouncement,
};
use lightning::routing::gossip::{NodeAlias, NodeId};
use lightning::types::features::{ChannelFeatures, NodeFeatures};
use lightning::util::ser::Writeable;

pub(super) const REGTEST: ChainHash = ChainHash::REGTEST;
pub(super) const NETWORK: Network = Network::Regtest;

/// Returns the Unix time of an hour ago, in seconds. LDK rejects updates older than two weeks.
pub(super) fn start() -> u32 {
    static START: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    *START.get_or_init(|| {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        u32::try_from(now.as_secs()).unwrap() - 3_600
    })
}

pub(super) fn secret(number: u8) -> SecretKey {
    SecretKey::from_slice(&[number; 32]).unwrap()
}

pub(super) fn public(number: u8) -> PublicKey {
    secret(number).public_key(&Secp256k1::new())
}

pub(super) fn node_id(number: u8) -> NodeId {
    NodeId::from_pubkey(&public(number))
}

pub(super) fn sign(contents: &impl Writeable, number: u8) -> ecdsa::Signature {
    let digest = sha256d::Hash::hash(&contents.encode()).to_byte_array();
    Secp256k1::new().sign_ecdsa(&Message::from_digest(digest), &secret(number))
}

/// Returns the announcement of a channel between these nodes, lower key first (BOLT 7), with funding keys 3
/// and 4.
pub(super) fn announcement_between(scid: u64, nodes: [u8; 2]) -> ChannelAnnouncement {
    let [one, two] = in_order(nodes);
    let contents = UnsignedChannelAnnouncement {
        features: ChannelFeatures::empty(),
        chain_hash: REGTEST,
        short_channel_id: scid,
        node_id_1: node_id(one),
        node_id_2: node_id(two),
        bitcoin_key_1: node_id(3),
        bitcoin_key_2: node_id(4),
        excess_data: Vec::new(),
    };
    ChannelAnnouncement {
        node_signature_1: sign(&contents, one),
        node_signature_2: sign(&contents, two),
        bitcoin_signature_1: sign(&contents, 3),
        bitcoin_signature_2: sign(&contents, 4),
        contents,
    }
}

/// Returns the update of one side of the channel between these nodes, timestamped `seconds` after [`start`].
pub(super) fn update_between(scid: u64, nodes: [u8; 2], side: u8, seconds: u32) -> ChannelUpdate {
    let contents = UnsignedChannelUpdate {
        chain_hash: REGTEST,
        short_channel_id: scid,
        timestamp: start() + seconds,
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
        signature: sign(&contents, in_order(nodes)[usize::from(side)]),
        contents,
    }
}

pub(super) fn node_announcement(number: u8) -> NodeAnnouncement {
    let contents = UnsignedNodeAnnouncement {
        features: NodeFeatures::empty(),
        timestamp: start(),
        node_id: node_id(number),
        rgb: [0; 3],
        alias: NodeAlias([number; 32]),
        addresses: Vec::new(),
        excess_address_data: Vec::new(),
        excess_data: Vec::new(),
    };
    NodeAnnouncement {
        signature: sign(&contents, number),
        contents,
    }
}

fn in_order([one, two]: [u8; 2]) -> [u8; 2] {
    if node_id(one) < node_id(two) {
        [one, two]
    } else {
        [two, one]
    }
}
