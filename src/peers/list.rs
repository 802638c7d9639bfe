//! Lists the connected peers known to LDK.

use bitcoin::secp256k1::PublicKey;
use lightning::types::features::InitFeatures;

use super::address;
use super::connection::PeerManager;

/// A connected peer.
#[derive(Debug, Clone)]
pub struct Peer {
    pub node_id: PublicKey,
    /// The remote address of the connection, as `host:port`.
    pub address: Option<String>,
    /// Whether the peer connected to us.
    pub inbound: bool,
    pub features: InitFeatures,
    /// Always 0: bytes are not counted.
    pub bytes_sent: u64,
    /// Always 0, as `bytes_sent`.
    pub bytes_received: u64,
}

/// Returns all peers whose handshake is complete, ordered by public key.
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

/// Returns the numbers of all feature bits that are set, in ascending order.
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
