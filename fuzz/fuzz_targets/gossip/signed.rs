//! Messages with valid signatures, made once.

use std::sync::LazyLock;

use bitcoin::constants::ChainHash;
use bitcoin::hashes::{Hash, sha256d};
use bitcoin::secp256k1::{Message, PublicKey, Secp256k1, SecretKey, ecdsa};
use lightning::ln::msgs::{
    ChannelAnnouncement, ChannelUpdate, UnsignedChannelAnnouncement, UnsignedChannelUpdate,
};
use lightning::routing::gossip::NodeId;
use lightning::types::features::ChannelFeatures;
use lightning::util::ser::Writeable;

/// Updates exist for so many seconds.
pub const SECONDS: u8 = 16;
/// Our own key, as a number for [`public`].
pub const OWN: u8 = 1;
pub const FUNDING_KEYS: [u8; 2] = [30, 31];
const HONEST: u8 = 20;
/// A peer with which we have a channel.
const HOSTILE: u8 = 2;

/// A side of one of four channels, the first of which is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Side {
    pub channel: u8,
    pub side: u8,
}

impl Side {
    pub fn of(bits: u8) -> Self {
        Self {
            channel: bits & 3,
            side: bits >> 2 & 1,
        }
    }

    fn index(self) -> usize {
        usize::from(self.channel << 1 | self.side)
    }
}

pub fn honest() -> PublicKey {
    static KEY: LazyLock<PublicKey> = LazyLock::new(|| public(HONEST));
    *KEY
}

pub fn hostile() -> PublicKey {
    static KEY: LazyLock<PublicKey> = LazyLock::new(|| public(HOSTILE));
    *KEY
}

pub fn public(number: u8) -> PublicKey {
    secret(number).public_key(&Secp256k1::new())
}

pub fn node_id(number: u8) -> NodeId {
    NodeId::from_pubkey(&public(number))
}

pub fn short_channel_id(channel: u8) -> u64 {
    500 << 40 | u64::from(channel)
}

/// The Unix time an hour before the process began, in seconds. LDK rejects updates older than two weeks.
pub fn start() -> u32 {
    static START: LazyLock<u32> =
        LazyLock::new(|| u32::try_from(ampd::clock::unix_seconds()).expect("before 2106") - 3_600);
    *START
}

pub fn announcement(channel: u8) -> &'static ChannelAnnouncement {
    static ALL: LazyLock<Vec<ChannelAnnouncement>> =
        LazyLock::new(|| (0..4).map(new_announcement).collect());
    &ALL[usize::from(channel)]
}

/// The update of this side, so many seconds after [`start`].
pub fn update(side: Side, second: u8) -> &'static ChannelUpdate {
    static ALL: LazyLock<Vec<ChannelUpdate>> = LazyLock::new(|| {
        let sides = (0..8).map(|bits| Side::of(bits >> 1 | (bits & 1) << 2));
        let all = sides.flat_map(|side| (0..SECONDS).map(move |second| (side, second)));
        all.map(|(side, second)| new_update(side, second)).collect()
    });
    &ALL[side.index() * usize::from(SECONDS) + usize::from(second)]
}

fn secret(number: u8) -> SecretKey {
    SecretKey::from_slice(&[number; 32]).expect("a valid key")
}

fn sign(contents: &impl Writeable, number: u8) -> ecdsa::Signature {
    let digest = sha256d::Hash::hash(&contents.encode()).to_byte_array();
    Secp256k1::new().sign_ecdsa(&Message::from_digest(digest), &secret(number))
}

/// The nodes of a channel, lower key first (BOLT 7).
fn nodes(channel: u8) -> [u8; 2] {
    let mut nodes = [OWN + channel, OWN + channel + 1];
    nodes.sort_by_key(|number| node_id(*number));
    nodes
}

fn new_announcement(channel: u8) -> ChannelAnnouncement {
    let [one, two] = nodes(channel);
    let contents = UnsignedChannelAnnouncement {
        features: ChannelFeatures::empty(),
        chain_hash: ChainHash::REGTEST,
        short_channel_id: short_channel_id(channel),
        node_id_1: node_id(one),
        node_id_2: node_id(two),
        bitcoin_key_1: node_id(FUNDING_KEYS[0]),
        bitcoin_key_2: node_id(FUNDING_KEYS[1]),
        excess_data: Vec::new(),
    };
    ChannelAnnouncement {
        node_signature_1: sign(&contents, one),
        node_signature_2: sign(&contents, two),
        bitcoin_signature_1: sign(&contents, FUNDING_KEYS[0]),
        bitcoin_signature_2: sign(&contents, FUNDING_KEYS[1]),
        contents,
    }
}

fn new_update(side: Side, second: u8) -> ChannelUpdate {
    let contents = UnsignedChannelUpdate {
        chain_hash: ChainHash::REGTEST,
        short_channel_id: short_channel_id(side.channel),
        timestamp: start() + u32::from(second),
        message_flags: 1,
        channel_flags: side.side,
        cltv_expiry_delta: 80,
        htlc_minimum_msat: 1,
        htlc_maximum_msat: 1_000_000,
        fee_base_msat: 1_000,
        fee_proportional_millionths: 1,
        excess_data: Vec::new(),
    };
    let signer = nodes(side.channel)[usize::from(side.side)];
    ChannelUpdate {
        signature: sign(&contents, signer),
        contents,
    }
}
