//! Announcements (BOLT 7) of channels that do not exist, with valid signatures.

use bitcoin::constants::ChainHash;
use bitcoin::hashes::{Hash, sha256d};
use bitcoin::secp256k1::{Message, SecretKey};
use lightning::ln::msgs::{ChannelAnnouncement, UnsignedChannelAnnouncement};
use lightning::routing::gossip::NodeId;
use lightning::types::features::ChannelFeatures;
use lightning::util::ser::Writeable;

use super::messages::encode;
use super::target::{SECP, random_key};

/// Encodes block height, transaction index and output index (BOLT 7).
pub fn short_channel_id(block: u32, transaction: u32, output: u16) -> u64 {
    (u64::from(block) << 40) | (u64::from(transaction & 0x00ff_ffff) << 16) | u64::from(output)
}

/// A `channel_announcement` between two unknown nodes with new keys.
pub fn forged_announcement(short_channel_id: u64) -> Vec<u8> {
    let (node_1, node_2) = ordered_keys();
    let (bitcoin_1, bitcoin_2) = ordered_keys();
    let contents = UnsignedChannelAnnouncement {
        features: ChannelFeatures::empty(),
        chain_hash: ChainHash::REGTEST,
        short_channel_id,
        node_id_1: node_id(&node_1),
        node_id_2: node_id(&node_2),
        bitcoin_key_1: node_id(&bitcoin_1),
        bitcoin_key_2: node_id(&bitcoin_2),
        excess_data: Vec::new(),
    };
    let digest = sha256d::Hash::hash(&contents.encode()).to_byte_array();
    let digest = Message::from_digest(digest);
    let sign = |key: &SecretKey| SECP.sign_ecdsa(&digest, key);
    encode(&ChannelAnnouncement {
        node_signature_1: sign(&node_1),
        node_signature_2: sign(&node_2),
        bitcoin_signature_1: sign(&bitcoin_1),
        bitcoin_signature_2: sign(&bitcoin_2),
        contents,
    })
}

/// Two keys, the smaller node id first (BOLT 7).
fn ordered_keys() -> (SecretKey, SecretKey) {
    let (one, other) = (random_key(), random_key());
    if node_id(&one) < node_id(&other) {
        (one, other)
    } else {
        (other, one)
    }
}

fn node_id(key: &SecretKey) -> NodeId {
    NodeId::from_pubkey(&key.public_key(&SECP))
}
