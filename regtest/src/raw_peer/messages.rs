//! Messages as sent over a connection: type and body.

use bitcoin::constants::ChainHash;
use lightning::ln::msgs::Init;
use lightning::ln::wire::Type;
use lightning::types::features::InitFeatures;

/// Message types of BOLT 1, 2, 4 and 7 that tests send or wait for.
pub mod kind {
    pub const WARNING: u16 = 1;
    pub const PEER_STORAGE: u16 = 7;
    pub const INIT: u16 = 16;
    pub const ERROR: u16 = 17;
    pub const PING: u16 = 18;
    pub const PONG: u16 = 19;
    pub const OPEN_CHANNEL: u16 = 32;
    pub const ACCEPT_CHANNEL: u16 = 33;
    pub const FUNDING_CREATED: u16 = 34;
    pub const FUNDING_SIGNED: u16 = 35;
    pub const CHANNEL_READY: u16 = 36;
    pub const SHUTDOWN: u16 = 38;
    pub const CLOSING_SIGNED: u16 = 39;
    pub const UPDATE_ADD_HTLC: u16 = 128;
    pub const UPDATE_FULFILL_HTLC: u16 = 130;
    pub const UPDATE_FAIL_HTLC: u16 = 131;
    pub const COMMITMENT_SIGNED: u16 = 132;
    pub const REVOKE_AND_ACK: u16 = 133;
    pub const UPDATE_FEE: u16 = 134;
    pub const UPDATE_FAIL_MALFORMED_HTLC: u16 = 135;
    pub const CHANNEL_REESTABLISH: u16 = 136;
    pub const CHANNEL_ANNOUNCEMENT: u16 = 256;
    pub const NODE_ANNOUNCEMENT: u16 = 257;
    pub const CHANNEL_UPDATE: u16 = 258;
    pub const QUERY_SHORT_CHANNEL_IDS: u16 = 261;
    pub const REPLY_SHORT_CHANNEL_IDS_END: u16 = 262;
    pub const QUERY_CHANNEL_RANGE: u16 = 263;
    pub const REPLY_CHANNEL_RANGE: u16 = 264;
    pub const GOSSIP_TIMESTAMP_FILTER: u16 = 265;
    pub const ONION_MESSAGE: u16 = 513;
}

/// A message with any body.
pub fn message(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes(), body].concat()
}

/// Encodes one of LDK's messages (`lightning::ln::msgs`).
pub fn encode(contents: &impl Type) -> Vec<u8> {
    message(contents.type_id(), &contents.encode())
}

/// An `init` with only the features that LDK requires of a peer.
pub fn default_init() -> Vec<u8> {
    let mut features = InitFeatures::empty();
    features.set_data_loss_protect_optional();
    features.set_gossip_queries_optional();
    features.set_variable_length_onion_optional();
    features.set_static_remote_key_optional();
    features.set_payment_secret_optional();
    features.set_basic_mpp_optional();
    features.set_shutdown_any_segwit_optional();
    features.set_channel_type_optional();
    encode(&Init {
        features,
        networks: Some(vec![ChainHash::REGTEST]),
        remote_network_address: None,
    })
}
