//! The peers that are connected, as far as LDK knows them.

use bitcoin::secp256k1::PublicKey;
use lightning::types::features::InitFeatures;

use super::address;
use crate::ldk::PeerManager;

/// A connected peer.
#[derive(Debug, Clone)]
pub struct Peer {
    pub node_id: PublicKey,
    /// `host:port` of the other end of the connection.
    pub address: Option<String>,
    /// The peer connected to us.
    pub inbound: bool,
    pub features: InitFeatures,
    /// Always 0: nothing is counted, and a guess would be worse.
    pub bytes_sent: u64,
    /// Always 0, as `bytes_sent`.
    pub bytes_received: u64,
}

/// All peers whose handshake is done, in the order of their keys.
pub fn peers(manager: &PeerManager) -> Vec<Peer> {
    let mut peers: Vec<Peer> = manager
        .list_peers()
        .into_iter()
        .map(|peer| Peer {
            node_id: peer.counterparty_node_id,
            address: peer.socket_address.as_ref().map(address::text),
            inbound: peer.is_inbound_connection,
            features: peer.init_features,
            bytes_sent: 0,
            bytes_received: 0,
        })
        .collect();
    peers.sort_by_key(|peer| peer.node_id);
    peers
}

/// The numbers of all feature bits that are set, lowest first.
pub fn feature_bits(flags_little_endian: &[u8]) -> Vec<u32> {
    let bits = flags_little_endian
        .iter()
        .zip(0u32..)
        .flat_map(|(byte, index)| {
            (0..8)
                .filter(move |bit| byte >> bit & 1 == 1)
                .map(move |bit| index * 8 + bit)
        });
    bits.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feature_bits_are_numbered_from_the_lowest() {
        let mut features = InitFeatures::empty();
        features.set_data_loss_protect_required();
        features.set_anchors_zero_fee_htlc_tx_optional();
        assert_eq!(feature_bits(features.le_flags()), [0, 23]);
    }
}
